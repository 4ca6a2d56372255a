//! The systemd tier.

// Here a panic is how a helper reports.
#![allow(clippy::unwrap_used)]

mod journal_fields;
