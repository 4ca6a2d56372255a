//! What follows from what the images directory says.

use std::collections::BTreeSet;
use std::path::Path;

use crate::entry::Entry;
use crate::happened::{FoundBecause, Happened};
use crate::ledger::FailureClass;
use crate::source_event::{self, DirectoryId, Ignored, Listed, Listing, SourceEvent, Unreadable};

use super::event::{Effect, Now};
use super::life::{Life, Overtaken, Queued, Running};
use super::state::Plan;
use super::store_query::Want;

/// What is told of a file that is not closed for too long.
const STILL_WRITTEN: &str = "is still being written; it is imported when it is whole";

impl Plan {
    pub(super) fn sighted(&mut self, event: SourceEvent, now: Now) {
        match event {
            SourceEvent::Listed(listing) => self.listed(listing, now),
            SourceEvent::Settling(entry) => {
                let whole = false;
                self.touched(Listed { entry, whole }, now);
            }
            SourceEvent::Settled(entry) => {
                let whole = true;
                self.touched(Listed { entry, whole }, now);
            }
            SourceEvent::StillWritten(entry) => self.still_written(entry),
            SourceEvent::Removed(path) => {
                self.ignored.remove(&path);
                for path in self.entries.below(&path) {
                    self.forget(&path, now);
                }
            }
            SourceEvent::Unreadable(unreadable) => self.unreadable(unreadable),
            SourceEvent::Ignored(ignored) => {
                // It may have been an entry: a pipe has its name now.
                for path in self.entries.below(&ignored.path) {
                    self.forget(&path, now);
                }
                self.ignore(ignored);
            }
            SourceEvent::Degraded(cause) => self.tell(Happened::Degraded(cause)),
            SourceEvent::Restored => self.tell(Happened::Restored),
        }
    }

    fn listed(&mut self, listing: Listing, now: Now) {
        let is_first = self.load.begin();
        if is_first {
            if listing.directories.is_empty() && listing.unreadable.is_empty() {
                self.tell(Happened::DirectoryMissing(self.rules.root.clone()));
            }
            let start = listing.entries.iter();
            let start = start.map(|listed| listed.entry.path.clone());
            self.entries.begin_load(start.collect());
        }
        self.know_file_systems(&listing);
        self.leave_absent(&listing, now);
        let ignored = listing.ignored.iter().map(|other| &other.path);
        let ignored = ignored.collect::<BTreeSet<_>>();
        self.ignored.retain(|path| ignored.contains(path));
        for path in &listing.ignored {
            self.ignore(path.clone());
        }
        self.directories = listing.directories;
        for unreadable in listing.unreadable {
            self.unreadable(unreadable);
        }
        self.has_memory |= !listing.entries.is_empty();
        for listed in listing.entries {
            let seen_in = self.above(&listed.entry.path);
            self.ledger.seen_in(&listed.entry.path, seen_in);
            self.check(listed, now);
        }
        self.query.want(match is_first {
            true => Want::Doubt,
            false => Want::Soon,
        });
        self.pins.want(now.uptime + self.rules.settle);
    }

    /// The directories above a path, as the last listing has them.
    pub(super) fn above(&self, path: &Path) -> Vec<DirectoryId> {
        source_event::above(&self.directories, path, &self.rules.root)
    }

    /// A listing has an entry: whether anything is to be done is asked of the store, unless this
    /// version of it is known or under way.
    fn check(&mut self, listed: Listed, now: Now) {
        let path = listed.entry.path.clone();
        let identity = listed.entry.identity;
        let is_known = |life: &Life| life.identity() == Some(&identity);
        match self.take_seen(&path) {
            Some(Life::Running(running)) => self.overtake(running, listed),
            Some(_) if let Some(life) = self.rest(&listed) => self.entries.set(path, life),
            Some(Life::Settling(_) | Life::Unfinished(_) | Life::Rereading(_)) if listed.whole => {
                let life = self.whole(listed.entry, now);
                self.entries.set(path, life);
            }
            Some(Life::Unfinished(_)) => self.entries.set(path, Life::Unfinished(listed.entry)),
            // It may be whole by now, and the listing replaces the event that said so.
            Some(Life::Checking(_)) => self.entries.set(path, Life::Checking(listed)),
            Some(life) if is_known(&life) => self.entries.set(path, life),
            Some(Life::Settling(_) | Life::Rereading(_)) => {
                self.entries.set(path, Life::Settling(listed.entry));
            }
            _ => self.entries.set(path, Life::Checking(listed)),
        }
    }

    /// Takes the life of an entry that was seen: its file can be looked at again.
    fn take_seen(&mut self, path: &Path) -> Option<Life> {
        let life = self.entries.remove(path)?;
        if let Life::Unreadable { .. } | Life::Baked = life {
            self.ledger.end_trouble(path);
            self.ledger.has_file_again(path);
        }
        if let Life::Unreadable { is_recorded } | Life::OutOfSight { is_recorded, .. } = &life
            && !is_recorded
        {
            self.interrupted.insert(path.to_owned());
        }
        Some(life)
    }

    /// An entry that is worked on was seen, in this version or in another.
    fn overtake(&mut self, mut running: Running, listed: Listed) {
        let path = running.entry.path.clone();
        running.overtaken = if running.entry.identity == listed.entry.identity {
            None
        } else {
            self.effects.push(Effect::Abandon(path.clone()));
            Some(Overtaken::Next(listed))
        };
        self.entries.set(path, Life::Running(running));
    }

    /// The file of an entry was touched: it is left alone until it is whole, and then imported if it
    /// is another one than before.
    fn touched(&mut self, listed: Listed, now: Now) {
        self.has_memory = true;
        let path = listed.entry.path.clone();
        let identity = listed.entry.identity;
        let life = match self.take_seen(&path) {
            Some(Life::Running(running)) => return self.overtake(running, listed),
            Some(_) if let Some(life) = self.rest(&listed) => life,
            Some(
                known @ (Life::Done(_) | Life::Waiting(..) | Life::Queued(_) | Life::Checking(_)),
            ) if known.identity() == Some(&identity) => match known {
                Life::Checking(_) => Life::Checking(listed),
                known => known,
            },
            Some(Life::Unfinished(entry)) if !listed.whole => Life::Unfinished(entry),
            Some(Life::OutOfSight { .. } | Life::Unreadable { .. } | Life::Baked)
                if self.is_recorded(&listed.entry) =>
            {
                self.query.want(Want::Doubt);
                Life::Checking(listed)
            }
            // A file that grows is found once.
            Some(
                Life::Settling(_) | Life::Rereading(_) | Life::Unfinished(_) | Life::Queued(_),
            ) => self.next(listed, now),
            _ => {
                self.tell(Happened::Found {
                    path: path.clone(),
                    bytes: listed.entry.identity.size,
                    reason: FoundBecause::Noticed,
                });
                self.next(listed, now)
            }
        };
        self.entries.set(path, life);
    }

    /// The life of an entry that is to be worked on when its file is whole. It has no outcome any more.
    fn next(&mut self, listed: Listed, now: Now) -> Life {
        if listed.whole {
            return self.whole(listed.entry, now);
        }
        self.ledger.reopen(&listed.entry.path);
        Life::Settling(listed.entry)
    }

    /// The life of an entry that is to be worked on, and whose file is whole. A file that was only touched
    /// since it has failed waits for its next try.
    fn whole(&mut self, entry: Entry, now: Now) -> Life {
        self.ledger.reopen(&entry.path);
        match self.delay(&entry, now) {
            Some(until) => {
                self.ledger.confirm(&entry.path);
                Life::Waiting(entry, until)
            }
            None => Life::Queued(Queued {
                job: self.job_of_retry(&entry),
                ..Queued::first(entry, false)
            }),
        }
    }

    /// Whether there is a record of this version with these settings.
    pub(super) fn is_recorded(&self, entry: &Entry) -> bool {
        let record = self.ledger.get(&entry.path);
        let is_of_rules = record.is_some_and(|record| record.settings == self.rules.fingerprint);
        is_of_rules && self.ledger.is_of_version(entry)
    }

    /// Puts a whole entry in line. One that has no outcome any more does not count as having one.
    pub(super) fn queue(&mut self, queued: Queued) {
        let path = queued.entry.path.clone();
        if !queued.again {
            self.ledger.reopen(&path);
        }
        self.entries.set(path, Life::Queued(queued));
    }

    fn still_written(&mut self, entry: Entry) {
        let life = self.entries.get(&entry.path);
        if matches!(
            life,
            Some(Life::Settling(_) | Life::Checking(_) | Life::Rereading(_))
        ) {
            self.trouble(&entry.path, STILL_WRITTEN.to_owned());
            self.entries
                .set(entry.path.clone(), Life::Unfinished(entry));
        }
    }

    fn unreadable(&mut self, unreadable: Unreadable) {
        let Unreadable { path, error } = unreadable;
        if let Some(Life::Running(mut running)) = self.entries.get(&path).cloned() {
            // Its job meets the same error, or has the file open and does not. But the outcome of one
            // for a file that was removed is not told: this one is looked at again.
            if matches!(
                running.overtaken,
                Some(Overtaken::Forget | Overtaken::FileGone)
            ) {
                running.overtaken = Some(Overtaken::Next(Listed {
                    entry: running.entry.clone(),
                    whole: false,
                }));
                self.entries.set(path, Life::Running(running));
            }
            return;
        }
        self.ledger.has_file_again(&path);
        self.trouble(&path, error);
        let life = self.entries.remove(&path);
        // Of what was never read it is not known what it brings. A directory has no record: what is in
        // it may have none either.
        let is_new = life.is_none() && self.ledger.get(&path).is_none();
        let is_recorded = !is_new && self.is_life_recorded(&path, life);
        self.entries.set(path, Life::Unreadable { is_recorded });
    }

    /// The source tells what is the matter with a file. The same at every look would be no news.
    pub(super) fn trouble(&mut self, path: &Path, error: String) {
        if self.ledger.trouble(path, &error) {
            self.tell(Happened::Failed {
                path: path.to_owned(),
                images: Vec::new(),
                class: FailureClass::Environment,
                error,
                attempts: 0,
                next_try: None,
            });
        }
    }

    fn ignore(&mut self, ignored: Ignored) {
        if self.ignored.insert(ignored.path.clone()) {
            self.tell(Happened::Ignored(ignored));
        }
    }
}
