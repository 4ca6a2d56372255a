//! The source of entries: what lies in the images directory, and which of its files are whole.
//!
//! ```text
//!   source -- orders --> follower (a thread)        event_queue --> source
//!                           |  walk        lists the directories and arms a watch on each
//!                           |  inotify --> interpret    what changed afterwards
//!                           |  mounts      what is mounted over them
//!                           |  look        what is at a path
//!                           |  unreadables when to look again at what could not be looked at
//!                           |  reach        which mounts do not answer
//!                           +- settling    whether a file is whole; unsettled: one that is not
//! ```
//!
//! `path_walk` says which names a path goes through, `watch_tree` what each watch is for, `watch_limit` why
//! some of the directory is polled, and `file_system` which directory a directory is.

mod event_queue;
mod file_system;
mod follower;
mod fs_uuid;
mod ignored;
mod inotify;
mod interpret;
mod look;
mod mounts;
mod orders;
mod path_looks;
mod path_walk;
mod reach;
mod settling;
mod source;
mod unreadables;
mod unsettled;
mod walk;
mod watch_limit;
mod watch_tree;
mod writers;

pub use orders::SourceOptions;
pub use source::{Source, Unwatchable};
pub use unsettled::SettleLimits;
