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

/// A containerd, from its start to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServerIdentity {
    /// Of its root.
    pub(super) uuid: String,
    /// 0 where it does not tell.
    pub(super) pid: u64,
    /// The inode of its namespace of pids.
    pub(super) pidns: u64,
}

/// What was found of one containerd.
pub(super) type FoundOf<T> = Found<(ServerIdentity, T)>;

impl<T: Clone> FoundOf<T> {
    /// What was found, if it is of this one.
    pub(super) fn of(&self, server: &ServerIdentity) -> Option<T> {
        let found = self.get()?;
        // 1.6 tells no pid: it may have been started anew.
        let is_it = server.pid != 0 && found.0 == *server;
        is_it.then(|| found.1.clone())
    }

    pub(super) fn set_of(&self, server: ServerIdentity, found: T) {
        self.set(Some((server, found)));
    }
}
