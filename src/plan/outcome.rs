//! What came of a job: the record, and what follows it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::entry::{Identity, Kind};
use crate::happened::Happened;
use crate::ledger::{Attempt, FailureClass, Fingerprint, Imported, ImportedImage, Keeps, Outcome};
use crate::source_event::Listed;

use super::event::{Effect, EntryResult, Job, JobEnd, Now};
use super::failure::Failure;
use super::life::{Life, Overtaken, Queued, Running};
use super::state::Plan;
use super::store_query::{STORE_REST, Want};
use super::unpack_state::Demand;

impl Plan {
    pub(super) fn ended(&mut self, path: PathBuf, end: JobEnd, now: Now) {
        let running = match self.entries.remove(&path) {
            Some(Life::Running(running)) => running,
            Some(other) => return self.entries.set(path, other),
            None => return,
        };
        // An archive that lacks a blob is whole as a file, and some of it is to be imported.
        let is_of_file = |brought: &EntryResult| {
            !brought.problems.is_empty() && brought.class == FailureClass::Content
        };
        let end = match end {
            JobEnd::Through(brought) if running.job == Job::Verify && !is_of_file(&brought) => {
                JobEnd::Whole
            }
            end => end,
        };
        self.pins.want(now.uptime + self.rules.settle);
        let is_there = match &end {
            JobEnd::Through(_) | JobEnd::Absent(_) => true,
            JobEnd::StoreAway(_) => false,
            // It may not have needed the store.
            JobEnd::NoList(_)
            | JobEnd::Changed
            | JobEnd::Whole
            | JobEnd::Compared(_)
            | JobEnd::Failed(..) => self.away_until.is_some_and(|until| until <= now.uptime),
        };
        if is_there && !self.is_store_away() {
            self.away_until = None;
        }
        let is_read = matches!(
            end,
            JobEnd::Through(_) | JobEnd::NoList(_) | JobEnd::Failed(..)
        );
        if is_read {
            self.sandbox.doubt();
            self.restless.remove(&path);
        }
        let has_no_record = match &end {
            JobEnd::Changed => true,
            JobEnd::Whole | JobEnd::Compared(_) => false,
            // What was not overtaken is queued again, and has a record then.
            JobEnd::Absent(_) | JobEnd::StoreAway(_) => running.overtaken.is_some(),
            JobEnd::Through(_) | JobEnd::NoList(_) | JobEnd::Failed(..) => {
                matches!(running.overtaken, Some(Overtaken::Forget))
            }
        };
        if has_no_record {
            if self.may_share_names(&path) {
                self.query.want(Want::ArchivesEnded);
            }
            // What is worked on may have lost a name to this job, too.
            self.doubt_jobs();
        }
        match end {
            JobEnd::StoreAway(error) => self.store_away(running, error, now),
            JobEnd::Absent(_) if running.overtaken.is_some() => {
                self.follow_source(running, false, now)
            }
            // It has given names by the rules of then.
            JobEnd::Absent(_) if running.fingerprint != self.rules.fingerprint => {
                self.queue(Queued::first(running.entry, running.again));
            }
            JobEnd::Absent(looked) => self.queue(Queued {
                entry: running.entry,
                job: Job::Pull(looked),
                again: running.again,
                begun: Some(running.begun),
            }),
            JobEnd::Changed => self.changed(running, now),
            JobEnd::Whole | JobEnd::Compared(_) if running.overtaken.is_some() => {
                self.follow_source(running, true, now);
            }
            JobEnd::Compared(is_copy) => self.compared(running, is_copy),
            JobEnd::Whole => self.queue(Queued::first(running.entry, running.again)),
            JobEnd::Through(_) | JobEnd::NoList(_) | JobEnd::Failed(..)
                if matches!(running.overtaken, Some(Overtaken::Forget)) => {}
            // A list that has brought images, and is none any more, may be what a proxy has answered.
            JobEnd::NoList(error) if self.has_brought_images(&path) => {
                let failure = Failure::new(FailureClass::Content, error);
                self.failed(running, failure, Demand::Repeated, now);
            }
            JobEnd::NoList(error) => self.imported(running, Vec::new(), Some(error), now),
            JobEnd::Through(brought) if brought.problems.is_empty() => {
                self.imported(running, brought.images, None, now);
                self.ledger.sampled(&path, brought.sample);
            }
            JobEnd::Through(brought) => {
                let EntryResult {
                    images,
                    problems,
                    class,
                    keeps,
                    not_before,
                    sample: _,
                } = brought;
                let record = self.ledger.get(&path);
                let known = record.into_iter().flat_map(|record| record.images());
                let known = known.collect::<HashSet<_>>();
                let has_news = !images.iter().all(|image| known.contains(image));
                let has_news = has_news || (!images.is_empty() && self.is_other_version(&running));
                let imported = imported(&running, images, now);
                if has_news && running.entry.kind == Kind::Archive {
                    self.tell_imported(&running, &imported);
                }
                let failure = Failure {
                    imported,
                    keeps,
                    not_before,
                    ..Failure::new(class, problems.join("; "))
                };
                let is_news = self.lost.remove(&path) || has_news;
                self.failed(running, failure, demand(is_news), now);
                if is_news {
                    self.news.insert(path);
                }
            }
            JobEnd::Failed(class, error) => {
                let failure = Failure::new(class, error);
                self.failed(running, failure, Demand::Repeated, now);
            }
        }
        self.audit_losses();
    }

    /// Whether the record of an entry, which the job for it is about to replace, is about another version.
    /// All blobs were written then: what a store has lost of them without losing a name is back.
    fn is_other_version(&self, running: &Running) -> bool {
        let record = self.ledger.get(&running.entry.path);
        record.is_some_and(|record| record.identity != Some(running.entry.identity))
    }

    fn has_brought_images(&self, path: &Path) -> bool {
        let record = self.ledger.get(path);
        record.is_some_and(|record| record.images().next().is_some())
    }

    /// Whether a job for this entry that no record tells of may have taken names of other entries.
    fn may_share_names(&self, path: &Path) -> bool {
        let mut others = self.ledger.iter().filter(|(other, _)| *other != path);
        self.entries.is_pinning() || others.next().is_some()
    }

    fn store_away(&mut self, running: Running, error: String, now: Now) {
        if !matches!(running.overtaken, Some(Overtaken::Forget)) {
            // It may be another store that answers next.
            self.lost.insert(running.entry.path.clone());
        }
        let until = now.uptime + STORE_REST;
        // One line an outage: all entries would say the same.
        if self.away_until.replace(until).is_none() {
            let path = running.entry.path.clone();
            self.tell(Happened::StoreAway { path, error });
        }
        match running.overtaken {
            None => self.queue(Queued {
                job: running.job.anew(),
                begun: Some(running.begun),
                ..Queued::first(running.entry, running.again)
            }),
            Some(_) => self.follow_source(running, false, now),
        }
    }

    /// `no_list` says why a list brings nothing.
    fn imported(
        &mut self,
        running: Running,
        images: Vec<ImportedImage>,
        no_list: Option<String>,
        now: Now,
    ) {
        let path = running.entry.path.clone();
        let before = self.ledger.get(&path);
        let before = before.map(|record| record.outcome.imported().images.clone());
        let is_new = before.as_ref() != Some(&images);
        let imported = imported(&running, images, now);
        self.told.remove(&path);
        match no_list {
            None => self.tell_imported(&running, &imported),
            Some(error) => self.tell(Happened::NoList {
                path: path.clone(),
                error,
            }),
        }
        // What was pulled the store has not had.
        let is_pulled = matches!(running.job, Job::Pull(_));
        let is_news =
            self.lost.remove(&path) || is_new || is_pulled || self.is_other_version(&running);
        let is_outdated = running.fingerprint != self.rules.fingerprint;
        let identity = Some(running.entry.identity);
        let settings = running.fingerprint.clone();
        let outcome = Outcome::Imported(imported);
        let attempt = self.attempt(&path, identity, settings, outcome, now);
        self.ledger.record(path.clone(), attempt);
        self.unbake_other(&path);
        self.want_unpacked(&path, demand(is_news));
        if (is_new && before.is_some()) || is_outdated || self.ledger.shares_names(&path) {
            // Another entry is to have a name that this one has taken, or has let go; or this one is
            // to be read again, with the rules that have come meanwhile.
            self.query.want(Want::ArchivesEnded);
        }
        if is_news {
            self.news.insert(path.clone());
        }
        match running.overtaken {
            None => self.entries.set(path, Life::Done(running.entry)),
            Some(_) => self.follow_source(running, true, now),
        }
    }

    fn tell_imported(&mut self, running: &Running, imported: &Imported) {
        self.tell(Happened::Imported {
            path: running.entry.path.clone(),
            kind: running.entry.kind,
            images: imported.images.clone(),
            bytes: imported.bytes,
            duration: imported.duration,
        });
    }

    fn failed(&mut self, running: Running, mut failure: Failure, demand: Demand, now: Now) {
        failure.was_interrupted = running.was_interrupted;
        let path = running.entry.path.clone();
        let identity = running.entry.identity;
        let is_outdated = running.fingerprint != self.rules.fingerprint;
        let settings = running.fingerprint.clone();
        self.record_failure(&path, Some(identity), settings, failure, now);
        self.want_unpacked(&path, demand);
        // What of it is whole has taken names, of which another entry may be the owner.
        if self.ledger.shares_names(&path) {
            self.query.want(Want::ArchivesEnded);
        }
        match running.overtaken {
            Some(_) => self.follow_source(running, true, now),
            // It was made with other rules: it says nothing about these.
            None if is_outdated => self.queue(Queued::first(running.entry, true)),
            None => {
                let until = self.until(&path, now);
                self.entries.set(path, Life::Waiting(running.entry, until));
            }
        }
    }

    /// What follows a job that the source has overtaken. `is_recorded`: whether the record tells all
    /// that the job has pinned.
    pub(super) fn follow_source(&mut self, running: Running, is_recorded: bool, now: Now) {
        let path = running.entry.path.clone();
        match running.overtaken {
            Some(Overtaken::Next(Listed { entry, whole: true })) => self.queue(Queued {
                job: self.job_of_retry(&entry),
                ..Queued::first(entry, false)
            }),
            Some(Overtaken::Next(Listed { entry, .. })) => {
                self.ledger.reopen(&path);
                // The source may have said meanwhile that it is still written, or cannot be read.
                self.effects.push(Effect::LookAgain(path.clone()));
                self.entries.set(path, Life::Settling(entry));
            }
            Some(Overtaken::OutOfSight(_)) if self.keep_baked(&path) => {}
            Some(Overtaken::FileGone) => self.forget(&path, now),
            Some(Overtaken::OutOfSight(seen_in)) => {
                let is_recorded = is_recorded || self.is_all_recorded(&running.entry);
                self.ledger.seen_in(&path, seen_in.clone());
                let away = Life::OutOfSight {
                    is_recorded,
                    seen_in,
                };
                self.entries.set(path, away);
            }
            Some(Overtaken::Forget) | None => {}
        }
    }

    /// Entries that lack a blob are tried when another entry has brought something, and no archive is
    /// left that may bring more, or may lack what was brought when it began: however many lack
    /// something, each is tried once then.
    pub(super) fn retry_lacking(&mut self) {
        let is_at_rest = self.entries.open().archives == 0 && !self.entries.is_pinning();
        if self.news.is_empty() || !is_at_rest {
            return;
        }
        let news = std::mem::take(&mut self.news);
        for path in self.entries.lacking() {
            if news.len() > 1 || !news.contains(&path) {
                self.try_anew(&path);
            }
        }
    }

    /// Writes a failure down, and tells it where it is not the one that was told last.
    pub(super) fn record_failure(
        &mut self,
        path: &Path,
        identity: Option<Identity>,
        settings: Fingerprint,
        failure: Failure,
        now: Now,
    ) {
        let Failure {
            class,
            error,
            imported,
            keeps,
            not_before,
            was_interrupted,
        } = failure;
        let images = imported.images.clone();
        let outcome = Outcome::Failed {
            error: error.clone(),
            imported,
        };
        let attempt = Attempt {
            class,
            keeps,
            not_before,
            was_interrupted,
            ..self.attempt(path, identity, settings, outcome, now)
        };
        let told = self.ledger.get(path);
        let told = told.filter(|_| self.told.contains(path)).cloned();
        let record = self.ledger.record(path.to_owned(), attempt);
        if told.is_some_and(|told| told.failed_alike(record)) {
            return;
        }
        let (attempts, next_try) = (record.attempts, record.next_try);
        self.told.insert(path.to_owned());
        self.tell(Happened::Failed {
            path: path.to_owned(),
            images,
            class,
            error,
            attempts,
            next_try,
        });
    }

    fn attempt(
        &self,
        path: &Path,
        identity: Option<Identity>,
        settings: Fingerprint,
        outcome: Outcome,
        now: Now,
    ) -> Attempt {
        Attempt {
            identity,
            settings,
            outcome,
            class: FailureClass::default(),
            seen_in: self.above(path),
            finished: now.wall,
            seed: self.rules.seed,
            keeps: Keeps::All,
            not_before: Duration::ZERO,
            was_interrupted: false,
        }
    }
}

/// Why what a job has brought is to be unpacked. `is_news`: the store had not all of it.
fn demand(is_news: bool) -> Demand {
    match is_news {
        true => Demand::New,
        false => Demand::Repeated,
    }
}

fn imported(running: &Running, images: Vec<ImportedImage>, now: Now) -> Imported {
    Imported {
        images,
        bytes: running.entry.identity.size,
        duration: now.uptime.saturating_sub(running.begun),
    }
}
