//! What an import is asked for, and what it answers.

use std::io;

use crate::entry::Identity;
use crate::image_store::StoreError;
use crate::layout::LayoutError;
use crate::ledger::{FailureClass, ImportedImage};
use crate::platform::Wanted;
use crate::tar::ArchiveError;

/// The settings that shape what an entry brings.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// Which platforms of an image are imported.
    pub wanted: &'a Wanted,
    /// Images are also named as if they came from these.
    pub extra_registries: &'a [String],
}

/// What came of an import that was carried through.
#[derive(Debug)]
pub struct ImportReport {
    /// The images that are in the store under their names now.
    pub images: Vec<ImportedImage>,
    /// Why others of the archive are not, a line each: the first few, and how many more there are.
    pub problems: Vec<String>,
    /// The class of the problem that is tried again the soonest.
    pub class: FailureClass,
    /// Which version of the file was read.
    pub identity: Identity,
}

/// Why an import was not carried through. Nothing of the archive has been named.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be opened or looked at.
    #[error("cannot be opened: {0}")]
    Open(#[from] io::Error),
    /// The archive cannot be read to its end.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The archive was read, but holds nothing to import.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The store did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file is another version than the one that was to be imported.
    #[error("changed while it was read")]
    Changed,
}

impl ImportError {
    /// Whether it says nothing about the archive: the store is away, and the import is to be done
    /// when it is back.
    pub fn is_store_away(&self) -> bool {
        matches!(self, Self::Store(StoreError::Unreachable { .. }))
    }

    /// What it says about another try.
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Archive(error) if !error.is_of_system() => FailureClass::Content,
            Self::Layout(_) => FailureClass::Content,
            _ => FailureClass::Environment,
        }
    }
}
