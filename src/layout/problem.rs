//! Why an image of an archive cannot be imported. Texts out of the archive are quoted and shortened.

use std::fmt;

use super::catalogue::BrokenLink;
use super::layer_check::LayerFault;
use super::limits::SHOWN;
use super::limits::{DEPTH_MAX, DOCUMENTS_MAX, NAMES_MAX, NAMES_OF_IMAGE_MAX, WORK_MAX};
use crate::digest::{Digest, DigestError};
use crate::oci::JsonError;
use crate::oci::limits::DOCUMENT_MAX;
use crate::one_line::{self, shortened};
use crate::platform::{Platform, Wanted};

/// An image that cannot be imported; others in its archive can.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{image}: {fault}")]
pub struct ImageProblem {
    /// The image: its names, or what else is known of it.
    pub image: String,
    pub fault: Fault,
}

/// What is wrong with an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It would be unreachable in the store.
    #[error(
        "it has no usable name{}; name it when the archive is made: `docker save NAME:TAG`, \
         `skopeo copy … oci-archive:FILE:NAME:TAG`, or the annotation io.containerd.image.name",
        Reasons(said)
    )]
    NoName {
        /// What was found in place of a name, and why it is none.
        said: Vec<String>,
    },
    /// It is not made for a wanted platform.
    #[error("it is for {}, and wanted is {wanted}", Platforms(has))]
    NoWantedPlatform { has: Vec<Platform>, wanted: Wanted },
    /// A blob that it needs is nowhere.
    #[error(
        "blob {digest} ({}) is neither in the archive nor in the store{}",
        shortened(media_type, SHOWN),
        BecauseOf(link.as_ref())
    )]
    MissingBlob {
        digest: Digest,
        media_type: String,
        /// Why it is not in the archive.
        link: Option<BrokenLink>,
    },
    /// The configuration that its manifest names is not in the archive.
    #[error(
        "the archive has no file {}, its configuration{}",
        quoted(path),
        BecauseOf(link.as_ref())
    )]
    MissingConfig {
        path: String,
        /// Why it is not there.
        link: Option<BrokenLink>,
    },
    /// A layer that its manifest names is nowhere.
    #[error(
        "the archive has no file {}, its layer, and the store no layer {diff_id}{}",
        quoted(path),
        BecauseOf(link.as_ref())
    )]
    MissingLayer {
        path: String,
        /// The digest in the configuration.
        diff_id: Digest,
        /// Why it is not in the archive.
        link: Option<BrokenLink>,
    },
    /// Its manifest has no path for a layer, and the layer is nowhere.
    #[error(
        "the layer was left out when the archive was saved: manifest.json has no path for \
         {diff_id}, and the store has no such layer; save the image with all of its layers"
    )]
    LayerLeftOut {
        /// The digest in the configuration.
        diff_id: Digest,
    },
    /// A layer that containerd could not unpack.
    #[error(transparent)]
    Layer(#[from] LayerFault),
    /// Each name costs the store a record, or more.
    #[error("it has {0} names, and an image may have {NAMES_OF_IMAGE_MAX} in an archive")]
    TooManyNames(usize),
    /// The same for all images of an archive.
    #[error(
        "with it, the images of the archive together have more than {NAMES_MAX} names; \
         make several archives of it"
    )]
    TooManyNamesTogether,
    /// A digest that cannot be used.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// The bytes of a member have another digest than they must have.
    #[error("{} has the digest {found}, but must have {expected}", quoted(member))]
    WrongDigest {
        member: String,
        expected: Digest,
        found: Digest,
    },
    /// The bytes of a layer, decompressed, have another digest than its configuration says.
    #[error(
        "{} holds, decompressed, the layer {found}, but must hold {expected}",
        quoted(member)
    )]
    WrongLayer {
        member: String,
        /// The digest in the configuration.
        expected: Digest,
        found: Digest,
    },
    /// A blob has another length than its descriptor says.
    #[error(
        "{} is {found} bytes long, but {digest} must be {expected}",
        quoted(member)
    )]
    WrongSize {
        /// The member's path; the digest where it is in the store.
        member: String,
        digest: Digest,
        /// The length in the descriptor.
        expected: u64,
        /// The length of the blob.
        found: u64,
    },
    /// A member that must be a JSON document is none.
    #[error(
        "{} is no JSON document of at most {} MiB, as a manifest or a configuration is",
        quoted(member),
        DOCUMENT_MAX >> 20
    )]
    NoDocument { member: String },
    /// A document cannot be read.
    #[error("{}, {cause}", quoted(member))]
    Json {
        /// The member's path; the digest where it is in the store.
        member: String,
        cause: JsonError,
    },
    /// It has the manifest of a Docker before 1.10.
    #[error(
        "{digest} is a manifest of schema 1, which containerd does not run; \
         push or save the image again with a Docker of this decade"
    )]
    Schema1 { digest: Digest },
    /// It is neither a manifest nor an index.
    #[error(
        "{digest} is neither a manifest nor an index: its media type is {}",
        quoted(media_type)
    )]
    NoManifest { digest: Digest, media_type: String },
    /// A document is something else than its descriptor says, or is both.
    #[error("{digest} should be {called}, but has what only {other} has")]
    Contradiction {
        digest: Digest,
        /// What its descriptor says it is.
        called: &'static str,
        /// What it is, too.
        other: &'static str,
    },
    /// An index lists nothing that could be run.
    #[error("the index {digest} lists no image")]
    EmptyIndex { digest: Digest },
    /// Indexes in indexes.
    #[error("indexes lie in indexes more than {DEPTH_MAX} deep, at {digest}")]
    TooDeep {
        /// The index that is too deep.
        digest: Digest,
    },
    /// The archive asks for more work than an archive may.
    #[error(
        "the images of the archive together have more than {WORK_MAX} manifests, layers and names"
    )]
    TooMuch,
    /// The store would have to hand out more than [`DOCUMENTS_MAX`].
    #[error(
        "with {digest}, the JSON documents that only the store has take more than {} MiB",
        DOCUMENTS_MAX >> 20
    )]
    StoredDocuments {
        /// The document that was one too many.
        digest: Digest,
    },
    /// A compressed layer that cannot be decompressed.
    #[error("the layer {} is damaged: it cannot be decompressed", quoted(member))]
    DamagedLayer { member: String },
    /// A docker-archive with more layers than its configuration knows, or fewer.
    #[error(
        "manifest.json lists {layers} layers, but the configuration {} has {diff_ids}",
        quoted(config)
    )]
    LayerCount {
        config: String,
        /// The layers in `manifest.json`.
        layers: usize,
        /// The layers in the configuration.
        diff_ids: usize,
    },
}

/// A text out of the archive, in quotation marks and with control characters spelt out.
pub(super) fn quoted(text: &str) -> String {
    one_line::quoted(text, SHOWN)
}

struct BecauseOf<'a>(Option<&'a BrokenLink>);

impl fmt::Display for BecauseOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |link| write!(f, ": {link}"))
    }
}

struct Reasons<'a>(&'a [String]);

impl fmt::Display for Reasons<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, reason) in self.0.iter().take(3).enumerate() {
            write!(f, "{}{reason}", if i == 0 { " (" } else { "; " })?;
        }
        f.write_str(if self.0.is_empty() { "" } else { ")" })
    }
}

pub(super) struct Platforms<'a>(pub(super) &'a [Platform]);

impl fmt::Display for Platforms<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SOME: usize = 12;
        for (i, platform) in self.0.iter().take(SOME).enumerate() {
            write!(f, "{}{platform}", if i == 0 { "" } else { ", " })?;
        }
        match self.0.len().saturating_sub(SOME) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}
