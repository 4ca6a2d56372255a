//! The images directory as a source of events.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::event_queue::EventQueue;
use super::follower::Follower;
use super::orders::{Orders, SourceOptions};
use super::unsettled::SettleLimits;
use crate::source_event::{EntrySource, SourceEvent};

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
        let follower = Follower::new(
            dir,
            options,
            limits,
            Arc::clone(&queue),
            Arc::clone(&orders),
        );
        std::thread::Builder::new()
            .name("images-dir".to_owned())
            .spawn(move || follower.run())
            .map_err(|cause| Unwatchable {
                tried: "thread",
                cause,
            })?;
        Ok(Self { queue, orders })
    }
}

impl Drop for Source {
    /// The thread ends on its own: it may hang in a look at a file system that does not answer.
    fn drop(&mut self) {
        self.orders.stop();
    }
}

impl EntrySource for Source {
    /// One task at a time may wait. `None`: the thread has ended, which it does not do unless it
    /// panicked.
    async fn next(&self) -> Option<SourceEvent> {
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
