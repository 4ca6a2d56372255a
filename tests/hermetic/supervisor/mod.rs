//! containerd as a supervised child.

mod environment;
