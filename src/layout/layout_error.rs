//! Why an archive cannot be read as one of images. Texts out of the archive are quoted and shortened.

use std::fmt;

use super::catalogue::{BrokenLink, STORE_FILES};
use super::problem::{Platforms, quoted};
use crate::oci::JsonError;
use crate::oci::limits::DOCUMENT_MAX;
use crate::platform::{Platform, Wanted};

/// Why an archive cannot be read as one of images.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// It has neither layout.
    #[error(
        "no images in it: neither index.json (an OCI layout) nor manifest.json (a docker-archive) \
         is at its top{}",
        Seen(seen)
    )]
    Unrecognised {
        /// What is there instead.
        seen: Members,
    },
    /// It has an `oci-layout`, but no index.
    #[error(
        "{} is there, but not index.json, which lists the images of an OCI layout",
        quoted(layout)
    )]
    NoIndex { layout: String },
    /// It is of a Docker before 1.10.
    #[error(
        "it has a file `repositories` but no manifest.json: it was saved by a Docker before 1.10; \
         load it there and save it with a newer one"
    )]
    Legacy,
    /// An OCI layout of a later generation.
    #[error("{} says version {}; 1.0.0 is known", quoted(layout), quoted(version))]
    Version {
        layout: String,
        /// What it says.
        version: String,
    },
    /// The list of images is no JSON document.
    #[error(
        "{} is no JSON document of at most {} MiB",
        quoted(member),
        DOCUMENT_MAX >> 20
    )]
    NoDocument { member: String },
    /// The list of images is a link to something else.
    #[error(
        "{} is a link to {}, which is no JSON document: {STORE_FILES}",
        quoted(link),
        quoted(member)
    )]
    LinkToNoDocument { link: String, member: String },
    /// The list of images is a link that leads nowhere.
    #[error("no images in it: {0}")]
    BrokenLink(BrokenLink),
    /// A directory as skopeo's `dir:` transport makes it.
    #[error(
        "{} is a manifest and no list of images: this is the layout of skopeo's dir: transport; \
         make an archive of the directory: `skopeo copy dir:DIRECTORY oci-archive:FILE.tar:NAME:TAG`",
        quoted(member)
    )]
    SkopeoDirectory { member: String },
    /// What `docker export` writes.
    #[error(
        "no images in it: this is a container's file system (docker export); use docker save, \
         which writes images"
    )]
    FileSystem,
    /// More than one OCI layout, none of them at the top.
    #[error(
        "it holds {count} OCI layouts ({} …): make an archive of each, with index.json at its top",
        quoted(first)
    )]
    SeveralLayouts { first: String, count: usize },
    /// The list of images cannot be read.
    #[error("{}, {cause}", quoted(member))]
    Json { member: String, cause: JsonError },
    #[error("{} lists no images", quoted(member))]
    Empty { member: String },
    /// None of its images is for a wanted platform.
    #[error(
        "none of its images is for a wanted platform: it has {}, and wanted is {wanted}",
        Platforms(has)
    )]
    NoWantedPlatform { has: Vec<Platform>, wanted: Wanted },
}

/// Why the images of an archive were not found.
#[derive(Debug)]
pub enum ResolveError<E> {
    /// It is not an archive of images.
    Layout(LayoutError),
    /// The source of documents did not answer.
    Source(E),
}

impl<E> From<LayoutError> for ResolveError<E> {
    fn from(error: LayoutError) -> Self {
        Self::Layout(error)
    }
}

/// The members of an archive that is not one of images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Members {
    /// A few of their paths.
    pub some: Vec<String>,
    /// How many there are.
    pub count: usize,
    /// A few of those that look like archives themselves.
    pub archives: Vec<String>,
}

struct Seen<'a>(&'a Members);

impl fmt::Display for Seen<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Members {
            some,
            count,
            archives,
        } = self.0;
        if some.is_empty() {
            return f.write_str("; it is empty");
        }
        let list = |paths: &[String]| {
            paths
                .iter()
                .map(|path| quoted(path))
                .collect::<Vec<_>>()
                .join(", ")
        };
        write!(f, "; it holds {}", list(some))?;
        if *count > some.len() {
            write!(f, " and {} more", count - some.len())?;
        }
        if !archives.is_empty() {
            write!(
                f,
                "; it is a tar of archives ({}): unpack it and put those into the images directory",
                list(archives)
            )?;
        }
        Ok(())
    }
}
