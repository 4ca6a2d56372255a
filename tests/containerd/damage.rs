//! Blobs that are damaged in the store are back before READY, from whatever brought them, and nothing
//! that is not damaged is imported again.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::support::{
    Generation, Registry, Setup, Stowd, assert_clean, blobs_dir, children_of, file_names, fixture,
    on_each_generation_in_turn, on_the_reference_in_turn,
};

const SOON: Duration = Duration::from_secs(120);

/// A plain archive, one that is compressed, and one whose layers have no names before they are read.
const ARCHIVES: [(&str, &str); 3] = [
    ("umoci.tar", "registry.stowd.test/umoci:1.35"),
    ("buildah-oci.tar.zst", "registry.stowd.test/buildah:1.35"),
    ("skopeo-docker.tar.gz", "registry.stowd.test/skopeo:1.35"),
];

on_each_generation_in_turn!(
    what_was_written_directly_is_brought_back,
    what_was_sent_is_brought_back,
);
on_the_reference_in_turn!(
    a_list_pulls_what_is_damaged,
    wrong_bytes_without_a_record_are_not_adopted,
    a_rescan_finds_damage_too,
    of_other_platforms_nothing_is_missed,
);

/// What is done to a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Harm {
    Empty,
    Cut,
    Longer,
    NoFile,
    NoRecord,
    Neither,
}

const HARMS: [Harm; 6] = [
    Harm::Empty,
    Harm::Cut,
    Harm::Longer,
    Harm::NoFile,
    Harm::NoRecord,
    Harm::Neither,
];

/// The blobs of an image of this host: its manifest, its configuration and its layers.
pub(crate) fn blobs_of(stowd: &Stowd, name: &str) -> Vec<String> {
    let store = stowd.store();
    let target = store.images()[name].target.clone();
    let mut blobs = vec![target.clone()];
    blobs.extend(
        children_of(&store.document(&target))
            .into_iter()
            .map(|child| child.digest),
    );
    blobs
}

pub(crate) fn file(stowd: &Stowd, digest: &str) -> PathBuf {
    let dir = blobs_dir(&stowd.setup().dir().join("root"));
    dir.join(digest.trim_start_matches("sha256:"))
}

/// Stops stowd and its containerd, with harm done to these blobs.
fn stopped_with_harm(stowd: &mut Stowd, harm: Harm, digests: &[String]) {
    let read = |digest: &String| (digest.clone(), fs::read(file(stowd, digest)).unwrap());
    let before = digests.iter().map(read).collect::<BTreeMap<_, _>>();
    if matches!(harm, Harm::NoRecord | Harm::Neither) {
        for digest in digests {
            stowd.ctr(&["content", "rm", digest]);
        }
    }
    assert_eq!(stowd.stop(), Some(0));
    for (digest, bytes) in before {
        let path = file(stowd, &digest);
        let left = match harm {
            Harm::Empty => Some(Vec::new()),
            Harm::Cut => Some(bytes[..bytes.len() / 2].to_vec()),
            Harm::Longer => Some([bytes.as_slice(), b"x"].concat()),
            // A collection may have removed it by now.
            Harm::NoRecord => Some(bytes),
            Harm::NoFile | Harm::Neither => None,
        };
        let _ = fs::remove_file(&path);
        if let Some(left) = left {
            fs::write(&path, left).unwrap();
        }
    }
}

pub(crate) fn is_whole(stowd: &Stowd, digest: &str) -> bool {
    stowd.store().blobs().contains_key(digest)
        && file(stowd, digest).exists()
        && stowd.store().hash(digest).0 == digest
}

/// The lines since the last start.
fn since_start(stowd: &Stowd, part: &str) -> Vec<String> {
    let log = stowd.log();
    let start = log.rfind(" containerd started: ").unwrap_or_default();
    let lines = log[start..].lines().filter(|line| line.contains(part));
    lines.map(str::to_owned).collect()
}

fn ready_again(stowd: &mut Stowd) {
    stowd.restart();
    stowd.wait_ready(SOON);
}

fn what_was_written_directly_is_brought_back(generation: &Generation) {
    is_brought_back(generation, true);
}

fn what_was_sent_is_brought_back(generation: &Generation) {
    is_brought_back(generation, false);
}

fn is_brought_back(generation: &Generation, direct: bool) {
    let mut setup = Setup::new(generation);
    setup.images.push_str(&format!("direct = {direct}\n"));
    for (archive, _) in ARCHIVES {
        setup.stow(&fixture(archive).path);
    }
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    let images = ARCHIVES.map(|(archive, name)| (archive, name, blobs_of(&stowd, name)));
    for (round, harm) in HARMS.into_iter().enumerate() {
        // Each harm is done to a manifest, a configuration and a layer, of an archive each.
        let harmed = images.iter().enumerate();
        let harmed = harmed.map(|(number, (_, _, blobs))| blobs[(round + number) % 3].clone());
        let harmed = harmed.collect::<Vec<_>>();
        stopped_with_harm(&mut stowd, harm, &harmed);
        ready_again(&mut stowd);
        for ((archive, _, blobs), digest) in images.iter().zip(&harmed) {
            for blob in blobs {
                assert!(is_whole(&stowd, blob), "{harm:?}: {archive}: {blob}");
            }
            let told = since_start(&stowd, " bringing back what is damaged of /");
            // Archives share blobs.
            let is_told = told.iter().any(|line| line.contains(digest));
            assert!(is_told, "{harm:?}: {archive}: {digest}: {told:?}");
        }
        stowd.store().collect_garbage();
        stowd.store().closure();
        assert_clean(&stowd);
    }
    // And now nothing is left to do.
    assert_eq!(stowd.stop(), Some(0));
    ready_again(&mut stowd);
    assert_eq!(since_start(&stowd, " skipped /").len(), ARCHIVES.len());
    assert_eq!(since_start(&stowd, " bringing back "), Vec::<String>::new());

    // Records and labels, as well: by the one that starts, or before it stops by the one that runs.
    const MISSING: &str = " bringing back what is missing of /";
    let before = stowd.lines(MISSING).len();
    let [(_, first, _), (_, second, _), _] = &images;
    stowd.ctr(&["images", "rm", "--sync", first]);
    stowd.ctr(&["images", "label", second, "io.cri-containerd.pinned="]);
    assert_eq!(stowd.stop(), Some(0));
    ready_again(&mut stowd);
    let back = stowd.lines(MISSING).split_off(before);
    for (archive, ..) in &images[..2] {
        let path = format!("/{archive}: ");
        // By the one that was stopped before it was done with it, too.
        assert!(back.iter().any(|line| line.contains(&path)), "{back:?}");
    }
    for (_, name, blobs) in &images {
        let record = stowd.store().images()[*name].clone();
        assert_eq!(record.labels["io.cri-containerd.pinned"], "pinned");
        assert!(blobs.iter().all(|blob| is_whole(&stowd, blob)), "{name}");
    }
    assert_clean(&stowd);
}

fn a_list_pulls_what_is_damaged(generation: &Generation) {
    const NAME: &str = "registry.stowd.test/umoci:1.35";
    let registry = Registry::start();
    registry.push("umoci.tar", NAME, "umoci:1.35");
    let setup = Setup::new(generation);
    setup.registry("registry.stowd.test", registry.address(), &[]);
    setup.list("core.txt", NAME);
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    let blobs = blobs_of(&stowd, NAME);
    assert_eq!(stowd.stop(), Some(0));
    ready_again(&mut stowd);
    assert_eq!(
        since_start(&stowd, " skipped /").len(),
        1,
        "{}",
        stowd.log()
    );
    for harm in HARMS {
        for digest in &blobs {
            // containerd pulls no layer again that is unpacked.
            remove_snapshots(&stowd);
            stopped_with_harm(&mut stowd, harm, std::slice::from_ref(digest));
            ready_again(&mut stowd);
            for blob in &blobs {
                assert!(is_whole(&stowd, blob), "{harm:?} of {digest}: {blob}");
            }
        }
    }
    let layer = &blobs[2];
    stopped_with_harm(&mut stowd, Harm::Cut, std::slice::from_ref(layer));
    ready_again(&mut stowd);
    // It is unpacked, and would have to be pulled by itself.
    if pulls_layers(generation) {
        assert_eq!(since_start(&stowd, " imported /").len(), 1);
        assert!(is_whole(&stowd, layer));
        assert_eq!(stowd.stop(), Some(0));
        ready_again(&mut stowd);
        assert_eq!(since_start(&stowd, " skipped /").len(), 1);
    } else {
        let told = format!(": its layer {layer} was damaged, and cannot be pulled by itself; ");
        let not_pulled = since_start(&stowd, " not pulled /");
        assert!(not_pulled[0].contains(&told), "{not_pulled:?}");
        assert!(is_whole(&stowd, &blobs[1]));
    }
}

/// Whether containerd asks this kind of registry for a layer by its digest.
pub(crate) fn pulls_layers(generation: &Generation) -> bool {
    matches!(generation.name.as_str(), "1.6" | "1.7" | "2.1")
}

/// Removes what was unpacked, which no container uses.
pub(crate) fn remove_snapshots(stowd: &Stowd) {
    loop {
        let list = stowd.ctr(&["snapshots", "list"]);
        let lines = list.lines().skip(1).map(|line| line.split_whitespace());
        let lines = lines.map(|mut words| (words.next().unwrap(), words.next()));
        let all = lines.collect::<Vec<_>>();
        // One that has no children.
        let is_parent = |key: &str| all.iter().any(|(_, parent)| *parent == Some(key));
        match all.iter().find(|(key, _)| !is_parent(key)) {
            Some((key, _)) => drop(stowd.ctr(&["snapshots", "rm", key])),
            None => return,
        }
        // What is below it may go with it.
        stowd.store().collect_garbage();
    }
}

fn wrong_bytes_without_a_record_are_not_adopted(generation: &Generation) {
    for direct in [true, false] {
        let mut setup = Setup::new(generation);
        setup.images.push_str(&format!("direct = {direct}\n"));
        let mut stowd = setup.start();
        stowd.wait_ready(SOON);
        for (archive, name) in ARCHIVES {
            stowd.setup().stow(&fixture(archive).path);
            stowd.wait_until(SOON, "it is imported", |stowd| {
                !stowd.outcomes(archive).is_empty()
            });
            let blobs = blobs_of(&stowd, name);
            // Everything goes, and files of the right lengths and the wrong bytes take its place.
            fs::remove_file(stowd.setup().images().join(archive)).unwrap();
            stowd.wait_until(SOON, "it is unpinned", |stowd| {
                !stowd.lines(&format!(" unpinned {name}:")).is_empty()
            });
            let left = blobs
                .iter()
                .map(|blob| fs::read(file(&stowd, blob)).unwrap());
            let left = left.collect::<Vec<_>>();
            // CRI has names of its own, and may add them a little later.
            stowd.wait_until(SOON, "everything is collected", |stowd| {
                for image in stowd.ctr(&["images", "list", "--quiet"]).lines() {
                    stowd.store().remove_image(image);
                }
                stowd.store().collect_garbage();
                file_names(&blobs_dir(&stowd.setup().dir().join("root"))).is_empty()
            });
            for (blob, mut bytes) in blobs.iter().zip(left) {
                assert!(!stowd.store().blobs().contains_key(blob), "{blob}");
                let last = bytes.len() - 1;
                bytes[last] ^= 1;
                fs::write(file(&stowd, blob), bytes).unwrap();
            }
            stowd
                .setup()
                .stow_as(&fixture(archive).path, &format!("again-{archive}"));
            stowd.wait_until(SOON, "it is imported again", |stowd| {
                !stowd.outcomes(&format!("again-{archive}")).is_empty()
            });
            for blob in &blobs {
                assert!(
                    is_whole(&stowd, blob),
                    "direct = {direct}: {archive}: {blob}"
                );
            }
        }
    }
}

fn a_rescan_finds_damage_too(generation: &Generation) {
    let setup = Setup::new(generation);
    let (archive, name) = ARCHIVES[0];
    setup.stow(&fixture(archive).path);
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    let blobs = blobs_of(&stowd, name);
    fs::write(file(&stowd, &blobs[2]), "").unwrap();
    // Blobs are looked at once a minute at most.
    stowd.wait_until(SOON, "it is brought back", |stowd| {
        stowd.signal(rustix::process::Signal::HUP);
        std::thread::sleep(Duration::from_secs(1));
        !stowd
            .lines(" bringing back what is damaged of /")
            .is_empty()
    });
    stowd.wait_until(SOON, "it is whole", |stowd| is_whole(stowd, &blobs[2]));
}

fn of_other_platforms_nothing_is_missed(generation: &Generation) {
    let setup = Setup::new(generation);
    setup.stow(&fixture("index-platforms.tar").path);
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    stowd.store().closure();
    assert_eq!(stowd.stop(), Some(0));
    ready_again(&mut stowd);
    assert_eq!(
        since_start(&stowd, " skipped /").len(),
        1,
        "{}",
        stowd.log()
    );
    assert_eq!(since_start(&stowd, " bringing back "), Vec::<String>::new());
}
