//! The blobs whose bytes were found wrong.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::digest::Digest;
use crate::needed_blob::{BlobFault, BlobFaults};

/// Blobs that were found wrong. Clones are one.
#[derive(Debug, Clone, Default)]
pub(super) struct WrongBytes(Arc<Mutex<BTreeSet<Digest>>>);

impl WrongBytes {
    pub(super) fn has(&self, digest: &Digest) -> bool {
        self.found().contains(digest)
    }

    pub(super) fn forget(&self, digest: &Digest) {
        self.found().remove(digest);
    }

    /// Another store may be there.
    pub(super) fn forget_all(&self) {
        self.found().clear();
    }

    pub(super) fn add(&self, faults: &BlobFaults) {
        let wrong = faults.iter();
        let wrong = wrong.filter(|(_, fault)| **fault == BlobFault::Bytes);
        self.found().extend(wrong.map(|(digest, _)| digest.clone()));
    }

    fn found(&self) -> MutexGuard<'_, BTreeSet<Digest>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_not_known_to_be_wrong() {
        let [wrong, unreadable] = [b"a", b"b"].map(|bytes| Digest::of(bytes));
        let faults = [
            (wrong.clone(), BlobFault::Bytes),
            (unreadable.clone(), BlobFault::Unreadable),
        ];
        let found = WrongBytes::default();
        found.add(&faults.into());
        assert!(found.has(&wrong) && !found.has(&unreadable));
        found.forget(&wrong);
        assert!(!found.has(&wrong));
    }
}
