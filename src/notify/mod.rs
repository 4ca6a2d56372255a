//! The service manager: what stowd tells it, by `sd_notify(3)`.

mod manager_socket;
mod outbox;

use std::cell::{Cell, RefCell};
use std::env;
use std::fmt::Display;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use self::manager_socket::ManagerSocket;
use self::outbox::{Message, Outbox};
use crate::happened::DaemonEvent;
use crate::one_line::shortened;
use crate::progress::{LoadPace, Progress};
use crate::reporter::report;

/// Characters of a status. systemd drops a datagram of more than 4096 bytes whole, with the READY in
/// it; a character has at most four.
const LONGEST_STATUS: usize = 500;

/// Time between two messages about the initial load.
const REPORT: Duration = Duration::from_millis(250);

/// How long a start may take from now on; sent each time bytes have moved. It must be longer than the
/// longest step in which no byte moves: the fsync of a large blob on a slow disk.
const EXTENSION: Duration = Duration::from_secs(5 * 60);

/// Between two feeds of the watchdog.
const SHORTEST_FEED: Duration = Duration::from_millis(100);

/// Tells the service manager named by `NOTIFY_SOCKET`; without one every call does nothing. No call
/// waits for the manager. Dropping it waits up to a second, so that the last messages are sent.
#[derive(Debug)]
pub struct Notifier {
    outbox: Option<Outbox>,
    last_status: RefCell<String>,
    is_ready: Cell<bool>,
    /// The configuration on disk is wrong, which every status says.
    is_wrong: Cell<bool>,
    pace: RefCell<LoadPace>,
}

/// What a status ends with while the configuration on disk is wrong.
const WRONG: &str = "; not reloaded: the configuration on disk is wrong";

impl Default for Notifier {
    fn default() -> Self {
        let manager = env::var_os("NOTIFY_SOCKET").map(|name| ManagerSocket::open(&name));
        let manager = manager.transpose().unwrap_or_else(|error| {
            report(DaemonEvent::ManagerNotTold(format!(
                "NOTIFY_SOCKET: {error}"
            )));
            None
        });
        Self {
            outbox: manager.map(Outbox::open),
            last_status: RefCell::default(),
            is_ready: Cell::default(),
            is_wrong: Cell::default(),
            pace: RefCell::default(),
        }
    }
}

impl Notifier {
    /// The service has started; `status` says what came of it.
    pub fn ready(&self, status: &impl Display) {
        let status = status_line(status);
        self.last_status.replace(status);
        self.is_ready.set(true);
        self.put(Message::Ready(self.last_status()));
    }

    /// The configuration is being read again. Before READY nothing is sent: systemd would take the READY
    /// that ends the reload for the end of the start.
    pub fn reloading(&self) {
        if self.is_ready.get() {
            self.put(Message::Reloading);
        }
    }

    /// It has been read. Where it is wrong, every status says so until it has been read and is right.
    pub fn reloaded(&self, is_wrong: bool) {
        let was_wrong = self.is_wrong.replace(is_wrong);
        if self.is_ready.get() {
            self.put(Message::Ready(self.last_status()));
        } else if is_wrong != was_wrong {
            self.put(Message::Status(self.last_status()));
        }
    }

    /// One line for `systemctl status`. The same line again is not sent.
    pub fn status(&self, status: &impl Display) {
        let status = status_line(status);
        if *self.last_status.borrow() != status {
            self.last_status.replace(status);
            self.put(Message::Status(self.last_status()));
        }
    }

    /// Tells how far the work has come: a status, and of what takes long a line of the log now and then.
    fn progress(&self, mut progress: Progress) {
        let (mut pace, now) = (self.pace.borrow_mut(), Instant::now().into_std());
        let work = progress.is_busy().then(|| progress.amount());
        progress.speed = pace.see(now, work);
        self.status(&progress);
        if pace.is_line_due(now) {
            report(DaemonEvent::Loading {
                status: self.last_status.borrow().clone(),
                entries: progress.summary.entries,
                open: progress.open,
                amount: progress.amount(),
                speed: progress.speed,
            });
        }
    }

    fn last_status(&self) -> String {
        let wrong = if self.is_wrong.get() { WRONG } else { "" };
        format!("{}{wrong}", self.last_status.borrow())
    }

    /// The start, or the stop, may take this long from now on.
    pub(crate) fn extend_timeout(&self, by: Duration) {
        let microseconds = u32::try_from(by.as_micros()).unwrap_or(u32::MAX);
        self.put(Message::Extend(microseconds));
    }

    pub fn watchdog(&self) {
        self.put(Message::Watchdog);
    }

    pub fn stopping(&self, status: &impl Display) {
        let status = status_line(status);
        self.last_status.replace(status.clone());
        self.put(Message::Stopping(status));
    }

    fn put(&self, message: Message) {
        if let Some(outbox) = &self.outbox {
            outbox.put(message);
        }
    }
}

/// A status as it is sent: a line break in it would begin an assignment of its own, and errors quote
/// what containerd and the names of files say.
fn status_line(status: &impl Display) -> String {
    shortened(&status.to_string(), LONGEST_STATUS)
}

/// How often a watchdog with this limit is fed; `None` when the limit is none, as `WATCHDOG_USEC=0`
/// says (sd_watchdog_enabled(3), which recommends half of the limit). A limit that is too short to keep
/// does not make stowd spin.
fn feeding(limit: Duration) -> Option<Duration> {
    (!limit.is_zero()).then(|| (limit / 2).max(SHORTEST_FEED))
}

/// The sender of the progress has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("progress is not told any more")]
pub struct Closed;

/// Reports progress until the initial load `is_over`: STATUS when it changes, EXTEND_TIMEOUT_USEC when
/// bytes have moved. A load that takes long is a line of the log every ten seconds. `TimeoutStartSec` ends
/// one that is stuck.
///
/// Waits on: the clock; the end of the load.
pub async fn report_load(
    notifier: &Notifier,
    mut progress: watch::Receiver<Progress>,
    is_over: impl Fn(&Progress) -> bool,
) -> Result<(), Closed> {
    let mut clock = tokio::time::interval(REPORT);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let shown = progress.clone();
    let mut seen = 0;
    loop {
        tokio::select! {
            _ = clock.tick() => {
                let now = shown.borrow().clone();
                let moved = now.moved();
                if moved != seen {
                    seen = moved;
                    notifier.extend_timeout(EXTENSION);
                }
                notifier.progress(now);
            }
            loaded = progress.wait_for(&is_over) => {
                return loaded.map(drop).map_err(|_| Closed);
            }
        }
    }
}

/// Reports what happens after READY: STATUS, when it changes, and lines of the log as of a load.
///
/// Waits on: progress; the clock, while something is worked on.
pub(crate) async fn report_changes(notifier: &Notifier, mut progress: watch::Receiver<Progress>) {
    loop {
        let now = progress.borrow_and_update().clone();
        let is_working = !now.working.is_empty() || !now.pulling.is_empty();
        notifier.progress(now);
        // At most four messages a second, however often the progress changes.
        tokio::time::sleep(REPORT).await;
        let more_bytes = async {
            match is_working {
                true => tokio::time::sleep(REPORT).await,
                false => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = progress.changed() => if changed.is_err() { return },
            () = more_bytes => {}
        }
    }
}

/// How often the work loop must turn, and the watchdog be fed; `None` without `WatchdogSec`.
pub(crate) fn watchdog_period() -> Option<Duration> {
    sd_notify::watchdog_enabled().and_then(feeding)
}

/// Feeds the watchdog for as long as the work loop turns; for ever without `WatchdogSec`.
///
/// Waits on: the clock.
pub async fn feed_watchdog(notifier: &Notifier, progress: &watch::Receiver<Progress>) {
    let Some(period) = watchdog_period() else {
        return std::future::pending().await;
    };
    let mut clock = tokio::time::interval_at(Instant::now() + period, period);
    let mut turns = None;
    loop {
        clock.tick().await;
        let now = progress.borrow().turns;
        if turns != Some(now) {
            turns = Some(now);
            notifier.watchdog();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watchdog_is_fed_twice_in_its_limit() {
        let seconds = Duration::from_secs;
        assert_eq!(feeding(seconds(60)), Some(seconds(30)));
        assert_eq!(feeding(Duration::ZERO), None);
        assert_eq!(feeding(Duration::from_micros(1)), Some(SHORTEST_FEED));
    }
}
