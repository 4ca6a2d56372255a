//! An images directory in a temporary directory, and a receiver of its events.

use std::collections::BTreeMap;
use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use stowd::source_event::EntrySource as _;

use stowd::entry::{Entry, Identity};
use stowd::images_dir::SettleLimits;
use stowd::images_dir::{Source, SourceOptions};
use stowd::source_event::{Absence, DirectoryId, Listed, Listing, SourceEvent, above};
use tempfile::TempDir;

pub(super) const DEADLINE: Duration = Duration::from_secs(30);

/// A file outside of the images directory, at which the source is asked to look: when it answers, it
/// has told all before.
const MARKER: &str = "marker";

/// In which something comes that should not.
const SILENCE: Duration = Duration::from_millis(50);

/// No timer helps: what is told was told by the kernel. And a file that is closed is whole.
pub(crate) const NEVER: SourceOptions = SourceOptions {
    settle: Duration::ZERO,
    rescan: Duration::ZERO,
    poll: Duration::ZERO,
};

pub(super) struct Images {
    /// What the images directory is in, without links in its path.
    pub(super) around: PathBuf,
    pub(super) dir: PathBuf,
    pub(super) source: Source,
    pub(super) seen: Vec<SourceEvent>,
    /// The newest listing.
    pub(super) listing: Listing,
    /// The entries as the events tell them, and whether each is whole.
    pub(super) entries: BTreeMap<PathBuf, bool>,
    identities: BTreeMap<PathBuf, Identity>,
    /// Why the newest listing lacks entries that were there before it.
    pub(super) absent: BTreeMap<PathBuf, Absence>,
    /// All that was told to be removed, by an event or by a listing.
    pub(super) removed: Vec<PathBuf>,
    /// The directories by which the entries were seen.
    before: BTreeMap<PathBuf, BTreeMap<PathBuf, DirectoryId>>,
    _temporary: TempDir,
}

impl Images {
    /// An images directory that is there, and empty.
    pub(super) fn empty() -> Self {
        Self::over("images", |around| {
            fs::create_dir(around.join("images")).unwrap()
        })
    }

    /// An empty one whose files are whole after so long.
    pub(super) fn settling(settle: Duration) -> Self {
        let options = SourceOptions { settle, ..NEVER };
        Self::with(options, "images", |around| {
            fs::create_dir(around.join("images")).unwrap();
        })
    }

    /// `dir` is followed, once `prepare` has made what there is.
    pub(super) fn over(dir: &str, prepare: impl FnOnce(&Path)) -> Self {
        Self::with(NEVER, dir, prepare)
    }

    pub(super) fn with(options: SourceOptions, dir: &str, prepare: impl FnOnce(&Path)) -> Self {
        let temporary = TempDir::new().unwrap();
        Self::inside_of(temporary, options, SettleLimits::default(), dir, prepare)
    }

    pub(super) fn with_limits(options: SourceOptions, limits: SettleLimits) -> Self {
        let temporary = TempDir::new().unwrap();
        Self::inside_of(temporary, options, limits, "images", |around| {
            fs::create_dir(around.join("images")).unwrap();
        })
    }

    /// An empty one in memory, where thousands of files are made in a moment.
    pub(super) fn in_memory() -> Self {
        let temporary = TempDir::new_in("/dev/shm").unwrap();
        Self::inside_of(
            temporary,
            NEVER,
            SettleLimits::default(),
            "images",
            |around| {
                fs::create_dir(around.join("images")).unwrap();
            },
        )
    }

    fn inside_of(
        temporary: TempDir,
        options: SourceOptions,
        limits: SettleLimits,
        dir: &str,
        prepare: impl FnOnce(&Path),
    ) -> Self {
        let around = fs::canonicalize(temporary.path()).unwrap();
        fs::write(around.join(MARKER), MARKER).unwrap();
        prepare(&around);
        let dir = around.join(dir);
        let source = Source::start_with(&dir, options, limits).unwrap();
        let mut images = Self {
            around,
            dir,
            source,
            seen: Vec::new(),
            listing: Listing::default(),
            entries: BTreeMap::new(),
            identities: BTreeMap::new(),
            absent: BTreeMap::new(),
            removed: Vec::new(),
            before: BTreeMap::new(),
            _temporary: temporary,
        };
        for event in first_listing(&images.source) {
            images.take_in(event);
        }
        images
    }

    pub(super) fn at(&self, path: &str) -> PathBuf {
        self.dir.join(path)
    }

    pub(super) fn write(&self, path: &str) {
        fs::write(self.at(path), path).unwrap();
    }

    pub(super) async fn next(&mut self) -> SourceEvent {
        let next = tokio::time::timeout(DEADLINE, self.source.next()).await;
        let Ok(event) = next else {
            panic!("no more events; seen so far: {:#?}", self.seen);
        };
        let event = event.expect("the thread ended");
        self.take_in(event.clone());
        event
    }

    /// The next event if there is one.
    pub(super) async fn ready(&mut self) -> Option<SourceEvent> {
        let next = tokio::time::timeout(Duration::ZERO, self.source.next()).await;
        next.ok()?.ok()
    }

    /// Keeps account of the entries as the events tell them.
    pub(super) fn take_in(&mut self, event: SourceEvent) {
        match &event {
            SourceEvent::Settling(entry) | SourceEvent::StillWritten(entry) => {
                self.see(entry, false);
            }
            SourceEvent::Settled(entry) => self.see(entry, true),
            SourceEvent::Removed(path) => {
                self.entries.remove(path);
                self.removed.push(path.clone());
            }
            SourceEvent::Ignored(other) => _ = self.entries.remove(&other.path),
            SourceEvent::Unreadable(unreadable) => _ = self.entries.remove(&unreadable.path),
            SourceEvent::Listed(listing) => {
                self.absent.clear();
                self.listing = listing.clone();
                let known = std::mem::take(&mut self.entries);
                for Listed { entry, whole } in &listing.entries {
                    self.see(entry, *whole);
                }
                for path in known.into_keys() {
                    if !self.entries.contains_key(&path) {
                        let before = &self.before[&path];
                        let seen_in = above(before, &path, &self.dir);
                        let absence = listing.sight().absence(&path, &self.dir, &seen_in);
                        if absence == Absence::Removed {
                            self.removed.push(path.clone());
                        }
                        self.absent.insert(path, absence);
                    }
                }
            }
            SourceEvent::Degraded(_) | SourceEvent::Restored => {}
        }
        self.seen.push(event);
    }

    fn see(&mut self, entry: &Entry, whole: bool) {
        self.entries.insert(entry.path.clone(), whole);
        self.identities.insert(entry.path.clone(), entry.identity);
        let directories = self.listing.directories.clone();
        self.before.insert(entry.path.clone(), directories);
    }

    /// The files as the events tell them, if all are whole.
    pub(super) fn whole(&self) -> Option<BTreeMap<PathBuf, Identity>> {
        let entries = self.entries.iter();
        entries
            .map(|(path, whole)| whole.then(|| (path.clone(), self.identities[path])))
            .collect()
    }

    /// Until this file is told to be whole, by an event of its own.
    pub(super) async fn settled(&mut self, path: &str) -> Entry {
        let path = self.at(path);
        loop {
            if let SourceEvent::Settled(entry) = self.next().await
                && entry.path == path
            {
                return entry;
            }
        }
    }

    /// Until this path is told to be removed.
    pub(super) async fn removed(&mut self, path: &str) {
        let path = self.at(path);
        while self.next().await != SourceEvent::Removed(path.clone()) {}
    }

    /// Until this path is told to be there and not to be looked at.
    pub(super) async fn unreadable(&mut self, path: &str) -> String {
        let path = self.at(path);
        loop {
            if let SourceEvent::Unreadable(unreadable) = self.next().await
                && unreadable.path == path
            {
                return unreadable.error;
            }
        }
    }

    pub(super) async fn listed(&mut self) -> Listing {
        loop {
            if let SourceEvent::Listed(listing) = self.next().await {
                return listing;
            }
        }
    }

    /// Until the events say that the file is there and whole, one by one or in a listing.
    pub(super) async fn found(&mut self, path: &str) {
        let path = self.at(path);
        while !self.entries.get(&path).is_some_and(|whole| *whole) {
            self.next().await;
        }
    }

    /// Until the events say that the file that is there now is whole, one by one or in a listing.
    pub(super) async fn current(&mut self, path: &str) {
        let path = self.at(path);
        let now = Identity::of(&fs::metadata(&path).unwrap());
        while self.entries.get(&path) != Some(&true) || self.identities[&path] != now {
            self.next().await;
        }
    }

    /// Until the events say that something is there that cannot be looked at.
    pub(super) async fn dangling(&mut self, path: &str) {
        let path = self.at(path);
        loop {
            let unreadable = match self.next().await {
                SourceEvent::Unreadable(unreadable) => vec![unreadable],
                SourceEvent::Listed(listing) => listing.unreadable,
                _ => Vec::new(),
            };
            if unreadable.iter().any(|unreadable| unreadable.path == path) {
                return;
            }
        }
    }

    /// Until a listing has it no more. Says why.
    pub(super) async fn lost(&mut self, path: &str) -> Absence {
        let path = self.at(path);
        loop {
            self.listed().await;
            if let Some(absence) = self.absent.get(&path) {
                return *absence;
            }
        }
    }

    /// What is told of the file when all has been told: whether it is whole.
    pub(super) async fn is_whole(&mut self, path: &str) -> bool {
        self.quiet().await;
        let path = self.at(path);
        let told = self.entries.get(&path);
        *told.unwrap_or_else(|| panic!("{} is no entry", path.display()))
    }

    /// Whether the newest listing has it.
    pub(super) fn lists(&self, path: &str) -> bool {
        let path = self.at(path);
        let entries = &self.listing.entries;
        entries.iter().any(|listed| listed.entry.path == path)
    }

    /// Writes a file and waits for the very file: the directory that it is in is watched.
    pub(super) async fn is_followed(&mut self, path: &str) {
        self.quiet().await;
        self.write(path);
        self.settled(path).await;
    }

    /// All that has happened has been told. Answers what was told meanwhile, without what was asked
    /// for to learn it.
    pub(super) async fn quiet(&mut self) -> Vec<SourceEvent> {
        let mut told = self.drained().await;
        loop {
            self.source.rescan();
            loop {
                match self.next().await {
                    SourceEvent::Listed(_) => break,
                    event => told.push(event),
                }
            }
            let more = self.drained().await;
            if more.is_empty() {
                return told;
            }
            told.extend(more);
        }
    }

    /// The events up to now.
    pub(super) async fn drained(&mut self) -> Vec<SourceEvent> {
        let mut told = Vec::new();
        let marker = self.around.join(MARKER);
        let answer = SourceEvent::Ignored(marker.clone().into());
        self.source.look(&marker);
        loop {
            let event = self.next().await;
            if event == answer {
                break;
            }
            if matches!(event, SourceEvent::Listed(_)) {
                // It replaces an answer that was not taken yet.
                self.source.look(&marker);
            }
            told.push(event);
        }
        while let Ok(event) = tokio::time::timeout(SILENCE, self.next()).await {
            if event != answer {
                told.push(event);
            }
        }
        told
    }
}

/// The next events of a source, up to a listing.
pub(crate) async fn up_to_listing(source: &Source) -> Vec<SourceEvent> {
    let mut events = Vec::new();
    loop {
        let event = tokio::time::timeout(DEADLINE, source.next()).await;
        let event = event.expect("a listing").expect("the thread ended");
        events.push(event);
        if let Some(SourceEvent::Listed(_)) = events.last() {
            return events;
        }
    }
}

/// The same for tests that construct a source, within a runtime or without.
pub(crate) fn first_listing(source: &Source) -> Vec<SourceEvent> {
    std::thread::scope(|scope| {
        let received = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = { runtime }.enable_all().build().unwrap();
            runtime.block_on(up_to_listing(source))
        });
        received.join().unwrap()
    })
}

const INSIDE: &str = "STOWD_TEST_INSIDE";

/// Runs the body of the test `name` in a process of its own, which `wrapper` starts: in a namespace
/// with limits and mounts of its own.
pub(super) fn inside<F: Future<Output = ()>>(
    wrapper: &[&str],
    name: &str,
    body: impl FnOnce() -> F,
) {
    if std::env::var_os(INSIDE).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().unwrap();
        return runtime.block_on(body());
    }
    let output = Command::new(wrapper[0])
        .args(&wrapper[1..])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{wrapper:?}: {said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
