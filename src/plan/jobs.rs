//! Which entry is worked on next.

use crate::concurrency::PULLED_LISTS;
use crate::entry::{Entry, Kind};
use crate::ledger::{NamesOfLater, Record};

use super::event::{Brings, Effect, JobKind, Now};
use super::life::{Life, Queued, Running};
use super::state::Plan;

impl Plan {
    /// Begins what is due, as slots are free.
    pub(super) fn begin_jobs(&mut self, now: Now) {
        while let Some(path) = self.entries.first_due(now.uptime) {
            self.try_due(&path);
        }
        if self.away_until.is_some_and(|until| until > now.uptime) {
            return;
        }
        for kind in JobKind::ALL {
            let mut free = self.free_slots(kind);
            while free > 0
                && self.may_begin(kind)
                && let Some(queued) = self.entries.take_queued(kind)
            {
                self.begin(queued, now);
                free -= 1;
            }
        }
    }

    fn free_slots(&self, kind: JobKind) -> usize {
        let slots = match kind {
            JobKind::Import | JobKind::Look => self.rules.parallel,
            JobKind::Pull => PULLED_LISTS,
        };
        let running = self.entries.running();
        let running = running.filter(|(_, running)| running.job.kind() == kind);
        slots.saturating_sub(running.count())
    }

    fn may_begin(&self, kind: JobKind) -> bool {
        match kind {
            // They pin names that no record has.
            JobKind::Import | JobKind::Look => !self.pins.is_in_work(),
            // An archive may bring what would be pulled.
            JobKind::Pull => self.entries.open().archives == 0 && !self.query.is_pending(),
        }
    }

    fn begin(&mut self, queued: Queued, now: Now) {
        let Queued {
            entry,
            job,
            again,
            begun,
        } = queued;
        let brings = self.brings(&entry);
        let begins = Effect::Begin(entry.clone(), job.clone(), brings);
        self.effects.push(begins);
        // A pull begins with what the look before it has pinned.
        let was_interrupted = begun.is_some() && job.kind() != JobKind::Pull;
        let running = Running {
            was_interrupted: self.interrupted.remove(&entry.path) || was_interrupted,
            job,
            again,
            begun: begun.unwrap_or(now.uptime),
            fingerprint: self.rules.fingerprint.clone(),
            overtaken: None,
            entry,
        };
        self.entries
            .set(running.entry.path.clone(), Life::Running(running));
    }

    fn brings(&self, entry: &Entry) -> Brings {
        let record = self.ledger.get(&entry.path).into_iter();
        let later = match entry.kind {
            Kind::Archive => self.ledger.names_of_later(&entry.path),
            // It names what the store has under the name.
            Kind::List => NamesOfLater::new(),
        };
        Brings {
            known: record.flat_map(Record::images).cloned().collect(),
            later,
        }
    }
}
