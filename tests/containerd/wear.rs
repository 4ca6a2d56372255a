//! What broken archives cost a disk, as the kernel counts it.

use std::time::Duration;

use crate::made::{Made, recipe};
use crate::support::{Generation, Setup, Stowd, compressed, on_the_reference_in_turn};

const SOON: Duration = Duration::from_secs(180);
const MIB: u64 = 1 << 20;

/// The length of an archive, in MiB.
const LENGTH: u64 = 4;

/// So long nothing is read any more, and nothing written.
const REST: Duration = Duration::from_secs(15);

/// What databases, logs and libraries take.
const OTHER: u64 = 24 * MIB;

/// `rchar` or `wchar` of stowd and its containerd: see proc_pid_io(5).
fn counted(stowd: &Stowd, what: &str) -> u64 {
    let pids = [Some(stowd.pid()), stowd.containerd_pid()];
    let of = |pid: u32| -> u64 {
        let io = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
        let line = io.lines().find(|line| line.starts_with(what)).unwrap();
        line.split_once(' ').unwrap().1.parse().unwrap()
    };
    pids.into_iter().flatten().map(of).sum()
}

fn archive(seed: u64) -> Made {
    let mut recipe = recipe(seed, "registry.stowd.test/wear/broken:1");
    recipe.size = usize::try_from(LENGTH * MIB).unwrap();
    recipe.oci()
}

/// Each of twenty broken archives is read twice at most, and written once at most.
fn broken_archives_are_left_alone(generation: &Generation) {
    let setup = Setup::new(generation);
    let scratch = setup.dir().join("scratch");
    for seed in 0..20 {
        let mut tar = archive(seed).tar();
        match seed % 2 {
            0 => tar.truncate(tar.len() - 2048),
            _ => tar[2 << 20] ^= 1,
        }
        std::fs::write(&scratch, tar).unwrap();
        let kind = ["", "gz"][usize::from(seed % 4 >= 2)];
        let file = setup.images().join(format!("{seed}.tar"));
        std::fs::write(file, compressed(&scratch, kind)).unwrap();
    }
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    let ledger = stowd.setup().dir().join("lib/ledger.json");
    stowd.wait_until(SOON, "the second reading of each", |_| {
        let ledger = std::fs::read_to_string(&ledger).unwrap_or_default();
        ledger.matches("\"attempts\":2").count() == 20
    });
    let count = |stowd: &Stowd| ["rchar:", "wchar:"].map(|what| counted(stowd, what));
    let [read, written] = count(&stowd);
    println!(
        "20 broken archives of {LENGTH} MiB, containerd {}: {} MiB read, {} MiB written",
        generation.name,
        read / MIB,
        written / MIB
    );
    // Of those that are plain and cut not a byte is written.
    let once = 15 * LENGTH * MIB;
    assert!((once / 2..once + OTHER).contains(&written), "{written}");
    assert!(read < 2 * 20 * LENGTH * MIB + OTHER, "{read}");
    // There is no event that says that nothing happens.
    std::thread::sleep(REST);
    let [read_later, written_later] = count(&stowd);
    assert!(read_later - read < MIB, "{read_later} after {read}");
    assert!(
        written_later - written < MIB,
        "{written_later} after {written}"
    );
    assert_eq!(stowd.lines(" failed /").len(), 20, "each is told once");
    let store = stowd.store();
    assert_eq!(store.images().len(), 0);
    assert_eq!(store.ingests(), Vec::<String>::new());
}

on_the_reference_in_turn!(broken_archives_are_left_alone);
