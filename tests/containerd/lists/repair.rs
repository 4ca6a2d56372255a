//! Images of lists with damaged blobs: they are whole again when the registry gives them, and until then
//! they have what works of them.

use std::collections::BTreeSet;

use rustix::process::Signal;

use crate::damage::{blobs_of, file, is_whole};
use crate::scrub::{leave_unclean, spoil};
use crate::support::{Generation, Registry, Stowd, assert_clean, on_each_generation_in_turn};

use super::harness::{UMOCI, count, eventually, leases, push, setup, status};

on_each_generation_in_turn!(what_is_damaged_stays_until_its_registry_answers);

fn snapshots(stowd: &Stowd) -> BTreeSet<String> {
    let list = stowd.ctr(&["snapshots", "list"]);
    let lines = list.lines().skip(1);
    let keys = lines.filter_map(|line| line.split_whitespace().next());
    keys.map(str::to_owned).collect()
}

fn what_is_damaged_stays_until_its_registry_answers(generation: &Generation) {
    let mut registry = Registry::start();
    push(&registry, UMOCI);
    let mut setup = setup(generation, registry.address(), "");
    setup.images.push_str("scrub = \"0s\"\n");
    setup.list("core.txt", format!("{UMOCI}\n"));
    let mut stowd = setup.start();
    stowd.wait_ready(super::harness::SOON);
    let (blobs, unpacked) = (blobs_of(&stowd, UMOCI), snapshots(&stowd));
    assert!(!unpacked.is_empty());
    // The manifest, and the configuration.
    for (round, damaged) in blobs[..2].iter().enumerate() {
        let (failed, imported) = (
            count(&stowd, "failed", "core.txt: "),
            count(&stowd, "imported", "core.txt: "),
        );
        stowd.kill();
        spoil(&file(&stowd, damaged));
        leave_unclean(&stowd);
        registry.kill();
        stowd.restart();
        eventually(&mut stowd, "the repair fails", |stowd| {
            count(stowd, "failed", "core.txt: ") > failed
        });
        assert_eq!(count(&stowd, "imported", "core.txt: "), imported);
        stowd.store().collect_garbage();
        for blob in &blobs {
            assert!(stowd.store().blobs().contains_key(blob), "{blob}");
            assert!(file(&stowd, blob).exists(), "{blob}");
        }
        assert_eq!(snapshots(&stowd), unpacked);
        eventually(&mut stowd, "STATUS tells it", |stowd| {
            status(stowd).contains("1 failed")
        });
        registry.restart();
        stowd.signal(Signal::HUP);
        eventually(&mut stowd, "it is repaired", |stowd| {
            count(stowd, "imported", "core.txt: ") > imported
        });
        for blob in &blobs {
            assert!(is_whole(&stowd, blob), "round {round}: {blob}");
        }
        assert_eq!(leases(&stowd), Vec::<String>::new());
    }
    stowd.store().closure();
    assert_clean(&stowd);
}
