//! The blobs that were found wrong by reading them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::digest::Digest;
use crate::needed_blob::{BlobFault, BlobFaults};

/// What was found of them. Clones are one.
#[derive(Debug, Clone, Default)]
pub(super) struct WrongBytes(Arc<Mutex<BlobFaults>>);

impl WrongBytes {
    pub(super) fn fault(&self, digest: &Digest) -> Option<BlobFault> {
        self.found().get(digest).copied()
    }

    pub(super) fn forget(&self, digest: &Digest) {
        self.found().remove(digest);
    }

    /// Another store may be there.
    pub(super) fn forget_all(&self) {
        self.found().clear();
    }

    pub(super) fn add(&self, faults: &BlobFaults) {
        let wrong = faults.iter().filter(|(_, fault)| fault.is_proven());
        let wrong = wrong.map(|(digest, fault)| (digest.clone(), *fault));
        self.found().extend(wrong);
    }

    fn found(&self) -> MutexGuard<'_, BlobFaults> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_not_known_to_be_wrong() {
        let [wrong, gone, unreadable] = [b"a", b"b", b"c"].map(|bytes| Digest::of(bytes));
        let faults = [
            (wrong.clone(), BlobFault::Bytes),
            (gone.clone(), BlobFault::NoFile),
            (unreadable.clone(), BlobFault::Unreadable),
        ];
        let found = WrongBytes::default();
        found.add(&faults.into());
        assert_eq!(found.fault(&wrong), Some(BlobFault::Bytes));
        assert_eq!(found.fault(&gone), Some(BlobFault::NoFile));
        assert_eq!(found.fault(&unreadable), None);
        found.forget(&wrong);
        assert_eq!(found.fault(&wrong), None);
    }
}
