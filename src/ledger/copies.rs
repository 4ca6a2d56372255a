//! Records of files that were copied.

use std::path::Path;
use std::sync::Arc;

use super::records::Ledger;
use crate::digest::Digest;
use crate::entry::Identity;

impl Ledger {
    /// The file that the record of an entry is about has this sample. Does nothing where there is no record.
    pub(crate) fn sampled(&mut self, path: &Path, sample: Option<Digest>) {
        if let Some(record) = self.records.get_mut(path.as_os_str()) {
            Arc::make_mut(record).sample = sample;
            self.revision += 1;
        }
    }

    /// The file of an entry is a copy of the one that its record is about. What was asked of the store before
    /// says nothing about it. Does nothing where there is no record.
    pub(crate) fn is_copied(&mut self, path: &Path, identity: Identity) {
        if let Some(record) = self.records.get_mut(path.as_os_str()) {
            self.serial = self.serial.saturating_add(1);
            let record = Arc::make_mut(record);
            record.identity = Some(identity);
            record.serial = self.serial;
            self.revision += 1;
        }
    }
}
