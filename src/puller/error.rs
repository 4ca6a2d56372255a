//! Why a list was not worked through.

use std::io;

use crate::image_list::ListError;
use crate::image_store::StoreError;
use crate::ledger::FailureClass;

#[derive(Debug, thiserror::Error)]
pub enum PullListError {
    /// The file cannot be opened, read or looked at.
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    #[error(transparent)]
    List(#[from] ListError),
    /// The store does not answer, or refuses what every list needs.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file is not the version that was to be read, or not any more; or the list was given up.
    #[error("changed while it was read")]
    Changed,
}

impl PullListError {
    /// Whether the store is away: the error says nothing about the list.
    pub fn is_store_away(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_away())
    }

    /// When another try makes sense.
    pub fn class(&self) -> FailureClass {
        match self {
            Self::List(_) => FailureClass::Content,
            Self::Read(_) | Self::Store(_) | Self::Changed => FailureClass::Environment,
        }
    }
}
