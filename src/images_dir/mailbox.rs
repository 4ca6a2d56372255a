//! Holds notices until they are asked for: each once, and never more than fit.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::watch::{Cause, Noticed};

/// As many paths as are held. More than that and the directory is better listed again.
const HELD: usize = 4096;

/// From the thread that follows the directory to the one that asks.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    held: Mutex<Held>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Held {
    said: VecDeque<Noticed>,
    touched: BTreeSet<PathBuf>,
    rescan: Option<Cause>,
    writing: HashSet<PathBuf>,
    closed: bool,
}

impl Mailbox {
    /// Says something about the watch itself.
    pub(super) fn say(&self, notice: Noticed) {
        self.held().said.push_back(notice);
        self.news.notify_one();
    }

    /// These were touched.
    pub(super) fn touched(&self, paths: BTreeSet<PathBuf>) {
        if paths.is_empty() {
            return;
        }
        let mut held = self.held();
        held.touched.extend(paths);
        if held.touched.len() > HELD {
            held.touched.clear();
            held.rescan = held.rescan.max(Some(Cause::Flood));
        }
        drop(held);
        self.news.notify_one();
    }

    /// The directory must be listed again.
    pub(super) fn rescan(&self, cause: Cause) {
        let mut held = self.held();
        held.rescan = held.rescan.max(Some(cause));
        drop(held);
        self.news.notify_one();
    }

    /// These are being written.
    pub(super) fn set_writing(&self, writing: HashSet<PathBuf>) {
        self.held().writing = writing;
    }

    /// Whether this path is being written.
    pub(super) fn is_being_written(&self, path: &Path) -> bool {
        self.held().writing.contains(path)
    }

    /// Nothing comes any more.
    pub(super) fn close(&self) {
        self.held().closed = true;
        self.news.notify_one();
    }

    /// Takes the next notice out, as soon as there is one; `None` when it is closed and empty.
    /// Nothing is lost when it is dropped before it is done.
    pub(super) async fn next(&self) -> Option<Noticed> {
        loop {
            {
                let mut held = self.held();
                if let Some(notice) = held.next() {
                    return Some(notice);
                }
                if held.closed {
                    return None;
                }
            }
            self.news.notified().await;
        }
    }

    // Nothing in here panics half way through.
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// A rescan comes last: it finds all that was touched before.
    fn next(&mut self) -> Option<Noticed> {
        let said = self.said.pop_front();
        said.or_else(|| self.touched.pop_first().map(Noticed::Touched))
            .or_else(|| self.rescan.take().map(Noticed::Rescan))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_path_is_held_once_and_a_rescan_comes_after_it() {
        let mailbox = Mailbox::default();
        mailbox.rescan(Cause::Overflow);
        mailbox.rescan(Cause::Period);
        for name in ["b", "a", "b"] {
            mailbox.touched([name.into()].into());
        }
        mailbox.close();
        let mut seen = Vec::new();
        while let Some(notice) = mailbox.next().await {
            seen.push(notice);
        }
        let touched = |name: &str| Noticed::Touched(name.into());
        assert_eq!(
            seen,
            [touched("a"), touched("b"), Noticed::Rescan(Cause::Overflow)]
        );
    }

    #[tokio::test]
    async fn more_paths_than_fit_become_one_rescan() {
        let mailbox = Mailbox::default();
        mailbox.touched((0..=HELD).map(|n| n.to_string().into()).collect());
        mailbox.touched(["later".into()].into());
        mailbox.close();
        let seen = [mailbox.next().await, mailbox.next().await];
        let touched = Noticed::Touched("later".into());
        assert_eq!(seen, [Some(touched), Some(Noticed::Rescan(Cause::Flood))]);
        assert_eq!(mailbox.next().await, None);
    }
}
