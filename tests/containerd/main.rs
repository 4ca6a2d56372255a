//! The containerd tier.

#[path = "../support/mod.rs"]
mod support;

mod harness;
