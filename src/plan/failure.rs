//! Why an entry failed.

use std::time::Duration;

use crate::ledger::{FailureClass, Imported, Keeps};

/// Why an entry failed, and what there is of it all the same.
pub(super) struct Failure {
    pub(super) class: FailureClass,
    /// Whether it is tried again after some time; else the source has to tell of the file first.
    pub(super) is_retried: bool,
    pub(super) error: String,
    pub(super) imported: Imported,
    pub(super) keeps: Keeps,
    pub(super) not_before: Duration,
}

impl Failure {
    /// Nothing came of it.
    pub(super) fn new(class: FailureClass, error: impl Into<String>) -> Self {
        Self {
            class,
            is_retried: true,
            error: error.into(),
            imported: Imported::default(),
            keeps: Keeps::All,
            not_before: Duration::ZERO,
        }
    }

    /// The source tells when there is anything to try.
    pub(super) fn of_source(error: impl Into<String>) -> Self {
        Self {
            is_retried: false,
            ..Self::new(FailureClass::Environment, error)
        }
    }
}
