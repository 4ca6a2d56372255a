//! Blobs of the right length whose bytes are wrong, as a page that was lost leaves them: they are found by
//! the scrub and after an unclean stop, and brought back; what no entry brings is told.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use stowd::digest::Digest;
use stowd::image_store::{ImageStore, Labels};
use stowd::needed_blob::{BlobFault, BlobFaults, NeededBlob};

use crate::damage::{blobs_of, file, is_whole, remove_snapshots};
use crate::raw::{Way, both_ways, bytes, labels, put};
use crate::support::{
    Generation, Registry, Setup, Store, Stowd, assert_clean, blobs_dir, eventually_in_turn,
    fixture, on_the_reference_in_turn, stays_asleep,
};

const SOON: Duration = Duration::from_secs(120);

/// A plain archive, one that is compressed, and one whose layers have no names before they are read.
const ARCHIVES: [(&str, &str); 3] = [
    ("umoci.tar", "registry.stowd.test/umoci:1.35"),
    ("buildah-oci.tar.zst", "registry.stowd.test/buildah:1.35"),
    ("skopeo-docker.tar.gz", "registry.stowd.test/skopeo:1.35"),
];

both_ways!(on_each_generation: wrong_bytes_are_found_and_written_anew);
on_the_reference_in_turn!(
    the_scrub_repairs_what_was_written_directly,
    the_scrub_repairs_what_was_sent,
    the_scrub_repairs_what_a_list_brings,
    after_an_unclean_stop_what_is_wrong_is_repaired,
    what_no_entry_brings_any_more_is_told_and_left,
    what_is_out_of_sight_is_told_and_repaired_when_it_is_back,
    a_scrub_that_is_due_is_done_once_with_idle_priority_and_then_it_sleeps,
);

/// The first byte is another one. The length stays, and so does the file.
pub(crate) fn spoil(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    bytes[0] ^= 1;
    fs::write(file, bytes).unwrap();
}

fn needed(blob: &[u8]) -> NeededBlob {
    NeededBlob {
        digest: Digest::of(blob),
        size: blob.len() as u64,
    }
}

async fn wrong_bytes_are_found_and_written_anew(generation: Generation, way: Way) {
    const RATE: u64 = 1 << 30;
    let (daemon, store) = way.serve(&generation).await;
    let lease = store.begin_lease("scrub").await.unwrap();
    let blobs = [100, 5 << 20, (1 << 20) + 7].map(|length| bytes(41, length));
    let kept = labels(&[("a", "b")]);
    for blob in &blobs {
        put(&store, &lease, blob, kept.clone()).await.unwrap();
    }
    // More than are asked for one by one.
    let mut all = blobs.iter().map(|blob| needed(blob)).collect::<Vec<_>>();
    for seed in 0..40 {
        let small = bytes(100 + seed, 50);
        put(&store, &lease, &small, Labels::new()).await.unwrap();
        all.push(needed(&small));
    }
    let right = store.hash_blobs(all.clone(), RATE).await.unwrap();
    assert_eq!(right, BlobFaults::new());

    for blob in &blobs {
        let digest = Digest::of(blob);
        spoil(&blobs_dir(daemon.root()).join(digest.hex()));
        let unseen = store.faults(all.clone()).await.unwrap();
        assert_eq!(unseen, BlobFaults::new(), "its length is right");
        let wrong = BlobFaults::from([(digest.clone(), BlobFault::Bytes)]);
        let gone = needed(b"it is not there");
        let asked = [all.clone(), vec![gone]].concat();
        assert_eq!(store.hash_blobs(asked, RATE).await.unwrap(), wrong);
        for asked in [all.clone(), vec![needed(blob)]] {
            assert_eq!(store.faults(asked).await.unwrap(), wrong);
        }
        assert!(!store.has_blob(&lease, &digest).await.unwrap());
        put(&store, &lease, blob, Labels::new()).await.unwrap();
        assert_eq!(store.faults(all.clone()).await.unwrap(), BlobFaults::new());
        let right = store.hash_blobs(all.clone(), RATE).await.unwrap();
        assert_eq!(right, BlobFaults::new());
        let is_labelled = store.has_labelled(&digest, blob.len() as u64, &kept);
        assert!(is_labelled.await.unwrap(), "the labels stay");
    }
}

fn the_scrub_repairs_what_was_written_directly(generation: &Generation) {
    is_scrubbed(generation, true);
}

fn the_scrub_repairs_what_was_sent(generation: &Generation) {
    is_scrubbed(generation, false);
}

fn is_scrubbed(generation: &Generation, direct: bool) {
    let mut setup = Setup::new(generation);
    setup
        .images
        .push_str(&format!("direct = {direct}\nscrub = \"1s\"\n"));
    for (archive, _) in ARCHIVES {
        setup.stow(&fixture(archive).path);
    }
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    for (archive, name) in ARCHIVES {
        // A manifest, a configuration and a layer.
        for digest in blobs_of(&stowd, name) {
            spoil(&file(&stowd, &digest));
            assert!(!is_whole(&stowd, &digest));
            wait_repaired(&mut stowd, archive, &digest);
        }
    }
    stowd.store().collect_garbage();
    stowd.store().closure();
    assert_eq!(stowd.lines(" failed /"), Vec::<String>::new());
    assert_clean(&stowd);
}

/// Whether containerd has a record of the blob, and its bytes are right. It may be replaced meanwhile.
pub(crate) fn is_right(store: &Store, blobs: &Path, digest: &str) -> bool {
    let bytes = fs::read(blobs.join(digest.trim_start_matches("sha256:")));
    bytes.is_ok_and(|bytes| Digest::of(&bytes).as_str() == digest)
        && store.blobs().contains_key(digest)
}

fn wait_repaired(stowd: &mut Stowd, archive: &str, digest: &str) {
    let blobs = blobs_dir(&stowd.setup().dir().join("root"));
    let whole = format!("{archive}: {digest} is whole");
    stowd.wait_until(SOON, &whole, |stowd| {
        is_right(&stowd.store(), &blobs, digest)
    });
    let told = stowd.lines(" bringing back what is damaged of /");
    let is_told = told.iter().any(|line| {
        let what = format!(": blob {digest}: its bytes are not those of its digest");
        line.contains(archive) && line.contains(&what)
    });
    assert!(is_told, "{archive}: {digest}: {told:?}");
}

fn the_scrub_repairs_what_a_list_brings(generation: &Generation) {
    const NAME: &str = "registry.stowd.test/umoci:1.35";
    let registry = Registry::start();
    registry.push("umoci.tar", NAME, "umoci:1.35");
    let mut setup = Setup::new(generation);
    setup.images.push_str("scrub = \"1s\"\n");
    setup.registry("registry.stowd.test", registry.address(), &[]);
    setup.list("core.txt", NAME);
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    for digest in blobs_of(&stowd, NAME) {
        // containerd pulls no layer again that is unpacked.
        remove_snapshots(&stowd);
        spoil(&file(&stowd, &digest));
        let before = stowd.lines(" imported /").len();
        wait_repaired(&mut stowd, "core.txt", &digest);
        // containerd unpacks it meanwhile.
        stowd.wait_until(SOON, "it is pulled", |stowd| {
            stowd.lines(" imported /").len() > before
        });
    }
}

/// Leaves what a kernel that ended under stowd leaves.
pub(crate) fn leave_unclean(stowd: &Stowd) {
    let marker = stowd.setup().dir().join("lib/running.json");
    let left = fs::read_to_string(&marker).unwrap();
    let own = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert!(left.contains(own.trim()), "{left}");
    let other = "01234567-89ab-cdef-0123-456789abcdef";
    fs::write(&marker, left.replace(own.trim(), other)).unwrap();
}

fn after_an_unclean_stop_what_is_wrong_is_repaired(generation: &Generation) {
    let mut setup = Setup::new(generation);
    setup.images.push_str("scrub = \"0s\"\n");
    for (archive, _) in ARCHIVES {
        setup.stow(&fixture(archive).path);
    }
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    let images = ARCHIVES.map(|(archive, name)| (archive, blobs_of(&stowd, name)));
    let harmed = [0, 1, 2].map(|number| (images[number].0, images[number].1[number].clone()));

    // A kill leaves the pages to the kernel.
    stowd.kill();
    stowd.restart();
    stowd.wait_ready(SOON);
    assert_eq!(stowd.lines(" unclean stop: "), Vec::<String>::new());

    stowd.kill();
    for (_, digest) in &harmed {
        spoil(&file(&stowd, digest));
    }
    leave_unclean(&stowd);
    stowd.restart();
    stowd.wait_ready(SOON);
    assert_eq!(stowd.lines(" unclean stop: the machine went down").len(), 1);
    for (archive, digest) in &harmed {
        wait_repaired(&mut stowd, archive, digest);
    }
    let scrubbed = stowd.lines(" scrubbed ");
    assert_eq!(scrubbed.len(), 1, "{scrubbed:?}");
    assert!(
        scrubbed[0].contains(", 3 damaged (an unclean stop)"),
        "{scrubbed:?}"
    );
    for digest in images.iter().flat_map(|(_, blobs)| blobs) {
        assert!(is_whole(&stowd, digest));
    }
    // It is dealt with, and a clean stop leaves nothing.
    assert_eq!(stowd.stop(), Some(0));
    assert!(!stowd.setup().dir().join("lib/running.json").exists());
    stowd.restart();
    stowd.wait_ready(SOON);
    assert_eq!(stowd.lines(" unclean stop: ").len(), 1);
    assert_eq!(stowd.lines(" scrubbed ").len(), 1);
    assert_clean(&stowd);
}

/// Its layer is spoilt, which is told, and it stays as it is. Returns the layer.
fn spoilt_and_left(stowd: &mut Stowd, name: &str) -> String {
    let layer = blobs_of(stowd, name)[2].clone();
    spoil(&file(stowd, &layer));
    let told = format!(
        " damaged, and left as it is: {name}: blob {layer}: its bytes are not those of its digest; no entry in \
         sight brings it"
    );
    stowd.wait_until(SOON, "it is told", |stowd| !stowd.lines(&told).is_empty());
    assert!(file(stowd, &layer).exists() && !is_whole(stowd, &layer));
    layer
}

fn what_no_entry_brings_any_more_is_told_and_left(generation: &Generation) {
    let mut setup = Setup::new(generation);
    setup
        .images
        .push_str("scrub = \"1s\"\nunpin-removed = false\n");
    let (archive, name) = ARCHIVES[0];
    setup.stow(&fixture(archive).path);
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    fs::remove_file(stowd.setup().images().join(archive)).unwrap();
    stowd.wait_until(SOON, "it is gone", |stowd| {
        stowd.lines(" gone: ").len() == 1
    });
    spoilt_and_left(&mut stowd, name);
    assert_eq!(stowd.lines(" bringing back "), Vec::<String>::new());
    // Another entry that brings it repairs it.
    stowd.setup().stow_as(&fixture(archive).path, "again.tar");
    let layer = blobs_of(&stowd, name)[2].clone();
    stowd.wait_until(SOON, "it is whole", |stowd| {
        let blobs = blobs_dir(&stowd.setup().dir().join("root"));
        is_right(&stowd.store(), &blobs, &layer)
    });
}

fn what_is_out_of_sight_is_told_and_repaired_when_it_is_back(generation: &Generation) {
    let mut setup = Setup::new(generation);
    setup.images.push_str("scrub = \"1s\"\n");
    let (archive, name) = ARCHIVES[0];
    setup.stow(&fixture(archive).path);
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    let (images, away) = (stowd.setup().images(), stowd.setup().dir().join("away"));
    fs::rename(&images, &away).unwrap();
    stowd.wait_until(SOON, "it is out of sight", |stowd| {
        stowd.lines(" out of sight: 1 entry").len() == 1
    });
    let layer = spoilt_and_left(&mut stowd, name);
    fs::rename(&away, &images).unwrap();
    wait_repaired(&mut stowd, archive, &layer);
}

/// The I/O priority of each thread of a process, as ionice(1) calls it.
fn priorities(pid: u32) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let tasks = tasks.flatten().filter_map(|task| {
        let told = Command::new("ionice")
            .arg("-p")
            .arg(task.file_name())
            .output();
        let told = told.expect("ionice of util-linux");
        told.status
            .success()
            .then(|| String::from_utf8(told.stdout).unwrap())
    });
    tasks.collect()
}

fn a_scrub_that_is_due_is_done_once_with_idle_priority_and_then_it_sleeps(generation: &Generation) {
    let mut setup = Setup::new(generation);
    setup.alone();
    // Its images have about 800 KiB.
    setup.images.push_str("scrub-rate = \"64KiB\"\n");
    let (archive, name) = ARCHIVES[0];
    setup.stow(&fixture(archive).path);
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    let digests = blobs_of(&stowd, name);
    let bytes = digests
        .iter()
        .map(|digest| fs::metadata(file(&stowd, digest)).unwrap().len());
    let bytes = bytes.sum::<u64>();
    // It was read last in 1970.
    assert_eq!(stowd.stop(), Some(0));
    let memory = r#"{"ended":{"secs_since_epoch":0,"nanos_since_epoch":0},"after":null,"suspect_since":null}"#;
    fs::write(stowd.setup().dir().join("lib/scrub.json"), memory).unwrap();
    let began = std::time::Instant::now();
    stowd.restart();
    stowd.wait_ready(SOON);
    stowd.wait_until(SOON, "a thread is idle", |stowd| {
        let threads = priorities(stowd.pid());
        threads.iter().any(|thread| thread.trim() == "idle")
    });
    stowd.wait_until(SOON, "it is read", |stowd| {
        !stowd.lines(" scrubbed ").is_empty()
    });
    let least = Duration::from_secs(bytes / (64 << 10));
    assert!(
        began.elapsed() >= least,
        "{bytes} bytes in {:?}",
        began.elapsed()
    );
    assert!(stowd.lines(" scrubbed ")[0].contains(", 0 damaged (images.scrub)"));
    assert!(
        priorities(stowd.pid())
            .iter()
            .all(|thread| thread.trim() != "idle")
    );
    let still = || {
        let asleep = stays_asleep(stowd.pid(), Duration::from_secs(10));
        asleep.map_err(|error| format!("{error}\n{}", stowd.log()))
    };
    eventually_in_turn(
        Duration::from_secs(300),
        "ten seconds without a wake-up",
        still,
    );
    // The next one is in a week.
    assert_eq!(stowd.stop(), Some(0));
    stowd.restart();
    stowd.wait_ready(SOON);
    assert_eq!(stowd.lines(" scrubbed ").len(), 1);
}
