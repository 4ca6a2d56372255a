//! What the files of the simulation have in them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;

use stowd::digest::Digest;
use stowd::entry::Kind;

/// An image: one name, in one of several versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SimImage {
    pub(crate) name: &'static str,
    pub(crate) version: u8,
}

thread_local! {
    static DIGESTS: RefCell<HashMap<(&'static str, u8), Digest>> = RefCell::default();
}

impl SimImage {
    pub(crate) fn digest(self) -> Digest {
        let make = || Digest::of(format!("{} {}", self.name, self.version).as_bytes());
        let key = (self.name, self.version);
        DIGESTS.with_borrow_mut(|digests| digests.entry(key).or_insert_with(make).clone())
    }

    pub(crate) fn tagged(self) -> String {
        format!("{}:1", self.name)
    }

    /// All names that it gets, also under an extra registry.
    pub(crate) fn names(self, extra_registry: Option<&str>) -> Vec<String> {
        names(&self.tagged(), &self.digest(), extra_registry)
    }
}

/// The names of an image with this name and this digest, also under an extra registry.
pub(crate) fn names(tagged: &str, digest: &Digest, extra_registry: Option<&str>) -> Vec<String> {
    let mut names = Vec::with_capacity(4);
    let repository = tagged.trim_end_matches(":1");
    names.push(tagged.to_owned());
    names.push(format!("{repository}@{digest}"));
    if let Some(registry) = extra_registry {
        let path = in_registry(repository);
        names.push(format!("{registry}/{path}:1"));
        names.push(format!("{registry}/{path}@{digest}"));
    }
    names
}

/// A name without its registry.
pub(crate) fn in_registry(name: &str) -> &str {
    name.split_once('/').map_or(name, |(_, path)| path)
}

const X: &str = "r.example/x";
pub(crate) const Y: &str = "r.example/y";
const Z: &str = "r.example/z";

/// The images of the names, as a registry has them.
pub(crate) const IN_REGISTRY: [SimImage; 3] = [at(X, 0), at(Y, 0), at(Z, 0)];

const fn at(name: &'static str, version: u8) -> SimImage {
    SimImage { name, version }
}

/// A file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    Archive {
        images: &'static [SimImage],
        /// Images of which it lacks a blob.
        lacking: &'static [SimImage],
        /// It ends too early: nothing of it can be imported.
        cut: bool,
    },
    List {
        names: &'static [&'static str],
        /// It has a line that names no image.
        bad_line: bool,
        /// It is prose.
        prose: bool,
    },
}

const fn archive(images: &'static [SimImage]) -> Content {
    Content::Archive {
        images,
        lacking: &[],
        cut: false,
    }
}

const fn list(names: &'static [&'static str]) -> Content {
    Content::List {
        names,
        bad_line: false,
        prose: false,
    }
}

const ARCHIVES: [Content; 8] = [
    archive(&[at(X, 0)]),
    archive(&[at(X, 1)]),
    archive(&[at(Y, 0), at(X, 0)]),
    archive(&[at(Z, 0)]),
    archive(&[at(Z, 1), at(Y, 1)]),
    archive(&[at(Y, 0)]),
    Content::Archive {
        images: &[],
        lacking: &[],
        cut: true,
    },
    Content::Archive {
        images: &[at(Y, 0)],
        lacking: &[at(Z, 0)],
        cut: false,
    },
];

const LISTS: [Content; 5] = [
    list(&[X]),
    list(&[Y, Z]),
    list(&[Z]),
    Content::List {
        names: &[X],
        bad_line: true,
        prose: false,
    },
    Content::List {
        names: &[],
        bad_line: false,
        prose: true,
    },
];

impl Content {
    /// A content for a file of this name.
    pub(crate) fn pick(path: &Path, number: u8) -> Self {
        match kind(path) {
            Kind::Archive => ARCHIVES[usize::from(number) % ARCHIVES.len()],
            Kind::List => LISTS[usize::from(number) % LISTS.len()],
        }
    }

    /// The tagged names that it is to bring, whatever it lacks.
    pub(crate) fn tags(&self) -> Vec<String> {
        let tags = self.names(None).into_iter();
        tags.filter(|name| !name.contains('@')).collect()
    }

    /// The names that it is to bring, whatever it lacks, but those by digest of the images of a list:
    /// they are known when it has ended.
    pub(crate) fn names(&self, extra_registry: Option<&str>) -> Vec<String> {
        match self {
            Self::Archive {
                images, lacking, ..
            } => {
                let images = images.iter().chain(*lacking);
                images
                    .flat_map(|image| image.names(extra_registry))
                    .collect()
            }
            Self::List { names, .. } => {
                let extra = extra_registry.into_iter().flat_map(|extra| {
                    let paths = names.iter().map(|name| in_registry(name));
                    paths.map(move |path| format!("{extra}/{path}:1"))
                });
                let names = names.iter().map(|name| format!("{name}:1"));
                names.chain(extra).collect()
            }
        }
    }
}

pub(crate) fn kind(path: &Path) -> Kind {
    match path.extension().is_some_and(|extension| extension == "txt") {
        true => Kind::List,
        false => Kind::Archive,
    }
}
