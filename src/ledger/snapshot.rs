//! The records at one moment, to be written elsewhere.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Arc;

use super::record::Record;

/// The records of a ledger at one moment. Costs a pointer a record.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub(super) records: BTreeMap<OsString, Arc<Record>>,
}

impl Snapshot {
    pub(super) fn new(records: BTreeMap<OsString, Arc<Record>>) -> Self {
        Self { records }
    }
}
