//! The ledger against the store: which entries need work, decided when the store has told its images.

use std::path::Path;

use crate::happened::{FoundBecause, Happened};
use crate::image_store::Image;
use crate::ledger::{Audit, Decision, FailureClass};
use crate::retry;
use crate::source_event::Listed;

use super::event::{Effect, Now};
use super::life::{Life, Queued, Until};
use super::state::Plan;
use super::store_query::STORE_REST;

impl Plan {
    /// Wants the audit that had to wait for the end of all archives.
    pub(super) fn audit_at_rest(&mut self) {
        if self.entries.open().archives == 0 && std::mem::take(&mut self.is_audit_due) {
            self.query.want_audit();
        }
    }

    /// Asks for the images when an audit is wanted, or the pins are to be checked.
    pub(super) fn ask_the_store(&mut self, now: Now) {
        let serial = self.ledger.serial();
        if self.query.ask(now.uptime, self.pins.is_asking(), serial) {
            self.effects.push(Effect::ListImages);
        }
    }

    pub(super) fn store_listed(&mut self, images: Result<Vec<Image>, String>, now: Now) {
        let Some(asked_at) = self.query.answered() else {
            return;
        };
        match images {
            Ok(images) => {
                self.audit(&images, asked_at, now);
                self.check_stale(&images, now);
            }
            Err(error) => {
                self.tell(Happened::StoreNotListed(error));
                self.query.want_audit_at(now.uptime + STORE_REST);
                self.pins.put_off(now.uptime + self.rules.settle);
            }
        }
    }

    /// Decides about every entry that awaits it, and about every one that is done: the store may
    /// have lost what it brought. Records that are newer than the question are right by themselves.
    fn audit(&mut self, images: &[Image], asked_at: u64, now: Now) {
        let audit = Audit::new(&self.ledger, images);
        let (mut decided, mut lost) = (Vec::new(), Vec::new());
        for (path, life) in self.entries.iter() {
            let listed = match life {
                Life::Waiting(entry, Until::Change | Until::OtherEntry) => {
                    let names = audit.missing_of(path);
                    if !names.is_empty() {
                        lost.push((entry.clone(), names));
                    }
                    continue;
                }
                Life::Checking(listed) => listed.clone(),
                Life::Done(entry) => Listed {
                    entry: entry.clone(),
                    whole: true,
                },
                _ => continue,
            };
            let is_newer = self.ledger.get(path).is_some_and(|r| r.serial > asked_at);
            if is_newer && matches!(life, Life::Done(_)) {
                continue;
            }
            let identity = &listed.entry.identity;
            let decision = audit.decide(path, identity, &self.rules.fingerprint);
            if decision != Decision::Unchanged || !matches!(life, Life::Done(_)) {
                decided.push((listed, decision));
            }
        }
        for (listed, decision) in decided {
            self.act(listed, decision, now);
        }
        // Of an entry that is broken the store is to have what is whole.
        for (entry, names) in lost {
            let path = entry.path.clone();
            self.tell(Happened::Missing { path, names });
            self.queue(Queued::first(entry, true));
        }
    }

    fn act(&mut self, listed: Listed, decision: Decision, now: Now) {
        let Listed { entry, whole } = listed;
        let path = entry.path.clone();
        match decision {
            Decision::Unchanged => {
                if !self.ledger.stands(&path) {
                    self.tell(Happened::Skipped(path.clone()));
                    self.ledger.uphold(&path);
                }
                return self.entries.set(path, Life::Done(entry));
            }
            Decision::Failed => {
                let until = self.next_try(&path, now);
                // An entry that a run before has failed to import is tried at once, unless only a
                // change of its file can help.
                if self.ledger.stands(&path) || until == Until::Change {
                    self.ledger.uphold(&path);
                    return self.entries.set(path, Life::Waiting(entry, until));
                }
            }
            Decision::Missing(names) => self.tell(Happened::Missing { path, names }),
            Decision::Changed(change) => self.tell(Happened::Found {
                path,
                bytes: entry.identity.size,
                reason: FoundBecause::Listed(change),
            }),
        }
        if whole {
            self.queue(Queued::first(entry, false));
        } else {
            self.ledger.reopen(&entry.path);
            self.entries.set(entry.path.clone(), Life::Settling(entry));
        }
    }

    /// What an entry that has failed waits for, as its record says.
    pub(super) fn next_try(&self, path: &Path, now: Now) -> Until {
        let Some(record) = self.ledger.get(path) else {
            return Until::Change;
        };
        match (record.next_try, record.class) {
            (Some(next), _) => Until::Uptime(now.uptime + retry::left(next, now.wall)),
            (None, Some(FailureClass::MissingBlob)) => Until::OtherEntry,
            (None, _) => Until::Change,
        }
    }
}
