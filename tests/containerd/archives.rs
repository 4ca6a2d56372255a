//! What goes in comes out: every maker, every format, every compression, by name and by byte.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use stowd::pin::PinOwner;

use crate::support::{
    COMPRESSIONS, Fixture, Generation, Is, Setup, Store, Stowd, Unpacked, architecture,
    children_of, compressed, compression_of, fixture, fixtures, foreign_architecture,
    on_each_generation_in_turn, on_the_reference_in_turn, reference, shell,
};

const SOON: Duration = Duration::from_secs(180);

/// Every good archive, as the usual tools read it.
static UNPACKED: LazyLock<BTreeMap<String, Unpacked>> = LazyLock::new(|| {
    let good = fixtures()
        .into_iter()
        .filter(|fixture| !fixture.names.is_empty());
    let unpack = |fixture: Fixture| {
        let compression = compression_of(&fixture.file);
        (
            fixture.file.clone(),
            Unpacked::of(&fixture.path, compression),
        )
    };
    good.map(unpack).collect()
});

fn is_host(platform: &str) -> bool {
    platform == format!("linux/{}", architecture())
}

fn ready(setup: Setup) -> (Stowd, Store) {
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    let store = stowd.store();
    (stowd, store)
}

/// The names of the store must be these, each with the name by digest beside it.
fn assert_names(store: &Store, names: &BTreeSet<&str>) {
    let images = store.images();
    let mut expected = BTreeSet::new();
    for name in names {
        let image = images
            .get(*name)
            .unwrap_or_else(|| panic!("{name} is not there: {images:?}"));
        let (repository, _) = name.rsplit_once(':').unwrap();
        let by_digest = format!("{repository}@{}", image.target);
        assert_eq!(
            images.get(&by_digest).map(|image| &image.target),
            Some(&image.target),
            "{by_digest}"
        );
        expected.extend([(*name).to_owned(), by_digest]);
    }
    assert_eq!(images.keys().cloned().collect::<BTreeSet<_>>(), expected);
    for (name, image) in images {
        for (pin, value) in PinOwner::default().pins() {
            assert_eq!(
                image.labels.get(pin).map(String::as_str),
                Some(value),
                "{name}"
            );
        }
    }
}

/// The blobs that the archive brings: its images' names must lead to them.
fn blobs_of(fixture: &Fixture, store: &Store) -> BTreeMap<String, u64> {
    let (unpacked, images) = (&UNPACKED[&fixture.file], store.images());
    let mut blobs = BTreeMap::new();
    for name in &fixture.names {
        let image = unpacked
            .image(name)
            .unwrap_or_else(|| panic!("{name}: {:?}", unpacked.images));
        let target = images[name].target.clone();
        match &image.is {
            Is::Target(digest) => {
                assert_eq!(target, *digest, "{}: {name}", fixture.file);
                blobs.extend(unpacked.blobs(digest, &is_host));
            }
            // The archive has no manifest; the one that was made for it lists what the archive has.
            Is::Parts(parts) => {
                let children = children_of(&store.document(&target)).into_iter();
                let children = children
                    .map(|child| (child.digest, child.size))
                    .collect::<Vec<_>>();
                assert_eq!(children, *parts, "{}: {name}", fixture.file);
                blobs.insert(target.clone(), store.blobs()[&target].size);
                blobs.extend(parts.iter().cloned());
            }
        }
    }
    blobs
}

/// Archives that are in one store at once.
#[derive(Default)]
struct Batch<'a> {
    fixtures: Vec<Fixture>,
    names: BTreeMap<String, &'a Is>,
    stems: BTreeSet<String>,
}

/// All good archives that are `wanted`, in batches in which no name means two images, and no archive is
/// there in two compressions, so that each is read for its own bytes as far as may be.
fn batches(wanted: impl Fn(&Fixture) -> bool) -> Vec<Batch<'static>> {
    let mut batches = Vec::<Batch<'static>>::new();
    for fixture in fixtures().into_iter().filter(wanted) {
        let Some(unpacked) = UNPACKED.get(&fixture.file) else {
            continue;
        };
        let is = |name: &String| (name.clone(), &unpacked.image(name).unwrap().is);
        let names = fixture.names.iter().map(is).collect::<BTreeMap<_, _>>();
        let stem = fixture.file.split(".tar").next().unwrap().to_owned();
        let fits = |batch: &Batch<'_>| {
            let agrees =
                |(name, is): (&String, &&Is)| batch.names.get(name).is_none_or(|i| i == is);
            !batch.stems.contains(&stem) && names.iter().all(agrees)
        };
        let number = batches.iter().position(fits).unwrap_or(batches.len());
        if number == batches.len() {
            batches.push(Batch::default());
        }
        let batch = &mut batches[number];
        batch.names.extend(names);
        batch.stems.insert(stem);
        batch.fixtures.push(fixture);
    }
    batches
}

fn assert_imported(stowd: &Stowd, file: &str) {
    let outcomes = stowd.outcomes(file);
    assert_eq!(outcomes.len(), 1, "{file}: {outcomes:?}");
    assert!(outcomes[0].contains(" imported /"), "{outcomes:?}");
}

fn every_archive_comes_back_as_it_is(generation: &Generation) {
    let batches = batches(|_| true);
    let all = batches.iter().map(|batch| batch.fixtures.len());
    assert_eq!(all.sum::<usize>(), UNPACKED.len());
    for way in WAYS {
        come_back(generation, &batches, way);
    }
}

/// How an archive is compressed is no matter of containerd's, and the large one comes in other tests of the contract.
fn every_small_plain_archive_comes_back_as_it_is(generation: &Generation) {
    let wanted =
        |fixture: &Fixture| compression_of(&fixture.file).is_empty() && fixture.file != "large.tar";
    let batches = batches(wanted);
    for way in WAYS {
        come_back(generation, &batches, way);
    }
}

/// How large blobs get into the store.
const WAYS: [&str; 2] = ["direct = true\n", "direct = false\n"];

fn come_back(generation: &Generation, batches: &[Batch<'_>], way: &str) {
    for Batch {
        fixtures: batch, ..
    } in batches
    {
        let mut setup = Setup::new(generation);
        setup.images.push_str(way);
        for fixture in batch {
            setup.stow(&fixture.path);
        }
        let (stowd, store) = ready(setup);
        for fixture in batch {
            assert_imported(&stowd, &fixture.file);
        }
        assert_eq!(store.leases(), Vec::<String>::new());
        assert_eq!(store.ingests(), Vec::<String>::new());
        assert_names(
            &store,
            &batch
                .iter()
                .flat_map(|f| &f.names)
                .map(String::as_str)
                .collect(),
        );
        assert_complete(&stowd, &store);

        let images = store.images();
        store.collect_garbage();
        assert_eq!(store.images(), images);
        let brought = batch.iter().flat_map(|fixture| blobs_of(fixture, &store));
        let brought = brought.collect::<BTreeMap<_, _>>();
        let kept = store
            .blobs()
            .into_iter()
            .map(|(digest, blob)| (digest, blob.size));
        assert_eq!(
            kept.collect::<BTreeMap<_, _>>(),
            brought,
            "what is kept is what was brought"
        );
        assert_eq!(store.closure(), brought.keys().cloned().collect());
        for (digest, size) in brought {
            assert_eq!(store.hash(&digest), (digest, size));
        }
    }
}

/// `ctr images check` finds nothing missing.
fn assert_complete(stowd: &Stowd, store: &Store) {
    let checked = stowd.ctr(&["images", "check"]);
    let lines = checked
        .lines()
        .skip(1)
        .filter(|line| !line.starts_with("sha256:"))
        .collect::<Vec<_>>();
    assert_eq!(lines.len(), store.images().len(), "{checked}");
    for line in lines {
        assert!(line.contains(" complete ("), "{line}");
    }
}

fn archives_without_an_image_for_this_host_fail_with_a_cause(generation: &Generation) {
    let foreign = format!(
        "it has linux/{}, and wanted is linux/{}",
        foreign_architecture(),
        architecture()
    );
    let causes = BTreeMap::from([
        (
            "umoci-tag-only.tar",
            "it has no usable name (org.opencontainers.image.ref.name says \"1.35\"",
        ),
        ("skopeo-docker-nameless.tar", "it has no usable name"),
        ("skopeo-oci-tag-only.tar", "which is only a tag"),
        ("buildah-oci-nameless.tar", "it has no usable name"),
        ("crane-oci-nameless.tar", "it has no usable name"),
        ("ko-oci-nameless.tar", "it has no usable name"),
        ("umoci-foreign.tar", foreign.as_str()),
        (
            "index-own-missing.tar",
            "is neither in the archive nor in the store",
        ),
        (
            "legacy.tar.lz4",
            "it is in lz4's legacy format, which has neither an end nor a checksum",
        ),
        ("window-31.tar.zst", "a window of more than 128 MiB"),
    ]);
    let bad = fixtures()
        .into_iter()
        .filter(|fixture| fixture.names.is_empty())
        .collect::<Vec<_>>();
    assert_eq!(
        bad.iter()
            .map(|fixture| fixture.file.as_str())
            .collect::<BTreeSet<_>>(),
        causes.keys().copied().collect()
    );
    let setup = Setup::new(generation);
    for fixture in &bad {
        setup.stow(&fixture.path);
    }
    let (mut stowd, store) = ready(setup);
    for (file, cause) in causes {
        let outcomes = stowd.outcomes(file);
        assert_eq!(outcomes.len(), 1, "{file}: {outcomes:?}");
        assert!(
            outcomes[0].contains(" failed /") && outcomes[0].contains(cause),
            "{outcomes:?}"
        );
    }
    assert_eq!(store.images().len(), 0);
    // What failed is tried again: there are moments in between.
    stowd.wait_until(SOON, "nothing is left over", |stowd| {
        let store = stowd.store();
        store.collect_garbage();
        store.blobs().is_empty()
    });
}

fn docker_archives_get_the_digests_that_ctr_gives_them(generation: &Generation) {
    let without_manifest = |fixture: &Fixture| {
        // ctr does not follow links from layer to layer; those are the images of
        // podman-docker-images.tar again, under the same names.
        compression_of(&fixture.file).is_empty()
            && !fixture.file.starts_with("docker-save-")
            && UNPACKED
                .get(&fixture.file)
                .is_some_and(|unpacked| matches!(unpacked.images[0].is, Is::Parts(_)))
    };
    let archives = fixtures()
        .into_iter()
        .filter(without_manifest)
        .collect::<Vec<_>>();
    assert!(archives.len() >= 6, "{archives:?}");
    let setup = Setup::new(generation);
    for fixture in &archives {
        setup.stow(&fixture.path);
    }
    let (stowd, store) = ready(setup);
    let ours = store.images();
    for fixture in &archives {
        let namespace = fixture.file.replace('.', "-");
        let file = fixture.path.to_str().unwrap();
        let import = [
            &["--namespace", &namespace],
            generation.import_words(),
            &[file],
        ];
        stowd.ctr(&import.concat());
        let listed = stowd.ctr(&["--namespace", &namespace, "images", "list"]);
        for name in &fixture.names {
            let line = listed
                .lines()
                .find(|line| line.starts_with(&format!("{name} ")));
            let digest = line
                .unwrap_or_else(|| panic!("{listed}"))
                .split_whitespace()
                .nth(2)
                .unwrap();
            assert_eq!(ours[name].target, digest, "{}: {name}", fixture.file);
        }
    }
}

on_each_generation_in_turn!(
    every_small_plain_archive_comes_back_as_it_is,
    docker_archives_get_the_digests_that_ctr_gives_them,
);
on_the_reference_in_turn!(
    every_archive_comes_back_as_it_is,
    archives_without_an_image_for_this_host_fail_with_a_cause,
);

/// In a store of its own no archive can live on what another one brought. Every plain one, each in
/// one of the compressions in turn, and all odd ones.
#[test]
fn every_archive_is_enough_by_itself() {
    let generation = reference();
    let good = || {
        fixtures()
            .into_iter()
            .filter(|fixture| !fixture.names.is_empty())
    };
    let plain = good().filter(|fixture| compression_of(&fixture.file).is_empty());
    let plain = plain.map(|fixture| fixture.file).collect::<Vec<_>>();
    let has_its_turn = |fixture: &Fixture| {
        let kind = compression_of(&fixture.file);
        let source = fixture.file.trim_end_matches(kind).trim_end_matches('.');
        match plain.iter().position(|plain| plain == source) {
            Some(number) if !kind.is_empty() => COMPRESSIONS[1 + number % 5] == kind,
            _ => true,
        }
    };
    let left = Mutex::new(good().filter(has_its_turn).collect::<Vec<_>>());
    let next = || left.lock().unwrap().pop();
    let one = |fixture: Fixture| {
        let setup = Setup::new(&generation);
        setup.stow(&fixture.path);
        let (stowd, store) = ready(setup);
        assert_imported(&stowd, &fixture.file);
        assert_names(&store, &fixture.names.iter().map(String::as_str).collect());
        store.collect_garbage();
        let kept = store
            .blobs()
            .into_iter()
            .map(|(digest, blob)| (digest, blob.size));
        assert_eq!(
            kept.collect::<BTreeMap<_, _>>(),
            blobs_of(&fixture, &store),
            "{}",
            fixture.file
        );
        assert_eq!(
            store.closure(),
            blobs_of(&fixture, &store).into_keys().collect()
        );
    };
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while let Some(fixture) = next() {
                    one(fixture)
                }
            });
        }
    });
}

#[test]
fn the_first_bytes_tell_the_compression_whatever_the_name_says() {
    let setup = Setup::new(&reference());
    let pause = fixture("pause.tar");
    let suffixes = [
        "tar", "tar.gz", "tgz", "tar.zst", "tzst", "tar.lz4", "tar.bz2", "tbz", "tbz2", "tar.xz",
        "txz", "TAR.GZ", "Tar",
    ];
    let mut files = Vec::new();
    for kind in COMPRESSIONS {
        let bytes = compressed(&pause.path, kind);
        for suffix in suffixes {
            let file = format!("is-{kind}-named.{suffix}");
            std::fs::write(setup.images().join(&file), &bytes).unwrap();
            files.push(file);
        }
    }
    let (stowd, store) = ready(setup);
    for file in files {
        assert_imported(&stowd, &file);
    }
    assert_names(&store, &BTreeSet::from([pause.names[0].as_str()]));
}

#[test]
fn what_the_compressors_can_do_is_read_and_what_needs_too_much_memory_refused() {
    let setup = Setup::new(&reference());
    let pause = fixture("pause.tar").path;
    let make = |file: &str, script: &str| {
        let to: PathBuf = setup.images().join(file);
        shell(
            &format!("({script}) > \"$2\""),
            &[pause.as_path(), to.as_path()] as &[&Path],
        );
    };
    // From a pipe, or zstd would make the window no larger than the file.
    make("window-27.tar.zst", "cat \"$1\" | zstd -qc --long=27");
    make("window-28.tar.zst", "cat \"$1\" | zstd -qc --long=28");
    make(
        "window-31.tar.zst",
        "cat \"$1\" | zstd -qc --ultra --long=31",
    );
    make("best.tar.zst", "zstd -qc --ultra -22 \"$1\"");
    make("no-checksum.tar.zst", "zstd -qc --no-check \"$1\"");
    make("best.tar.xz", "xz -c9e \"$1\"");
    make(
        "dictionary.tar.xz",
        "xz -c --lzma2=preset=6,dict=256MiB \"$1\"",
    );
    make("no-checksum.tar.xz", "xz -c --check=none \"$1\"");
    make("crc32.tar.xz", "xz -c --check=crc32 \"$1\"");
    make("linked-blocks.tar.lz4", "lz4 -qc -BD -B4 \"$1\"");
    make("high.tar.lz4", "lz4 -qc -12 --content-size \"$1\"");
    make("no-checksum.tar.lz4", "lz4 -qc --no-frame-crc \"$1\"");
    make("named.tar.gz", "gzip -c \"$1\"");
    make(
        "members.tar.gz",
        "head -c 100000 \"$1\" | gzip -c; tail -c +100001 \"$1\" | gzip -c",
    );
    make("padded.tar.gz", "gzip -c \"$1\"; head -c 12345 /dev/zero");
    make("padded.tar", "cat \"$1\"; head -c 1000000 /dev/zero");
    make("padded.tar.xz", "xz -c \"$1\"; head -c 4096 /dev/zero");
    let refused = BTreeMap::from([
        (
            "window-28.tar.zst",
            "needs a window of more than 128 MiB; recompress it with --long=27 or less",
        ),
        (
            "window-31.tar.zst",
            "needs a window of more than 128 MiB; recompress it with --long=27 or less",
        ),
        (
            "dictionary.tar.xz",
            "needs more than 128 MiB of memory to decompress; recompress it with -9 or less",
        ),
    ]);
    let (stowd, store) = ready(setup);
    for file in std::fs::read_dir(stowd.setup().images()).unwrap() {
        let file = file.unwrap().file_name().into_string().unwrap();
        match refused.get(file.as_str()) {
            None => assert_imported(&stowd, &file),
            Some(cause) => {
                let outcomes = stowd.outcomes(&file);
                assert!(
                    outcomes.len() == 1 && outcomes[0].contains(cause),
                    "{file}: {outcomes:?}"
                );
            }
        }
    }
    assert_names(&store, &BTreeSet::from(["registry.stowd.test/pause:1"]));
}
