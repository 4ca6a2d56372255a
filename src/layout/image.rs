//! What comes of a layout: images, and the blobs that each of them needs.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::catalogue::BrokenLink;
use super::note::Note;
use super::problem::ImageProblem;
use crate::image_store::Labels;
use crate::naming::Reference;
use crate::needed_blob::NeededBlob;
use crate::oci::Descriptor;

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// The images that can be imported, if the store has what the archive does not.
    pub images: Vec<ArchiveImage>,
    /// The images that cannot.
    pub problems: Vec<ImageProblem>,
    /// The names that the archive gives to the images of both kinds.
    pub claimed: BTreeSet<Reference>,
    /// What an operator may want to know although nothing failed.
    pub notes: Vec<Note>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveImage {
    /// Its names in their canonical form, each once; at least one.
    pub names: Vec<Reference>,
    /// The manifest or index that they point to.
    pub target: Descriptor,
    /// All that it needs, each once, children before parents.
    pub blobs: Vec<WantedBlob>,
    /// Whether it has what the host would run of it: only then the host's CRI sees it.
    pub runs_on_host: bool,
}

impl ArchiveImage {
    /// All that it needs, as a store has it.
    pub(crate) fn needed(&self) -> Vec<NeededBlob> {
        let blobs = self.blobs.iter();
        blobs.map(|blob| blob.descriptor.needed()).collect()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedBlob {
    /// Its media type, digest and length.
    pub descriptor: Descriptor,
    pub source: BlobSource,
    /// The labels that keep its children from garbage collection: on manifests and indexes.
    pub labels: Labels,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlobSource {
    /// Here: a document out of the archive, or one that was made for it.
    Document(Arc<[u8]>),
    /// In the archive: the path of a regular file in its catalogue.
    Member(String),
    /// Not in the archive, because of a link perhaps. A document is in the store, anything else has to
    /// be.
    Store(Option<BrokenLink>),
}
