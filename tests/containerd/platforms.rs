//! Which platforms of an image are imported, and what else comes with them.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::support::{
    Is, Setup, Store, Stowd, Unpacked, architecture, children_of, fixture, foreign_architecture,
    reference,
};

const SOON: Duration = Duration::from_secs(120);

const ATTESTATION: &str = "unknown/unknown";

fn own() -> String {
    format!("linux/{}", architecture())
}

fn foreign() -> String {
    format!("linux/{}", foreign_architecture())
}

/// One archive, imported for these platforms.
fn import(file: &str, platforms: &[&str]) -> (Stowd, Store) {
    let mut setup = Setup::new(&reference());
    setup
        .images
        .push_str(&format!("platforms = {platforms:?}\n"));
    setup.stow(&fixture(file).path);
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    let store = stowd.store();
    store.collect_garbage();
    (stowd, store)
}

/// The platforms of the image's index whose manifests are in the store.
fn platforms_of(store: &Store, name: &str) -> BTreeSet<String> {
    let (images, blobs) = (store.images(), store.blobs());
    let image = images
        .get(name)
        .unwrap_or_else(|| panic!("{name}: {images:?}"));
    let children = children_of(&store.document(&image.target)).into_iter();
    let there = children.filter(|child| blobs.contains_key(&child.digest));
    there
        .map(|child| child.platform.expect("a platform"))
        .collect()
}

/// After a collection the store has exactly what the archive has for these platforms.
fn assert_only(store: &Store, file: &str, platforms: &[&str]) {
    let unpacked = Unpacked::of(&fixture(file).path, "");
    let Is::Target(target) = &unpacked.images[0].is else {
        panic!("{file} is no OCI layout")
    };
    let counts = |platform: &str| platforms.contains(&platform);
    let expected = unpacked
        .blobs(target, &counts)
        .into_keys()
        .collect::<BTreeSet<_>>();
    assert_eq!(
        store.blobs().into_keys().collect::<BTreeSet<_>>(),
        expected,
        "{file}"
    );
    assert_eq!(store.closure_for(&counts), expected, "{file}");
}

fn assert_failed(stowd: &Stowd, store: &Store, file: &str, words: &str) {
    let outcomes = stowd.outcomes(file);
    assert_eq!(outcomes.len(), 1, "{outcomes:?}");
    assert!(
        outcomes[0].contains(" failed /") && outcomes[0].contains(words),
        "{outcomes:?}"
    );
    assert_eq!((store.images().len(), store.blobs().len()), (0, 0));
}

#[test]
fn the_host_s_platform_alone_unless_more_is_asked_for() {
    let (foreign, own) = (foreign(), own());
    let cases: [(&[&str], &[&str]); 5] = [
        (&["host"], &[&own]),
        (&[&own], &[&own]),
        (&[&foreign], &[&foreign]),
        (&["host", &foreign], &[&own, &foreign]),
        (&["all"], &[&own, &foreign]),
    ];
    for (wanted, there) in cases {
        let (stowd, store) = import("index-platforms.tar", wanted);
        assert_eq!(stowd.lines(" imported /").len(), 1);
        let found = platforms_of(&store, "registry.stowd.test/platforms:1.35");
        assert_eq!(
            found,
            there.iter().map(|&platform| platform.to_owned()).collect(),
            "{wanted:?}"
        );
        assert_only(&store, "index-platforms.tar", there);
    }
}

#[test]
fn attestations_are_kept_when_they_are_there_and_never_missed() {
    let (foreign, own) = (foreign(), own());
    for (wanted, there) in [("host", &own), (&*foreign, &foreign)] {
        let (_stowd, store) = import("index-attested.tar", &[wanted]);
        let found = platforms_of(&store, "registry.stowd.test/attested:1.35");
        assert_eq!(
            found,
            BTreeSet::from([there.clone(), ATTESTATION.to_owned()])
        );
        assert_only(&store, "index-attested.tar", &[there]);
    }
    let (_stowd, store) = import("index-attested.tar", &["all"]);
    let found = platforms_of(&store, "registry.stowd.test/attested:1.35");
    assert_eq!(
        found,
        BTreeSet::from([own.clone(), foreign.clone(), ATTESTATION.to_owned()])
    );
    assert_only(&store, "index-attested.tar", &[&own, &foreign]);

    // With neither the attestation nor the other platform.
    let (_stowd, store) = import("index-sparse.tar", &["host"]);
    assert_eq!(
        platforms_of(&store, "registry.stowd.test/attested:1.35"),
        BTreeSet::from([own.clone()])
    );
    assert_only(&store, "index-sparse.tar", &[&own]);
}

#[test]
fn what_is_wanted_and_missing_is_an_error_that_names_it() {
    let foreign = foreign();
    for wanted in ["all", &foreign] {
        let (stowd, store) = import("index-sparse.tar", &[wanted]);
        assert_failed(
            &stowd,
            &store,
            "index-sparse.tar",
            "is neither in the archive nor in the store",
        );
    }
    let (stowd, store) = import("index-own-missing.tar", &["host"]);
    assert_failed(
        &stowd,
        &store,
        "index-own-missing.tar",
        "is neither in the archive nor in the store",
    );
    let (_stowd, store) = import("index-own-missing.tar", &[&foreign]);
    let found = platforms_of(&store, "registry.stowd.test/platforms:1.35");
    assert_eq!(found, BTreeSet::from([foreign.clone()]));
    let (stowd, store) = import("index-platforms.tar", &["linux/s390x"]);
    let has = format!(
        "it has linux/{}, linux/{}, and wanted is linux/s390x",
        "{}", "{}"
    );
    let [one, two] = [
        has.replacen("{}", "amd64", 1).replacen("{}", "arm64", 1),
        has.replacen("{}", "arm64", 1).replacen("{}", "amd64", 1),
    ];
    let outcomes = stowd.outcomes("index-platforms.tar");
    assert!(
        outcomes[0].contains(&one) || outcomes[0].contains(&two),
        "{outcomes:?}"
    );
    assert_eq!(store.blobs().len(), 0);
}

#[test]
fn an_image_whose_platform_only_its_configuration_tells() {
    let (foreign, name) = (foreign(), "registry.stowd.test/foreign:1.35");
    for wanted in ["all", &foreign] {
        let (stowd, store) = import("umoci-foreign.tar", &[wanted]);
        assert_eq!(stowd.lines(" imported /").len(), 1);
        assert!(store.images().contains_key(name));
        assert_only(&store, "umoci-foreign.tar", &[]);
    }
    let (stowd, store) = import("umoci-foreign.tar", &["host"]);
    assert_failed(
        &stowd,
        &store,
        "umoci-foreign.tar",
        "none of its images is for a wanted platform",
    );
}
