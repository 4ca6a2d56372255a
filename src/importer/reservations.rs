//! The space that imports are still to take of the store's file system. What one has still to write is
//! not free for another one, although no file has it yet.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

/// So long another import waits for one that does not get on. A large blob that is synced to a slow disk
/// does not get on for a while.
const DEADLINE: Duration = Duration::from_secs(2 * 60);

/// The reservations of all imports. Clones are one.
#[derive(Debug, Clone)]
pub struct Reservations(Arc<ReservedSpace>);

#[derive(Debug)]
struct ReservedSpace {
    blobs: Mutex<HashMap<String, Reserved>>,
    /// Told when less is reserved.
    released: Arc<Notify>,
    deadline: Duration,
}

impl Default for Reservations {
    fn default() -> Self {
        Self::with_deadline(DEADLINE)
    }
}

/// A blob that is to be written: once, however many imports want it.
#[derive(Debug)]
struct Reserved {
    size: u64,
    left: u64,
    imports: usize,
}

/// The reservation of one import. It ends with the value.
#[derive(Debug)]
pub(super) struct Reservation {
    all: Reservations,
    own: Mutex<Own>,
}

#[derive(Debug, Default)]
struct Own {
    /// By their names, with their sizes.
    blobs: HashMap<String, u64>,
    needs: u64,
}

impl Reservations {
    /// Those of imports that wait so long for one that does not get on.
    pub fn with_deadline(deadline: Duration) -> Self {
        Self(Arc::new(ReservedSpace {
            blobs: Mutex::default(),
            released: Arc::default(),
            deadline,
        }))
    }

    pub(super) fn deadline(&self) -> Duration {
        self.0.deadline
    }

    /// How many bytes are reserved and not written.
    pub(super) fn left(&self) -> u64 {
        left(&self.blobs())
    }

    fn blobs(&self) -> MutexGuard<'_, HashMap<String, Reserved>> {
        lock(&self.0.blobs)
    }

    /// Returns when less is reserved than when this was called.
    pub(super) fn released(&self) -> OwnedNotified {
        Arc::clone(&self.0.released).notified_owned()
    }
}

impl Reservation {
    pub(super) fn new(all: &Reservations) -> Self {
        Self {
            all: all.clone(),
            own: Mutex::default(),
        }
    }

    /// Reserves space for blobs, by their names, if they fit into what is `free` beside all that is
    /// reserved. Otherwise tells how much is reserved.
    pub(super) fn add(&self, blobs: &[(String, u64)], free: u64) -> Result<(), u64> {
        let mut all = self.all.blobs();
        let reserved = left(&all);
        let new = blobs.iter().filter(|(name, _)| !all.contains_key(name));
        let new = new.map(|(_, size)| size).sum::<u64>();
        if new > 0 && reserved.saturating_add(new) > free {
            return Err(reserved);
        }
        let mut own = lock(&self.own);
        for (name, size) in blobs {
            let blob = all.entry(name.clone()).or_insert(Reserved {
                size: *size,
                left: *size,
                imports: 0,
            });
            if own.blobs.insert(name.clone(), *size).is_none() {
                blob.imports += 1;
            }
        }
        Ok(())
    }

    /// So many bytes more are to be written by the import, whether or not there is room for them.
    pub(super) fn need(&self, bytes: u64) {
        lock(&self.own).needs += bytes;
    }

    /// How many bytes the import has to write, as far as is known.
    pub(super) fn needs(&self) -> u64 {
        lock(&self.own).needs
    }

    /// So many bytes of a blob were written.
    pub(super) fn written(&self, name: &str, bytes: u64) {
        if let Some(blob) = self.all.blobs().get_mut(name) {
            blob.left = blob.left.saturating_sub(bytes);
        }
    }

    /// The store has this blob: the import has not to write it.
    pub(super) fn is_there(&self, name: &str, size: u64) {
        self.done(name, true);
        let mut own = lock(&self.own);
        own.needs = own.needs.saturating_sub(size);
    }

    /// The blobs that the import has not begun to write, or has begun and not ended.
    pub(super) fn open(&self) -> HashMap<String, u64> {
        lock(&self.own).blobs.clone()
    }

    /// The import does not write this blob any more. If the store does not have it, other imports that
    /// want it have all of it to write.
    pub(super) fn done(&self, name: &str, is_there: bool) {
        let own = lock(&self.own).blobs.remove(name);
        if own.is_some() {
            self.release(name, is_there);
        }
    }

    /// Reserves nothing any more, and needs nothing.
    pub(super) fn clear(&self) {
        let own = std::mem::take(&mut *lock(&self.own));
        for name in own.blobs.keys() {
            self.release(name, false);
        }
    }

    fn release(&self, name: &str, is_there: bool) {
        let mut all = self.all.blobs();
        if let Some(blob) = all.get_mut(name) {
            blob.imports -= 1;
            blob.left = if is_there { 0 } else { blob.size };
            if blob.imports == 0 {
                all.remove(name);
            }
        }
        self.all.0.released.notify_waiters();
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.clear();
    }
}

fn left(blobs: &HashMap<String, Reserved>) -> u64 {
    blobs.values().map(|blob| blob.left).sum()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blobs(blobs: &[(&str, u64)]) -> Vec<(String, u64)> {
        let blobs = blobs.iter();
        blobs
            .map(|(name, size)| ((*name).to_owned(), *size))
            .collect()
    }

    #[test]
    fn what_one_has_still_to_write_is_not_free_for_another() {
        let all = Reservations::default();
        let (one, two) = (Reservation::new(&all), Reservation::new(&all));
        assert_eq!(one.add(&blobs(&[("a", 6), ("b", 1)]), 10), Ok(()));
        assert_eq!(two.add(&blobs(&[("c", 4)]), 10), Err(7));
        // Four bytes are on the disk now, and six are free.
        one.written("a", 4);
        assert_eq!(two.add(&blobs(&[("c", 4)]), 6), Err(3));
        assert_eq!(two.add(&blobs(&[("c", 3)]), 6), Ok(()));
        one.done("b", false);
        drop(two);
        // Once more before it is written: it is one blob.
        assert_eq!(one.add(&blobs(&[("a", 6)]), 6), Ok(()));
        assert_eq!(one.add(&blobs(&[("d", 4)]), 6), Ok(()));
        one.done("a", true);
        one.done("d", true);
        assert!(all.blobs().is_empty());
    }

    #[test]
    fn a_blob_that_several_want_is_written_once() {
        let all = Reservations::default();
        let (one, two) = (Reservation::new(&all), Reservation::new(&all));
        assert_eq!(one.add(&blobs(&[("base", 8), ("a", 1)]), 10), Ok(()));
        assert_eq!(two.add(&blobs(&[("base", 8), ("b", 1)]), 10), Ok(()));
        // The first is given up half way, and the second one has all of it to write.
        one.written("base", 8);
        one.done("base", false);
        let three = Reservation::new(&all);
        assert_eq!(three.add(&blobs(&[("c", 1)]), 10), Err(10));
        two.done("base", true);
        assert_eq!(three.add(&blobs(&[("c", 1)]), 3), Ok(()));
    }
}
