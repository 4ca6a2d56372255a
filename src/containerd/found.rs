//! Something that is found, used, and may have to be found anew.

use std::sync::{Arc, PoisonError, RwLock};

/// What was found last, or nothing. Clones are one.
#[derive(Debug)]
pub(super) struct Found<T>(Arc<RwLock<Option<Arc<T>>>>);

impl<T> Found<T> {
    pub(super) fn get(&self) -> Option<Arc<T>> {
        let found = self.0.read().unwrap_or_else(PoisonError::into_inner);
        found.clone()
    }

    /// Returns what was found before.
    pub(super) fn set(&self, found: Option<T>) -> Option<Arc<T>> {
        let mut place = self.0.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *place, found.map(Arc::new))
    }
}

impl<T> Default for Found<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> Clone for Found<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}
