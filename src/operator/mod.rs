//! What an operator does to a running containerd by hand, beside the daemon, or without one.
//!
//! ```text
//!   import   archives -> importer -> names, pinned for the owner `import` -> unpacker
//!   verify   ledger, pins -> every blob is read, names, pins and snapshots are looked for
//!   repair   archive -> importer, list -> puller -> unpacker
//!   remove   names that are pinned for the owner `import` -> unpinned, and deleted where that is asked
//! ```
//!
//! No daemon takes these pins away: they are another owner's. A name that an instance has pinned stays as
//! it is.

mod connect;
mod import;
mod remove;
mod repair;
mod unpacking;
mod verify;

pub use connect::{NotConnected, connect};
pub use import::{ImportedFile, OperatorImport};
pub use remove::{NotRemoved, Removed, remove};
pub use repair::repair;
pub use verify::{Damage, NotVerified, Verification};
