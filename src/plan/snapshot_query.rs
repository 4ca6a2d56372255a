//! The one question for snapshots that may be under way.

/// The question which images have their snapshots.
#[derive(Debug, Default)]
pub(super) struct SnapshotQuery {
    /// The serial number of the images' last change when it was asked.
    asked: Option<u64>,
    is_wanted: bool,
}

impl SnapshotQuery {
    /// All that is done is to be compared.
    pub(super) fn want(&mut self) {
        self.is_wanted = true;
    }

    /// Whether the question is to be asked now. Then it is taken for asked.
    pub(super) fn ask(&mut self, is_needed: bool, serial: u64) -> bool {
        let asks = self.asked.is_none() && (self.is_wanted || is_needed);
        if asks {
            self.is_wanted = false;
            self.asked = Some(serial);
        }
        asks
    }

    /// It was answered. The serial number is that of the question, if one was asked.
    pub(super) fn answered(&mut self) -> Option<u64> {
        self.asked.take()
    }
}
