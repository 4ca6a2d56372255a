//! A start with archives that were imported before: none is opened, the store is asked.

use std::time::Duration;

use crate::archives::Archives;
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
}

impl Restarts {
    /// What one archive more costs.
    pub(crate) fn growth(&self) -> Duration {
        let (few, many) = (median_time(&self.few.1), median_time(&self.many.1));
        let more = u32::try_from(self.many.0 - self.few.0).unwrap_or(u32::MAX);
        many.saturating_sub(few) / more.max(1)
    }
}

/// With 50 archives, and with all the small ones that there are.
pub(crate) fn measure(
    generation: &Generation,
    contenders: &[Contender],
    archives: &Archives,
    options: &Options,
) -> Vec<Restarts> {
    let all = archives.group("small").len();
    let few = 50.min(all / 2);
    let restarts = stowds(contenders).map(|(name, stowd)| {
        let with = |count| (count, restarts(generation, stowd, count, archives, options));
        Restarts {
            name,
            few: with(few),
            many: with(all),
        }
    });
    restarts.collect()
}

fn restarts(
    generation: &Generation,
    stowd: &Stowd,
    count: usize,
    archives: &Archives,
    options: &Options,
) -> Vec<Duration> {
    eprintln!(
        "containerd {}: restarts with {count} archives",
        generation.name
    );
    let mut small = archives.group("small");
    small.truncate(count);
    let mut daemon = Daemon::start(generation);
    daemon.wait();
    stowd.wait_serving(&daemon);
    stowd.ready(&daemon, &small).stop();
    let rounds = (0..options.rounds()).map(|_| {
        page_cache::settle();
        let attached = stowd.ready(&daemon, &small);
        let to_ready = attached.to_ready;
        attached.stop();
        to_ready
    });
    rounds.collect()
}
