//! Keeps containerd alive as a child.
