//! What the work on a list means for the plan.

use std::sync::Arc;

use crate::image_list::ListError;
use crate::plan::{JobEnd, Looked};

use super::error::PullListError;

impl From<Looked> for JobEnd {
    fn from(looked: Looked) -> Self {
        if looked.absent.is_empty() {
            Self::Through(looked.into())
        } else {
            Self::Absent(Arc::new(looked))
        }
    }
}

impl From<PullListError> for JobEnd {
    fn from(error: PullListError) -> Self {
        match error {
            PullListError::Changed => Self::Changed,
            PullListError::List(error @ ListError::NoList { .. }) => {
                Self::NoList(error.to_string())
            }
            away if away.is_store_away() => Self::StoreAway(away.to_string()),
            other => Self::Failed(other.class(), other.to_string()),
        }
    }
}
