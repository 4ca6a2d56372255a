//! Why an entry failed.

use std::time::Duration;

use crate::ledger::{FailureClass, Imported, Keeps};

/// Why an entry failed, and what there is of it all the same.
pub(super) struct Failure {
    pub(super) class: FailureClass,
    pub(super) error: String,
    pub(super) imported: Imported,
    pub(super) keeps: Keeps,
    pub(super) not_before: Duration,
    pub(super) was_interrupted: bool,
}

impl Failure {
    /// Nothing came of it.
    pub(super) fn new(class: FailureClass, error: impl Into<String>) -> Self {
        Self {
            class,
            error: error.into(),
            imported: Imported::default(),
            keeps: Keeps::All,
            not_before: Duration::ZERO,
            was_interrupted: false,
        }
    }
}
