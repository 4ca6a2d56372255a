//! What follows from what the store says by itself: that images were deleted, that it does not answer, and
//! that it, or another one, answers again.

use crate::happened::Happened;
use crate::image_store::StoreState;

use super::event::Now;
use super::life::{Life, Overtaken};
use super::state::Plan;
use super::store_query::Want;

impl Plan {
    pub(super) fn store_told(&mut self, state: StoreState, now: Now) {
        let before = std::mem::replace(&mut self.store, state);
        if let (None, Some(error)) = (before.away, &self.store.away) {
            // One line an outage: a job may have met it before.
            if self.away_until.is_none_or(|until| until <= now.uptime) {
                self.tell(Happened::StoreSilent(error.clone()));
            }
            self.away_until.get_or_insert(now.uptime);
        }
        if self.store.returns > before.returns {
            self.store_returned(now);
        }
        if self.store.losses > before.losses {
            self.query.want(Want::Soon);
            self.doubt_jobs();
        }
    }

    /// What a start does is done again: it may be another store.
    fn store_returned(&mut self, now: Now) {
        self.tell(Happened::StoreReturned);
        self.away_until = None;
        self.brought_back.clear();
        self.query.returned();
        self.scrub.recall();
        self.unpacks.doubt();
        self.pins.want(now.uptime + self.rules.settle);
        // What a list has found before a pull may be gone.
        self.doubt_jobs();
        // What is imported again may be lost by now, whatever was lacking of it.
        let in_work = self.entries.iter().filter(|(_, life)| match life {
            Life::Queued(_) => true,
            Life::Running(running) => !matches!(running.overtaken, Some(Overtaken::Forget)),
            _ => false,
        });
        self.lost.extend(in_work.map(|(path, _)| path.to_owned()));
        if self.sandbox.is_wanted() {
            self.ask_for_sandbox_image();
        }
        if self.load.begin_again() {
            let loaded = self.entries.iter().filter(|(path, life)| {
                let has_outcome = self.ledger.has_outcome(path);
                // What is being brought back has none.
                let is_loaded = |entry| has_outcome || self.ledger.is_of_version(entry);
                life.entry().is_some_and(is_loaded)
            });
            let loaded = loaded.map(|(path, _)| path.to_owned());
            self.entries.begin_load(loaded.collect());
        }
        // They may have failed for the store.
        let mut failed = self.entries.lacking();
        failed.extend(self.entries.all_due());
        for path in failed {
            self.try_anew(&path);
        }
        self.load_unpacked();
    }

    pub(super) fn is_store_away(&self) -> bool {
        self.store.away.is_some()
    }

    /// A job has ended. The audit at the time of a loss has passed over what had no record yet.
    pub(super) fn audit_losses(&mut self) {
        if self.query.take(Want::JobEnded) {
            self.doubt_jobs();
            let is_last = !self.is_any_job_unrecorded();
            self.query.want(match is_last && !self.load.is_over() {
                // READY waits for the answer.
                true => Want::Doubt,
                false => Want::Soon,
            });
        }
    }

    /// What jobs have brought that have no record yet may be lost, or may have been another entry's.
    pub(super) fn doubt_jobs(&mut self) {
        if self.is_any_job_unrecorded() {
            self.query.want(Want::JobEnded);
        }
    }

    /// Whether images may be in the store that no record tells of yet.
    fn is_any_job_unrecorded(&self) -> bool {
        let mut running = self.entries.running();
        let mut looked = self.entries.looked();
        running.next().is_some() || looked.next().is_some()
    }
}
