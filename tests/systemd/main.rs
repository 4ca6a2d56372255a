//! The systemd tier: a booted systemd, in a container of systemd-nspawn (needs root).

// Here a panic is how a helper reports.
#![allow(clippy::unwrap_used)]

mod harness;
mod journal_fields;
mod machine;
mod unit;
