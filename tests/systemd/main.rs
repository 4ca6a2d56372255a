//! The systemd tier: a booted systemd, in a container of systemd-nspawn (needs root).

// Here a panic is how a helper reports.
#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod configuration;
mod containers;
mod ends;
mod harness;
mod installer;
mod journal;
mod journal_fields;
mod machine;
mod node;
mod packages;
mod readme;
mod slow_disk;
mod start;
mod unit;
mod watchdog;
