//! The ledger: what stowd has done with each entry, and what follows from that.
//!
//! ```text
//!   a file of bytes -> json (reads what it can) -> Ledger <- record (an attempt that has ended)
//!                                                    |
//!   audit (the ledger against the store's images) <--+--> json -> a file of bytes
//!     decide: unchanged, missing, changed, failed
//!     stale_pins: what no entry brings any more
//!   overruled: what entries bring under names that later ones have
//! ```

mod audit;
mod baked;
mod copies;
mod fingerprint;
mod json;
mod overruled;
mod path_text;
mod record;
mod record_line;
mod records;
mod snapshot;
mod tally;

pub use audit::{Audit, Change, Decision, Lack};
pub use fingerprint::Fingerprint;
pub use json::{Dropped, VERSION, images_dir_of};
pub use overruled::OverruledImage;
pub use record::{Attempt, FailureClass, Imported, ImportedImage, Keeps, Outcome, Record};
pub use records::{Ledger, NamesOfLater};
pub use snapshot::Snapshot;
pub use tally::Summary;
