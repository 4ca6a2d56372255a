//! The pins: what no entry brings any more is unpinned.
//!
//! An image is pinned before its entry has a record. So no job that pins names of which the plan does
//! not know runs between the question for the store's images and the last unpinning. A pull may: the
//! look before it has told which names the list is to pin.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::happened::Happened;
use crate::image_store::Image;
use crate::ledger::Audit;
use crate::naming::{Names, Reference};
use crate::pin::OWNER_LABEL;

use super::event::{Effect, Now};
use super::state::Plan;

/// How long pins are left alone after the store failed to unpin one.
const AFTER_FAILURE: Duration = Duration::from_secs(60);

impl Plan {
    /// Begins a check that is due.
    pub(super) fn check_pins(&mut self, now: Now) {
        let is_due = self.pins.due().is_some_and(|due| due <= now.uptime);
        // The answer to an older question says nothing about what was pinned since.
        let is_asked = self.query.is_pending() || self.query.is_under_way();
        // Before the initial load is over, what an entry brings may have no record yet.
        let may = self.load.is_over() && self.rules.unpin_removed && !is_asked;
        if !is_due || !may || !self.is_at_rest() {
            return;
        }
        match self.first_unaccounted_for().map(Path::to_owned) {
            None => self.pins.begin(),
            Some(first) => self.tell_held(first),
        }
    }

    /// Whether the plan knows of each pin that an entry needs. Entries that wait for another try go
    /// on holding what they held.
    fn is_accounted_for(&self) -> bool {
        self.is_at_rest() && self.first_unaccounted_for().is_none()
    }

    /// Whether no archive and no look at a list is left to do. Lists whose absent images are pulled are
    /// not waited for: a registry that is away would keep all pins.
    fn is_at_rest(&self) -> bool {
        let open = self.entries.open();
        open.archives == 0 && open.lists == 0 && !self.entries.is_pinning()
    }

    /// An entry, or a ledger of other entries, that may bring images of which no record tells.
    fn first_unaccounted_for(&self) -> Option<&Path> {
        let restless = self.restless.keys().next().map(PathBuf::as_path);
        let unrecorded = self.entries.first_unrecorded();
        let unknown = self.ledger.unknown().next();
        let elsewhere = self.ledger.lacking_elsewhere();
        restless.or(unrecorded).or(unknown).or(elsewhere)
    }

    /// Unpins what no entry brings, if that is what the images were asked for.
    pub(super) fn check_stale(&mut self, images: &[Image], now: Now) {
        if !self.pins.is_asking() {
            return;
        }
        let may = self.load.is_over() && self.rules.unpin_removed;
        if !may || !self.is_accounted_for() {
            // An entry has come meanwhile, and what it brings is not in the ledger yet; or a reload; or
            // another store.
            return self.pins.put_off(now.uptime + self.rules.settle);
        }
        let stale = Audit::new(&self.ledger, images, &self.rules.owner).stale_pins();
        let promises = self.promises();
        let stale = stale.into_iter().filter(|name| !promises.include(name));
        let stale = stale.map(str::to_owned).collect::<Vec<_>>();
        if stale.is_empty() {
            self.pins.end();
        } else if !self.has_memory {
            // Neither the ledger nor the images directory tells of any entry: the one may be lost, and the
            // mount of the other late. Whatever is seen next has the pins checked again.
            self.pins.give_up();
            self.tell_held(self.rules.root.clone());
        } else {
            self.pins.unpin();
            self.effects.push(Effect::Unpin(stale));
        }
    }

    fn tell_held(&mut self, by: PathBuf) {
        if self.pins.is_held_first() {
            self.tell(Happened::PinsHeld(by));
        }
    }

    /// Counts the images of entries that the store keeps from collection. CRI keeps one that has a pin
    /// under any of its names.
    pub(super) fn count_pinned(&mut self, images: &[Image]) {
        let pinned = images.iter().filter(|image| image.is_pinned());
        let pinned = pinned.map(|image| (image.name.as_str(), &image.target.digest));
        let pinned = pinned.collect::<HashSet<_>>();
        let brought = self.ledger.iter().flat_map(|(_, record)| record.images());
        let kept = brought.filter(|image| {
            let mut names = image.names.iter().map(String::as_str);
            names.any(|name| pinned.contains(&(name, &image.digest)))
        });
        let kept = kept.map(|image| (image.names.first(), &image.digest));
        self.pinned = Some(kept.collect::<HashSet<_>>().len());
    }

    /// Pins from before there were instances get their owner's name.
    pub(super) fn take_over_pins(&mut self, images: &[Image]) {
        let owner = &self.rules.owner;
        let images = images.iter();
        let old = images.filter(|image| owner.takes_over(image.labels.get(OWNER_LABEL)));
        let names = old.map(|image| image.name.clone()).collect::<Vec<_>>();
        if !names.is_empty() {
            self.effects.push(Effect::TakeOver(names));
        }
    }

    pub(super) fn unpinned(&mut self, names: Vec<String>, result: Result<(), String>, now: Now) {
        for name in names {
            self.tell(Happened::Unpinned(name));
        }
        self.pins.end();
        if let Err(error) = result {
            self.tell(Happened::NotUnpinned(error));
            self.pins.want(now.uptime + AFTER_FAILURE);
        }
    }

    /// Whether a list that is pulled has brought an image of this name, or may.
    pub(super) fn is_promised(&self, name: &str) -> bool {
        self.promises().include(name)
    }

    /// What lists that are pulled have pinned or may pin.
    fn promises(&self) -> Promises<'_> {
        let mut promises = Promises::default();
        for looked in self.entries.looked() {
            let names = looked.images.values().flat_map(|image| &image.names);
            promises.names.extend(names.map(String::as_str));
            for line in &looked.absent {
                let extra = &self.rules.extra_registries;
                let repositories = Names::repositories(&line.reference, extra);
                promises.repositories.extend(repositories);
            }
        }
        promises
    }
}

/// Names that no record tells of yet.
#[derive(Debug, Default)]
struct Promises<'a> {
    names: HashSet<&'a str>,
    /// Under which tags and digests a pull names an image is known when it has ended.
    repositories: HashSet<String>,
}

impl Promises<'_> {
    fn include(&self, name: &str) -> bool {
        let is_pulled = || {
            let name = Reference::parse(name);
            name.is_ok_and(|name| self.repositories.contains(&name.repository()))
        };
        self.names.contains(name) || is_pulled()
    }
}
