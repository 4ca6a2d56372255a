//! Which blobs are read again, and what follows from it. When and in which order is told in
//! [`scrub`](crate::scrub).
//!
//! They are read in steps, beside everything else and before nothing: a step begins after the initial
//! load, and while no job runs. What is found wrong counts as damaged in the store from then on, so that
//! the next look at the blobs has it brought back. What no entry in sight brings is only told.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, SystemTime};

use crate::digest::Digest;
use crate::happened::{Happened, ScrubReason};
use crate::needed_blob::{BlobDamage, BlobFault, BlobFaults, NeededBlob};
use crate::scrub::ScrubMemory;

use super::event::{Effect, Now};
use super::scrub_round::{Round, Scrub};
use super::state::Plan;

/// After a step that failed.
const REST: Duration = Duration::from_secs(60);

impl Plan {
    /// Goes on where a run before has left off.
    pub fn resume_scrub(&mut self, memory: ScrubMemory) {
        self.scrub.memory = memory;
    }

    /// Begins the step that is due.
    pub(super) fn read_blobs(&mut self, now: Now) {
        let is_busy = self.scrub.step.is_some() || self.entries.running().next().is_some();
        if !self.load.is_over() || is_busy || self.scrub.rests_until > now.uptime {
            return;
        }
        let is_off = self.rules.scrub.is_zero();
        self.scrub
            .round
            .take_if(|round| is_off && round.reason == ScrubReason::Due);
        if self.scrub.round.is_none() {
            self.scrub.round = self.round(now);
        }
        let Some(round) = &mut self.scrub.round else {
            return;
        };
        let step = round.step(&self.scrub.memory, now.wall);
        self.effects.push(Effect::Scrub(step.clone()));
        self.scrub.step = Some(step);
    }

    /// What is to be read now.
    fn round(&self, now: Now) -> Option<Round> {
        let (memory, interval) = (&self.scrub.memory, self.rules.scrub);
        if let Some(since) = memory.suspect_since {
            return Some(Round::new(ScrubReason::UncleanStop, self.brought(since)));
        }
        if interval.is_zero()
            || (memory.ended.is_some() && !memory.left(interval, now.wall).is_zero())
        {
            return None;
        }
        // What is there at first was just brought.
        let mut todo = match memory.ended {
            None => VecDeque::new(),
            Some(_) => self.brought(SystemTime::UNIX_EPOCH),
        };
        todo.retain(|(blob, _)| {
            memory
                .after
                .as_ref()
                .is_none_or(|after| blob.digest > *after)
        });
        todo.make_contiguous().sort();
        Some(Round::new(ScrubReason::Due, todo))
    }

    /// The blobs of images that were brought since then, each once, what was brought first before the
    /// others.
    fn brought(&self, since: SystemTime) -> VecDeque<(NeededBlob, SystemTime)> {
        let records = self.ledger.iter();
        let records = records.filter(|(_, record)| record.finished >= since);
        let mut records = records.collect::<Vec<_>>();
        records.sort_by_key(|(_, record)| record.finished);
        let blobs = records.into_iter().flat_map(|(_, record)| {
            let blobs = record.images().flat_map(|image| &image.blobs);
            blobs.map(|blob| (blob, record.finished))
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
                self.scrub.memory = step.then;
                self.tell_unrepaired(&faults);
                if !faults.is_empty() {
                    // What can be brought back is told and brought then.
                    self.blobs_checked = None;
                    self.query.want_audit_soon();
                }
                if let Some(round) = &mut self.scrub.round {
                    round.read(&step.blobs, faults.len());
                }
                let ended = self.scrub.round.take_if(|round| round.todo.is_empty());
                if let Some(round) = ended.filter(|round| round.blobs > 0) {
                    self.tell(round.ended());
                }
            }
            None => {
                // It is begun anew, from what is remembered.
                self.scrub.round = None;
                self.scrub.rests_until = now.uptime + REST;
            }
        }
    }

    /// Tells of damage that nothing is done about.
    fn tell_unrepaired(&mut self, faults: &BlobFaults) {
        for (digest, fault) in faults {
            let is_brought = self.is_brought(digest);
            let is_repaired = is_brought && *fault == BlobFault::Bytes;
            if !is_repaired && let Some(damage) = self.damage(digest, *fault) {
                self.tell(Happened::LeftDamaged { damage, is_brought });
            }
        }
    }

    /// The first image that needs the blob has this damage.
    fn damage(&self, digest: &Digest, fault: BlobFault) -> Option<BlobDamage> {
        let mut images = self.ledger.iter().flat_map(|(_, record)| record.images());
        images.find_map(|image| {
            let blob = image.blobs.iter().find(|blob| blob.digest == *digest)?;
            Some(BlobDamage {
                image: image.names.first().cloned().unwrap_or_default(),
                blob: blob.clone(),
                fault,
            })
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
            round,
            step,
            rests_until,
        } = &self.scrub;
        if !self.load.is_over() || step.is_some() {
            return None;
        }
        let interval = self.rules.scrub;
        let is_begun = round.is_some() || memory.suspect_since.is_some();
        let wait = match is_begun {
            true => Duration::ZERO,
            false if interval.is_zero() => return None,
            false => memory.left(interval, now.wall),
        };
        Some((now.uptime + wait).max(*rests_until))
    }
}
