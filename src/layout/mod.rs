//! From the catalogue of an archive to its images: the OCI layout and the docker-archive. Pure, but
//! for the source of documents that it is given.
//!
//! ```text
//!   Catalogue -> detect -> oci_layout     -> select (index_walk, closure) -+-> assign_names -> Resolution
//!                       -> docker_archive ---------------------------------+
//!                             documents: document_cache <- the archive, else DocumentSource
//! ```

mod archive_path;
mod assign_names;
mod blob_path;
mod catalogue;
mod closure;
mod detect;
mod docker_archive;
mod document_cache;
mod document_source;
mod gc_labels;
mod image;
mod index_walk;
mod layer_check;
mod layout_error;
mod layout_files;
pub mod limits;
mod note;
mod oci_layout;
mod parsed_image;
mod problem;
mod resolve;
mod select;

pub(crate) use archive_path::{normalise, symlink_target};
pub(crate) use blob_path::{BLOBS, claimed_digest};
pub use catalogue::{BrokenLink, Catalogue, DataRun, FileMember, Member};
pub(crate) use detect::{INDEX, OCI_LAYOUT};
pub use document_source::DocumentSource;
pub use image::{ArchiveImage, BlobSource, Resolution, WantedBlob};
pub use layer_check::{LayerFault, MislabelledLayer};
pub use layout_error::{LayoutError, Members, ResolveError};
pub use note::Note;
pub use problem::{Fault, ImageProblem};
pub use resolve::resolve;
