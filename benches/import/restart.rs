//! A start with archives that were imported before: none is opened, the store is asked.

use std::time::Duration;

use crate::archives::{Archive, Archives};
use crate::attached::Stowd;
use crate::contender::{Contender, stowds};
use crate::figures::median_time;
use crate::options::Options;
use crate::page_cache;
use crate::support::{Daemon, Generation};

/// What it took with so many archives, from the first instruction to READY.
#[derive(Debug)]
pub(crate) struct Restarts {
    pub(crate) name: String,
    pub(crate) few: (usize, Vec<Duration>),
    pub(crate) many: (usize, Vec<Duration>),
    /// As many, of [`LAYERED`] blobs each.
    pub(crate) layered: (usize, Vec<Duration>),
}

/// The blobs of a small archive: a manifest, a configuration and a layer.
const SMALL: usize = 3;
/// Those of one with eight layers.
const LAYERED: usize = 10;

impl Restarts {
    /// What one archive more costs.
    pub(crate) fn growth(&self) -> Duration {
        growth(&self.few.1, &self.many.1, self.many.0 - self.few.0)
    }

    /// What one blob more costs.
    pub(crate) fn growth_by_blob(&self) -> Duration {
        let more = self.layered.0 * (LAYERED - SMALL);
        growth(&self.many.1, &self.layered.1, more)
    }
}

fn growth(few: &[Duration], many: &[Duration], more: usize) -> Duration {
    let more = u32::try_from(more).unwrap_or(u32::MAX);
    median_time(many).saturating_sub(median_time(few)) / more.max(1)
}

/// With 50 archives, with all the small ones that there are, and with as many that have more blobs.
pub(crate) fn measure(
    generation: &Generation,
    contenders: &[Contender],
    archives: &Archives,
    options: &Options,
) -> Vec<Restarts> {
    let (small, layered) = (archives.group("small"), archives.group("layered"));
    let few = 50.min(small.len() / 2);
    let restarts = stowds(contenders).map(|(name, stowd)| {
        let with = |archives: &[Archive]| {
            let times = restarts(generation, stowd, archives, options);
            (archives.len(), times)
        };
        Restarts {
            name,
            few: with(&small[..few]),
            many: with(&small),
            layered: with(&layered),
        }
    });
    restarts.collect()
}

fn restarts(
    generation: &Generation,
    stowd: &Stowd,
    archives: &[Archive],
    options: &Options,
) -> Vec<Duration> {
    eprintln!(
        "containerd {}: restarts with {} archives",
        generation.name,
        archives.len()
    );
    let mut daemon = Daemon::start(generation);
    daemon.wait();
    stowd.wait_serving(&daemon);
    stowd.ready(&daemon, archives).stop();
    let rounds = (0..options.rounds()).map(|_| {
        page_cache::settle();
        let attached = stowd.ready(&daemon, archives);
        let to_ready = attached.to_ready;
        attached.stop();
        to_ready
    });
    rounds.collect()
}
