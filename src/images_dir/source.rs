//! The images directory as a source of events.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::event_queue::EventQueue;
use super::follower::Follower;
use super::orders::{Orders, SourceOptions};
use super::reach::{Looks, Reach, SilentMounts};
use super::unsettled::SettleLimits;
use crate::source_event::{EntrySource, SourceEnded, SourceEvent};

/// A call that takes longer hangs: disks that spin up, and servers that are slow, answer sooner.
const ANSWER: Duration = Duration::from_secs(30);

/// So many threads may hang; what hangs more is waited for.
const HUNG_THREADS: usize = 16;

/// The thread that follows the directory could not be started.
#[derive(Debug, thiserror::Error)]
#[error("the images directory cannot be followed: {tried}: {cause}")]
pub struct Unwatchable {
    tried: &'static str,
    cause: io::Error,
}

/// Follows the images directory until it is dropped.
#[derive(Debug)]
pub struct Source {
    queue: Arc<EventQueue>,
    orders: Arc<Orders>,
}

impl Source {
    /// Starts to follow `dir`, which may be missing, be a link, and come and go. A thread arms the
    /// watch and lists the directory; this does not wait for it. The first event is a listing, but
    /// for [`SourceEvent::Degraded`] before it, and everything is armed when it comes.
    ///
    /// Where inotify fails the directory is polled.
    ///
    /// # Errors
    /// [`Unwatchable`]: no file descriptor or no thread is to be had.
    pub fn start(dir: &Path, options: SourceOptions) -> Result<Self, Unwatchable> {
        Self::start_with(dir, options, SettleLimits::default())
    }

    /// As [`Source::start`], with other limits for files that do not become whole.
    ///
    /// # Errors
    /// As those of `start`.
    pub fn start_with(
        dir: &Path,
        options: SourceOptions,
        limits: SettleLimits,
    ) -> Result<Self, Unwatchable> {
        let orders = Orders::new().map_err(|error| Unwatchable {
            tried: "eventfd",
            cause: error.into(),
        })?;
        let (queue, orders) = (Arc::new(EventQueue::default()), Arc::new(orders));
        let followers = Followers {
            dir: dir.to_owned(),
            options,
            limits,
            queue: Arc::clone(&queue),
            orders: Arc::clone(&orders),
            silent: Arc::default(),
        };
        let first = followers.begin()?;
        spawn("images-dir-watch", move || followers.run(first))?;
        Ok(Self { queue, orders })
    }
}

/// A thread that follows the directory, and those that take over where a call does not return.
struct Followers {
    dir: PathBuf,
    options: SourceOptions,
    limits: SettleLimits,
    queue: Arc<EventQueue>,
    orders: Arc<Orders>,
    silent: Arc<SilentMounts>,
}

impl Followers {
    /// Begins one that knows nothing: its first event is a listing.
    fn begin(&self) -> Result<Arc<Looks>, Unwatchable> {
        let reach = Reach::new(&self.silent);
        let ending = FollowerEnd {
            looks: Arc::clone(reach.looks()),
            orders: Arc::clone(&self.orders),
            silent: Arc::clone(&self.silent),
        };
        let looks = Arc::clone(reach.looks());
        let (queue, orders) = (Arc::clone(&self.queue), Arc::clone(&self.orders));
        let follower = Follower::new(&self.dir, self.options, self.limits, queue, orders, reach);
        spawn("images-dir", move || {
            let _ending = ending;
            follower.run();
        })?;
        Ok(looks)
    }

    /// Has another one take over from each that hangs. Where one ends, or none can take over, nothing comes
    /// any more.
    fn run(self, first: Arc<Looks>) {
        let mut looks = first;
        let mut hung = Vec::new();
        let why = loop {
            let limit = || {
                hung.retain(|other: &Weak<Looks>| other.strong_count() > 0);
                match hung.len() {
                    HUNG_THREADS.. => Duration::MAX,
                    _ => ANSWER,
                }
            };
            if looks.watch(limit, &self.silent) {
                break "internal error: its thread has ended".to_owned();
            }
            hung.push(Arc::downgrade(&looks));
            match self.begin() {
                Ok(next) => looks = next,
                Err(Unwatchable { tried, cause }) => break format!("{tried}: {cause}"),
            }
        };
        self.queue.end(why);
    }
}

/// Says that a thread has ended, even after a panic.
struct FollowerEnd {
    looks: Arc<Looks>,
    orders: Arc<Orders>,
    silent: Arc<SilentMounts>,
}

impl Drop for FollowerEnd {
    fn drop(&mut self) {
        self.looks.end();
        if self.silent.answered(&self.looks) {
            self.orders.rescan();
        }
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), Unwatchable> {
    let thread = std::thread::Builder::new().name(name.to_owned());
    let spawned = thread.spawn(run).map_err(|cause| Unwatchable {
        tried: "thread",
        cause,
    });
    spawned.map(drop)
}

impl Drop for Source {
    /// The threads end on their own: one may hang in a look at a file system that does not answer.
    fn drop(&mut self) {
        self.orders.stop();
    }
}

impl EntrySource for Source {
    /// One task at a time may wait.
    async fn next(&self) -> Result<SourceEvent, SourceEnded> {
        self.queue.next().await
    }

    fn rescan(&self) {
        self.orders.rescan();
    }

    fn look(&self, path: &Path) {
        self.orders.look(path);
    }

    fn set_settle(&self, settle: Duration) {
        self.orders.settle(settle);
    }
}
