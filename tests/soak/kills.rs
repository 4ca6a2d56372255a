//! stowd is killed at many moments while it writes blobs directly.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use stowd::digest::Digest;

use crate::dice::Dice;
use crate::support::{
    Daemon, Generation, Setup, Store, Stowd, blobs_dir, file_names, fixture, half_written,
    on_each_generation_in_turn, reference,
};
use crate::{SOON, rounds};

on_each_generation_in_turn!(killed_at_many_moments_it_leaves_nothing_wrong_behind);

/// Every file of the content store has the bytes that its name promises. Those that were right before,
/// by name, inode and time, are not read again.
fn assert_right(dir: &Path, right: &mut HashSet<(String, u64, i64)>) {
    for name in file_names(dir) {
        // containerd may collect one meanwhile.
        let Ok(metadata) = fs::metadata(dir.join(&name)) else {
            continue;
        };
        let file = (name, metadata.ino(), metadata.ctime_nsec());
        if !right.contains(&file) {
            let Ok(bytes) = fs::read(dir.join(&file.0)) else {
                continue;
            };
            assert_eq!(Digest::of(&bytes).hex(), file.0);
            right.insert(file);
        }
    }
}

/// Attached to a containerd that lives on, so that each of stowd's lives is short.
fn killed_at_many_moments_it_leaves_nothing_wrong_behind(generation: &Generation) {
    let mut daemon = Daemon::start(generation);
    daemon.wait();
    let mut setup = Setup::new(generation);
    setup.attach(&daemon.address());
    setup.images = "settle = \"0s\"\n".to_owned();
    let files = ["large.tar", "large.tar.zst", "skopeo-docker.tar.gz"];
    for file in files {
        setup.stow(&fixture(file).path);
    }
    let ledger = setup.dir().join("lib/ledger.json");
    let dir = blobs_dir(daemon.root());
    let images = |daemon: &Daemon| {
        let listed = daemon.ctr(&["--namespace", "k8s.io", "images", "list", "--quiet"]);
        listed.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let mut stowd: Stowd = setup.start();
    let (mut cut, mut dice) = (0, Dice(0x5eed));
    // When it is killed is stowd's matter; what containerd makes of it shows in fewer.
    let is_reference = generation.bin == reference().bin;
    let kills = rounds(if is_reference { 200 } else { 60 });
    let mut right = HashSet::new();
    for round in 0..kills {
        // Every other time with a blob at hand.
        if round % 2 == 0 {
            stowd.wait_until(SOON, "a blob is on its way", |stowd| {
                stowd.is_importing_into(daemon.root())
            });
        }
        // The moment is what is random: no condition can be waited for.
        std::thread::sleep(Duration::from_millis(dice.below([60, 300][round % 2])));
        cut += usize::from(stowd.is_importing_into(daemon.root()));
        stowd.kill();
        assert_right(&dir, &mut right);
        // What it had ended is to be imported again.
        let _ = fs::remove_file(&ledger);
        for name in images(&daemon) {
            daemon.ctr(&["--namespace", "k8s.io", "images", "rm", "--sync", &name]);
        }
        stowd.restart();
    }
    assert!(cut > kills / 10, "{cut} were killed with a blob at hand");
    stowd.kill();
    assert_right(&dir, &mut right);
    stowd.restart();
    stowd.wait_ready(SOON);
    assert_right(&dir, &mut right);
    let listed = images(&daemon);
    for name in files.iter().flat_map(|file| fixture(file).names) {
        assert!(listed.contains(&name), "{name} is not in {listed:?}");
    }
    let check = daemon.ctr(&["--namespace", "k8s.io", "images", "check"]);
    let own = check.lines().skip(1);
    for line in own.filter(|line| !line.starts_with("sha256:")) {
        assert!(line.contains("complete"), "{check}");
    }
    // Nothing but blobs, and nothing but what the images consist of, when containerd has collected what
    // a stowd has named and it has not heard of.
    let store = Store::at(&daemon.address());
    assert_eq!(store.leases(), Vec::<String>::new());
    store.collect_garbage();
    let closure = store.closure();
    let closure = closure
        .iter()
        .map(|digest| digest.trim_start_matches("sha256:").to_owned());
    assert_eq!(
        file_names(&dir).into_iter().collect::<BTreeSet<_>>(),
        closure.collect()
    );
    let content = dir.parent().unwrap().parent().unwrap();
    let mut beside = file_names(content);
    beside.retain(|name| name != "blobs" && name != "ingest");
    assert_eq!(beside, Vec::<String>::new());
    assert_eq!(half_written(content), Vec::<PathBuf>::new());
    assert_eq!(stowd.stop(), Some(0));
}
