//! What stowd takes of memory, and how often it wakes up when there is nothing to do.

use std::time::Duration;

use crate::archives::Archives;
use crate::contender::{Contender, stowds};
use crate::options::Options;
use crate::page_cache;
use crate::support::{Daemon, Generation, kibibytes, wake_ups};

/// Of one stowd.
#[derive(Debug)]
pub(crate) struct Footprints {
    pub(crate) name: String,
    pub(crate) rounds: Vec<Footprint>,
    /// How long it was watched in each round, when the load had ended.
    pub(crate) watched: Duration,
}

/// Of one round: the set of archives was imported, then nothing happened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Footprint {
    /// The most that it had resident at once up to READY, in bytes.
    pub(crate) peak: u64,
    /// What it has resident when it has been idle for that long, in bytes.
    pub(crate) idle: u64,
    /// How often one of its threads was put on a processor while it was idle.
    pub(crate) wake_ups: u64,
}

/// Each round in a containerd of its own.
pub(crate) fn measure(
    generation: &Generation,
    contenders: &[Contender],
    archives: &Archives,
    options: &Options,
) -> Vec<Footprints> {
    let watched = Duration::from_secs(options.idle_seconds());
    let set = archives.group("set");
    let footprints = stowds(contenders).map(|(name, stowd)| {
        let rounds = (0..options.rounds()).map(|round| {
            eprintln!(
                "containerd {}: memory, round {}",
                generation.name,
                round + 1
            );
            let mut daemon = Daemon::start(generation);
            daemon.wait();
            stowd.wait_serving(&daemon);
            page_cache::prepare(&set, options.input);
            let attached = stowd.ready(&daemon, &set);
            let peak = kibibytes(attached.pid(), "VmHWM:");
            std::thread::sleep(options.winding_down());
            let wake_ups = wake_ups(attached.pid(), watched);
            let wake_ups = wake_ups.iter().map(|(_, times)| times).sum();
            let idle = kibibytes(attached.pid(), "VmRSS:");
            attached.stop();
            Footprint {
                peak: peak << 10,
                idle: idle << 10,
                wake_ups,
            }
        });
        Footprints {
            name,
            rounds: rounds.collect(),
            watched,
        }
    });
    footprints.collect()
}
