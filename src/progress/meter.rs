//! Counts how far the work on one entry has come.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Counts the progress of one entry: bytes of an archive, lines of a list. Clones share the counts.
#[derive(Debug, Clone, Default)]
pub struct Meter(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    bytes: AtomicU64,
    /// Bytes that came from the file, each time that they did.
    read: AtomicU64,
    steps: AtomicU64,
    lines: AtomicU64,
    calls: Mutex<Calls>,
}

/// Calls that read the file of the entry.
#[derive(Debug, Default)]
struct Calls {
    under_way: usize,
    /// When one began or returned last.
    changed: Option<Instant>,
}

impl Meter {
    /// The list has so many lines.
    pub fn expect(&self, lines: u64) {
        self.0.lines.store(lines, Ordering::Relaxed);
    }

    /// How many lines the list has.
    pub(crate) fn expected(&self) -> u64 {
        self.0.lines.load(Ordering::Relaxed)
    }

    /// Adds bytes that were read, or that need not be read. For a list, adds lines that are done.
    pub fn add(&self, bytes: u64) {
        self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The bytes, or the lines, so far.
    pub fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// Counts the bytes from 0 again: the entry is read once more.
    pub fn rewind(&self) {
        self.0.bytes.store(0, Ordering::Relaxed);
    }

    /// Counts bytes that have come from the file. Those that are read twice count twice.
    pub(crate) fn has_read(&self, bytes: u64) {
        self.0.read.fetch_add(bytes, Ordering::Relaxed);
    }

    /// How many bytes have come from the file.
    pub(crate) fn read(&self) -> u64 {
        self.0.read.load(Ordering::Relaxed)
    }

    /// Counts a step that reads no byte of the file: a blob committed, a document or a name written, an
    /// image seen by the runtime.
    pub fn step(&self) {
        self.0.steps.fetch_add(1, Ordering::Relaxed);
    }

    /// Makes a call that opens, looks at or reads the file of the entry.
    pub(crate) fn calling<T>(&self, call: impl FnOnce() -> T) -> T {
        let count = |change: fn(usize) -> usize| {
            let mut calls = self.calls();
            calls.under_way = change(calls.under_way);
            calls.changed = Some(Instant::now());
        };
        count(|calls| calls + 1);
        let returned = call();
        count(|calls| calls - 1);
        returned
    }

    /// Whether calls are under way of which none has returned for so long.
    pub(crate) fn hangs(&self, limit: Duration) -> bool {
        let calls = self.calls();
        let changed = calls.changed.filter(|_| calls.under_way > 0);
        changed.is_some_and(|changed| changed.elapsed() >= limit)
    }

    // Nothing panics while it is locked.
    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.0.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes and steps together: the number grows as long as there is progress.
    pub fn moved(&self) -> u64 {
        self.bytes() + self.0.steps.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_hangs_when_none_has_returned_for_long() {
        let meter = Meter::default();
        let hangs = || meter.hangs(Duration::ZERO);
        assert!(!hangs());
        let (is_slow, is_hung) = meter.calling(|| (meter.hangs(Duration::MAX), hangs()));
        assert!(is_hung && !is_slow);
        assert!(!hangs(), "it has returned");
    }
}
