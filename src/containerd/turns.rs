//! Whose turn it is at an ingest, or at the labels of a blob: its writers in this process, one after
//! the other.
//!
//! containerd has a lock of its own for each ingest, but removing one does not ask for it. Who
//! throws an ingest away while it is their turn does not throw away what another has taken up. And it
//! changes labels without looking: who adds to a list looks first.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

/// Who has the turn, and how often it has got on.
#[derive(Debug, Default)]
struct Queue {
    turn: Arc<tokio::sync::Mutex<()>>,
    beats: AtomicU64,
}

/// The queues of all that is written or waited for. Clones are one.
#[derive(Debug, Clone, Default)]
pub(super) struct Turns(Arc<Mutex<HashMap<String, Arc<Queue>>>>);

/// It is somebody's turn, until this is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _held: OwnedMutexGuard<()>,
    queue: Arc<Queue>,
}

impl Turn {
    /// Its owner has got on: who waits for the turn need not give up.
    pub(super) fn beat(&self) {
        self.queue.beats.fetch_add(1, Ordering::Relaxed);
    }
}

impl Turns {
    /// Waits for the turn at an ingest, or whatever else has a name of its own.
    pub(super) async fn take(&self, reference: &str) -> Turn {
        let queue = {
            let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // Those that nobody has any more.
            queues.retain(|_, queue| Arc::strong_count(queue) > 1);
            Arc::clone(queues.entry(reference.to_owned()).or_default())
        };
        let held = Arc::clone(&queue.turn).lock_owned().await;
        Turn { _held: held, queue }
    }

    /// How often whoever has this turn, or had it, has got on.
    pub(super) fn beats(&self, reference: &str) -> u64 {
        let queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = queues.get(reference);
        queue.map_or(0, |queue| queue.beats.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn one_after_the_other_at_one_ingest_and_at_once_at_two() {
        let turns = Turns::default();
        let first = turns.take("a").await;
        let other = turns.take("b").await;
        assert_eq!(turns.beats("a"), 0);
        first.beat();
        assert_eq!((turns.beats("a"), turns.beats("b")), (1, 0));
        let soon = Duration::from_millis(20);
        assert!(tokio::time::timeout(soon, turns.take("a")).await.is_err());
        drop((first, other));
        drop(turns.take("a").await);
        assert_eq!(turns.0.lock().unwrap().len(), 1, "no queue is kept");
    }
}
