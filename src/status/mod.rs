//! What is on board: as a daemon says it, as its ledger says it, and as the store says it now.
//!
//! ```text
//!   plan (or ledger, where no daemon runs) -> OnBoard --+--> StatusDocument: status.json
//!                                                       |
//!   StatusDocument -> reader: does that daemon run? ----+--> Report -> text (header, table, problems)
//!   containerd, asked now -> StoreAnswer ---------------+              json
//! ```
//!
//! All of it is pure: who asks and who writes is in `status_file` and in `commands`.

mod answer;
mod columns;
mod condition;
mod detail;
mod document;
mod entry_report;
mod header;
mod image_report;
mod json;
mod of_record;
mod on_board;
mod problems;
mod reader;
mod report;
mod rfc3339;
mod style;
mod table;
mod text;

pub use answer::{SandboxAnswer, StoreAnswer, Unasked};
pub use condition::Condition;
pub use document::{DaemonPhase, STATUS_VERSION, StatusDocument};
pub use json::REPORT_VERSION;
pub use on_board::{
    EntryState, EntryStatus, ImageStatus, ImageUnpack, OnBoard, Overshadowed, Traffic, UnpackStage,
    WorkDone,
};
pub use reader::{Leftover, Machine, SeenDaemon};
pub use report::Report;
pub use style::Style;
pub use text::{detail, overview};
