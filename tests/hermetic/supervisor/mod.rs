//! containerd as a supervised child.

mod environment;
mod lines;
