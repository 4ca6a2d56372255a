//! How an entry that has failed is tried again.
//!
//! An archive that was found broken is read once more and not written. One that lacked space is tried when
//! there is room for what it has to write: the store is asked for that when the entry is due, with the
//! backoff of retries.

use std::path::{Path, PathBuf};

use crate::entry::{Entry, Kind};
use crate::ledger::FailureClass;
use crate::retry;

use super::event::{Effect, Job, Now};
use super::life::{Life, Queued, Until};
use super::state::Plan;

impl Plan {
    /// What an entry that has just failed waits for.
    pub(super) fn until(&self, path: &Path, now: Now) -> Until {
        let record = self.ledger.get(path);
        match (self.next_try(path, now), record) {
            (Until::Uptime(due), Some(record)) => match record.class {
                Some(FailureClass::NoSpace { needs }) => Until::Space { due, needs },
                _ => Until::Uptime(due),
            },
            (until, _) => until,
        }
    }

    /// An entry that has failed is due: it is tried, or the store is asked for space first.
    pub(super) fn try_due(&mut self, path: &Path) {
        let Some(Life::Waiting(entry, Until::Space { needs, .. })) = self.entries.get(path) else {
            return self.try_again(path, true);
        };
        let life = Life::Waiting(entry.clone(), Until::Answer { needs: *needs });
        self.entries.set(path.to_owned(), life);
        self.ask_space();
    }

    pub(super) fn ask_space(&mut self) {
        if !std::mem::replace(&mut self.is_space_asked, true) {
            self.effects.push(Effect::AskSpace);
        }
    }

    /// The store has told how much space it has.
    pub(super) fn space_told(&mut self, free: Option<u64>, now: Now) {
        self.is_space_asked = false;
        self.unpack_space_told(free, now);
        let waiting = self.entries.iter().filter_map(|(path, life)| match life {
            Life::Waiting(entry, Until::Answer { needs }) => {
                Some((path.to_owned(), entry.clone(), *needs))
            }
            _ => None,
        });
        for (path, entry, needs) in waiting.collect::<Vec<_>>() {
            // Where it cannot be told there may be room.
            if free.is_none_or(|free| free >= needs) {
                self.try_again(&path, true);
            } else {
                self.put_off(path, entry, needs, now);
            }
        }
    }

    fn put_off(&mut self, path: PathBuf, entry: Entry, needs: u64, now: Now) {
        let attempts = self.ledger.get(&path).map_or(0, |record| record.attempts);
        let wait = retry::delay(attempts.saturating_add(1), &path, self.rules.seed);
        self.ledger.put_off(&path, now.wall.checked_add(wait));
        let due = now.uptime + wait;
        let until = Until::Space { due, needs };
        self.entries.set(path, Life::Waiting(entry, until));
    }

    /// Queues an entry that waits. Before READY it may still become whole: its outcome is open again.
    pub(super) fn try_anew(&mut self, path: &Path) {
        let is_over = self.load.is_over();
        self.try_again(path, is_over);
        if !is_over {
            self.ledger.reopen(path);
        }
    }

    /// Queues an entry that waits. `again`: its outcome stands until then.
    fn try_again(&mut self, path: &Path, again: bool) {
        if let Some(Life::Waiting(entry, _)) = self.entries.get(path) {
            let queued = Queued {
                job: self.job_of_retry(entry),
                ..Queued::first(entry.clone(), again)
            };
            self.entries.set(path.to_owned(), Life::Queued(queued));
        }
    }

    /// What is done with an entry that was worked on before, in this version or in another.
    pub(super) fn job_of_retry(&self, entry: &Entry) -> Job {
        if let Some(sample) = self.sample_to_compare(entry) {
            return Job::Compare(sample);
        }
        let record = self.ledger.get(&entry.path);
        let is_broken = record.is_some_and(|record| record.is_broken);
        match entry.kind {
            Kind::Archive if is_broken && self.is_recorded(entry) => Job::Verify,
            kind => Job::first(kind),
        }
    }
}
