//! The containerd tier.

// Here a panic is how a helper reports.
#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod child;
mod content;
mod failures;
mod harness;
mod images;
mod leases;
mod raw;
mod ready;
mod serving;
