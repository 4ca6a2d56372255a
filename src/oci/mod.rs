//! What OCI and Docker documents say: media types, descriptors, indexes, manifests, configurations.
//! Pure: from bytes to values.
//!
//! Sources: OCI image spec v1.1; Docker's image manifest v2 schema 2 and image spec v1.2.

mod children;
mod descent;
mod descriptor;
mod document;
pub mod limits;
pub(crate) mod media_type;

pub(crate) use descent::Descent;
pub use descriptor::Descriptor;
pub(crate) use descriptor::RawDescriptor;
pub use document::JsonError;
pub(crate) use document::{
    ImageConfig, Index, LayoutMarker, List, Manifest, Outline, SavedImage, SavedImages, parse,
};
