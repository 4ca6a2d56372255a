//! The hermetic tier.

// Here a panic is how a helper reports.
#![allow(clippy::unwrap_used)]

mod config;
mod config_documents;
mod logging;
mod naming;
mod platform;
mod resolve;
mod supervisor;
