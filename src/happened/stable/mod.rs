//! The messages that stay as they are: what tells one from the others, and what is written about it.
//!
//! This is the one list of them. The table of docs/messages.md and the journal's catalog
//! (`packaging/catalog/stowd.catalog`) are made of it, and a test holds every line of the log against it.

mod begin;
mod end;
mod entries;
mod message;
mod which;

pub use message::StableMessage;

/// All messages, in the order of that table.
pub fn stable_messages() -> impl Iterator<Item = &'static StableMessage> {
    let all = [begin::ALL, entries::ALL, end::ALL];
    all.into_iter().flatten().copied()
}
