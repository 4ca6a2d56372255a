//! When images are unpacked, and what follows.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::digest::Digest;
use crate::happened::Happened;
use crate::ledger::{FailureClass, ImportedImage, Ledger};
use crate::one_line::without_numbers;
use crate::retry;
use crate::unpack::{UnpackTally, UnpackWhen};

use super::event::{Effect, Now, UnpackEnd};
use super::life::Life;
use super::state::Plan;
use super::store_query::{STORE_REST, Want};
use super::unpack_state::{Demand, UnpackWait};

/// So often what is wrong with an image itself is found before nothing but a change can help: a layer is
/// written each time.
const CONTENT_TRIES: u32 = 2;

impl Plan {
    /// How many images are unpacked; `None` where that is none of stowd's business.
    pub fn unpack_tally(&self) -> Option<UnpackTally> {
        (self.rules.unpack != UnpackWhen::Never).then(|| self.unpacks.tally())
    }

    /// The images that are being unpacked, and how many more wait for that.
    pub(crate) fn unpacking(&self) -> (Vec<String>, usize) {
        match self.may_unpack() {
            true => {
                let (names, queued) = self.unpacks.under_way();
                (names.map(str::to_owned).collect(), queued)
            }
            false => (Vec::new(), 0),
        }
    }

    /// What the record of an entry has brought is to be unpacked.
    pub(super) fn want_unpacked(&mut self, path: &Path, demand: Demand) {
        if self.rules.unpack == UnpackWhen::Never {
            return;
        }
        // What is kept without its file is looked at before READY, too.
        let is_baked = matches!(self.entries.get(path), Some(Life::Baked));
        let is_of_start = self.entries.is_of_start(path) || (is_baked && self.load.is_under_way());
        let record = self.ledger.get(path).into_iter();
        for image in record.flat_map(|record| &record.outcome.imported().images) {
            self.unpacks.want(image, is_of_start, demand);
        }
    }

    /// Other rules have come.
    pub(super) fn unpack_by_rules(&mut self) {
        if self.rules.unpack == UnpackWhen::Never {
            self.unpacks.retain(std::iter::empty());
            return;
        }
        self.unpacks.queue_failed();
        let standing = self.ledger.iter().map(|(path, _)| path);
        let standing = standing.filter(|path| self.ledger.stands(path));
        for path in standing.map(Path::to_owned).collect::<Vec<PathBuf>>() {
            self.want_unpacked(&path, Demand::Standing);
        }
    }

    /// An audit has looked at all that the store has: at its snapshots, too.
    pub(super) fn audit_snapshots(&mut self) {
        if self.rules.unpack == UnpackWhen::Never {
            return;
        }
        self.unpacks.retain(brought_images(&self.ledger));
        self.want_kept();
        self.snapshots.want();
    }

    /// What entries have brought that cannot be seen now goes on being run, as far as the store has it.
    fn want_kept(&mut self) {
        let away = self
            .entries
            .iter()
            .filter(|(_, life)| matches!(life, Life::OutOfSight { .. } | Life::Unreadable { .. }));
        for path in away.map(|(path, _)| path.to_owned()).collect::<Vec<_>>() {
            self.want_unpacked(&path, Demand::Kept);
        }
    }

    /// The initial load may have begun anew, with another store: it waits for what that has not unpacked.
    pub(super) fn load_unpacked(&mut self) {
        let standing = self.ledger.iter().map(|(path, _)| path);
        let is_loading = |path: &&Path| self.ledger.stands(path) && self.entries.is_of_start(path);
        let standing = standing.filter(is_loading);
        for path in standing.map(Path::to_owned).collect::<Vec<PathBuf>>() {
            self.want_unpacked(&path, Demand::Standing);
        }
    }

    fn may_unpack(&self) -> bool {
        match self.rules.unpack {
            UnpackWhen::BeforeReady => true,
            UnpackWhen::AfterReady => self.load.is_over(),
            UnpackWhen::Never => false,
        }
    }

    /// Whether the initial load waits for an image to be unpacked.
    pub(super) fn is_load_unpacking(&self) -> bool {
        self.rules.unpack == UnpackWhen::BeforeReady && self.unpacks.is_loading()
    }

    /// Begins what is due, as slots are free, and asks for snapshots where they are to tell what is.
    pub(super) fn begin_unpacks(&mut self, now: Now) {
        if !self.may_unpack() || self.away_until.is_some_and(|until| until > now.uptime) {
            return;
        }
        let is_needed = self.unpacks.is_any_unknown();
        if self.snapshots.ask(is_needed, self.unpacks.serial()) {
            self.effects.push(Effect::ListUnpacked);
        }
        if self.unpacks.queue_due(now.uptime) {
            self.ask_space();
        }
        while let Some((target, name)) = self.unpacks.begin(self.rules.parallel) {
            self.unpacks_begun.insert(target.clone(), now.uptime);
            self.effects.push(Effect::Unpack(target, name));
        }
    }

    /// The store has told which configurations have their snapshots.
    pub(super) fn snapshots_listed(&mut self, listed: Result<BTreeSet<Digest>, String>) {
        let Some(asked_at) = self.snapshots.answered() else {
            return;
        };
        let Ok(configs) = listed else {
            // What is wrong with it, each unpacking finds for itself.
            return self.unpacks.queue_unknown();
        };
        // What no record has any more would be asked for again and again.
        self.unpacks.retain(brought_images(&self.ledger));
        let mut told = HashSet::new();
        let mut found = Vec::new();
        for image in brought_images(&self.ledger) {
            if told.insert(&image.digest) {
                let mut blobs = image.blobs.iter();
                let is_there = blobs.any(|blob| configs.contains(&blob.digest));
                // Without blobs it cannot be told: the unpacking finds what is there.
                if !image.blobs.is_empty() || !self.unpacks.is_done(&image.digest) {
                    found.push((image.digest.clone(), is_there));
                }
            }
        }
        for (target, is_there) in found {
            if let Some(image) = self.unpacks.listed(&target, is_there, asked_at) {
                self.tell(Happened::SnapshotsMissing(image));
            }
        }
    }

    pub(super) fn unpack_ended(&mut self, target: &Digest, end: UnpackEnd, now: Now) {
        let begun = self.unpacks_begun.remove(target).unwrap_or(now.uptime);
        match end {
            UnpackEnd::Unpacked { made } => {
                let name = self.unpacks.done(target, true);
                if let (Some(image), true) = (name, made > 0) {
                    self.told_unpacks.clear();
                    self.tell(Happened::Unpacked {
                        image,
                        snapshots: made,
                        duration: now.uptime.saturating_sub(begun),
                    });
                }
            }
            UnpackEnd::NothingToUnpack => _ = self.unpacks.done(target, false),
            UnpackEnd::StoreAway(error) => {
                self.unpacks.interrupted(target);
                let until = now.uptime + STORE_REST;
                let before = self.away_until.replace(until);
                // One line an outage.
                if before.is_none() && !self.is_store_away() {
                    self.tell(Happened::StoreSilent(error));
                }
                return;
            }
            UnpackEnd::Lacks(blob, error) => {
                // A list knows nothing of a layer that was thrown away when it was unpacked. Now that it is
                // needed it counts as missing, and is brought back as any other blob.
                self.ledger.needs(target, &blob);
                self.query.doubt_blobs();
                self.query.want(Want::Doubt);
                self.unpack_failed(target, FailureClass::MissingBlob, error, now);
            }
            UnpackEnd::Failed(class, error) => self.unpack_failed(target, class, error, now),
        }
        if !self.is_store_away() && self.away_until.is_some_and(|until| until <= now.uptime) {
            self.away_until = None;
        }
    }

    /// The store has told how much space it has.
    pub(super) fn unpack_space_told(&mut self, free: Option<u64>, now: Now) {
        for (target, failures, needs) in self.unpacks.space_told(free) {
            let delay = retry::delay(failures, Path::new(target.as_str()), self.rules.seed);
            let due = now.uptime + delay;
            self.unpacks.wait(&target, UnpackWait::Space { due, needs });
        }
    }

    fn unpack_failed(&mut self, target: &Digest, class: FailureClass, error: String, now: Now) {
        let Some((image, attempts)) = self.unpacks.failed(target) else {
            return;
        };
        self.unpacks.blame(target, &error);
        let is_final =
            class == FailureClass::Content && self.unpacks.found_broken(target) >= CONTENT_TRIES;
        let delay = retry::delay(attempts, Path::new(&image), self.rules.seed);
        let next_try = (!is_final).then_some(delay);
        if !is_final {
            self.unpacks.wait(target, until(class, now.uptime + delay));
        }
        // What is wrong with the store is so for all images alike.
        let is_told = match class {
            FailureClass::Content | FailureClass::MissingBlob => attempts > 1,
            // Numbers are those of mounts, which are others each time.
            _ => !self.told_unpacks.insert(without_numbers(&error).collect()),
        };
        if !is_told {
            self.tell(Happened::NotUnpacked {
                image,
                error,
                attempts,
                next_try: next_try.and_then(|wait: Duration| now.wall.checked_add(wait)),
            });
        }
    }
}

fn until(class: FailureClass, due: Duration) -> UnpackWait {
    match class {
        FailureClass::NoSpace { needs } => UnpackWait::Space { due, needs },
        _ => UnpackWait::Uptime(due),
    }
}

/// The images of all records, as the last attempts have brought them.
fn brought_images(ledger: &Ledger) -> impl Iterator<Item = &ImportedImage> {
    let records = ledger.iter();
    records.flat_map(|(_, record)| &record.outcome.imported().images)
}
