//! Images of lists with damaged blobs: they are whole again when the registry gives them, and until then
//! they have what works of them.

use std::collections::BTreeSet;

use rustix::process::Signal;

use crate::damage::{blobs_of, file, is_whole, pulls_layers};
use crate::scrub::{is_right, leave_unclean, spoil};
use crate::support::{
    Generation, Registry, Stowd, assert_clean, blobs_dir, on_each_generation_in_turn,
};

use super::harness::{UMOCI, count, eventually, push, setup, status, wait_for_no_lease};

on_each_generation_in_turn!(
    what_is_damaged_stays_until_its_registry_answers,
    a_damaged_layer_that_is_unpacked_is_pulled_again,
);

fn snapshots(stowd: &Stowd) -> BTreeSet<String> {
    let list = stowd.ctr(&["snapshots", "list"]);
    let lines = list.lines().skip(1);
    let keys = lines.filter_map(|line| line.split_whitespace().next());
    keys.map(str::to_owned).collect()
}

fn names(stowd: &Stowd) -> BTreeSet<String> {
    stowd.store().images().into_keys().collect()
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
        wait_for_no_lease(&stowd);
    }
    stowd.store().closure();
    assert_clean(&stowd);
}

fn a_damaged_layer_that_is_unpacked_is_pulled_again(generation: &Generation) {
    if !pulls_layers(generation) {
        // `damage::a_list_pulls_what_is_damaged` holds what is done there.
        return;
    }
    let registry = Registry::start();
    push(&registry, UMOCI);
    let mut setup = setup(generation, registry.address(), "");
    setup.images.push_str("scrub = \"1s\"\n");
    setup.list("core.txt", format!("{UMOCI}\n"));
    let mut stowd = setup.start();
    stowd.wait_ready(super::harness::SOON);
    let unpacked = snapshots(&stowd);
    let named = names(&stowd);
    let root = stowd.setup().dir().join("root");
    for layer in &blobs_of(&stowd, UMOCI)[2..] {
        let imported = count(&stowd, "imported", "core.txt: ");
        spoil(&file(&stowd, layer));
        eventually(&mut stowd, "it is repaired", |stowd| {
            count(stowd, "imported", "core.txt: ") > imported
        });
        assert!(is_right(&stowd.store(), &blobs_dir(&root), layer));
        // And it stays.
        stowd.store().collect_garbage();
        assert!(is_whole(&stowd, layer));
    }
    assert_eq!(snapshots(&stowd), unpacked);
    // The layer had one for a while.
    assert_eq!(names(&stowd), named);
    assert_eq!(count(&stowd, "failed", "core.txt: "), 0);
    wait_for_no_lease(&stowd);
    // It is known to be needed.
    assert_eq!(stowd.stop(), Some(0));
    stowd.restart();
    stowd.wait_ready(super::harness::SOON);
    assert_eq!(count(&stowd, "skipped", "core.txt"), 1);
}
