//! stowd stows container images into containerd before the node says it is ready, and keeps them
//! there.

pub mod archive;
pub mod cli;
pub mod commands;
pub mod config;
pub mod containerd;
pub mod digest;
pub mod image_store;
pub mod images_dir;
pub mod logging;
pub mod naming;
pub mod platform;
pub mod progress;
pub mod supervisor;
