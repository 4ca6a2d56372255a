//! How long lists may hold the drain (`lists.ready-timeout`).

use std::time::{Duration, Instant};

use humantime::format_duration;
use tracing::warn;

use crate::entry::{Kind, shown};
use crate::image_store::ImageStore;

use super::Intake;

/// Between two signs that a start which waits for lists goes on. What a pull has come to is not to be
/// had from CRI; that it is waited for has an end.
const SIGN: Duration = Duration::from_secs(60);

/// The wait for lists.
#[derive(Debug, Default)]
pub(super) struct Patience {
    begun: Option<Instant>,
    next_sign: Option<Instant>,
}

impl<S: ImageStore> Intake<S> {
    /// Whether the drain has ended: for good, or because nothing but lists is left and they have had
    /// their time.
    pub(super) fn ends_drain(&mut self, now: Instant) -> bool {
        if self.queue.is_drained() {
            return true;
        }
        if self.queue.is_drained_of_archives() {
            // Only now do pulls begin.
            self.patience.begun.get_or_insert(now);
        }
        let Some(end) = self.waits_for_lists_until() else {
            return false;
        };
        if end > now {
            let sign = *self.patience.next_sign.get_or_insert(now + SIGN);
            if sign <= now {
                self.patience.next_sign = Some(now + SIGN);
                self.moved += 1;
            }
            return false;
        }
        let running = self.running.iter();
        let running = running.filter(|(_, running)| running.kind == Kind::List);
        let running = running.map(|(path, _)| path.as_path());
        let lists = running.chain(self.queue.waiting_lists()).map(shown);
        let lists = lists.collect::<Vec<_>>().join(" ");
        let limit = format_duration(self.settings.ready_timeout);
        warn!(
            lists,
            "not waiting any longer for lists: {lists} (lists.ready-timeout, {limit})"
        );
        true
    }

    /// When something is to be decided or told about that wait.
    pub(super) fn patience_due(&self) -> Option<Instant> {
        let end = self.waits_for_lists_until().filter(|_| !self.drained)?;
        Some(self.patience.next_sign.map_or(end, |sign| sign.min(end)))
    }

    /// `None` where something else is waited for.
    fn waits_for_lists_until(&self) -> Option<Instant> {
        let begun = self.patience.begun?;
        self.queue
            .is_drained_of_archives()
            .then(|| begun + self.settings.ready_timeout)
    }
}
