//! The hermetic tier.

// Here a panic is how a helper reports.
#![allow(clippy::unwrap_used)]

mod config;
mod logging;
mod supervisor;
