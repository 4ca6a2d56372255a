//! Work that waits for a disk, on threads that may wait.
//!
//! A task on a worker of the runtime must not wait for a disk: every other task of that worker would
//! wait as well, those that answer signals and feed the watchdog among them.

use std::cell::Cell;
use std::ops::Deref;

use tokio::runtime::Handle;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::blocking::finished;

thread_local! {
    static MAY_WAIT: Cell<bool> = const { Cell::new(false) };
}

/// Runs what waits for a disk where it may.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    finished(begin_blocking(work)).await
}

/// Begins what waits for a disk where it may.
pub(super) fn begin_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    spawn_blocking(move || {
        MAY_WAIT.set(true);
        let done = work();
        MAY_WAIT.set(false);
        done
    })
}

/// Whether this thread is none of a runtime's workers.
fn may_wait() -> bool {
    MAY_WAIT.get() || Handle::try_current().is_err()
}

/// To be called before a system call that waits for a disk. A debug build panics where a worker of the
/// runtime would wait.
pub(super) fn assert_may_wait() {
    debug_assert!(may_wait(), "a worker of the runtime waits for a disk");
}

/// Drops its value where waiting is allowed. The last handle of a file without a name frees its
/// blocks: for a large one that takes a while.
#[derive(Debug)]
pub(super) struct SlowDrop<T: Send + 'static>(Option<T>);

impl<T: Send + 'static> SlowDrop<T> {
    pub(super) fn new(value: T) -> Self {
        Self(Some(value))
    }
}

impl<T: Send + 'static> Deref for SlowDrop<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.0 {
            Some(value) => value,
            None => unreachable!("the value is taken by drop alone"),
        }
    }
}

impl<T: Send + 'static> Drop for SlowDrop<T> {
    fn drop(&mut self) {
        let value = self.0.take();
        if may_wait() {
            drop(value);
        } else {
            // Nothing waits for it. A runtime that ends drops the value itself.
            drop(begin_blocking(move || drop(value)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread::{self, ThreadId};
    use std::time::Duration;

    use super::*;

    /// Tells on which thread it is dropped.
    struct DropThread(mpsc::Sender<ThreadId>);

    impl Drop for DropThread {
        fn drop(&mut self) {
            let _ = self.0.send(thread::current().id());
        }
    }

    #[tokio::test]
    async fn a_worker_frees_nothing_itself() {
        let (sender, threads) = mpsc::channel();
        drop(SlowDrop::new(DropThread(sender.clone())));
        let dropped_on = threads.recv_timeout(Duration::from_secs(60)).unwrap();
        assert_ne!(dropped_on, thread::current().id());
        // On a thread that may wait it is not handed on.
        let there = blocking(move || {
            drop(SlowDrop::new(DropThread(sender)));
            thread::current().id()
        });
        assert_eq!(there.await, threads.recv().unwrap());
    }

    #[tokio::test]
    #[should_panic(expected = "a worker of the runtime waits for a disk")]
    async fn a_worker_that_would_wait_is_found() {
        blocking(assert_may_wait).await;
        assert_may_wait();
    }
}
