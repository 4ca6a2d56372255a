//! What stowd takes of memory, and how often it wakes up when there is nothing to do.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::archives::Archives;
use crate::contender::{Contender, stowds};
use crate::options::Options;
use crate::page_cache;
use crate::support::{Daemon, Generation};

/// Of one stowd.
#[derive(Debug)]
pub(crate) struct Footprints {
    pub(crate) name: String,
    pub(crate) rounds: Vec<Footprint>,
    /// How long it was watched in each round after READY.
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
            let process = PathBuf::from(format!("/proc/{}", attached.pid()));
            let peak = kibibytes(&process, "VmHWM:");
            let before = switches(&process);
            std::thread::sleep(watched);
            let after = switches(&process);
            let idle = kibibytes(&process, "VmRSS:");
            attached.stop();
            Footprint {
                peak: peak << 10,
                idle: idle << 10,
                wake_ups: more(&before, &after),
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

fn kibibytes(process: &Path, field: &str) -> u64 {
    let status = fs::read_to_string(process.join("status")).expect("it runs");
    number(&status, field)
}

/// Context switches of each thread so far, wanted or not.
fn switches(process: &Path) -> BTreeMap<PathBuf, u64> {
    let tasks = fs::read_dir(process.join("task")).expect("its threads");
    let tasks = tasks.map(|task| task.expect("a thread").path());
    let switches = |task: PathBuf| {
        // It may have just ended.
        let status = fs::read_to_string(task.join("status")).ok()?;
        let fields = ["voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:"];
        let sum = fields.iter().map(|field| number(&status, field)).sum();
        Some((task, sum))
    };
    tasks.filter_map(switches).collect()
}

/// Of the threads that are still there; one that is new began with none.
fn more(before: &BTreeMap<PathBuf, u64>, after: &BTreeMap<PathBuf, u64>) -> u64 {
    let more = |(task, now): (&PathBuf, &u64)| now - before.get(task).unwrap_or(&0);
    after.iter().map(more).sum()
}

fn number(status: &str, field: &str) -> u64 {
    let mut lines = status.lines();
    let found = lines.find_map(|line| line.strip_prefix(field));
    let words = found.unwrap_or_else(|| panic!("no {field} in:\n{status}"));
    let word = words.split_whitespace().next().expect("a number");
    word.parse().expect("a number")
}
