//! From the catalogue of an archive to its images: the OCI layout and the docker-archive. Pure, but
//! for the source of documents that it is given.
//!
//! ```text
//!   Catalogue -> detect -> oci_layout     -> select (index_walk, closure) -+-> assign_names -> Resolution
//!                       -> docker_archive ---------------------------------+
//!                             documents: document_cache <- the archive, else DocumentSource
//! ```

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
mod layout_files;
pub mod limits;
mod note;
mod oci_layout;
mod parsed_image;
mod problem;
mod resolve;
mod select;

pub(crate) use blob_path::claimed_digest;
pub use catalogue::{Catalogue, FileMember, Member};
pub use document_source::DocumentSource;
pub use image::{ArchiveImage, BlobSource, Resolution, WantedBlob};
pub use note::Note;
pub use problem::{Fault, ImageProblem, LayoutError, Members, ResolveError};
pub use resolve::resolve;
