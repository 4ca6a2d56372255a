//! Names that lists pin before they have a record.
//!
//! A list may be in work for hours. Pins that no record accounts for are looked for meanwhile, and
//! those of a list in work must not be taken for such: it says which names it is going to pin, and
//! waits while pins are being taken off. It also waits, before it pulls, for archives that may bring
//! what it names.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use tokio::sync::oneshot;

use crate::image_store::ImageStore;
use crate::puller::Ask;

use super::Intake;

/// Names that are pinned, or are about to be, and that no record has.
#[derive(Debug, Default)]
pub(super) struct Pledges {
    names: HashMap<PathBuf, HashSet<String>>,
    /// Those who wait until no pins are taken off.
    pins: Vec<oneshot::Sender<()>>,
    /// Those who wait until there are no archives.
    pulls: Vec<oneshot::Sender<()>>,
}

impl Pledges {
    /// The entry has a record, or is gone.
    pub(super) fn redeem(&mut self, path: &Path) {
        self.names.remove(path);
    }

    /// Whether a list in work brings this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.names.values().any(|names| names.contains(name))
    }

    /// No pins are taken off any more.
    pub(super) fn let_pin(&mut self) {
        grant(&mut self.pins);
    }

    /// No archive is left that might bring an image.
    pub(super) fn let_pull(&mut self) {
        grant(&mut self.pulls);
    }
}

fn grant(waiting: &mut Vec<oneshot::Sender<()>>) {
    for granted in waiting.drain(..) {
        // An error is a list that was given up.
        let _ = granted.send(());
    }
}

impl<S: ImageStore> Intake<S> {
    pub(super) fn asked(&mut self, ask: Ask) {
        let (Ask::Pin { entry, .. } | Ask::Pull { entry, .. }) = &ask;
        // A list that has ended, or is given up, may have asked before.
        let Some(running) = self.running.get_mut(entry) else {
            return;
        };
        if running.stop.is_cancelled() {
            return;
        }
        match ask {
            Ask::Pin {
                entry,
                names,
                granted,
            } => {
                self.pledges.names.entry(entry).or_default().extend(names);
                self.pledges.pins.push(granted);
                if !self.upkeep.is_in_work() {
                    self.pledges.let_pin();
                }
            }
            // Granted with the next turn of the loop.
            Ask::Pull { granted, .. } => {
                running.is_pulling = true;
                self.pledges.pulls.push(granted);
            }
        }
    }
}
