//! A disk that is full half way.

use std::path::Path;
use std::time::Duration;

use crate::made::{Made, recipe};
use crate::support::{
    Daemon, Generation, Options, Setup, SmallDisk, compressed, fixture, on_the_reference_in_turn,
};

const SOON: Duration = Duration::from_secs(120);

/// The bytes of all files below a directory.
fn bytes_below(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return 0;
    };
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}

fn a_full_disk_fails_what_does_not_fit_and_nothing_else(generation: &Generation) {
    for (large, direct) in [
        ("large.tar", true),
        ("large.tar.zst", true),
        ("large.tar", false),
    ] {
        let mut setup = Setup::new(generation);
        setup.images.push_str(&format!("direct = {direct}\n"));
        let disk = SmallDisk::at(setup.dir().join("root"), 40);
        // One after the other: the last must find room again.
        setup.images.push_str("parallel = 1\n");
        setup.stow_as(&fixture("umoci.tar").path, "a.tar");
        setup.stow_as(&fixture(large).path, "b.tar");
        setup.stow_as(&fixture("buildah-docker.tar.gz").path, "c.tar");
        let mut stowd = setup.start();
        stowd.wait_ready(SOON);
        for (file, words) in [
            ("a.tar", " imported /"),
            ("b.tar", " MiB are to be written, "),
            ("c.tar", " imported /"),
        ] {
            let outcomes = stowd.outcomes(file);
            assert!(
                outcomes.len() == 1 && outcomes[0].contains(words),
                "{large}: {file}: {outcomes:?}"
            );
        }
        let store = stowd.store();
        let tags = |names: Vec<String>| {
            names
                .into_iter()
                .filter(|name| !name.contains('@'))
                .collect::<Vec<_>>()
        };
        let small = [
            "registry.stowd.test/buildah:1.35",
            "registry.stowd.test/umoci:1.35",
        ];
        assert_eq!(tags(store.images().into_keys().collect()), small, "{large}");
        assert_eq!(store.leases(), Vec::<String>::new(), "{large}");
        assert_eq!(store.ingests(), Vec::<String>::new(), "{large}");
        store.collect_garbage();
        assert_eq!(
            store
                .blobs()
                .into_keys()
                .collect::<std::collections::BTreeSet<_>>(),
            store.closure()
        );
        let content = bytes_below(&disk.path().join("io.containerd.content.v1.content"));
        assert!(content < 6 << 20, "{content} bytes are left of {large}");

        // With room for it all is well.
        assert_eq!(stowd.stop(), Some(0));
        disk.grow(200);
        stowd.restart();
        stowd.wait_ready(SOON);
        assert_eq!(
            stowd
                .outcomes("b.tar")
                .last()
                .map(|line| line.contains(" imported /")),
            Some(true)
        );
        let store = stowd.store();
        assert_eq!(tags(store.images().into_keys().collect()).len(), 6);
        store.collect_garbage();
        assert_eq!(
            store
                .blobs()
                .into_keys()
                .collect::<std::collections::BTreeSet<_>>(),
            store.closure()
        );
        drop(stowd);
    }
}

on_the_reference_in_turn!(a_full_disk_fails_what_does_not_fit_and_nothing_else);

fn sized(seed: u64, name: &'static str, megabytes: usize) -> Made {
    let mut recipe = recipe(seed, name);
    recipe.size = megabytes << 20;
    recipe.oci()
}

/// An archive of one layer that does not fit takes no room from the one beside it, however it comes.
fn what_can_never_fit_is_not_begun(generation: &Generation) {
    for (kind, direct) in [("", true), ("", false), ("gz", true), ("gz", false)] {
        let mut setup = Setup::new(generation);
        setup.images.push_str(&format!("direct = {direct}\n"));
        let disk = SmallDisk::at(setup.dir().join("root"), 40);
        let large = sized(1, "registry.stowd.test/fit/large:1", 48);
        let file = setup.dir().join("plain");
        std::fs::write(&file, large.tar()).unwrap();
        std::fs::write(setup.images().join("a.tar"), compressed(&file, kind)).unwrap();
        // Both at once.
        let small = sized(2, "registry.stowd.test/fit/small:1", 30);
        std::fs::write(setup.images().join("b.tar"), small.tar()).unwrap();
        let mut stowd = setup.start();
        stowd.wait_ready(SOON);
        let outcomes = ["a.tar", "b.tar"].map(|file| stowd.outcomes(file).join("\n"));
        let refused = "no space left on the file system of containerd's root: 48.0 MiB are to be";
        assert!(outcomes[0].contains(refused), "{outcomes:?}");
        assert!(outcomes[1].contains(" imported /"), "{outcomes:?}");
        drop(stowd);
        drop(disk);
    }
}

on_the_reference_in_turn!(what_can_never_fit_is_not_begun);

/// What a cut archive has stored, and one that did not fit as a whole, is gone before the next one.
fn what_did_not_fit_makes_room_for_what_does(generation: &Generation) {
    for (kind, direct) in [("", true), ("gz", true), ("gz", false)] {
        let mut setup = Setup::new(generation);
        setup.images.push_str(&format!("direct = {direct}\n"));
        let disk = SmallDisk::at(setup.dir().join("root"), 24);
        setup.images.push_str("parallel = 1\n");
        let broken = sized(1, "registry.stowd.test/room/broken:1", 12);
        // Its layer is stored, and then its archive turns out to be cut.
        let mut cut = broken.tar();
        cut.truncate(cut.len() - 2048);
        let file = setup.dir().join("plain");
        std::fs::write(&file, cut).unwrap();
        std::fs::write(setup.images().join("a.tar"), compressed(&file, kind)).unwrap();
        let two = sized(2, "registry.stowd.test/room/one:1", 9);
        let two = two.and(sized(3, "registry.stowd.test/room/two:1", 20), "index.json");
        std::fs::write(&file, two.tar()).unwrap();
        std::fs::write(setup.images().join("b.tar"), compressed(&file, kind)).unwrap();
        let three = sized(4, "registry.stowd.test/room/three:1", 18);
        std::fs::write(setup.images().join("c.tar"), three.tar()).unwrap();
        let mut stowd = setup.start();
        stowd.wait_ready(SOON);
        let outcomes = ["a.tar", "b.tar", "c.tar"].map(|file| stowd.outcomes(file).join("\n"));
        assert!(outcomes[0].contains("ends early"), "{outcomes:?}");
        assert!(outcomes[1].contains("no space left on"), "{outcomes:?}");
        assert!(outcomes[2].contains(" imported /"), "{outcomes:?}");
        drop(stowd);
        drop(disk);
    }
}

on_the_reference_in_turn!(what_did_not_fit_makes_room_for_what_does);

/// That no second one is refused is better than a node that does not come up.
fn a_full_disk_keeps_no_stowd_from_starting(generation: &Generation) {
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let disk = SmallDisk::at(dir.path().join("root"), 8);
    let options = Options {
        root: Some(disk.path().to_owned()),
        ..Options::default()
    };
    let mut daemon = Daemon::start_with(generation, options);
    daemon.wait();
    let mut setup = Setup::new(generation);
    setup.attach(&daemon.address());
    let filled = std::fs::write(disk.path().join("filler"), vec![0; 16 << 20]);
    assert!(filled.is_err(), "the disk is not full");
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    assert_eq!(stowd.lines(" instance not held, ").len(), 1);
    assert_eq!(stowd.stop(), Some(0));
    std::fs::remove_file(disk.path().join("filler")).unwrap();
    stowd.restart();
    stowd.wait_ready(SOON);
    assert_eq!(stowd.lines(" instance not held, ").len(), 1, "of before");
    assert_eq!(stowd.stop(), Some(0));
    drop(daemon);
}

on_the_reference_in_turn!(a_full_disk_keeps_no_stowd_from_starting);
