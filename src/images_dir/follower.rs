//! The thread that follows the images directory.
//!
//! It waits on: inotify events; the mount table; the time of the next rescan, periodic or polled;
//! orders (rescan, stop). A thread of its own, because looking at directories blocks, on a network
//! file system for as long as its server is away.

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::findings::findings;
use super::inotify::{Event, Inotify};
use super::mailbox::Mailbox;
use super::mounts::{Mounts, Table};
use super::shortfall::Shortfall;
use super::survey::{Map, Survey};
use super::watch::{Cause, Noticed, Orders, WatchOptions};
use super::writing::Writing;

/// Events are taken in no more often than this: the kernel makes one of equal ones that follow each
/// other, such as the writes of a copy.
const PAUSE: Duration = Duration::from_millis(20);

/// For how many times the time that a survey took none is made again, so that a storm of new
/// directories does not cost more than a fifth of a core.
const REST: u32 = 4;

/// The longest rest.
const LONGEST_REST: Duration = Duration::from_secs(10);

/// How long a file that is open may be silent before it is given up, at least.
const PATIENCE: Duration = Duration::from_secs(600);

/// Follows the images directory.
#[derive(Debug)]
pub(super) struct Follower {
    dir: PathBuf,
    options: WatchOptions,
    mailbox: Arc<Mailbox>,
    orders: Arc<Orders>,
    inotify: Option<Inotify>,
    mounts: Mounts,
    map: Map,
    writing: Writing,
    shortfalls: BTreeSet<Shortfall>,
    next_rescan: Option<Instant>,
    next_poll: Option<Instant>,
    /// A survey is due, and a rescan after it.
    wanted: Option<Cause>,
    rest_until: Instant,
}

/// What there is to do after a wait.
#[derive(Debug, Default)]
struct Woken {
    events: bool,
    mounts: bool,
}

impl Follower {
    /// Arms all that can be armed.
    pub(super) fn arm(
        dir: &Path,
        options: WatchOptions,
        mailbox: Arc<Mailbox>,
        orders: Arc<Orders>,
    ) -> Self {
        let now = Instant::now();
        let mut follower = Self {
            dir: dir.to_owned(),
            options,
            mailbox,
            orders,
            inotify: None,
            mounts: Mounts::new(),
            map: Map::default(),
            writing: Writing::default(),
            shortfalls: BTreeSet::new(),
            next_rescan: after(now, options.rescan),
            next_poll: None,
            wanted: None,
            rest_until: now,
        };
        follower.survey();
        follower
    }

    /// Follows until it is told to stop.
    pub(super) fn run(mut self) {
        let _closing = Closing(Arc::clone(&self.mailbox));
        while !self.orders.stop() {
            let woken = self.wait();
            if self.orders.rescan() {
                self.want(Cause::Asked);
            }
            if woken.events {
                self.take_events();
            }
            if woken.mounts && self.mounts_differ() {
                self.want(Cause::Mounts);
            }
            self.look_at_the_clock();
            if let Some(cause) = self.wanted
                && Instant::now() >= self.rest_until
            {
                self.wanted = None;
                self.survey();
                self.deliver(BTreeSet::new());
                self.mailbox.rescan(cause);
            }
            if woken.events {
                self.pause();
            }
        }
    }

    fn wait(&self) -> Woken {
        let now = Instant::now();
        let survey = self.wanted.map(|_| self.rest_until);
        let due = [self.next_rescan, self.next_poll, survey];
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

    fn look_at_the_clock(&mut self) {
        let now = Instant::now();
        if self.next_rescan.is_some_and(|due| due <= now) {
            self.next_rescan = after(now, self.options.rescan);
            self.writing.give_up(now, PATIENCE.max(self.options.rescan));
            self.want(Cause::Period);
        }
        if self.next_poll.is_some_and(|due| due <= now) {
            self.next_poll = after(now, self.options.poll);
            if self.shortfalls.iter().any(Shortfall::may_pass) {
                self.want(Cause::Polling);
            } else {
                self.mailbox.rescan(Cause::Polling);
            }
        }
    }

    fn mounts_differ(&self) -> bool {
        let table = Table::read();
        self.mounts.differ(&table, |at| self.map.concerns(at))
    }

    fn want(&mut self, cause: Cause) {
        self.wanted = self.wanted.max(Some(cause));
    }

    /// Arms what there is now and disarms what is no more.
    fn survey(&mut self) {
        let begun = Instant::now();
        if self.mounts.table().is_none() {
            self.mounts = Mounts::new();
        }
        // Before the directories are looked at: what is mounted meanwhile must differ from it.
        let table = Table::read();
        let mut shortfalls = BTreeSet::new();
        if self.inotify.is_none() {
            match Inotify::new() {
                Ok(inotify) => self.inotify = Some(inotify),
                Err(error) => _ = shortfalls.insert(Shortfall::of_instance(error)),
            }
        }
        if let Some(inotify) = &mut self.inotify {
            let (map, found) = Survey::take(&self.dir, inotify);
            for wd in self.map.watches().filter(|wd| !map.has(*wd)) {
                inotify.unwatch(wd);
            }
            self.map = map;
            shortfalls.extend(found);
        }
        self.writing.keep(|wd| self.map.has(wd));
        self.mounts.know(&table, |at| self.map.concerns(at));
        self.tell_shortfalls(shortfalls);
        self.rest_until = Instant::now() + (begun.elapsed() * REST).min(LONGEST_REST);
    }

    fn tell_shortfalls(&mut self, shortfalls: BTreeSet<Shortfall>) {
        for new in shortfalls.difference(&self.shortfalls) {
            self.mailbox.say(Noticed::Polling(new.clone()));
        }
        match (self.shortfalls.is_empty(), shortfalls.is_empty()) {
            (true, false) => self.next_poll = after(Instant::now(), self.options.poll),
            (false, true) => {
                self.next_poll = None;
                self.mailbox.say(Noticed::Following);
            }
            _ => {}
        }
        self.shortfalls = shortfalls;
    }

    fn take_events(&mut self) {
        let Some(inotify) = &mut self.inotify else {
            return;
        };
        let events = inotify.events().unwrap_or_else(|_| {
            // Nothing is known to make this fail. A new instance is a new chance.
            self.inotify = None;
            self.map = Map::default();
            vec![Event::Overflow]
        });
        let found = findings(events, &mut self.map, &mut self.writing);
        self.deliver(found.touched);
        if let Some(cause) = found.rescan {
            self.want(cause);
        }
    }

    /// Hands over what was noticed. Who learns that a file was touched must not be told that it is
    /// still being written when it is not.
    fn deliver(&mut self, touched: BTreeSet<PathBuf>) {
        if let Some(files) = self.writing.news() {
            let paths = files.flat_map(|(wd, name)| self.map.files(wd, name));
            self.mailbox.set_writing(paths.collect());
        }
        self.mailbox.touched(touched);
    }
}

/// Says that nothing comes any more, even after a panic.
struct Closing(Arc<Mailbox>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
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
