//! Which images an archive holds, under which names, and which blobs each of them needs.
//!
//! Of two layouts in one archive the OCI one counts. The layout may lie in one directory that all
//! else lies in. What is decided here, and why:
//!
//! - **Names.** Several descriptors of one manifest are one image with several names. A name that
//!   several images of an archive have goes to the one that the host runs (a signature may carry
//!   the name of what it signs), else to the last, as with `ctr images import`; an image for
//!   another platform gives way without a word.
//! - **Platforms.** A manifest has the platform of its descriptor, else that of its configuration.
//!   One with neither, such as a Helm chart, is always wanted; inside an index it is an extra like
//!   an attestation, which is left out if it is not whole, unless there is nothing else.
//! - **Nameless.** An image without a name that lies in a named one is left out. One that nobody
//!   here could use is a note. Any other is a problem.
//! - **Completeness.** What the archive does not have must be in the store. Layers that may not be
//!   distributed are needed nowhere.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::catalogue::Catalogue;
use super::content::Content;
use super::layout::{self, Layout};
use super::problem::{ImageProblem, LayoutError};
use super::settle::settle;
use super::{docker_archive, oci_layout};
use crate::digest::Digest;
use crate::image_store::{Descriptor, Labels};
use crate::naming::Reference;
use crate::platform::{Platform, Wanted};

/// What the caller has found out about the store: the documents that an earlier call asked for.
#[derive(Debug, Default, Clone)]
pub struct Lookup {
    /// Documents that the store has.
    pub found: HashMap<Digest, Vec<u8>>,
    /// Documents, or other blobs, that the store does not have.
    pub absent: HashSet<Digest>,
}

/// The images of an archive.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// The images that can be imported, if the store has what the archive does not.
    pub images: Vec<ArchiveImage>,
    /// The images that cannot.
    pub problems: Vec<ImageProblem>,
    /// The names that the archive gives to the images of both kinds.
    pub claimed: BTreeSet<Reference>,
    /// What an operator may want to know although nothing failed; a line each.
    pub notes: Vec<String>,
    /// Documents that are needed to go on and are not in the archive. If there are any, all else is
    /// empty: look each up in the store, put it into [`Lookup::found`] or [`Lookup::absent`], and
    /// call again. Each round goes a level deeper; there are no more than levels of indexes.
    pub missing_documents: BTreeSet<Digest>,
}

/// An image.
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

/// A blob that an image needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedBlob {
    /// Its media type, digest and length.
    pub descriptor: Descriptor,
    /// Where it is.
    pub source: Source,
    /// The labels that keep its children from garbage collection: on manifests and indexes.
    pub labels: Labels,
}

/// Where a blob is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Here: a document out of the archive, or one that was made for it.
    Document(Arc<[u8]>),
    /// In the archive: the path of a regular file in its catalogue.
    Member(String),
    /// Not in the archive. A document is in the store, anything else has to be.
    Store,
}

/// Finds the images of an archive. `wanted` says of which platforms; `host` is
/// [`Platform::host`].
pub fn resolve(
    catalogue: &Catalogue,
    lookup: &Lookup,
    wanted: &Wanted,
    host: &Platform,
) -> Result<Resolution, LayoutError> {
    let layout = layout::find(catalogue)?;
    let mut content = Content::new(catalogue, layout.root(), lookup);
    let candidates = match &layout {
        Layout::Oci { .. } => oci_layout::candidates(&mut content, wanted, host)?,
        Layout::Docker { .. } => docker_archive::candidates(&mut content, wanted, host)?,
    };
    if !content.missing.is_empty() {
        return Ok(Resolution {
            missing_documents: content.missing,
            ..Resolution::default()
        });
    }
    settle(candidates, wanted)
}
