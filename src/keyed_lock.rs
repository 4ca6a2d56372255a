//! Locks by key: what is named is changed by one task at a time, or by a few, and different names at
//! once.
//!
//! A key costs nothing while no task holds its lock or waits for it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The lock of one key, and how often its holders have reported progress.
#[derive(Debug)]
struct Slot {
    lock: Arc<Semaphore>,
    progress: AtomicU64,
}

/// A lock for each key. Clones are one.
#[derive(Debug, Clone)]
pub(crate) struct KeyedLock {
    holders: usize,
    slots: Arc<Mutex<HashMap<String, Arc<Slot>>>>,
}

/// Holds the lock of one key until it is dropped.
#[derive(Debug)]
pub(crate) struct KeyGuard {
    _held: Option<OwnedSemaphorePermit>,
    slot: Arc<Slot>,
}

impl KeyGuard {
    /// Reports that the holder has got on, for tasks that wait as long as it does.
    pub(crate) fn report_progress(&self) {
        self.slot.report_progress();
    }
}

impl Slot {
    fn report_progress(&self) {
        self.progress.fetch_add(1, Ordering::Relaxed);
    }
}

impl Default for KeyedLock {
    fn default() -> Self {
        Self::with_holders(1)
    }
}

impl KeyedLock {
    /// The lock of each key has so many holders at once.
    pub(crate) fn with_holders(holders: usize) -> Self {
        Self {
            holders,
            slots: Arc::default(),
        }
    }

    /// Waits for the lock of `key`. The order of those that wait is kept.
    pub(crate) async fn lock(&self, key: &str) -> KeyGuard {
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            slots.retain(|_, slot| Arc::strong_count(slot) > 1);
            let new = || {
                Arc::new(Slot {
                    lock: Arc::new(Semaphore::new(self.holders)),
                    progress: AtomicU64::new(0),
                })
            };
            Arc::clone(slots.entry(key.to_owned()).or_insert_with(new))
        };
        // An error is a semaphore that was closed, which no code does.
        let held = Arc::clone(&slot.lock).acquire_owned().await.ok();
        KeyGuard { _held: held, slot }
    }

    /// Whether the lock of `key` is held or waited for.
    pub(crate) fn is_in_use(&self, key: &str) -> bool {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = slots.get(key);
        slot.is_some_and(|slot| Arc::strong_count(slot) > 1)
    }

    /// Reports that the holder of `key` has got on.
    pub(crate) fn report_progress(&self, key: &str) {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(key) {
            slot.report_progress();
        }
    }

    /// How often the holders of `key` have reported progress. It grows as long as the lock is held or
    /// waited for without a break.
    pub(crate) fn progress(&self, key: &str) -> u64 {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = slots.get(key);
        slot.map_or(0, |slot| slot.progress.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn one_after_the_other_at_one_key_and_at_once_at_two() {
        let locks = KeyedLock::default();
        let first = locks.lock("a").await;
        let other = locks.lock("b").await;
        assert_eq!(locks.progress("a"), 0);
        first.report_progress();
        assert_eq!((locks.progress("a"), locks.progress("b")), (1, 0));
        locks.report_progress("a");
        locks.report_progress("c");
        assert_eq!((locks.progress("a"), locks.progress("c")), (2, 0));
        let soon = Duration::from_millis(20);
        assert!(tokio::time::timeout(soon, locks.lock("a")).await.is_err());
        drop((first, other));
        drop(locks.lock("a").await);
        assert_eq!(locks.slots.lock().unwrap().len(), 1, "no key is kept");
    }

    #[tokio::test]
    async fn a_lock_of_several_holders_keeps_out_the_next() {
        let locks = KeyedLock::with_holders(2);
        let first = locks.lock("a").await;
        let second = locks.lock("a").await;
        let soon = Duration::from_millis(20);
        assert!(tokio::time::timeout(soon, locks.lock("a")).await.is_err());
        drop(first);
        drop((locks.lock("a").await, second));
    }
}
