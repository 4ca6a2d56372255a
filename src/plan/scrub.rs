//! Which blobs are read again, and what follows from it. When and in which order is told in
//! [`scrub`](crate::scrub).
//!
//! They are read in steps, beside everything else and before nothing: a step begins after the initial
//! load, and while no archive is imported; a list may wait for its registry for days. What is found wrong
//! counts as damaged in the store from then on, so that the next look at the blobs has it brought back. What
//! no entry in sight brings is only told.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, SystemTime};

use crate::digest::Digest;
use crate::happened::{Happened, ScrubReason};
use crate::ledger::ImportedImage;
use crate::needed_blob::{BlobDamage, BlobFault, BlobFaults, NeededBlob};
use crate::scrub::ScrubMemory;

use super::event::{Effect, JobKind, Now, ScrubStep};
use super::life::Running;
use super::scrub_round::{Round, Scrub};
use super::state::Plan;
use super::store_query::{STORE_REST, Want};

impl Plan {
    /// Goes on where a run before has left off.
    pub fn resume_scrub(&mut self, memory: ScrubMemory) {
        self.scrub.memory = memory;
        self.scrub.recall();
    }

    /// Begins the step that is due.
    pub(super) fn read_blobs(&mut self, now: Now) {
        if self.scrub.step.is_some() || self.scrub.rests_until > now.uptime {
            return;
        }
        if let Some(step) = self.scrub.step_of_memory() {
            return self.begin_step(step);
        }
        let imports = |(_, running): (_, &Running)| running.job.kind() == JobKind::Import;
        let is_importing = self.entries.running().any(imports);
        let is_busy = self.scrub.is_asking || is_importing;
        if !self.load.is_over() || is_busy {
            return;
        }
        let untold = std::mem::take(&mut self.scrub.untold);
        self.tell_unrepaired(&untold);
        let is_off = self.rules.scrub.is_zero();
        let round = self.scrub.round.as_ref();
        if is_off && round.is_some_and(|round| round.reason == ScrubReason::Due) {
            self.scrub.end();
        }
        if self.scrub.round.is_none() {
            self.scrub.round = self.begin_round(now);
        }
        let Some(round) = &mut self.scrub.round else {
            return;
        };
        let step = round.step(&self.scrub.memory, now.wall);
        self.begin_step(step);
    }

    fn begin_step(&mut self, step: ScrubStep) {
        self.effects.push(Effect::Scrub(step.clone()));
        self.scrub.step = Some(step);
    }

    /// What is to be read now, when all images are known.
    fn begin_round(&mut self, now: Now) -> Option<Round> {
        let (memory, interval) = (self.scrub.memory.clone(), self.rules.scrub);
        let is_due = || !interval.is_zero() && memory.left(interval, now.wall).is_zero();
        let (reason, since) = match memory.suspect_since {
            Some(since) => (ScrubReason::UncleanStop, since),
            None if is_due() => (ScrubReason::Due, SystemTime::UNIX_EPOCH),
            None => return None,
        };
        if reason == ScrubReason::Due && memory.last_end(now.wall).is_none() {
            // What is there at first was just brought, and a clock that was ahead has told nothing. The
            // interval begins now, which is kept.
            return Some(Round::new(reason, VecDeque::new()));
        }
        let Some(unrecorded) = &self.scrub.unrecorded else {
            let images = self.ledger.iter().flat_map(|(_, record)| record.images());
            let known = images.map(|image| image.digest.clone()).collect();
            self.effects.push(Effect::FindUnrecorded(known));
            self.scrub.is_asking = true;
            return None;
        };
        // When they were brought is not known.
        let unrecorded = unrecorded.iter().map(|image| (image, now.wall));
        let mut todo = self.blobs_of(since, unrecorded);
        if reason == ScrubReason::Due {
            self.scrub
                .forget_others(todo.iter().map(|(blob, _)| &blob.digest));
            todo.retain(|(blob, _)| {
                memory
                    .after
                    .as_ref()
                    .is_none_or(|after| blob.digest > *after)
            });
            todo.make_contiguous().sort();
        }
        Some(Round::new(reason, todo))
    }

    /// The blobs of images that were brought since then, and of these, each once; what was brought first
    /// comes first.
    fn blobs_of<'a>(
        &'a self,
        since: SystemTime,
        others: impl Iterator<Item = (&'a ImportedImage, SystemTime)>,
    ) -> VecDeque<(NeededBlob, SystemTime)> {
        let records = self.ledger.iter();
        let records = records.filter(|(_, record)| record.finished >= since);
        let mut records = records.collect::<Vec<_>>();
        records.sort_by_key(|(_, record)| record.finished);
        let images = records.into_iter().flat_map(|(_, record)| {
            let images = record.images();
            images.map(|image| (image, record.finished))
        });
        let blobs = images.chain(others).flat_map(|(image, time)| {
            let blobs = image.blobs.iter();
            blobs.map(move |blob| (blob, time))
        });
        let mut seen = HashSet::new();
        let once = blobs.filter(|(blob, _)| seen.insert(&blob.digest));
        once.map(|(blob, time)| (blob.clone(), time)).collect()
    }

    /// A step has ended: these blobs are not right.
    pub(super) fn scrubbed(&mut self, result: Option<BlobFaults>, now: Now) {
        let Some(step) = self.scrub.step.take() else {
            return;
        };
        match result {
            Some(faults) => {
                self.scrub.read(&step, &faults);
                match step.is_awaited {
                    // Which entries are in sight is not known before the initial load is over.
                    true => self.scrub.untold = faults.clone(),
                    false => self.tell_unrepaired(&faults),
                }
                if !faults.is_empty() {
                    // What can be brought back is told and brought then.
                    self.query.doubt_blobs();
                    self.query.want(Want::Soon);
                }
                if let Some(round) = &mut self.scrub.round {
                    round.read(&step.blobs, faults.len());
                }
                let round = self.scrub.round.as_ref();
                let is_over = round.is_some_and(|round| round.todo.is_empty());
                let ended = if is_over { self.scrub.end() } else { None };
                if let Some(round) = ended.filter(|round| round.blobs > 0) {
                    self.tell(round.ended());
                }
            }
            None if step.is_awaited => {
                self.scrub.recall();
                self.scrub.rests_until = now.uptime + STORE_REST;
            }
            None => self.scrub.failed(now.uptime),
        }
    }

    /// Tells of damage that nothing is done about, once of each image for as long as it lasts.
    fn tell_unrepaired(&mut self, faults: &BlobFaults) {
        for (digest, fault) in faults {
            let is_brought = self.is_brought(digest);
            let is_repaired = is_brought && fault.is_proven();
            if !is_repaired
                && let Some((image, damage)) = self.damage(digest, *fault)
                && self.scrub.leaves(digest, image)
            {
                self.tell(Happened::LeftDamaged { damage, is_brought });
            }
        }
    }

    /// Blobs that are damaged, and about which nothing is done.
    pub fn left_damaged(&self) -> usize {
        self.scrub.left.len()
    }

    /// The same, each with an image that needs it.
    pub(super) fn left_damage(&self) -> impl Iterator<Item = BlobDamage> {
        let left = self.scrub.left.keys();
        left.filter_map(|blob| Some(self.damage(blob, BlobFault::Bytes)?.1))
    }

    /// The first image that needs the blob has this damage.
    fn damage(&self, digest: &Digest, fault: BlobFault) -> Option<(Digest, BlobDamage)> {
        let images = self.ledger.iter().flat_map(|(_, record)| record.images());
        let mut images = images.chain(self.scrub.unrecorded.iter().flatten());
        images.find_map(|image| {
            let blob = image.blobs.iter().find(|blob| blob.digest == *digest)?;
            let damage = BlobDamage {
                image: image.names.first().cloned().unwrap_or_default(),
                blob: blob.clone(),
                fault,
            };
            Some((image.digest.clone(), damage))
        })
    }

    /// Whether an entry in sight brings an image that needs the blob.
    fn is_brought(&self, digest: &Digest) -> bool {
        self.ledger.iter().any(|(path, record)| {
            let is_in_sight = || {
                self.entries
                    .get(path)
                    .is_some_and(|life| life.entry().is_some())
            };
            let images = &record.outcome.imported().images;
            let mut blobs = images.iter().flat_map(|image| &image.blobs);
            blobs.any(|blob| blob.digest == *digest) && is_in_sight()
        })
    }

    /// When the next step is to begin.
    pub(super) fn scrub_due(&self, now: Now) -> Option<Duration> {
        let Scrub {
            memory,
            unrecorded,
            is_asking,
            round,
            step,
            rests_until,
            ..
        } = &self.scrub;
        if self.scrub.is_recall_due && step.is_none() {
            return Some(*rests_until);
        }
        if !self.load.is_over() || step.is_some() || *is_asking {
            return None;
        }
        let interval = self.rules.scrub;
        let is_begun = round.is_some() || unrecorded.is_some() || memory.suspect_since.is_some();
        let wait = match is_begun {
            true => Duration::ZERO,
            false if interval.is_zero() => return None,
            false => memory.left(interval, now.wall),
        };
        Some((now.uptime + wait).max(*rests_until))
    }
}
