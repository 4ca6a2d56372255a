//! Locks by key: what is named is changed by one task at a time, different names at once.
//!
//! A key costs nothing while no task holds its lock or waits for it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

/// The lock of one key, and how often its holders have reported progress.
#[derive(Debug, Default)]
struct Slot {
    lock: Arc<tokio::sync::Mutex<()>>,
    progress: AtomicU64,
}

/// A lock for each key. Clones are one.
#[derive(Debug, Clone, Default)]
pub struct KeyedLock(Arc<Mutex<HashMap<String, Arc<Slot>>>>);

/// Holds the lock of one key until it is dropped.
#[derive(Debug)]
pub struct KeyGuard {
    _held: OwnedMutexGuard<()>,
    slot: Arc<Slot>,
}

impl KeyGuard {
    /// Reports that the holder has got on, for tasks that wait as long as it does.
    pub fn report_progress(&self) {
        self.slot.progress.fetch_add(1, Ordering::Relaxed);
    }
}

impl KeyedLock {
    /// Waits for the lock of `key`. The order of those that wait is kept.
    pub async fn lock(&self, key: &str) -> KeyGuard {
        let slot = {
            let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            slots.retain(|_, slot| Arc::strong_count(slot) > 1);
            Arc::clone(slots.entry(key.to_owned()).or_default())
        };
        let held = Arc::clone(&slot.lock).lock_owned().await;
        KeyGuard { _held: held, slot }
    }

    /// How often the holders of `key` have reported progress. It grows as long as the lock is held or
    /// waited for without a break.
    pub fn progress(&self, key: &str) -> u64 {
        let slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
        let soon = Duration::from_millis(20);
        assert!(tokio::time::timeout(soon, locks.lock("a")).await.is_err());
        drop((first, other));
        drop(locks.lock("a").await);
        assert_eq!(locks.0.lock().unwrap().len(), 1, "no key is kept");
    }
}
