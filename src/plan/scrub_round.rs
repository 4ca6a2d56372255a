//! How far the reading of blobs has come.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::time::{Duration, SystemTime};

use crate::digest::Digest;
use crate::happened::{Happened, ScrubReason};
use crate::ledger::ImportedImage;
use crate::needed_blob::{BlobFaults, NeededBlob};
use crate::scrub::ScrubMemory;

use super::event::ScrubStep;

/// A step ends with the blob with which it has so many blobs, or bytes.
const STEP_BLOBS: usize = 256;
const STEP_BYTES: u64 = 1 << 30;

/// After something that failed.
const REST: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Scrub {
    pub(super) memory: ScrubMemory,
    /// What is remembered to be damaged is to be read before the store is asked what it has.
    pub(super) is_recall_due: bool,
    /// Of these, those that the store was asked about.
    pub(super) asked: BTreeSet<NeededBlob>,
    /// Some were repaired, which is to be kept.
    pub(super) is_unkept: bool,
    /// Blobs that are damaged and about which nothing is done, each with the first image that needs it.
    pub(super) left: BTreeMap<Digest, Digest>,
    /// What was found before the initial load was over.
    pub(super) untold: BlobFaults,
    /// Images that are pinned and that no record tells of; `None` before they are asked for.
    pub(super) unrecorded: Option<Vec<ImportedImage>>,
    /// They are asked for.
    pub(super) is_asking: bool,
    pub(super) round: Option<Round>,
    /// The step that is under way.
    pub(super) step: Option<ScrubStep>,
    /// The store has failed to do a step.
    pub(super) rests_until: Duration,
}

/// One reading of all blobs that are to be read.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) reason: ScrubReason,
    /// With the time at which the first image that needs it was brought.
    pub(super) todo: VecDeque<(NeededBlob, SystemTime)>,
    /// What was read of it.
    pub(super) blobs: usize,
    bytes: u64,
    damaged: usize,
}

impl Scrub {
    /// The store does not know what was found damaged before: it is another run's, or another store.
    pub(super) fn recall(&mut self) {
        self.is_recall_due = !self.memory.damaged.is_empty();
    }

    /// Whether what is remembered is to be read first, or is being read.
    pub(super) fn is_recalling(&self) -> bool {
        let step = self.step.as_ref();
        step.map_or(self.is_recall_due, |step| step.is_awaited)
    }

    /// The store is asked about these blobs.
    pub(super) fn asks(&mut self, blobs: &[NeededBlob]) {
        let blobs = blobs
            .iter()
            .filter(|blob| self.memory.damaged.contains(*blob));
        self.asked = blobs.cloned().collect();
    }

    /// The store has answered: what it was asked about is right again but for these.
    pub(super) fn answered(&mut self, faults: &BlobFaults) {
        for blob in std::mem::take(&mut self.asked) {
            if !faults.contains_key(&blob.digest) {
                self.left.remove(&blob.digest);
                let step = self.step.iter_mut().map(|step| &mut step.then);
                for memory in step.chain([&mut self.memory]) {
                    self.is_unkept |= memory.damaged.remove(&blob);
                }
            }
        }
    }

    /// The step that reads what is remembered, or that only keeps what is known.
    pub(super) fn step_of_memory(&mut self) -> Option<ScrubStep> {
        let is_awaited = std::mem::take(&mut self.is_recall_due);
        let blobs = self.memory.damaged.iter().filter(|_| is_awaited);
        let is_wanted = std::mem::take(&mut self.is_unkept) || is_awaited;
        is_wanted.then(|| ScrubStep {
            is_awaited,
            ..ScrubStep::new(blobs.cloned().collect(), self.memory.clone())
        })
    }

    /// A step has ended.
    pub(super) fn read(&mut self, step: &ScrubStep, faults: &BlobFaults) {
        self.memory = step.ended(faults);
        for blob in &step.blobs {
            if !faults.contains_key(&blob.digest) {
                self.left.remove(&blob.digest);
            }
        }
    }

    /// Nothing is done about a blob that the image needs. Returns whether that is news of the image.
    pub(super) fn leaves(&mut self, blob: &Digest, image: Digest) -> bool {
        let is_news = self.left.values().all(|other| *other != image);
        self.left.insert(blob.clone(), image);
        is_news
    }

    /// No image needs other blobs than these any more.
    pub(super) fn forget_others<'a>(&mut self, needed: impl Iterator<Item = &'a Digest>) {
        let needed = needed.collect::<HashSet<_>>();
        self.left.retain(|blob, _| needed.contains(blob));
        let damaged = &mut self.memory.damaged;
        damaged.retain(|blob| needed.contains(&blob.digest));
    }

    /// The store has told the images that no record tells of.
    pub(super) fn found(&mut self, images: Option<Vec<ImportedImage>>, uptime: Duration) {
        self.is_asking = false;
        if images.is_none() {
            self.failed(uptime);
        }
        self.unrecorded = images;
    }

    /// The store has not done what it was asked. The round is begun anew, from what is remembered.
    pub(super) fn failed(&mut self, uptime: Duration) {
        self.end();
        self.rests_until = uptime + REST;
    }

    /// The round is over.
    pub(super) fn end(&mut self) -> Option<Round> {
        self.unrecorded = None;
        self.round.take()
    }
}

impl Round {
    pub(super) fn new(reason: ScrubReason, todo: VecDeque<(NeededBlob, SystemTime)>) -> Self {
        Self {
            reason,
            todo,
            blobs: 0,
            bytes: 0,
            damaged: 0,
        }
    }

    /// Takes out the next blobs.
    pub(super) fn step(&mut self, memory: &ScrubMemory, now: SystemTime) -> ScrubStep {
        let (mut blobs, mut bytes) = (Vec::new(), 0);
        while blobs.len() < STEP_BLOBS
            && bytes < STEP_BYTES
            && let Some((blob, _)) = self.todo.pop_front()
        {
            bytes += blob.size;
            blobs.push(blob);
        }
        let mut then = memory.clone();
        match (self.reason, self.todo.front()) {
            (ScrubReason::UncleanStop, next) => then.suspect_since = next.map(|(_, time)| *time),
            (ScrubReason::Due, Some(_)) => {
                then.after = blobs.last().map(|blob| blob.digest.clone());
            }
            (ScrubReason::Due, None) => {
                then.after = None;
                then.ended = Some(now);
            }
        }
        ScrubStep::new(blobs, then)
    }

    pub(super) fn read(&mut self, blobs: &[NeededBlob], damaged: usize) {
        self.blobs += blobs.len();
        self.bytes += blobs.iter().map(|blob| blob.size).sum::<u64>();
        self.damaged += damaged;
    }

    pub(super) fn ended(self) -> Happened {
        Happened::Scrubbed {
            reason: self.reason,
            blobs: self.blobs,
            bytes: self.bytes,
            damaged: self.damaged,
        }
    }
}
