//! What follows where an entry is not seen any more: it is out of sight, and goes on holding what it brought,
//! or it was removed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::entry::{Entry, Kind};
use crate::happened::Happened;
use crate::source_event::{Absence, DirectoryId, Listing};

use super::event::{Effect, Now};
use super::life::{Life, Overtaken};
use super::state::Plan;
use super::store_query::Want;

impl Plan {
    /// Deals with the entries that are known and not listed.
    pub(super) fn leave_absent(&mut self, listing: &Listing, now: Now) {
        let there = listing.entries.iter().map(|listed| &listed.entry.path);
        let unreadable = listing.unreadable.iter().map(|other| &other.path);
        let there = there.chain(unreadable).map(PathBuf::as_path);
        let there = there.collect::<BTreeSet<_>>();
        let known = self.ledger.iter().map(|(path, _)| path);
        let known = known.chain(self.entries.iter().map(|(path, _)| path));
        let absent = known.filter(|path| !there.contains(path));
        let absent = absent.map(Path::to_owned).collect::<BTreeSet<_>>();
        let sight = listing.sight();
        for path in absent {
            let is_running = matches!(self.entries.get(&path), Some(Life::Running(_)));
            if listing.directories.contains_key(&path) && !is_running {
                // A directory that could not be listed had a record, and is no entry.
                self.entries.remove(&path);
                self.ledger.remove(&path);
                self.restless.remove(&path);
                continue;
            }
            let seen_in = self.last_seen_in(&path);
            match sight.absence(&path, &self.rules.root, &seen_in) {
                Absence::OutOfSight => self.lose_sight(&path, seen_in),
                Absence::Removed => self.forget(&path, now),
            }
        }
    }

    /// The directories in which an entry was seen last.
    fn last_seen_in(&self, path: &Path) -> Vec<DirectoryId> {
        match (self.entries.get(path), self.ledger.get(path)) {
            (Some(Life::OutOfSight { seen_in, .. }), _) => seen_in.clone(),
            (Some(Life::Running(running)), _) => match &running.overtaken {
                Some(Overtaken::OutOfSight(seen_in)) => seen_in.clone(),
                _ => self.above(path),
            },
            // It was seen by a run before.
            (None, Some(record)) => record.seen_in.clone(),
            _ => self.above(path),
        }
    }

    fn lose_sight(&mut self, path: &Path, seen_in: Vec<DirectoryId>) {
        let is_running = matches!(self.entries.get(path), Some(Life::Running(_)));
        if !is_running && self.keep_baked(path) {
            return;
        }
        match self.entries.remove(path) {
            Some(Life::Running(mut running)) => {
                // What was removed is not out of sight.
                let is_gone = matches!(
                    running.overtaken,
                    Some(Overtaken::Forget | Overtaken::FileGone)
                );
                if !is_gone {
                    running.overtaken = Some(Overtaken::OutOfSight(seen_in));
                }
                self.entries.set(path.to_owned(), Life::Running(running));
            }
            life => {
                let is_recorded = self.is_life_recorded(path, life);
                self.restless.remove(path);
                self.ledger.end_trouble(path);
                let away = Life::OutOfSight {
                    is_recorded,
                    seen_in,
                };
                self.entries.set(path.to_owned(), away);
            }
        }
    }

    /// Whether the record of an entry that had this life tells all that was pinned for it.
    pub(super) fn is_life_recorded(&self, path: &Path, life: Option<Life>) -> bool {
        let Some(life) = life else {
            return true;
        };
        if let Life::OutOfSight { is_recorded, .. } | Life::Unreadable { is_recorded } = life {
            return is_recorded;
        }
        // A job for it may have been given up when it had pinned something.
        let is_restless = self.restless.contains_key(path);
        let has_begun = life.is_pinning() || life.looked().is_some() || is_restless;
        let is_at_rest = life.open().is_none() && !has_begun;
        let entry = life.entry();
        is_at_rest || entry.is_some_and(|entry| self.is_all_recorded(entry))
    }

    /// Whether the record of an archive tells all that any job for this version can have pinned.
    pub(super) fn is_all_recorded(&self, entry: &Entry) -> bool {
        let record = self.ledger.get(&entry.path);
        record.is_some_and(|record| {
            let is_of_it = record.identity.as_ref() == Some(&entry.identity);
            is_of_it && record.outcome.error().is_none() && entry.kind == Kind::Archive
        })
    }

    /// Tells what has changed about what is out of sight; said once, however many events find it.
    pub(super) fn tell_sight(&mut self) {
        let away = self.entries.out_of_sight();
        match (self.is_sight_told, away.first()) {
            (false, Some(first)) => {
                let (first, entries) = (first.clone(), away.len());
                self.is_sight_told = true;
                self.tell(Happened::OutOfSight { first, entries });
            }
            (true, None) => {
                self.is_sight_told = false;
                self.tell(Happened::InSightAgain);
            }
            _ => {}
        }
    }

    /// The entry was removed: nothing is kept for it.
    pub(super) fn forget(&mut self, path: &Path, now: Now) {
        if self.ledger.is_baked(path)
            && let Some(Life::Running(mut running)) = self.entries.get(path).cloned()
        {
            running.overtaken = Some(Overtaken::FileGone);
            return self.entries.set(path.to_owned(), Life::Running(running));
        }
        if self.keep_baked(path) {
            return;
        }
        let is_open = self
            .entries
            .get(path)
            .is_some_and(|life| life.open().is_some());
        self.restless.remove(path);
        self.brought_back.remove(path);
        self.lost.remove(path);
        self.interrupted.remove(path);
        self.told.remove(path);
        let mut is_forgotten = false;
        match self.entries.remove(path) {
            Some(Life::Running(mut running)) => {
                is_forgotten = matches!(running.overtaken, Some(Overtaken::Forget));
                running.overtaken = Some(Overtaken::Forget);
                self.entries.set(path.to_owned(), Life::Running(running));
                self.effects.push(Effect::Abandon(path.to_owned()));
            }
            None if self.ledger.get(path).is_none() => return,
            _ => {}
        }
        let shares_names = self.ledger.shares_names(path);
        if self.ledger.remove(path) {
            self.tell(Happened::Gone(path.to_owned()));
        } else if is_open && !is_forgotten {
            self.tell(Happened::GoneUnimported(path.to_owned()));
        }
        self.pins.want(now.uptime + self.rules.settle);
        if shares_names || self.entries.is_pinning() {
            // Another entry is to have the names: the audit brings them back.
            self.query.want(Want::ArchivesEnded);
        }
    }
}
