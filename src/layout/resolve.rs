//! Which images an archive holds, under which names, and which blobs each of them needs.
//!
//! Of two layouts in one archive the OCI one counts. The layout may lie in one directory that all
//! else lies in. What is decided here, and why:
//!
//! - **Names.** Several descriptors of one manifest are one image with several names. A name that
//!   several images of an archive have goes to the one that the host runs (a signature may carry
//!   the name of what it signs), else to the last, as with `ctr images import`; an image for
//!   another platform gives way without a note.
//! - **Platforms.** A manifest has the platform of its descriptor, else that of its configuration.
//!   One with neither, such as a Helm chart, is always wanted; inside an index it is an extra like
//!   an attestation, which is left out if it is not whole, unless there is nothing else. An image of
//!   a platform that is not wanted is a note beside one that is.
//! - **Nameless.** An image without a name that lies in a named one is left out. One that could not
//!   be used here is a note. Any other is a problem.
//! - **Completeness.** What the archive does not have must be in the store: a blob by its digest, a
//!   layer of a docker-archive by what it decompresses to. Layers that may not be distributed are
//!   needed nowhere.
//! - **Layers.** A layer that containerd could not unpack is a problem of its image (`layer_check`).

use super::assign_names::assign_names;
use super::catalogue::Catalogue;
use super::detect::{Layout, find};
use super::document_source::DocumentSource;
use super::image::Resolution;
use super::layout_error::ResolveError;
use super::layout_files::LayoutFiles;
use super::note::Note;
use super::{docker_archive, oci_layout};
use crate::platform::{Platform, Wanted};

/// Finds the images of an archive. `documents` has what the archive lacks; `wanted` says of which
/// platforms; `host` is [`Platform::host`].
///
/// This blocks: it hashes and parses the documents, and it waits for those that it asks for.
pub fn resolve<D: DocumentSource>(
    catalogue: &Catalogue,
    documents: &D,
    wanted: &Wanted,
    host: &Platform,
) -> Result<Resolution, ResolveError<D::Error>> {
    let layout = find(catalogue)?;
    let files = LayoutFiles::new(catalogue, layout.root());
    let images = match &layout {
        Layout::Oci { .. } => oci_layout::images(&files, documents, wanted, host)?,
        Layout::Docker { .. } => docker_archive::images(&files, documents, wanted, host)?,
    };
    let mut resolution = assign_names(images, wanted)?;
    if catalogue.unmarked_end.is_some() {
        resolution.notes.push(Note::NoEndMarker);
    }
    Ok(resolution)
}
