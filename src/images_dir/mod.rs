//! Notices entries in the images directory.
//!
//! `scan` lists what is there; `watch` tells what changes afterwards. Behind `watch`: `follower` is
//! the thread that waits, `findings` says what events mean, `survey` walks through the directories and arms a watch on each, `trail`
//! knows which names a path goes through, `mounts` sees what is mounted over them, `writing` keeps
//! which files are still open, `mailbox` holds the notices until they are asked for, `shortfall`
//! says why some of it must be polled, and `inotify` is the kernel's interface.

mod findings;
mod follower;
mod inotify;
mod mailbox;
mod mounts;
pub mod scan;
mod shortfall;
mod survey;
mod trail;
pub mod watch;
mod writing;

pub use scan::{Scan, Unreadable, is_gone, scan};
pub use shortfall::Shortfall;
pub use watch::{Cause, Noticed, Unwatchable, Watch, WatchOptions};
