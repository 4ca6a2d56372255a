//! Keeps containerd alive as a child.

pub mod arguments;
pub mod environment;
pub mod output;
