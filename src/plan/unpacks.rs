//! Which images are unpacked, and which are to be.
//!
//! ```text
//!   (nothing) -- brought by a job -----------------> Queued <-- due, reload -- Waiting
//!       |                                            ^    |                      ^
//!       | its record holds                           |    v                      |
//!       +------> Unknown -- no snapshots are listed -+  Running -- failed -------+
//!                   |  ^                             |    |
//!                   |  +-- another store --+  missing|    +-- unpacked --+
//!                   v                      |         |                   v
//!                   +------ listed --------+------> Done <---------------+
//! ```
//!
//! An image is unpacked once, however many entries bring it, and by what the store has: no archive is read
//! for it. So it is no state of an entry. What no entry brings any more is forgotten at the next audit.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::digest::Digest;
use crate::ledger::ImportedImage;
use crate::status::UnpackStage;
use crate::unpack::UnpackTally;

use super::unpack_state::{Demand, Unpack, UnpackState, UnpackWait, first_name};

/// The images that are, or are to be, unpacked.
#[derive(Debug, Default)]
pub(super) struct Unpacks {
    images: BTreeMap<Digest, Unpack>,
    /// In the order in which they came; those that have failed before come last.
    queued: BTreeSet<(bool, u64, Digest)>,
    due: BTreeSet<(Duration, Digest)>,
    /// Also those that were forgotten meanwhile.
    running: BTreeSet<Digest>,
    unknown: usize,
    /// Those of the start that have no outcome.
    loading: usize,
    tally: UnpackTally,
    /// Why images have failed last.
    errors: BTreeMap<Digest, String>,
    /// Grows with each change, and tells which are newer than a question to the store.
    serial: u64,
}

impl Unpacks {
    /// An image is to be unpacked.
    pub(super) fn want(&mut self, image: &ImportedImage, is_of_start: bool, demand: Demand) {
        let (target, name) = (&image.digest, first_name(image));
        let had = self.images.get(target);
        let state = match (had.map(|image| image.state), demand) {
            // It was forgotten, and what the unpacking finds may be of before that.
            (None, _) if self.running.contains(target) => UnpackState::Running { again: true },
            (None, Demand::Standing | Demand::Kept) => UnpackState::Unknown,
            (Some(state), Demand::Standing | Demand::Kept) => state,
            (Some(UnpackState::Running { .. }), _) => UnpackState::Running { again: true },
            // It is broken, or its snapshots are there, whatever else the entry lacks.
            (
                Some(state @ (UnpackState::Waiting(UnpackWait::Change) | UnpackState::UNPACKED)),
                Demand::Repeated,
            ) => state,
            _ => UnpackState::Queued,
        };
        let is_of_start = is_of_start || had.is_some_and(|image| image.is_of_start);
        let (failures, found_broken) =
            had.map_or((0, 0), |image| (image.failures, image.found_broken));
        let mut counted = had.map_or_else(BTreeSet::new, |image| image.counted.clone());
        if demand != Demand::Kept {
            counted.insert(name.to_owned());
        }
        let image = Unpack {
            name: name.to_owned(),
            counted,
            state,
            is_of_start,
            failures,
            found_broken,
            serial: 0,
        };
        self.put(target, image);
    }

    /// Takes out the next image to be unpacked, if there are less under way than `slots`.
    pub(super) fn begin(&mut self, slots: usize) -> Option<(Digest, String)> {
        if self.running.len() >= slots {
            return None;
        }
        let (.., target) = self.queued.first()?.clone();
        let name = self.images.get(&target)?.name.clone();
        self.set(&target, UnpackState::Running { again: false });
        Some((target, name))
    }

    /// An unpacking has ended well. Returns the name of the image, if it is wanted still.
    pub(super) fn done(&mut self, target: &Digest, has_snapshots: bool) -> Option<String> {
        let image = self.ended(target)?;
        (image.failures, image.found_broken) = (0, 0);
        let name = image.name.clone();
        let state = match image.state {
            UnpackState::Running { again: true } => UnpackState::Queued,
            _ => UnpackState::Done { has_snapshots },
        };
        self.errors.remove(target);
        self.set(target, state);
        Some(name)
    }

    /// An unpacking has ended with nothing done, and is to be begun again.
    pub(super) fn interrupted(&mut self, target: &Digest) {
        if self.ended(target).is_some() {
            self.set(target, UnpackState::Queued);
        }
    }

    /// Something has come of an image, if it is wanted still.
    fn ended(&mut self, target: &Digest) -> Option<&mut Unpack> {
        let image = self.images.get_mut(target);
        if image.is_none() {
            self.running.remove(target);
        }
        image
    }

    /// An unpacking has failed. Returns the name of the image, and how often that has failed, if it is
    /// wanted still. It waits until [`wait`](Self::wait) says for how long.
    pub(super) fn failed(&mut self, target: &Digest) -> Option<(String, u32)> {
        let image = self.ended(target)?;
        image.failures = image.failures.saturating_add(1);
        let (name, failures) = (image.name.clone(), image.failures);
        let again = image.state == (UnpackState::Running { again: true });
        let state = match again {
            true => UnpackState::Queued,
            false => UnpackState::Waiting(UnpackWait::Change),
        };
        self.set(target, state);
        Some((name, failures))
    }

    /// An image that has failed is tried again then.
    pub(super) fn wait(&mut self, target: &Digest, wait: UnpackWait) {
        let state = self.images.get(target).map(|image| image.state);
        if state == Some(UnpackState::Waiting(UnpackWait::Change)) {
            self.set(target, UnpackState::Waiting(wait));
        }
    }

    /// What has failed and is due is queued. Says whether the store is to be asked first how much space it
    /// has.
    pub(super) fn queue_due(&mut self, uptime: Duration) -> bool {
        let mut asks = false;
        while let Some((due, target)) = self.due.first().cloned()
            && due <= uptime
        {
            let state = match self.images.get(&target).map(|image| image.state) {
                Some(UnpackState::Waiting(UnpackWait::Space { needs, .. })) => {
                    asks = true;
                    UnpackState::Waiting(UnpackWait::Answer { needs })
                }
                _ => UnpackState::Queued,
            };
            self.set(&target, state);
        }
        asks
    }

    /// An image itself is what is wrong with it, and has failed. Returns how often that was so.
    pub(super) fn found_broken(&mut self, target: &Digest) -> u32 {
        self.images.get_mut(target).map_or(0, |image| {
            image.found_broken = image.found_broken.saturating_add(1);
            image.found_broken
        })
    }

    /// The store has so many bytes free, if that can be told: what fits is queued. Returns what does not,
    /// each with how often it has failed, that included. It waits until [`wait`](Self::wait) says for how
    /// long.
    pub(super) fn space_told(&mut self, free: Option<u64>) -> Vec<(Digest, u32, u64)> {
        let asked = self
            .images
            .iter()
            .filter_map(|(target, image)| match image.state {
                UnpackState::Waiting(UnpackWait::Answer { needs }) => Some((target.clone(), needs)),
                _ => None,
            });
        let mut put_off = Vec::new();
        for (target, needs) in asked.collect::<Vec<_>>() {
            // Where it cannot be told there may be room.
            if free.is_none_or(|free| free >= needs) {
                self.set(&target, UnpackState::Queued);
            } else if let Some((_, failures)) = self.failed(&target) {
                put_off.push((target, failures, needs));
            }
        }
        put_off
    }

    /// What has failed is queued, whatever it waits for.
    pub(super) fn queue_failed(&mut self) {
        self.change(|state| match state {
            UnpackState::Waiting(_) => Some(UnpackState::Queued),
            _ => None,
        });
    }

    /// The store may be another one: its snapshots are asked for.
    pub(super) fn doubt(&mut self) {
        self.change(|state| match state {
            UnpackState::Done { .. } | UnpackState::Waiting(_) => Some(UnpackState::Unknown),
            UnpackState::Running { .. } => Some(UnpackState::Running { again: true }),
            _ => None,
        });
    }

    /// What is not known is queued: the store's snapshots cannot be had.
    pub(super) fn queue_unknown(&mut self) {
        self.change(|state| (state == UnpackState::Unknown).then_some(UnpackState::Queued));
    }

    /// The store has, or has not, the snapshots of an image, as it was asked at this serial number. Returns
    /// the name of an image that has lost them.
    pub(super) fn listed(
        &mut self,
        target: &Digest,
        is_there: bool,
        asked_at: u64,
    ) -> Option<String> {
        let image = self.images.get(target)?;
        if image.serial > asked_at {
            return None;
        }
        match (image.state, is_there) {
            (UnpackState::Unknown, true) => self.set(target, UnpackState::UNPACKED),
            (UnpackState::Unknown, false) => self.set(target, UnpackState::Queued),
            (UnpackState::UNPACKED, false) => {
                let name = image.name.clone();
                self.set(target, UnpackState::Queued);
                return Some(name);
            }
            _ => {}
        }
        None
    }

    /// Forgets what is none of these. What is under way has its slot until it ends.
    pub(super) fn retain<'a>(&mut self, brought: impl Iterator<Item = &'a ImportedImage>) {
        let mut names = BTreeMap::<_, BTreeSet<_>>::new();
        for image in brought {
            names
                .entry(&image.digest)
                .or_default()
                .insert(first_name(image));
        }
        for target in self.images.keys().cloned().collect::<Vec<_>>() {
            let Some(mut image) = self.take(&target) else {
                continue;
            };
            if let Some(names) = names.get(&target) {
                image.counted.retain(|name| names.contains(name.as_str()));
                self.replace(&target, image);
            } else {
                self.errors.remove(&target);
                if matches!(image.state, UnpackState::Running { .. }) {
                    self.running.insert(target);
                }
            }
        }
    }

    /// The initial load is over, and waits for none of them any more.
    pub(super) fn end_load(&mut self) {
        for image in self.images.values_mut() {
            image.is_of_start = false;
        }
        self.loading = 0;
    }

    /// Whether an image of the start has no outcome.
    pub(super) fn is_loading(&self) -> bool {
        self.loading > 0
    }

    /// Whether nothing is to be done for an image.
    pub(super) fn is_done(&self, target: &Digest) -> bool {
        let state = self.images.get(target).map(|image| image.state);
        matches!(state, Some(UnpackState::Done { .. }))
    }

    /// Whether the store's snapshots have to tell what is to be done.
    pub(super) fn is_any_unknown(&self) -> bool {
        self.unknown > 0
    }

    /// When the next one that has failed is due.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.due.first().map(|(due, _)| *due)
    }

    /// An image has failed for this reason.
    pub(super) fn blame(&mut self, target: &Digest, error: &str) {
        self.errors.insert(target.clone(), error.to_owned());
    }

    /// Why an image has failed last.
    pub(super) fn error(&self, target: &Digest) -> Option<&str> {
        self.errors.get(target).map(String::as_str)
    }

    /// See [`UnpackState::stage`].
    pub(super) fn stage(&self, target: &Digest) -> Option<(UnpackStage, Option<Duration>)> {
        self.images.get(target).map(|image| image.state.stage())
    }

    pub(super) fn tally(&self) -> UnpackTally {
        self.tally
    }

    /// The names of those that are under way, and how many wait for their turn.
    pub(super) fn under_way(&self) -> (impl Iterator<Item = &str>, usize) {
        let running = self.running.iter().filter_map(|it| self.images.get(it));
        (running.map(|image| image.name.as_str()), self.queued.len())
    }

    pub(super) fn serial(&self) -> u64 {
        self.serial
    }

    fn change(&mut self, to: impl Fn(UnpackState) -> Option<UnpackState>) {
        let changed = self.images.iter();
        let changed =
            changed.filter_map(|(target, image)| Some((target.clone(), to(image.state)?)));
        for (target, state) in changed.collect::<Vec<_>>() {
            self.set(&target, state);
        }
    }

    fn set(&mut self, target: &Digest, state: UnpackState) {
        if let Some(image) = self.take(target) {
            self.put(target, Unpack { state, ..image });
        }
    }

    fn put(&mut self, target: &Digest, image: Unpack) {
        self.take(target);
        self.serial += 1;
        let serial = self.serial;
        self.replace(target, Unpack { serial, ..image });
    }

    /// Puts an image back that was taken out and has not changed since.
    fn replace(&mut self, target: &Digest, image: Unpack) {
        match image.state {
            UnpackState::Unknown => self.unknown += 1,
            UnpackState::Queued => {
                let key = (image.failures > 0, image.serial, target.clone());
                self.queued.insert(key);
            }
            UnpackState::Running { .. } => _ = self.running.insert(target.clone()),
            UnpackState::Done { has_snapshots } => {
                self.tally.unpacked += image.counted.len() * usize::from(has_snapshots);
            }
            UnpackState::Waiting(wait) => {
                self.tally.failed += image.counted.len();
                self.due.extend(wait.due().map(|due| (due, target.clone())));
            }
        }
        self.loading += usize::from(image.is_of_start && image.state.is_open());
        self.images.insert(target.clone(), image);
    }

    fn take(&mut self, target: &Digest) -> Option<Unpack> {
        let image = self.images.remove(target)?;
        match image.state {
            UnpackState::Unknown => self.unknown -= 1,
            UnpackState::Queued => {
                let key = (image.failures > 0, image.serial, target.clone());
                self.queued.remove(&key);
            }
            UnpackState::Running { .. } => _ = self.running.remove(target),
            UnpackState::Done { has_snapshots } => {
                self.tally.unpacked -= image.counted.len() * usize::from(has_snapshots);
            }
            UnpackState::Waiting(wait) => {
                self.tally.failed -= image.counted.len();
                if let Some(due) = wait.due() {
                    self.due.remove(&(due, target.clone()));
                }
            }
        }
        self.loading -= usize::from(image.is_of_start && image.state.is_open());
        Some(image)
    }
}
