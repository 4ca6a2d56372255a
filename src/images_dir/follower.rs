//! The thread that follows the images directory.
//!
//! It waits on: inotify events; the mount table; the next file that may be whole; the next path that
//! could not be looked at; the next walk, periodic, polled or wanted; orders (rescan, look, settle,
//! stop). A thread of its own, because looking at directories blocks, on a network file system for
//! as long as its server is away.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing::debug;

use super::event_queue::EventQueue;
use super::inotify::{Inotify, WatchEvent};
use super::interpret::{Changed, interpret};
use super::look::{LookCause, clock, is_entry};
use super::mounts::{Mounts, Table};
use super::orders::{Orders, SourceOptions, WalkCause};
use super::reach::Reach;
use super::settling::Settling;
use super::unreadables::Unreadables;
use super::unsettled::{Judged, SettleLimits, Stage};
use super::walk::{Walked, walk};
use super::watch_limit::WatchLimit;
use super::watch_tree::WatchTree;
use crate::source_event::{DirectoryId, Ignored, Listed, Listing, SourceEvent, Unreadable};

/// Events are taken in no more often than this: the kernel makes one of equal ones that follow each
/// other, such as the writes of a copy.
const PAUSE: Duration = Duration::from_millis(20);

/// After a walk there is none for so many times as long as it took, so that a storm of new
/// directories does not cost more than a fifth of a core.
const REST: u32 = 4;

/// Paths that could not be looked at are looked at this much too early, so that thousands of them are
/// a few looks and not one each.
const EARLY: Duration = Duration::from_secs(1);

/// The longest rest.
const LONGEST_REST: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Follower {
    dir: PathBuf,
    options: SourceOptions,
    queue: Arc<EventQueue>,
    orders: Arc<Orders>,
    pub(super) reach: Reach,
    inotify: Option<Inotify>,
    mounts: Mounts,
    tree: WatchTree,
    limits: BTreeSet<WatchLimit>,
    pub(super) settling: Settling,
    pub(super) unreadables: Unreadables,
    /// What was told to be ignored.
    pub(super) ignored: HashMap<PathBuf, Ignored>,
    /// Those of the last walk.
    pub(super) directories: BTreeMap<PathBuf, DirectoryId>,
    next_rescan: Option<Instant>,
    next_poll: Option<Instant>,
    /// A walk is due.
    wanted: Option<WalkCause>,
    rest_until: Instant,
}

/// What there is to do after a wait.
#[derive(Debug, Default)]
struct Woken {
    events: bool,
    mounts: bool,
}

impl Follower {
    pub(super) fn new(
        dir: &Path,
        options: SourceOptions,
        limits: SettleLimits,
        queue: Arc<EventQueue>,
        orders: Arc<Orders>,
        reach: Reach,
    ) -> Self {
        let now = Instant::now();
        Self {
            dir: dir.to_owned(),
            queue,
            orders,
            reach,
            inotify: None,
            mounts: Mounts::default(),
            tree: WatchTree::default(),
            limits: BTreeSet::new(),
            settling: Settling::new(options.settle, limits),
            unreadables: Unreadables::default(),
            ignored: HashMap::new(),
            directories: BTreeMap::new(),
            next_rescan: after(now, options.rescan),
            next_poll: None,
            wanted: Some(WalkCause::Start),
            rest_until: now,
            options,
        }
    }

    /// Follows until it is told to stop, or another thread has taken over.
    pub(super) fn run(mut self) {
        loop {
            self.walk_if_wanted();
            if !self.reach.rest() {
                return;
            }
            let woken = self.wait();
            let given = self.orders.take();
            if given.stop {
                return;
            }
            if let Some(settle) = given.settle {
                self.settling.set_settle(settle);
            }
            if given.rescan {
                self.want(WalkCause::Asked);
            }
            // What happened before an order was given is told before its answer.
            if woken.events || given.rescan || !given.looks.is_empty() {
                let changed = self.take_events();
                self.look_at_what_changed(changed);
            }
            if woken.mounts && self.mounts_differ() {
                self.want(WalkCause::Mounts);
            }
            self.look_at(given.looks, LookCause::Asked);
            self.look_at_what_is_due();
            if woken.events {
                self.pause();
            }
        }
    }

    fn wait(&self) -> Woken {
        let now = Instant::now();
        let due = [
            self.next_rescan,
            self.next_poll,
            self.wanted.map(|_| self.rest_until),
            self.settling.due(now),
            self.unreadables.due(),
        ];
        let timeout = due.into_iter().flatten().min();
        let timeout = timeout.map(|due| timespec(due.saturating_duration_since(now)));
        let wake = PollFd::new(self.orders.wake(), PollFlags::IN);
        let mut polled = vec![wake];
        let inotify = self.inotify.as_ref().map(|inotify| {
            polled.push(PollFd::from_borrowed_fd(inotify.as_fd(), PollFlags::IN));
            polled.len() - 1
        });
        let mounts = self.mounts.table().map(|table| {
            polled.push(PollFd::from_borrowed_fd(table.as_fd(), PollFlags::PRI));
            polled.len() - 1
        });
        if poll(&mut polled, timeout.as_ref()).is_err() {
            // A signal came, or memory is short: not to be asked again at once.
            std::thread::sleep(PAUSE);
            return Woken::default();
        }
        let ready = |index: Option<usize>| index.is_some_and(|i| !polled[i].revents().is_empty());
        Woken {
            events: ready(inotify),
            mounts: ready(mounts),
        }
    }

    /// Lets equal events gather, unless there is an order.
    fn pause(&self) {
        let mut wake = [PollFd::new(self.orders.wake(), PollFlags::IN)];
        let _ = poll(&mut wake, Some(&timespec(PAUSE)));
    }

    fn look_at_what_is_due(&mut self) {
        let now = Instant::now();
        if self.next_rescan.is_some_and(|due| due <= now) {
            self.next_rescan = after(now, self.options.rescan);
            self.want(WalkCause::Period);
        }
        if self.next_poll.is_some_and(|due| due <= now) {
            self.next_poll = after(now, self.options.poll);
            self.want(WalkCause::Polling);
        }
        self.look_at(self.settling.due_files(now), LookCause::Due);
        for path in self.unreadables.take_due(now + EARLY) {
            if is_entry(&path) {
                self.look_at([path], LookCause::Due);
            } else {
                // A directory.
                self.want(WalkCause::Directories);
            }
        }
    }

    fn mounts_differ(&self) -> bool {
        let table = Table::read();
        self.mounts.differ(&table, |at| self.tree.concerns(at))
    }

    pub(super) fn want(&mut self, cause: WalkCause) {
        self.wanted = self.wanted.max(Some(cause));
    }

    pub(super) fn tell(&mut self, event: SourceEvent) {
        if !self.push(event) {
            self.want(WalkCause::Flood);
        }
    }

    /// A thread that hung tells nothing that another one may have told otherwise.
    fn push(&self, event: SourceEvent) -> bool {
        self.reach.is_abandoned() || self.queue.push(event)
    }

    fn walk_if_wanted(&mut self) {
        if let Some(cause) = self.wanted
            && Instant::now() >= self.rest_until
        {
            debug!(%cause, "listing the images directory: {cause}");
            self.wanted = None;
            self.walk();
        }
    }

    /// Arms what there is now, disarms what is no more, and lists it.
    fn walk(&mut self) {
        let begun = Instant::now();
        if self.mounts.table().is_none() {
            self.mounts = Mounts::new();
        }
        // Before the directories are looked at: what is mounted meanwhile must differ from it.
        let table = Table::read();
        let mut limits = BTreeSet::new();
        if self.inotify.is_none() {
            match Inotify::new() {
                Ok(inotify) => self.inotify = Some(inotify),
                Err(error) => _ = limits.insert(WatchLimit::of_instance(error)),
            }
        }
        self.reach.forget_unmounted(&table);
        let inotify = self.inotify.as_mut();
        let mut walked = walk(&self.dir, inotify, &self.ignored, &self.reach);
        limits.append(&mut walked.limits);
        self.follow(std::mem::take(&mut walked.tree));
        self.mounts.know(&table, |at| self.tree.concerns(at));
        self.tell_limits(limits);
        // Events that came meanwhile tell which files are open for writing.
        let changed = self.take_events();
        // Before the listing forgets that they were there, and after it, if it found them there.
        self.look_at(changed.unlinked.clone(), LookCause::Unlinked);
        self.list(walked);
        self.look_at_what_changed(changed);
        self.rest_until = Instant::now() + (begun.elapsed() * REST).min(LONGEST_REST);
    }

    fn follow(&mut self, tree: WatchTree) {
        if let Some(inotify) = &mut self.inotify {
            for wd in self.tree.watches().filter(|wd| !tree.has(*wd)) {
                inotify.unwatch(wd);
            }
        }
        let relocated = self.tree.relocated(&tree);
        self.settling
            .writers
            .relocate(|dir| relocated.get(dir).cloned());
        self.tree = tree;
    }

    fn tell_limits(&mut self, limits: BTreeSet<WatchLimit>) {
        for new in limits.difference(&self.limits) {
            let _ = self.push(SourceEvent::Degraded(new.to_string()));
        }
        match (self.limits.is_empty(), limits.is_empty()) {
            (true, false) => self.next_poll = after(Instant::now(), self.options.poll),
            (false, true) => {
                self.next_poll = None;
                self.tell(SourceEvent::Restored);
            }
            _ => {}
        }
        self.limits = limits;
    }

    /// Judges the entries and tells all that was found.
    fn list(&mut self, walked: Walked) {
        let (now, clock) = (Instant::now(), clock());
        let mut still_written = Vec::new();
        let entries = walked.entries.into_iter();
        let entries = entries.map(|entry| {
            let Judged { stage, .. } = self.settling.found(&entry, now, clock);
            if stage == Stage::StillWritten {
                still_written.push(entry.clone());
            }
            let whole = stage == Stage::Whole;
            Listed { entry, whole }
        });
        let entries = entries.collect::<Vec<_>>();
        let paths = entries.iter().map(|listed| listed.entry.path.as_path());
        let paths = paths.collect::<HashSet<_>>();
        self.settling.keep(|path| paths.contains(path));
        for Unreadable { path, error } in &walked.unreadable {
            self.unreadables.failed(path, error, now);
        }
        let paths = walked.unreadable.iter().map(|found| found.path.as_path());
        let paths = paths.collect::<HashSet<_>>();
        self.unreadables.keep(|path| paths.contains(path));
        let ignored = walked.ignored.iter().cloned();
        self.ignored = ignored.map(|other| (other.path.clone(), other)).collect();
        self.directories.clone_from(&walked.directories);
        self.tell(SourceEvent::Listed(Listing {
            entries,
            unreadable: walked.unreadable,
            ignored: walked.ignored,
            directories: walked.directories,
        }));
        // The listing replaces what was said of them before.
        for entry in still_written {
            self.tell(SourceEvent::StillWritten(entry));
        }
    }

    fn take_events(&mut self) -> Changed {
        let Some(inotify) = &mut self.inotify else {
            return Changed::default();
        };
        let events = inotify.events().unwrap_or_else(|_| {
            // Nothing is known to make this fail. A new instance is a new chance.
            self.inotify = None;
            self.tree = WatchTree::default();
            vec![WatchEvent::Overflow]
        });
        let now = Instant::now();
        let (tree, settling) = (&mut self.tree, &mut self.settling);
        interpret(events, tree, settling, &self.reach, now)
    }
}

/// When an interval that begins now ends; zero has no end.
fn after(now: Instant, interval: Duration) -> Option<Instant> {
    (!interval.is_zero()).then(|| now + interval)
}

fn timespec(duration: Duration) -> Timespec {
    // Too long for the kernel is as good as for ever.
    Timespec::try_from(duration).unwrap_or(Timespec {
        tv_sec: i64::from(i32::MAX),
        tv_nsec: 0,
    })
}
