//! The importer's names in extra registries, and the labels that tell whose a blob is.

use std::collections::BTreeSet;
use std::path::Path;

use stowd::digest::Digest;
use stowd::image_store::{Labels, StoreError};
use stowd::importer::{ImportError, ImportReport};
use stowd::ledger::NamesOfLater;
use stowd::pin::{DEFAULT_PIN, RUNTIME_PIN};
use stowd::progress::Meter;
use stowd::source_labels::PREFIX;
use tempfile::TempDir;

use crate::importer::{Draft, entry, noise, run_before, run_with};
use crate::memory_store::{Doing, MemoryStore};

const REGISTRIES: [&str; 2] = ["reg.example", "b.example:5000/mirror"];
const EXTRA: &str = "reg.example/library/busybox:1";

fn run(store: &MemoryStore, path: &Path) -> Result<ImportReport, ImportError> {
    run_with(store, &entry(path), Meter::default(), &REGISTRIES)
}

fn refused() -> StoreError {
    StoreError::Refused {
        call: "Images.Create",
        cause: "not today".to_owned(),
    }
}

/// The source labels among the labels, by registry.
fn sourced(labels: &Labels) -> Vec<(&str, &str)> {
    let short = |(key, value)| Some((str::strip_prefix(key, PREFIX)?, value));
    labels
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .filter_map(short)
        .collect()
}

#[test]
fn an_image_is_there_under_the_extra_registries_and_its_blobs_tell_all() {
    let dir = TempDir::new().unwrap();
    let mut draft = Draft::new();
    let image = draft.image(noise(100_000, 1));
    draft.index(&[("busybox:1", &image.manifest)]);
    for (compressed, path) in draft.written(dir.path()).into_iter().enumerate() {
        let store = MemoryStore::default();
        let report = run(&store, &path).unwrap();
        assert_eq!(report.problems, Vec::<String>::new());
        let names = [
            "docker.io/library/busybox",
            "reg.example/library/busybox",
            "b.example:5000/mirror/library/busybox",
        ];
        let names = names.map(|name| [format!("{name}:1"), format!("{name}@{}", image.manifest)]);
        assert_eq!(report.images[0].names, names.concat());
        {
            let state = store.state();
            assert_eq!(state.images.len(), 6);
            for name in names.concat() {
                let record = &state.images[&name];
                assert_eq!(record.target.digest, image.manifest);
                for (key, value) in [RUNTIME_PIN, DEFAULT_PIN] {
                    assert_eq!(record.labels[key], value);
                }
                assert!(state.seen.contains(&name));
            }
            for (digest, (_, labels)) in &state.blobs {
                let all = [
                    ("b.example:5000", "mirror/library/busybox"),
                    ("docker.io", "library/busybox"),
                    ("reg.example", "library/busybox"),
                ];
                assert_eq!(sourced(labels), all, "{digest}");
            }
            assert_eq!(
                state.labelled, compressed,
                "what is known before the commit travels with it"
            );
        }
        run(&store, &path).unwrap();
        assert_eq!(store.state().labelled, compressed, "nothing is new");
    }
}

#[test]
fn an_extra_name_that_cannot_be_written_costs_nothing_but_itself() {
    let dir = TempDir::new().unwrap();
    let mut draft = Draft::new();
    let image = draft.image(noise(1000, 1));
    draft.index(&[("busybox:1", &image.manifest)]);
    let [path, _] = draft.written(dir.path());
    let late = StoreError::Deadline {
        call: "Images.Create",
        seconds: 1,
    };
    for (doing, error) in [
        (Doing::Put, refused()),
        (Doing::Put, late),
        (Doing::See, refused()),
    ] {
        let store = MemoryStore::default();
        store.state().fail_name = Some((EXTRA.to_owned(), doing, error));
        let report = run(&store, &path).unwrap();
        assert_eq!(report.problems, Vec::<String>::new());
        let names = &report.images[0].names;
        assert!(names.contains(&EXTRA.to_owned()), "the audit misses it");
        let state = store.state();
        for name in names {
            let failed = name == EXTRA;
            let put = state.images.contains_key(name);
            assert_eq!(put, !failed || doing == Doing::See, "{name}");
            assert_eq!(state.seen.contains(name), !failed, "{name}");
        }
    }
}

/// A later archive gives the same names to another image.
#[test]
fn a_name_that_a_later_entry_has_is_left_to_it_where_it_is_pinned() {
    let dir = TempDir::new().unwrap();
    let mut draft = Draft::new();
    let image = draft.image(noise(1000, 1));
    draft.index(&[("busybox:1", &image.manifest)]);
    let other = Digest::of(b"other");
    let tag = "docker.io/library/busybox:1".to_owned();
    let targets = BTreeSet::from([other.clone()]);
    let later = [(tag.clone(), targets.clone()), (EXTRA.to_owned(), targets)];
    let later = NamesOfLater::from(later);
    for path in draft.written(dir.path()) {
        let import = |store: &MemoryStore| {
            let import = run_before(store, &entry(&path), Meter::default(), &REGISTRIES, &later);
            let report = import.unwrap();
            assert_eq!(report.problems, Vec::<String>::new());
            let names = &report.images[0].names;
            assert_eq!(names.len(), 6, "{names:?}");
            assert!(
                names.contains(&tag),
                "it has the name when the other lets it go"
            );
        };
        let store = MemoryStore::default();
        import(&store);
        assert_eq!(store.state().images[&tag].target.digest, image.manifest);
        for name in later.keys() {
            let mut state = store.state();
            let record = state.images.get_mut(name).unwrap();
            record.target.digest = other.clone();
        }
        import(&store);
        assert_eq!(store.state().images.len(), 6);
        for (name, record) in &store.state().images {
            let is_left = record.target.digest == other;
            assert_eq!(is_left, later.contains_key(name), "{name}");
        }
        // Another image has the tag than the later entry would give it.
        let of_others = Digest::of(b"of others");
        store.state().images.get_mut(&tag).unwrap().target.digest = of_others;
        import(&store);
        assert_eq!(store.state().images[&tag].target.digest, image.manifest);
        assert_eq!(store.state().images[EXTRA].target.digest, other);
        let (pin, _) = RUNTIME_PIN;
        for record in store.state().images.values_mut() {
            record.labels.remove(pin);
        }
        import(&store);
        for (name, record) in &store.state().images {
            assert_eq!(record.target.digest, image.manifest, "{name} is no one's");
        }
    }
}

#[test]
fn a_store_that_is_away_or_full_is_no_matter_of_one_name() {
    let dir = TempDir::new().unwrap();
    let mut draft = Draft::new();
    let image = draft.image(noise(1000, 1));
    draft.index(&[("busybox:1", &image.manifest)]);
    let [path, _] = draft.written(dir.path());
    let fail = |name: &str, doing, error| {
        let store = MemoryStore::default();
        store.state().fail_name = Some((name.to_owned(), doing, error));
        run(&store, &path)
    };
    let (call, cause) = ("Images.Create", "broken".to_owned());
    for doing in [Doing::Put, Doing::See] {
        let cause = cause.clone();
        let away = StoreError::Unreachable { call, cause };
        assert!(fail(EXTRA, doing, away).unwrap_err().is_store_away());
    }
    let full = fail(EXTRA, Doing::Put, StoreError::NoSpace { call, cause }).unwrap();
    assert!(full.images.is_empty());
    assert!(full.problems[0].contains("no space left"), "{full:?}");

    let own = "docker.io/library/busybox:1";
    for doing in [Doing::Put, Doing::See] {
        let report = fail(own, doing, refused()).unwrap();
        assert!(report.images.is_empty());
        assert!(report.problems[0].contains("not today"), "{report:?}");
    }
}

#[test]
fn images_that_share_a_layer_share_its_labels_and_keep_their_own_names() {
    let dir = TempDir::new().unwrap();
    let mut draft = Draft::new();
    let base = noise(100_000, 1);
    let one = draft.image(base.clone());
    let two = draft.image_with(base, "two");
    let broken = draft.image(noise(1000, 3));
    assert_eq!(one.layer, two.layer);
    draft.index(&[
        ("reg.example/library/app:1", &one.manifest),
        ("app:1", &two.manifest),
        ("reg.example/library/lost:1", &broken.manifest),
        ("lost:1", &two.manifest),
    ]);
    draft.remove(&broken.layer);
    for path in draft.written(dir.path()) {
        let store = MemoryStore::default();
        let extra = ["reg.example"];
        let report = run_with(&store, &entry(&path), Meter::default(), &extra).unwrap();
        assert_eq!(report.problems.len(), 1, "{:?}", report.problems);
        let state = store.state();
        let targets = state.images.iter().map(|(name, image)| {
            let name = name.as_str();
            (name, image.target.digest.clone())
        });
        let by_digest = |name: &str| format!("{name}@{}", two.manifest);
        let (app, lost) = (
            by_digest("reg.example/library/app"),
            by_digest("reg.example/library/lost"),
        );
        let (hub_app, hub_lost) = (
            by_digest("docker.io/library/app"),
            by_digest("docker.io/library/lost"),
        );
        let own = format!("reg.example/library/app@{}", one.manifest);
        let mut expected = vec![
            ("docker.io/library/app:1", two.manifest.clone()),
            ("docker.io/library/lost:1", two.manifest.clone()),
            (&hub_app, two.manifest.clone()),
            (&hub_lost, two.manifest.clone()),
            (&app, two.manifest.clone()),
            (&lost, two.manifest.clone()),
            ("reg.example/library/app:1", one.manifest.clone()),
            (&own, one.manifest.clone()),
        ];
        expected.sort();
        let mut targets = targets.collect::<Vec<_>>();
        targets.sort();
        assert_eq!(targets, expected);

        let of = |digest| sourced(&state.blobs[digest].1);
        let hub = ("docker.io", "library/app,library/lost");
        let both = ("reg.example", "library/app,library/lost");
        assert_eq!(of(&one.layer), [hub, both]);
        assert_eq!(of(&one.manifest), [("reg.example", "library/app")]);
        assert_eq!(of(&two.manifest), [hub, both]);
        assert_eq!(of(&two.config), [hub, both]);
    }
}

#[test]
fn what_the_store_had_gets_the_labels_too_and_keeps_its_own() {
    let dir = TempDir::new().unwrap();
    let mut draft = Draft::new();
    let image = draft.image(noise(100_000, 1));
    draft.index(&[("busybox:1", &image.manifest)]);
    let [whole, _] = draft.written(dir.path());
    let whole = {
        let kept = dir.path().join("whole.tar");
        std::fs::rename(whole, &kept).unwrap();
        kept
    };
    // Only the store has them.
    for digest in [&image.layer, &image.config, &image.manifest] {
        draft.remove(digest);
    }
    for path in draft.written(dir.path()).into_iter().chain([whole.clone()]) {
        let store = MemoryStore::default();
        run_with(&store, &entry(&whole), Meter::default(), &[]).unwrap();
        for (_, labels) in store.state().blobs.values_mut() {
            labels.clear();
            labels.insert("theirs".to_owned(), "1".to_owned());
            let hub = format!("{PREFIX}docker.io");
            labels.insert(hub, "library/other".to_owned());
        }
        let report = run(&store, &path).unwrap();
        assert_eq!(report.problems, Vec::<String>::new());
        let state = store.state();
        for (_, labels) in state.blobs.values() {
            assert_eq!(labels["theirs"], "1");
            let all = [
                ("b.example:5000", "mirror/library/busybox"),
                ("docker.io", "library/busybox,library/other"),
                ("reg.example", "library/busybox"),
            ];
            assert_eq!(sourced(labels), all);
        }
        let children = state.blobs[&image.manifest].1.keys();
        let children = children.filter(|key| key.starts_with("containerd.io/gc.ref."));
        assert_eq!(children.count(), 2);
        assert_eq!(state.labelled, 3, "one write a blob");
    }
}

/// To one image it is a file of an unknown kind, to the other its manifest.
#[test]
fn a_manifest_keeps_its_children_whatever_it_is_to_another_image() {
    let dir = TempDir::new().unwrap();
    let mut draft = Draft::new();
    let one = draft.image(noise(1000, 1));
    let two = draft.image(noise(1000, 2));
    let size = |draft: &Draft, digest: &Digest| {
        let mut members = draft.members.iter();
        let found = members.find(|(path, _)| path.ends_with(digest.hex()));
        found.unwrap().1.len()
    };
    let [one_size, two_size] = [&one, &two].map(|image| size(&draft, &image.manifest));
    let manifest = "application/vnd.oci.image.manifest.v1+json";
    let index = "application/vnd.oci.image.index.v1+json";
    let nested = format!(
        r#"{{"schemaVersion":2,"mediaType":"{index}","manifests":[{{"mediaType":"{manifest}","digest":"{}","size":{one_size},"platform":{{"os":"linux","architecture":"amd64"}}}},{{"mediaType":"application/x-unknown","digest":"{}","size":{two_size}}}]}}"#,
        one.manifest, two.manifest
    );
    let nested_size = nested.len();
    let nested = draft.blob(nested.into_bytes());
    let named = |media_type: &str, digest: &Digest, size: usize, name: &str| {
        format!(
            r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{size},"annotations":{{"io.containerd.image.name":"{name}"}}}}"#
        )
    };
    let top = [
        named(index, &nested, nested_size, "one:1"),
        named(manifest, &two.manifest, two_size, "two:1"),
    ];
    let top = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, top.join(","));
    draft.members.push(("index.json".into(), top.into_bytes()));
    for path in draft.written(dir.path()) {
        let store = MemoryStore::default();
        let report = run(&store, &path).unwrap();
        assert_eq!(report.problems, Vec::<String>::new());
        assert_eq!(report.images.len(), 2);
        let state = store.state();
        let labels = &state.blobs[&two.manifest].1;
        let config = labels.get("containerd.io/gc.ref.content.config");
        assert_eq!(config.map(String::as_str), Some(two.config.as_str()));
        let hub = ("docker.io", "library/one,library/two");
        assert!(sourced(labels).contains(&hub), "{labels:?}");
    }
}
