//! What an import means for the plan.

use std::time::Duration;

use crate::ledger::Keeps;
use crate::plan::{EntryResult, JobEnd};

use super::report::{ImportError, ImportReport};

impl From<ImportReport> for JobEnd {
    fn from(report: ImportReport) -> Self {
        Self::Through(EntryResult {
            images: report.images,
            problems: report.problems,
            class: report.class,
            keeps: Keeps::All,
            not_before: Duration::ZERO,
            sample: None,
        })
    }
}

impl From<ImportError> for JobEnd {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::Changed => Self::Changed,
            away if away.is_store_away() => Self::StoreAway(away.to_string()),
            other => Self::Failed(other.class(), other.to_string()),
        }
    }
}
