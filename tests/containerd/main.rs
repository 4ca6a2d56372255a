//! The containerd tier: needs root, and the three generations that
//! `tests/support/containerd-generations` fetches.

// In a test's helpers as in a test, a panic is the report.
#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod content;
mod failures;
mod harness;
mod images;
mod leases;
mod raw;
mod serving;
