//! The images directory is followed: real inotify, in temporary directories.

mod directories;
mod files;
pub(crate) mod harness;
mod histories;
mod itself;
mod limits;
mod links;
mod mounts;
mod storms;
mod writing;
