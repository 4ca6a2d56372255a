//! What READY says: everything of the start has an outcome, and the store that answers was compared.

use std::collections::BTreeSet;
use std::path::PathBuf;

use stowd::digest::Digest;
use stowd::entry::Kind;
use stowd::image_store::StoreState;
use stowd::plan::{Plan, ScrubStep};
use stowd::scrub::ScrubMemory;

use crate::content::kind;
use crate::directory::Directory;
use crate::invariants::Violation;
use crate::oracle::Oracle;
use crate::process::{Process, UnderWay};
use crate::store::Store;

/// What a store that has returned has is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Uncompared {
    New,
    Asked,
}

impl Oracle {
    /// A process begins with what another one has kept about the scrub.
    pub(crate) fn remembers(&mut self, memory: &ScrubMemory, store: &Store) {
        let damaged = memory.damaged.iter().map(|blob| blob.digest.clone());
        self.remembered = damaged.collect();
        self.remembered
            .retain(|digest| store.now.wrong.contains(digest));
    }

    /// A blob was written.
    pub(crate) fn written(&mut self, digest: &Digest) {
        self.remembered.remove(digest);
    }

    pub(crate) fn store_replaced(&mut self) {
        self.put_by.clear();
        self.remembered.clear();
    }

    /// The store tells by itself whether it is away. Where the plan has loaded all, what had an outcome, or
    /// is being brought back, is loaded anew when it returns.
    pub(crate) fn hears(&mut self, before: &StoreState, state: &StoreState, plan: &Plan) {
        self.is_away_told = state.away.is_some();
        if state.returns > before.returns {
            self.uncompared = Some(Uncompared::New);
            if plan.is_loaded() {
                let ledger = plan.ledger();
                let loaded = self
                    .seen
                    .entries()
                    .filter(|entry| ledger.has_outcome(&entry.path) || ledger.is_of_version(entry));
                let loaded = loaded.map(|entry| entry.path.clone());
                let loaded = loaded.collect::<BTreeSet<_>>();
                self.first_listing = Some(loaded.clone());
                self.start = Some(loaded);
            }
            self.left_alone = None;
            self.pace.is_asked_for();
        }
        self.pace.sees();
    }

    /// Blobs are to be read: behind all other work, but for what READY waits for.
    pub(crate) fn scrubs(&self, step: &ScrubStep, process: &Process) -> Result<(), Violation> {
        let mut under_way = process.under_way.iter();
        let is_other = under_way.any(|other| matches!(other, UnderWay::Scrub(_)));
        let is_awaited = step.is_awaited || step.blobs.is_empty();
        match is_other || !(process.plan.is_loaded() || is_awaited) {
            true => Err(Violation::new(
                "8: blobs are read before READY, or twice at once",
            )),
            false => Ok(()),
        }
    }

    /// A listing is told. Of the entries of the first those count that the later ones have, too.
    pub(crate) fn listed(&mut self, entries: &BTreeSet<PathBuf>) {
        match &mut self.start {
            Some(start) => start.retain(|path| entries.contains(path)),
            None => self.start = Some(entries.clone()),
        }
    }

    /// The store is asked for its images.
    pub(crate) fn asks_store(&mut self) {
        self.compared.asks();
        self.uncompared = self.uncompared.map(|_| Uncompared::Asked);
    }

    /// It has answered.
    pub(crate) fn compares(&mut self) {
        self.uncompared = self.uncompared.filter(|since| *since == Uncompared::New);
    }

    /// READY holds of the store that answers.
    pub(crate) fn is_ready(&self, plan: &Plan) -> Result<(), Violation> {
        match plan.is_loaded() && self.uncompared.is_some() {
            true => Err(Violation::new(
                "1: READY, and the store that has returned was not compared",
            )),
            false => Ok(()),
        }
    }

    pub(crate) fn loaded(
        &self,
        plan: &Plan,
        directory: &Directory,
        store: &Store,
    ) -> Result<(), Violation> {
        let Some(start) = &self.start else {
            return Err(Violation::new("1: READY before anything was listed"));
        };
        for path in start {
            let is_list = kind(path) == Kind::List;
            let is_there = directory.seen(path).is_some();
            if is_there && !plan.ledger().has_outcome(path) && !(is_list && self.lists_overtime) {
                let path = path.display();
                return Err(Violation::new(format!(
                    "1: READY, and {path} has no outcome"
                )));
            }
            let record = plan.ledger().get(path);
            let record = record.filter(|record| is_there && record.outcome.error().is_none());
            let mut images = record.into_iter().flat_map(|record| record.images());
            let is_damaged =
                |digest| self.remembered.contains(digest) && store.now.wrong.contains(digest);
            if plan.ledger().stands(path) && images.any(|image| is_damaged(&image.digest)) {
                let path = path.display();
                return Err(Violation::new(format!(
                    "1: READY, and a blob of {path} that was found damaged before is not right"
                )));
            }
        }
        Ok(())
    }
}
