//! Writes to containerd.
