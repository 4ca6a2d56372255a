//! A restart costs milliseconds: what is there is asked for, not imported again.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::{Generation, Setup, Stowd, fixture, on_each_generation_in_turn, reference};

on_each_generation_in_turn!(
    unchanged_entries_are_neither_read_nor_sent,
    what_the_store_has_lost_is_brought_back_and_nothing_else,
);

const SOON: Duration = Duration::from_secs(60);
const UMOCI: &str = "registry.stowd.test/umoci:1.35";
const SKOPEO: &str = "registry.stowd.test/skopeo:1.35";

/// The lines that stowd wrote since it was started the last time.
pub(crate) fn since_start(stowd: &Stowd, part: &str) -> Vec<String> {
    let log = stowd.log();
    let start = log.rfind(" containerd started: ").unwrap_or_default();
    let lines = log[start..]
        .lines()
        .filter(|line| !line.starts_with("time="));
    lines
        .filter(|line| line.contains(part))
        .map(str::to_owned)
        .collect()
}

pub(crate) fn bytes_read(stowd: &Stowd) -> u64 {
    let io = fs::read_to_string(format!("/proc/{}/io", stowd.pid())).unwrap();
    let read = io
        .lines()
        .find_map(|line| line.strip_prefix("rchar: "))
        .unwrap();
    read.parse().unwrap()
}

fn restarted(stowd: &mut Stowd) {
    stowd.restart();
    stowd.wait_ready(SOON);
}

fn labels(stowd: &Stowd, name: &str) -> String {
    let list = stowd.ctr(&["images", "list", &format!("name=={name}")]);
    list.lines().nth(1).unwrap_or_default().to_owned()
}

fn unchanged_entries_are_neither_read_nor_sent(generation: &Generation) {
    let setup = Setup::new(generation);
    let large = fixture("large.tar");
    setup.stow(&large.path).stow(&fixture("umoci.tar.zst").path);
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    assert_eq!(since_start(&stowd, " imported /").len(), 2);
    // Once by an orderly end, once by none.
    for orderly in [true, false] {
        if orderly {
            assert_eq!(stowd.stop(), Some(0));
        } else {
            stowd.wait_until(SOON, "the ledger is on disk", |stowd| {
                stowd.setup().dir().join("lib/ledger.json").exists()
            });
            stowd.kill();
        }
        restarted(&mut stowd);
        assert_eq!(
            since_start(&stowd, " skipped /").len(),
            2,
            "{}",
            stowd.log()
        );
        assert_eq!(since_start(&stowd, " imported /"), Vec::<String>::new());
        let size = fs::metadata(&large.path).unwrap().len();
        assert!(
            bytes_read(&stowd) < size / 10,
            "{} of {size}",
            bytes_read(&stowd)
        );
        let last = stowd.notify.statuses().pop().unwrap();
        assert!(
            last.starts_with("ready: 5 images from 2 entries; "),
            "{last}"
        );
    }
}

fn what_the_store_has_lost_is_brought_back_and_nothing_else(generation: &Generation) {
    let setup = Setup::new(generation);
    setup
        .stow(&fixture("umoci.tar").path)
        .stow(&fixture("skopeo-oci.tar").path);
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    stowd.ctr(&["images", "rm", "--sync", UMOCI]);
    assert_eq!(stowd.stop(), Some(0));
    restarted(&mut stowd);
    let back = since_start(&stowd, " bringing back what is missing of /");
    assert!(back.len() == 1 && back[0].contains(UMOCI), "{back:?}");
    assert_eq!(since_start(&stowd, " imported /").len(), 1);
    assert_eq!(since_start(&stowd, " skipped /").len(), 1);
    assert!(labels(&stowd, UMOCI).contains("io.stowd.pinned=default"));

    // A pin that was taken off is set again.
    stowd.ctr(&[
        "images",
        "label",
        SKOPEO,
        "io.cri-containerd.pinned=",
        "io.stowd.pinned=",
    ]);
    assert!(!labels(&stowd, SKOPEO).contains("pinned"));
    assert_eq!(stowd.stop(), Some(0));
    restarted(&mut stowd);
    assert!(labels(&stowd, SKOPEO).contains("io.cri-containerd.pinned=pinned"));
}

fn replace_in_place(path: &Path, bytes: &[u8]) {
    let file = fs::File::options().write(true).open(path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, bytes, 0).unwrap();
}

#[test]
fn every_kind_of_change_makes_an_entry_new() {
    let generation = &reference();
    let setup = Setup::new(generation);
    let bytes = fs::read(fixture("umoci.tar").path).unwrap();
    let path = setup.images().join("a.tar");
    fs::write(&path, &bytes).unwrap();
    let long_ago = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000);
    let aside = setup.dir().join("aside");
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    let seen = || {
        let metadata = fs::metadata(&path).unwrap();
        (
            metadata.ino(),
            metadata.size(),
            metadata.mtime(),
            metadata.mtime_nsec(),
        )
    };
    let before = seen();
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    type Change<'a> = (&'a str, Box<dyn Fn() + 'a>);
    let changes: [Change<'_>; 4] = [
        (
            "the same size",
            Box::new(|| replace_in_place(&path, &bytes)),
        ),
        (
            "the same mtime, another inode",
            Box::new(|| {
                fs::write(&aside, &bytes).unwrap();
                fs::File::options()
                    .write(true)
                    .open(&aside)
                    .unwrap()
                    .set_modified(modified)
                    .unwrap();
                fs::rename(&aside, &path).unwrap();
            }),
        ),
        (
            "an older mtime",
            Box::new(|| {
                fs::File::options()
                    .write(true)
                    .open(&path)
                    .unwrap()
                    .set_modified(long_ago)
                    .unwrap();
            }),
        ),
        (
            "renamed over, another size",
            Box::new(|| {
                fs::copy(fixture("umoci.tar.gz").path, &aside).unwrap();
                fs::rename(&aside, &path).unwrap();
            }),
        ),
    ];
    for (what, change) in changes {
        assert_eq!(stowd.stop(), Some(0));
        change();
        restarted(&mut stowd);
        assert_eq!(
            since_start(&stowd, " imported /").len(),
            1,
            "{what}: {}",
            stowd.log()
        );
    }
    assert_ne!(seen(), before);
}

#[test]
fn a_ledger_that_is_garbage_costs_an_import_and_is_replaced() {
    let generation = &reference();
    let setup = Setup::new(generation);
    setup.stow(&fixture("umoci.tar").path);
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    for garbage in [
        &b""[..],
        b"null",
        b"{\"version\":99}",
        b"\xff\xfe{{{{",
        b"{\"a.tar\":{\"size\":1}}",
    ] {
        assert_eq!(stowd.stop(), Some(0));
        fs::write(stowd.setup().dir().join("lib/ledger.json"), garbage).unwrap();
        restarted(&mut stowd);
        assert_eq!(since_start(&stowd, " imported /").len(), 1, "{garbage:?}");
        assert_eq!(stowd.stop(), Some(0));
        restarted(&mut stowd);
        assert_eq!(since_start(&stowd, " skipped /").len(), 1, "{garbage:?}");
    }
}

#[test]
fn an_operators_cache_file_is_the_ledger_and_a_read_only_state_directory_is_no_hindrance() {
    let generation = &reference();
    let setup = Setup::new(generation);
    setup.stow(&fixture("umoci.tar").path);
    fs::write(setup.images().join(".cache.json"), "").unwrap();
    // A file in its place: nothing can be written below it.
    fs::write(setup.dir().join("lib"), "").unwrap();
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    assert_eq!(stowd.stop(), Some(0));
    let ledger = fs::read_to_string(stowd.setup().images().join(".cache.json")).unwrap();
    assert!(ledger.contains(UMOCI), "{ledger}");
    restarted(&mut stowd);
    assert_eq!(since_start(&stowd, " skipped /").len(), 1);
    fs::remove_file(stowd.setup().images().join(".cache.json")).unwrap();
    assert_eq!(stowd.stop(), Some(0));
    restarted(&mut stowd);
    assert_eq!(
        since_start(&stowd, " imported /").len(),
        1,
        "nothing was remembered"
    );
}

#[test]
fn a_thousand_unchanged_entries_are_skipped() {
    let generation = &reference();
    let setup = Setup::new(generation);
    let small = setup.dir().join("small.tar.zst");
    fs::copy(fixture("umoci.tar.zst").path, &small).unwrap();
    for number in 0..1000 {
        fs::hard_link(&small, setup.images().join(format!("{number:04}.tar"))).unwrap();
    }
    let mut stowd = setup.start();
    stowd.wait_ready(Duration::from_secs(300));
    assert_eq!(stowd.stop(), Some(0));
    let began = Instant::now();
    restarted(&mut stowd);
    println!(
        "1000 unchanged entries: READY {:?} after the start, containerd's own included",
        began.elapsed()
    );
    assert_eq!(since_start(&stowd, " skipped /").len(), 1000);
    assert_eq!(since_start(&stowd, " imported /"), Vec::<String>::new());
}

#[test]
fn a_pin_of_its_own_that_no_ledger_knows_is_taken_off() {
    let generation = &reference();
    let setup = Setup::new(generation);
    setup
        .stow(&fixture("umoci.tar").path)
        .stow(&fixture("skopeo-oci.tar").path);
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    // As a stowd leaves it that is killed between an import and the ledger, and the file then goes.
    assert_eq!(stowd.stop(), Some(0));
    let ledger = stowd.setup().dir().join("lib/ledger.json");
    fs::remove_file(stowd.setup().images().join("umoci.tar")).unwrap();
    restarted(&mut stowd);
    stowd.wait_until(SOON, "it is unpinned", |stowd| {
        !labels(stowd, UMOCI).contains("pinned")
    });
    stowd.ctr(&[
        "images",
        "label",
        UMOCI,
        "io.cri-containerd.pinned=pinned",
        "io.stowd.pinned=default",
    ]);
    assert_eq!(stowd.stop(), Some(0));
    let known = fs::read(&ledger).unwrap();
    restarted(&mut stowd);
    stowd.wait_until(SOON, "it is unpinned again", |stowd| {
        !labels(stowd, UMOCI).contains("pinned")
    });
    assert_eq!(
        fs::read(&ledger).unwrap(),
        known,
        "nothing in the ledger has changed"
    );
}
