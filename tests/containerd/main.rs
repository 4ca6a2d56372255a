//! The containerd tier.

#[path = "../support/mod.rs"]
mod support;

mod content;
mod failures;
mod harness;
mod images;
mod leases;
mod raw;
mod serving;
