//! The state of each entry, with indexes and counts that are kept up to date as states change.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::entry::{InNameOrder, Kind};

use super::event::{JobKind, Looked};
use super::life::{Life, Queued, Running, Until};

// What has all entries has them by the bytes of their paths: a comparison of paths, component by
// component, takes twenty times as long, and was half of a start with 500 entries.
#[derive(Debug, Default)]
pub(super) struct Entries {
    lives: BTreeMap<OsString, Life>,
    /// By kind; those that have failed before come last.
    queued: BTreeSet<(JobKind, bool, InNameOrder<PathBuf>)>,
    due: BTreeSet<(Duration, PathBuf)>,
    /// They wait for another entry to bring something.
    lacking: BTreeSet<PathBuf>,
    running: BTreeSet<PathBuf>,
    out_of_sight: BTreeSet<PathBuf>,
    /// They cannot be seen or read, and something may be pinned for them that no record tells.
    unrecorded: BTreeSet<PathBuf>,
    /// Without an outcome, and not running.
    held: BTreeSet<OsString>,
    open: OpenCounts,
    /// Of archives that are to be worked on.
    waiting_bytes: u64,
    /// What was there at the start, until the initial load is over.
    start: BTreeSet<OsString>,
    /// Those of it that have no outcome.
    loading: OpenCounts,
    /// Jobs that pin names of which the plan does not know yet.
    pinning: usize,
}

/// Entries without an outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct OpenCounts {
    pub(super) archives: usize,
    /// Lists that are not pulled yet.
    pub(super) lists: usize,
    /// Lists of which only what the store lacks is left to do.
    pub(super) pulls: usize,
}

impl OpenCounts {
    pub(super) fn all(self) -> usize {
        self.archives + self.lists + self.pulls
    }

    fn of(&mut self, life: &Life) -> Option<&mut usize> {
        Some(match (life.open()?, life.looked()) {
            (Kind::Archive, _) => &mut self.archives,
            (Kind::List, None) => &mut self.lists,
            (Kind::List, Some(_)) => &mut self.pulls,
        })
    }
}

impl Entries {
    pub(super) fn get(&self, path: &Path) -> Option<&Life> {
        self.lives.get(path.as_os_str())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Path, &Life)> {
        let lives = self.lives.iter();
        lives.map(|(path, life)| (Path::new(path), life))
    }

    /// The entry at a path, and all those below it where it is a directory.
    pub(super) fn below(&self, path: &Path) -> Vec<PathBuf> {
        // With the slash: `a-b` comes between `a` and `a/b`.
        let from = path.join("").into_os_string();
        let below = self.lives.range(from..).map(|(other, _)| Path::new(other));
        let below = below.take_while(|other| other.starts_with(path));
        let itself = self.get(path).map(|_| path);
        let found = itself.into_iter().chain(below);
        found.map(Path::to_owned).collect()
    }

    /// Gives an entry a life in place of the one that it had.
    pub(super) fn set(&mut self, path: PathBuf, life: Life) {
        self.remove(&path);
        for count in self.counts(&path, &life) {
            *count += 1;
        }
        self.pinning += usize::from(life.is_pinning());
        self.waiting_bytes += life.waiting_bytes();
        if let Some(due) = life.due() {
            self.due.insert((due, path.clone()));
        }
        match &life {
            Life::Queued(queued) => _ = self.queued.insert(key(queued)),
            Life::Running(_) => _ = self.running.insert(path.clone()),
            Life::OutOfSight { .. } => _ = self.out_of_sight.insert(path.clone()),
            Life::Waiting(_, Until::OtherEntry) => _ = self.lacking.insert(path.clone()),
            _ => {}
        }
        if let Life::OutOfSight { is_recorded, .. } | Life::Unreadable { is_recorded } = &life
            && !is_recorded
        {
            self.unrecorded.insert(path.clone());
        }
        if life.open().is_some() && !matches!(life, Life::Running(_)) {
            self.held.insert(path.clone().into_os_string());
        }
        self.lives.insert(path.into_os_string(), life);
    }

    pub(super) fn remove(&mut self, path: &Path) -> Option<Life> {
        let life = self.lives.remove(path.as_os_str())?;
        for count in self.counts(path, &life) {
            *count -= 1;
        }
        self.pinning -= usize::from(life.is_pinning());
        self.waiting_bytes -= life.waiting_bytes();
        if let Some(due) = life.due() {
            self.due.remove(&(due, path.to_owned()));
        }
        match &life {
            Life::Queued(queued) => _ = self.queued.remove(&key(queued)),
            Life::Running(_) => _ = self.running.remove(path),
            Life::OutOfSight { .. } => _ = self.out_of_sight.remove(path),
            Life::Waiting(_, Until::OtherEntry) => _ = self.lacking.remove(path),
            _ => {}
        }
        self.unrecorded.remove(path);
        self.held.remove(path.as_os_str());
        Some(life)
    }

    /// The counts that this life of an entry is one of.
    fn counts(&mut self, path: &Path, life: &Life) -> impl Iterator<Item = &mut usize> {
        let is_of_start = self.start.contains(path.as_os_str());
        let loading = is_of_start.then_some(&mut self.loading);
        let counts = std::iter::once(&mut self.open).chain(loading);
        counts.filter_map(|counts| counts.of(life))
    }

    /// The initial load begins with these.
    pub(super) fn begin_load(&mut self, start: BTreeSet<PathBuf>) {
        self.start = start.into_iter().map(PathBuf::into_os_string).collect();
        let lives = std::mem::take(&mut self.lives);
        self.open = OpenCounts::default();
        self.loading = OpenCounts::default();
        for (path, life) in &lives {
            for count in self.counts(Path::new(path), life) {
                *count += 1;
            }
        }
        self.lives = lives;
    }

    /// Whether the initial load waits for this entry, or for what it has brought.
    pub(super) fn is_of_start(&self, path: &Path) -> bool {
        self.start.contains(path.as_os_str())
    }

    pub(super) fn end_load(&mut self) {
        self.start.clear();
        self.loading = OpenCounts::default();
    }

    /// Entries of the start that have no outcome.
    pub(super) fn loading(&self) -> OpenCounts {
        self.loading
    }

    /// Entries without an outcome.
    pub(super) fn open(&self) -> OpenCounts {
        self.open
    }

    pub(super) fn waiting_bytes(&self) -> u64 {
        self.waiting_bytes
    }

    /// The first entry, by its path, that has no outcome and is not worked on.
    pub(super) fn first_held(&self) -> Option<&Path> {
        self.held.first().map(Path::new)
    }

    /// Whether a job runs that pins names of which the plan does not know yet.
    pub(super) fn is_pinning(&self) -> bool {
        self.pinning > 0
    }

    /// Takes out the first entry that waits for a job of this kind: in name order, those that have
    /// failed before last.
    pub(super) fn take_queued(&mut self, kind: JobKind) -> Option<Queued> {
        let mut queued = self
            .queued
            .range((kind, false, InNameOrder(PathBuf::new()))..);
        let (found, _, InNameOrder(path)) = queued.next()?;
        if *found != kind {
            return None;
        }
        match self.remove(&path.clone())? {
            Life::Queued(queued) => Some(queued),
            _ => None,
        }
    }

    pub(super) fn running(&self) -> impl Iterator<Item = (&Path, &Running)> {
        self.running.iter().filter_map(|path| match self.get(path) {
            Some(Life::Running(running)) => Some((path.as_path(), running)),
            _ => None,
        })
    }

    /// The looks at lists whose absent images are pulled or are to be pulled.
    pub(super) fn looked(&self) -> impl Iterator<Item = &Looked> {
        let queued = self.queued.iter().map(|(_, _, InNameOrder(path))| path);
        let paths = queued.chain(&self.running);
        paths.filter_map(|path| self.get(path)?.looked())
    }

    /// An entry that has failed and is due.
    pub(super) fn first_due(&self, uptime: Duration) -> Option<PathBuf> {
        let (due, path) = self.due.first()?;
        (*due <= uptime).then(|| path.clone())
    }

    /// The entries that have failed and are tried again by themselves.
    pub(super) fn all_due(&self) -> Vec<PathBuf> {
        self.due.iter().map(|(_, path)| path.clone()).collect()
    }

    /// The entries that wait for another one to bring something.
    pub(super) fn lacking(&self) -> Vec<PathBuf> {
        self.lacking.iter().cloned().collect()
    }

    /// When the next entry that has failed is due, of those that are not due yet.
    pub(super) fn next_due(&self, uptime: Duration) -> Option<Duration> {
        let mut later = self.due.iter().map(|(until, _)| *until);
        later.find(|until| *until > uptime)
    }

    /// An entry that cannot be seen or read, for which something may be pinned that no record tells.
    pub(super) fn first_unrecorded(&self) -> Option<&Path> {
        self.unrecorded.first().map(PathBuf::as_path)
    }

    pub(super) fn out_of_sight(&self) -> &BTreeSet<PathBuf> {
        &self.out_of_sight
    }
}

fn key(queued: &Queued) -> (JobKind, bool, InNameOrder<PathBuf>) {
    let path = InNameOrder(queued.entry.path.clone());
    (queued.job.kind(), queued.again, path)
}
