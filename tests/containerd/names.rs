//! The names that an image gets in extra registries, and the labels by which its blobs tell whose they
//! are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use stowd::pin::{OWNER_LABEL, PinOwner};
use tokio::runtime::Runtime;

use crate::made::recipe;
use crate::support::{
    COMPRESSIONS, Generation, Setup, Store, Stowd, children_of, compressed, fixture,
    on_each_generation_in_turn, on_the_reference_in_turn, reference, run_in_pod,
};

const SOON: Duration = Duration::from_secs(120);
const SOURCE: &str = "containerd.io/distribution.source.";

/// One with a port, one with a path, and one that most of the archives' images lie in already.
const REGISTRIES: [&str; 3] = [
    "reg.stowd.test:5000",
    "mirror.stowd.test/hub",
    "registry.stowd.test",
];

/// A plain OCI layout, compressed ones, an index of platforms and an attestation, a docker-archive
/// with a name of Docker Hub, and one of two images that share a layer.
const ARCHIVES: [&str; 6] = [
    "umoci.tar",
    "skopeo-oci-zstd.tar.lz4",
    "index-attested.tar.gz",
    "skopeo-docker-short.tar",
    "podman-docker-images.tar",
    "docker-save-hard-links.tar.xz",
];

fn setup(generation: &Generation, registries: &[&str]) -> Setup {
    let mut setup = Setup::new(generation);
    setup.images += &format!("extra-registries = {registries:?}\n");
    setup
}

fn ready(setup: Setup) -> Stowd {
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    stowd
}

/// The names that this name brings, less those by digest: itself, and one for each registry that it
/// does not lie in.
fn tags(name: &str, registries: &[&str]) -> Vec<String> {
    let (_, path) = name.split_once('/').unwrap();
    let elsewhere = registries
        .iter()
        .filter(|registry| !name.starts_with(&format!("{registry}/")))
        .map(|registry| format!("{registry}/{path}"));
    std::iter::once(name.to_owned()).chain(elsewhere).collect()
}

/// The store must have the tagged names, the same by digest, and no others; all pinned.
fn assert_names(store: &Store, tags: &BTreeSet<String>) {
    let images = store.images();
    let mut expected = tags.clone();
    for name in tags {
        let image = images.get(name);
        let target = &image
            .unwrap_or_else(|| panic!("{name} is not there: {:?}", images.keys()))
            .target;
        let (repository, _) = name.rsplit_once(':').unwrap();
        let by_digest = format!("{repository}@{target}");
        assert_eq!(images[&by_digest].target, *target);
        expected.insert(by_digest);
    }
    assert_eq!(images.keys().cloned().collect::<BTreeSet<_>>(), expected);
    for (name, image) in images {
        for (pin, value) in PinOwner::default().pins() {
            let pin = image.labels.get(pin).map(String::as_str);
            assert_eq!(pin, Some(value), "{name}");
        }
    }
}

/// What a blob tells of where it is from: the labels as they are.
fn sources(labels: &BTreeMap<String, String>) -> BTreeMap<&str, &str> {
    let source = |(key, value)| Some((str::strip_prefix(key, SOURCE)?, value));
    labels
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .filter_map(source)
        .collect()
}

/// Every blob must tell the repositories of all images that it is part of, and of no others.
fn assert_sources(store: &Store) {
    assert_sources_beside(store, &BTreeSet::new(), &[]);
}

/// The same, but that some blobs tell of others too.
fn assert_sources_beside(store: &Store, some: &BTreeSet<String>, besides: &[(&str, &str)]) {
    let blobs = store.blobs();
    let mut expected = blobs
        .keys()
        .map(|digest| (digest.clone(), BTreeMap::<_, BTreeSet<_>>::new()))
        .collect::<BTreeMap<_, _>>();
    for (name, image) in store.images() {
        let end = name.find('@').or_else(|| name.rfind(':')).unwrap();
        let (registry, path) = name[..end].split_once('/').unwrap();
        let (mut open, mut seen) = (vec![image.target], BTreeSet::new());
        while let Some(digest) = open.pop() {
            let sources = expected.get_mut(&digest).expect("a blob");
            let paths = sources.entry(registry.to_owned()).or_default();
            paths.insert(path.to_owned());
            for child in children_of(&store.document(&digest)) {
                if !blobs.contains_key(&child.digest) {
                    continue;
                }
                if child.has_children && seen.insert(child.digest.clone()) {
                    open.push(child.digest);
                } else {
                    let sources = expected.get_mut(&child.digest).unwrap();
                    let paths = sources.entry(registry.to_owned()).or_default();
                    paths.insert(path.to_owned());
                }
            }
        }
    }
    for (digest, blob) in &blobs {
        let all = expected.get_mut(digest).unwrap();
        assert!(!all.is_empty(), "{digest} is of no image");
        for (registry, path) in besides.iter().filter(|_| some.contains(digest)) {
            let paths = all.entry((*registry).to_owned()).or_default();
            paths.insert((*path).to_owned());
        }
        let all = all.iter().map(|(registry, paths)| {
            let paths = paths.iter().cloned().collect::<Vec<_>>();
            (registry.as_str(), paths.join(","))
        });
        let all = all.collect::<BTreeMap<_, _>>();
        let all = all.iter().map(|(k, v)| (*k, v.as_str())).collect();
        assert_eq!(sources(&blob.labels), all, "{digest}");
    }
}

fn every_name_is_there_and_every_blob_tells_its_repositories(generation: &Generation) {
    let setup = setup(generation, &REGISTRIES);
    let mut expected = BTreeSet::new();
    for file in ARCHIVES {
        let fixture = fixture(file);
        setup.stow(&fixture.path);
        let brought = fixture
            .names
            .iter()
            .flat_map(|name| tags(name, &REGISTRIES));
        expected.extend(brought);
    }
    assert!(expected.len() > 15, "{expected:?}");
    let mut stowd = ready(setup);
    let store = stowd.store();
    assert_names(&store, &expected);
    assert_sources(&store);
    assert_eq!(stowd.lines("not named"), Vec::<String>::new());

    // All of it is kept, and at the next start nothing is missing.
    store.collect_garbage();
    assert_names(&store, &expected);
    assert_eq!(store.closure().len(), store.blobs().len());
    let before = (store.images(), store.blobs());
    assert_eq!(stowd.stop(), Some(0));
    stowd.restart();
    stowd.wait_ready(SOON);
    assert_eq!(stowd.lines(" skipped /").len(), ARCHIVES.len());
    let store = stowd.store();
    assert_eq!((store.images(), store.blobs()), before);
}

fn a_tag_that_another_archive_moves_is_updated_in_place(generation: &Generation) {
    let setup = setup(generation, &REGISTRIES);
    let name = "docker.io/library/moved:1";
    let archive = |seed| recipe(seed, name).oci().tar();
    std::fs::write(setup.images().join("a.tar"), archive(901)).unwrap();
    let mut stowd = ready(setup);
    let tags = tags(name, &REGISTRIES);
    assert_eq!(tags.len(), 4);
    let before = stowd.store().images();
    for name in &tags {
        stowd.ctr(&["images", "label", name, "theirs=1"]);
    }
    std::fs::write(stowd.setup().images().join("b.tar"), archive(902)).unwrap();
    stowd.wait_until(SOON, "b.tar is imported", |stowd| {
        !stowd.outcomes("b.tar").is_empty()
    });
    let store = stowd.store();
    let after = store.images();
    for name in &tags {
        assert_ne!(after[name].target, before[name].target, "{name}");
        // A name that was deleted on the way would have lost it.
        assert_eq!(after[name].labels["theirs"], "1", "{name}");
    }
    let by_digest = before.keys().filter(|name| name.contains('@'));
    for name in by_digest {
        assert_eq!(after[name], before[name], "the first is still there");
    }
    assert_eq!(after.len(), before.len() + tags.len());
    assert_sources(&store);
}

/// `ctr` has imported them before, under their own names, and another client has labelled the blobs.
fn what_was_there_gets_the_labels_and_keeps_those_of_others(generation: &Generation) {
    let setup = setup(generation, &REGISTRIES);
    let mut stowd = ready(setup);
    let files = ["umoci.tar", "skopeo-docker-short.tar", "index-attested.tar"];
    let fixtures = files.map(fixture);
    for fixture in &fixtures {
        let file = fixture.path.to_str().unwrap();
        stowd.ctr(&[generation.import_words(), &[file]].concat());
    }
    let store = stowd.store();
    // What only the import itself had needed.
    store.collect_garbage();
    let had = store.blobs();
    assert!(had.len() >= 6, "{had:?}");
    for (digest, blob) in &had {
        assert_eq!(sources(&blob.labels), BTreeMap::new(), "by ctr");
        let docker_hub = format!("{SOURCE}docker.io=library/other");
        let other = format!("{SOURCE}elsewhere.stowd.test=a/b");
        stowd.ctr(&["content", "label", digest, "theirs=1", &docker_hub, &other]);
    }
    // Compressed, and plain; the first bytes tell.
    let [umoci, docker, index] = fixtures.map(|fixture| fixture.path);
    let zstd = compressed(&docker, "zst");
    std::fs::write(stowd.setup().images().join("docker.tar"), zstd).unwrap();
    stowd.setup().stow(&umoci).stow(&index);
    for file in ["umoci.tar", "docker.tar", "index-attested.tar"] {
        stowd.wait_until(SOON, "it is imported", |stowd| {
            !stowd.outcomes(file).is_empty()
        });
        assert!(stowd.outcomes(file)[0].contains(" imported /"), "{file}");
    }
    let store = stowd.store();
    let blobs = store.blobs();
    for (digest, before) in &had {
        for (key, value) in &before.labels {
            assert_eq!(blobs[digest].labels.get(key), Some(value), "{digest}");
        }
        assert_eq!(blobs[digest].labels["theirs"], "1");
    }
    let theirs = [
        ("docker.io", "library/other"),
        ("elsewhere.stowd.test", "a/b"),
    ];
    assert_sources_beside(&store, &had.into_keys().collect(), &theirs);
}

fn imports_at_the_same_time_forget_nothing_of_each_other(generation: &Generation) {
    const NAMES: [&str; 12] = [
        "stowd.test/n0:1",
        "stowd.test/n1:1",
        "stowd.test/n2:1",
        "stowd.test/n3:1",
        "stowd.test/n4:1",
        "stowd.test/n5:1",
        "stowd.test/n6:1",
        "stowd.test/n7:1",
        "stowd.test/n8:1",
        "stowd.test/n9:1",
        "a.stowd.test/n10:1",
        "b.stowd.test/n11:1",
    ];
    let mut setup = setup(generation, &["reg.stowd.test"]);
    setup.images += "parallel = 12\n";
    for (number, name) in NAMES.into_iter().enumerate() {
        // One image under many names, or one layer in many images, in every kind of archive.
        let mut image = recipe(911, name);
        image.size = 3 << 20;
        if number % 2 == 1 {
            image.config = |config| config["author"] = "another".into();
        }
        let made = if number % 3 == 0 {
            image.docker()
        } else {
            image.oci()
        };
        let path = setup.dir().join("one.tar");
        std::fs::write(&path, made.tar()).unwrap();
        let kind = COMPRESSIONS[number % 4];
        let to = setup.images().join(format!("{number}.tar"));
        std::fs::write(to, compressed(&path, kind)).unwrap();
    }
    let stowd = ready(setup);
    let store = stowd.store();
    let registries = ["reg.stowd.test"];
    let expected = NAMES.iter().flat_map(|name| tags(name, &registries));
    assert_names(&store, &expected.collect());
    assert_sources(&store);
    let (_, layer) = store
        .blobs()
        .into_iter()
        .max_by_key(|(_, blob)| blob.size)
        .unwrap();
    let own = layer.labels[&format!("{SOURCE}stowd.test")].clone();
    assert_eq!(own, "n0,n1,n2,n3,n4,n5,n6,n7,n8,n9", "all of one layer");
}

fn a_pod_finds_its_image_by_every_kind_of_name(generation: &Generation) {
    let registries = ["reg.stowd.test:5000", "mirror.stowd.test/hub"];
    let setup = setup(generation, &registries);
    // The pod's own image, too, is given as that of an extra registry.
    setup.sandbox_image("mirror.stowd.test/hub/pause:1");
    setup.stow(&fixture("pause.tar").path);
    let archives = [
        ("umoci.tar.zst", "registry.stowd.test/umoci"),
        ("skopeo-docker-short.tar", "docker.io/library/stowd-busybox"),
    ];
    for (file, _) in archives {
        setup.stow(&fixture(file).path);
    }
    let stowd = ready(setup);
    let (images, address) = (stowd.store().images(), stowd.address());
    let (runtime, logs) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
    for (_, repository) in archives {
        let digest = &images[&format!("{repository}:1.35")].target;
        let (_, path) = repository.split_once('/').unwrap();
        let elsewhere = registries.map(|registry| format!("{registry}/{path}"));
        for repository in std::iter::once(repository.to_owned()).chain(elsewhere) {
            for name in [
                format!("{repository}:1.35"),
                format!("{repository}@{digest}"),
            ] {
                let dir = logs.path().join(name.replace(['/', ':', '@'], "-"));
                std::fs::create_dir(&dir).unwrap();
                let script = ["/bin/sh", "-c", "cat /etc/made-by; exit 7"];
                let run = run_in_pod(&address, &dir, &name, &script);
                let ran = runtime.block_on(run);
                assert_eq!(ran.exit_code, 7, "{name}: {}", ran.log);
                assert!(ran.log.contains(" umoci"), "{name}: {}", ran.log);
            }
        }
    }
}

/// The registry's path and the image's own are longer together than a name may be.
fn an_extra_name_that_is_too_long_is_told_and_costs_nothing_else(generation: &Generation) {
    let long = format!("reg.stowd.test/{}", "p".repeat(225));
    let setup = setup(generation, &[&long, "mirror.stowd.test"]);
    let names = [
        "docker.io/library/short:1",
        "docker.io/library/one-that-is-longer-than-that:1",
    ];
    for (seed, name) in (921..).zip(names) {
        let archive = recipe(seed, name).oci().tar();
        std::fs::write(setup.images().join(format!("{seed}.tar")), archive).unwrap();
    }
    let stowd = ready(setup);
    let mut expected = tags(names[0], &[&long, "mirror.stowd.test"]);
    expected.extend(tags(names[1], &["mirror.stowd.test"]));
    assert_names(&stowd.store(), &expected.into_iter().collect());
    assert_sources(&stowd.store());
    let told = stowd.lines("not named reg.stowd.test/ppp");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].ends_with(": the path is longer than 255 characters"));
    assert_eq!(stowd.lines(" imported /").len(), 2);
}

on_each_generation_in_turn!(every_name_is_there_and_every_blob_tells_its_repositories);
on_the_reference_in_turn!(
    a_tag_that_another_archive_moves_is_updated_in_place,
    what_was_there_gets_the_labels_and_keeps_those_of_others,
    imports_at_the_same_time_forget_nothing_of_each_other,
    an_extra_name_that_is_too_long_is_told_and_costs_nothing_else,
    a_pod_finds_its_image_by_every_kind_of_name,
);

fn rewrite(path: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{text}");
    std::fs::write(path, text.replace(from, to)).unwrap();
}

#[test]
fn a_reload_gives_the_names_of_new_registries_and_unpins_those_of_old_ones() {
    let setup = setup(&reference(), &["old.stowd.test"]);
    let umoci = fixture("umoci.tar");
    setup.stow(&umoci.path);
    let mut stowd = ready(setup);
    let config = stowd.setup().dir().join("stowd.toml");
    rewrite(&config, "old.stowd.test", "new.stowd.test/mirror");
    stowd.signal(Signal::HUP);
    let pinned = |stowd: &Stowd, name: &str| {
        let images = stowd.store().images();
        images
            .get(name)
            .map(|image| image.labels.contains_key(OWNER_LABEL))
    };
    stowd.wait_until(SOON, "the new names are there", |stowd| {
        let new = pinned(stowd, "new.stowd.test/mirror/umoci:1.35");
        let old = pinned(stowd, "old.stowd.test/umoci:1.35");
        (new, old) == (Some(true), Some(false))
    });
    assert_eq!(pinned(&stowd, &umoci.names[0]), Some(true));
    let reloaded = stowd.lines("reloaded; changed: images.extra-registries");
    assert_eq!(reloaded.len(), 1);
}

/// containerd says the name when it has no such image, and a connection breaks of an answer that is
/// longer than headers may be.
#[test]
fn a_name_of_endless_length_fails_its_archive_and_holds_nobody() {
    let setup = setup(&reference(), &["reg.stowd.test"]);
    let name = format!("{}.example/a:1", "x".repeat(20_000)).leak();
    let archive = recipe(931, name).oci().tar();
    std::fs::write(setup.images().join("endless.tar"), archive).unwrap();
    let umoci = fixture("umoci.tar");
    setup.stow(&umoci.path);
    let stowd = ready(setup);
    let outcomes = stowd.outcomes("endless.tar");
    assert!(
        outcomes.len() == 1
            && outcomes[0].contains(" failed /")
            && outcomes[0].contains("its first part is not a registry"),
        "{outcomes:?}"
    );
    let expected = tags(&umoci.names[0], &["reg.stowd.test"]);
    assert_names(&stowd.store(), &expected.into_iter().collect());
}
