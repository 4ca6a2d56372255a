//! From an archive's catalogue to its images: every rule, and every way in which an archive can be
//! bad.

// Clippy's leave to unwrap in tests does not reach their helpers.
#![allow(clippy::unwrap_used)]

mod builder;
mod docker_archive;
mod hostile;
mod layouts;
mod names;
mod oci_layout;
mod store;
mod trouble;
