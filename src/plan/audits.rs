//! The ledger against the store: which entries need work, decided when the store has told its images.

use std::collections::BTreeMap;
use std::path::Path;

use crate::entry::Entry;
use crate::happened::{FoundBecause, Happened};
use crate::image_store::Image;
use crate::ledger::{Audit, Decision, FailureClass};
use crate::retry;
use crate::source_event::Listed;

use super::brought_back::{Again, BroughtBack};
use super::event::{Effect, Job, Now};
use super::life::{Life, Queued, Until};
use super::state::Plan;

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
                self.take_over_pins(&images);
                self.audit(&images, asked_at, now);
                self.check_stale(&images, now);
                self.look_for_sandbox_image(&images);
                self.tell_overruled();
            }
            Err(error) => {
                self.tell(Happened::StoreNotListed(error));
                self.query.failed(now.uptime);
                self.pins.put_off(now.uptime + self.rules.settle);
            }
        }
    }

    /// Decides about every entry that awaits it, and about every one that is done: the store may
    /// have lost what it brought. Records that are newer than the question are right by themselves.
    fn audit(&mut self, images: &[Image], asked_at: u64, now: Now) {
        let audit = Audit::new(&self.ledger, images, &self.rules.owner);
        let (mut decided, mut broken) = (Vec::new(), Vec::new());
        for (path, life) in self.entries.iter() {
            if self
                .ledger
                .get(path)
                .is_some_and(|record| record.serial > asked_at)
            {
                // An entry that is checked was seen after the question, which is asked again for it.
                continue;
            }
            let listed = match life {
                Life::Waiting(entry, Until::Change | Until::OtherEntry) => {
                    let names = audit.missing_of(path);
                    if !names.is_empty() {
                        let is_lost = audit.lacks(&names);
                        broken.push((entry.clone(), names, is_lost));
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
            let identity = &listed.entry.identity;
            let decision = match audit.decide(path, identity, &self.rules.fingerprint) {
                // What of a broken entry is whole is to be there before READY.
                Decision::Failed => match audit.missing_of(path) {
                    names if names.is_empty() => Decision::Failed,
                    names => Decision::Missing(names),
                },
                decision => decision,
            };
            // Also of another version, or with other rules: it may bring the same again.
            let is_lost = match &decision {
                Decision::Missing(names) => audit.lacks(names),
                Decision::Changed(_) => audit.lacks(&audit.missing_of(path)),
                Decision::Unchanged | Decision::Failed => false,
            };
            if decision != Decision::Unchanged || !matches!(life, Life::Done(_)) {
                decided.push((listed, decision, is_lost));
            }
        }
        let left = audit
            .left()
            .filter(|(_, name, _)| !self.left.contains(*name));
        let mut untold = BTreeMap::<_, Vec<_>>::new();
        for (path, name, instance) in left {
            let names = untold.entry((path.to_owned(), instance.to_owned()));
            names.or_default().push(name.to_owned());
        }
        self.left = audit.left().map(|(_, name, _)| name.to_owned()).collect();
        for ((path, instance), names) in untold {
            self.tell(Happened::LeftToInstance {
                path,
                instance,
                names,
            });
        }
        for (listed, decision, is_lost) in decided {
            let may = match &decision {
                Decision::Missing(names) => self.may_bring_back(&listed.entry, names, now),
                _ => true,
            };
            if may {
                let path = &listed.entry.path;
                self.lost.extend(is_lost.then(|| path.clone()));
                self.act(listed, decision, now);
            }
        }
        for (entry, names, is_lost) in broken {
            if self.may_bring_back(&entry, &names, now) {
                let path = entry.path.clone();
                self.lost.extend(is_lost.then(|| path.clone()));
                self.tell(Happened::Missing { path, names });
                self.queue(Queued::first(entry, true));
            }
        }
    }

    /// Whether what the store lacks of an entry is brought back once more.
    fn may_bring_back(&mut self, entry: &Entry, names: &[String], now: Now) -> bool {
        let Entry { path, identity, .. } = entry;
        if matches!(self.entries.get(path), Some(Life::Checking(_))) {
            return true;
        }
        let brought_back = self.brought_back.entry(path.clone());
        let brought_back = brought_back.or_insert(BroughtBack::new(*identity, now.uptime));
        let again = brought_back.lacks(*identity, now.uptime);
        if again == Again::GiveUp {
            self.tell(Happened::GivenUp {
                path: path.clone(),
                names: names.to_vec(),
            });
        }
        again == Again::BringBack
    }

    fn act(&mut self, listed: Listed, decision: Decision, now: Now) {
        let Listed { entry, whole } = listed;
        let path = entry.path.clone();
        let mut job = Job::first(entry.kind);
        match decision {
            Decision::Unchanged => {
                if !self.ledger.stands(&path) {
                    self.tell(Happened::Skipped(path.clone()));
                    self.ledger.confirm(&path);
                }
                return self.entries.set(path, Life::Done(entry));
            }
            Decision::Failed => {
                let until = self.until(&path, now);
                // An entry that a run before has failed to import is tried at once, unless only a
                // change of its file can help. One that is not whole is not tried before it is.
                if until == Until::Change || (whole && self.ledger.stands(&path)) {
                    self.ledger.confirm(&path);
                    return self.entries.set(path, Life::Waiting(entry, until));
                }
                job = self.job_of_retry(&entry);
            }
            Decision::Missing(names) => self.tell(Happened::Missing { path, names }),
            Decision::Changed(change) => self.tell(Happened::Found {
                path,
                bytes: entry.identity.size,
                reason: FoundBecause::Listed(change),
            }),
        }
        if whole {
            self.queue(Queued {
                job,
                ..Queued::first(entry, false)
            });
        } else {
            self.ledger.reopen(&entry.path);
            // The source may have said before that it is still written, and says it once.
            self.effects.push(Effect::LookAgain(entry.path.clone()));
            self.entries.set(entry.path.clone(), Life::Settling(entry));
        }
    }

    /// When this version of an entry is due, if it has failed and is not due yet.
    pub(super) fn delay(&self, entry: &Entry, now: Now) -> Option<Until> {
        let record = self.ledger.get(&entry.path)?;
        let has_failed = record.outcome.error().is_some() && record.serial > self.due_at_once;
        let is_of_it = has_failed && self.is_recorded(entry);
        let until = is_of_it.then(|| self.until(&entry.path, now))?;
        match until {
            Until::Uptime(due) | Until::Space { due, .. } => (due > now.uptime).then_some(until),
            _ => None,
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
            // The source has told of the file by now.
            (None, Some(FailureClass::Environment)) => Until::Uptime(now.uptime),
            (None, _) => Until::Change,
        }
    }
}
