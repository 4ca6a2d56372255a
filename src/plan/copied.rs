//! Files that are copies of those that were imported: a baked tree was copied, and its files have other inodes
//! and ctimes. A copy is known by its length, its mtime and a sample of its bytes, and not read whole. What the
//! store has of it is asked as of any other file that is unchanged.

use crate::digest::Digest;
use crate::entry::{Entry, Kind};
use crate::happened::{FoundBecause, Happened};
use crate::ledger::Change;
use crate::source_event::Listed;

use super::life::{Life, Queued, Running};
use super::state::Plan;
use super::store_query::Want;

impl Plan {
    /// The sample that the file of an archive has if it is a copy of the one that was imported; `None` where it
    /// cannot be one.
    pub(super) fn sample_to_compare(&self, entry: &Entry) -> Option<Digest> {
        let record = self.ledger.get(&entry.path)?;
        let is_of_rules = record.settings == self.rules.fingerprint;
        let may_be = entry.kind == Kind::Archive && is_of_rules;
        let sample = record.sample.clone()?;
        (may_be && record.is_of_copy(&entry.identity)).then_some(sample)
    }

    /// An archive that may have been a copy is one, or is not.
    pub(super) fn compared(&mut self, running: Running, is_copy: bool) {
        let Running { entry, again, .. } = running;
        if !is_copy {
            self.tell_changed(&entry, Change::File);
            return self.queue(Queued::first(entry, again));
        }
        self.ledger.is_copied(&entry.path, entry.identity);
        self.query.want(Want::Doubt);
        let whole = true;
        let path = entry.path.clone();
        self.entries
            .set(path, Life::Checking(Listed { entry, whole }));
    }

    /// An entry is to be imported, which a listing has told.
    pub(super) fn tell_changed(&mut self, entry: &Entry, change: Change) {
        self.tell(Happened::Found {
            path: entry.path.clone(),
            bytes: entry.identity.size,
            reason: FoundBecause::Listed(change),
        });
    }
}
