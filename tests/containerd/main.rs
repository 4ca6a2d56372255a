//! The containerd tier.
