//! The ledger against a store: what is skipped, what is brought back, what is unpinned.

use std::path::Path;

use stowd::digest::Digest;
use stowd::image_store::{Descriptor, Image, Labels};
use stowd::ledger::{Attempt, Audit, Change, Decision, Lack, Ledger};
use stowd::needed_blob::{BlobDamage, BlobFault, BlobFaults};
use stowd::pin::{DEFAULT_PIN, PinOwner, RUNTIME_PIN};

use crate::ledger::{bad, blob, good, image, settings, version};

/// How an image of the store is pinned.
#[derive(Clone, Copy)]
enum Pin {
    /// By stowd.
    Own,
    /// By another client.
    Foreign,
    /// Stowd's label is there, the runtime's is gone.
    Lost,
    /// Not at all.
    None,
}

fn labels(pin: Pin) -> Labels {
    let pins = match pin {
        Pin::Own => vec![RUNTIME_PIN, DEFAULT_PIN],
        Pin::Foreign => vec![RUNTIME_PIN],
        Pin::Lost => vec![DEFAULT_PIN],
        Pin::None => vec![],
    };
    pins.into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// Both names of each `name:tag=content`.
fn store(images: &[(&str, Pin)]) -> Vec<Image> {
    let records = images.iter().flat_map(|(text, pin)| {
        let image = image(text);
        let digest = image.digest;
        image.names.into_iter().map(move |name| Image {
            name,
            target: Descriptor {
                media_type: String::new(),
                digest: digest.clone(),
                size: 1,
            },
            labels: labels(*pin),
        })
    });
    records.collect()
}

fn decide(ledger: &Ledger, store: &[Image], path: &str, number: u64) -> Decision {
    Audit::new(ledger, store, &PinOwner::default()).decide(
        Path::new(path),
        &version(number),
        &settings("n"),
    )
}

fn missing(names: &[&str]) -> Decision {
    Decision::Missing(Lack {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        damage: Vec::new(),
    })
}

fn at_digest(repo: &str, content: &str) -> String {
    format!("{repo}@{}", Digest::of(content.as_bytes()))
}

/// What is to be unpinned.
fn stale(ledger: &Ledger, store: &[Image]) -> Vec<String> {
    let owner = PinOwner::default();
    let stale = Audit::new(ledger, store, &owner).stale_pins();
    stale.into_iter().map(str::to_owned).collect()
}

#[test]
fn an_unchanged_entry_is_skipped_when_the_store_has_all_of_it_pinned() {
    let mut ledger = Ledger::default();
    ledger.record("a.tar".into(), good(1, &["a:1=x", "b:1=y"]));
    let (a, b) = (at_digest("a", "x"), at_digest("b", "y"));
    let whole = [
        ("a:1=x", Pin::Own),
        ("b:1=y", Pin::Foreign),
        ("c:1=z", Pin::None),
    ];
    let without = |name: &str| {
        let mut store = store(&whole);
        store.retain(|image| image.name != name);
        store
    };
    for (store, expected) in [
        (store(&whole), Decision::Unchanged),
        (store(&[]), missing(&["a:1", &a, "b:1", &b])),
        (without("a:1"), missing(&["a:1"])),
        (without(&b), missing(&[&b])),
        (
            store(&[("a:1=x", Pin::Own), ("b:1=y", Pin::None)]),
            missing(&["b:1", &b]),
        ),
        (
            store(&[("a:1=x", Pin::Lost), ("b:1=y", Pin::Own)]),
            missing(&["a:1", &a]),
        ),
        // Another client pointed the name to something else.
        (
            store(&[("a:1=other", Pin::Own), ("b:1=y", Pin::Own)]),
            missing(&["a:1", &a]),
        ),
    ] {
        assert_eq!(decide(&ledger, &store, "a.tar", 1), expected, "{store:#?}");
    }
    let mut ours = store(&whole);
    let value = ours[0].labels.get_mut(RUNTIME_PIN.0).unwrap();
    *value = "no".to_owned();
    assert_eq!(
        decide(&ledger, &ours, "a.tar", 1),
        missing(&["a:1"]),
        "not a pin to CRI"
    );
}

#[test]
fn an_entry_is_not_skipped_while_a_blob_of_its_images_is_damaged() {
    let mut ledger = Ledger::default();
    ledger.record("a.tar".into(), good(1, &["a:1=x", "b:1=y"]));
    ledger.record("c.tar".into(), bad(1, &["c:1=z"]));
    let store = store(&[
        ("a:1=x", Pin::Own),
        ("b:1=y", Pin::Own),
        ("c:1=z", Pin::Own),
    ]);
    let damage = |image: &str, content, fault| BlobDamage {
        image: image.to_owned(),
        blob: blob(content),
        fault,
    };
    let at_fault = |contents: &[(&str, BlobFault)]| {
        let faults = contents.iter();
        faults
            .map(|(content, fault)| (blob(content).digest, *fault))
            .collect::<BlobFaults>()
    };
    let (gone, cut) = (BlobFault::NoFile, BlobFault::FileLength(3));
    for (faults, expected) in [
        (vec![], vec![]),
        (vec![("foreign", gone)], vec![]),
        (vec![("y", cut)], vec![damage("b:1", "y", cut)]),
        // Both images have it: it counts for the first.
        (
            vec![("layer", BlobFault::NoRecord)],
            vec![damage("a:1", "layer", BlobFault::NoRecord)],
        ),
        (
            vec![("y", gone), ("x", cut)],
            vec![damage("a:1", "x", cut), damage("b:1", "y", gone)],
        ),
    ] {
        let faults = at_fault(&faults);
        let owner = PinOwner::default();
        let audit = Audit::new(&ledger, &store, &owner).with_faults(&faults);
        let decide = |path: &str| audit.decide(Path::new(path), &version(1), &settings("n"));
        let lack = Lack {
            names: Vec::new(),
            damage: expected,
        };
        let expected = match lack.is_empty() {
            true => Decision::Unchanged,
            false => Decision::Missing(lack),
        };
        assert_eq!(decide("a.tar"), expected);
        assert_eq!(decide("c.tar"), Decision::Failed, "it is tried in any case");
    }
    let needed = ledger.needed_blobs();
    assert_eq!(needed.len(), 4, "each once: {needed:?}");
}

#[test]
fn another_length_or_time_makes_another_file_and_another_inode_alone_does_not() {
    let mut ledger = Ledger::default();
    ledger.record("a.tar".into(), good(1, &["a:1=x"]));
    let store = store(&[("a:1=x", Pin::Own)]);
    let owner = PinOwner::default();
    let audit = Audit::new(&ledger, &store, &owner);
    let decide = |change: fn(&mut stowd::entry::Identity)| {
        let mut identity = version(1);
        change(&mut identity);
        audit.decide(Path::new("a.tar"), &identity, &settings("n"))
    };
    assert_eq!(decide(|_| {}), Decision::Unchanged);
    assert_eq!(decide(|i| i.device += 1), Decision::Unchanged);
    assert_eq!(decide(|i| i.inode += 1), Decision::Unchanged);
    let changes: [fn(&mut stowd::entry::Identity); 5] = [
        |i| i.size += 1,
        |i| i.mtime += 1,
        |i| i.mtime -= 1_000_000_000_000,
        |i| i.ctime += 1,
        |i| i.ctime -= 1,
    ];
    for (number, change) in changes.into_iter().enumerate() {
        assert_eq!(decide(change), Decision::Changed(Change::File), "{number}");
    }
}

#[test]
fn what_is_not_known_to_be_right_is_done_again() {
    let mut ledger = Ledger::default();
    let store = store(&[("a:1=x", Pin::Own)]);
    assert_eq!(
        decide(&ledger, &store, "a.tar", 1),
        Decision::Changed(Change::New)
    );
    let other = Attempt {
        settings: settings("other"),
        ..good(1, &["a:1=x"])
    };
    ledger.record("a.tar".into(), other);
    assert_eq!(
        decide(&ledger, &store, "a.tar", 1),
        Decision::Changed(Change::Settings)
    );
    let unseen = Attempt {
        identity: None,
        ..good(1, &["a:1=x"])
    };
    ledger.record("a.tar".into(), unseen);
    assert_eq!(
        decide(&ledger, &store, "a.tar", 1),
        Decision::Changed(Change::File)
    );
    ledger.record("a.tar".into(), bad(1, &["a:1=x"]));
    assert_eq!(decide(&ledger, &store, "a.tar", 1), Decision::Failed);
    assert_eq!(
        decide(&ledger, &store, "a.tar", 2),
        Decision::Changed(Change::File)
    );
    let words = [Change::New, Change::File, Change::Settings].map(|change| change.to_string());
    assert_eq!(words, ["new", "changed", "imported under other settings"]);
}

/// Two archives with different images of one name: who came last has the name, and neither is
/// imported again and again to get it back.
#[test]
fn a_name_that_two_entries_bring_is_that_of_the_last_in_name_order() {
    let mut ledger = Ledger::default();
    // Whichever was imported first.
    ledger.record("b.tar".into(), good(2, &["app:1=last"]));
    ledger.record("a.tar".into(), good(1, &["app:1=first"]));
    let mut last = store(&[("app:1=last", Pin::Own)]);
    last.extend(store(&[("app:1=first", Pin::Own)]).split_off(1));
    assert_eq!(decide(&ledger, &last, "a.tar", 1), Decision::Unchanged);
    assert_eq!(decide(&ledger, &last, "b.tar", 2), Decision::Unchanged);

    // The first has taken the name: the last brings its own back.
    let mut first = store(&[("app:1=first", Pin::Own)]);
    first.extend(store(&[("app:1=last", Pin::Own)]).split_off(1));
    assert_eq!(decide(&ledger, &first, "a.tar", 1), Decision::Unchanged);
    assert_eq!(decide(&ledger, &first, "b.tar", 2), missing(&["app:1"]));

    // The name is gone, or pinned no more: it is missed by both.
    let names = [at_digest("app", "first"), at_digest("app", "last")];
    let neither = last.iter().filter(|image| names.contains(&image.name));
    let neither = neither.cloned().collect::<Vec<_>>();
    assert_eq!(neither.len(), 2);
    assert_eq!(decide(&ledger, &neither, "a.tar", 1), missing(&["app:1"]));
    assert_eq!(decide(&ledger, &neither, "b.tar", 2), missing(&["app:1"]));

    // The last is deleted: the name goes back.
    ledger.remove(Path::new("b.tar"));
    assert_eq!(decide(&ledger, &last, "a.tar", 1), missing(&["app:1"]));
    // A failed entry goes on having what it keeps: the name stays with it.
    ledger.record("b.tar".into(), good(2, &["app:1=last"]));
    ledger.record("b.tar".into(), bad(3, &[]));
    assert_eq!(decide(&ledger, &last, "a.tar", 1), Decision::Unchanged);
    assert_eq!(ledger.get(Path::new("b.tar")).unwrap().kept.len(), 1);
}

#[test]
fn name_order_is_that_of_versions() {
    let mut ledger = Ledger::default();
    ledger.record("bundle-1.10.tar".into(), good(10, &["app:1=new"]));
    ledger.record("bundle-1.9.tar".into(), good(9, &["app:1=old"]));
    let mut old = store(&[("app:1=old", Pin::Own)]);
    old.extend(store(&[("app:1=new", Pin::Own)]).split_off(1));
    let decide = |path, inode| decide(&ledger, &old, path, inode);
    assert_eq!(decide("bundle-1.9.tar", 9), Decision::Unchanged);
    assert_eq!(decide("bundle-1.10.tar", 10), missing(&["app:1"]));
}

#[test]
fn only_own_pins_that_nobody_needs_are_stale() {
    let mut ledger = Ledger::default();
    ledger.record("a.tar".into(), good(1, &["a:1=x", "shared:1=x"]));
    ledger.record("b.tar".into(), good(2, &["b:1=x", "shared:1=x"]));
    let store = store(&[
        ("shared:1=x", Pin::Own),
        ("b:1=x", Pin::Own),
        ("a:1=x", Pin::Own),
        ("old:1=x", Pin::Own),
        ("theirs:1=x", Pin::Foreign),
        ("plain:1=x", Pin::None),
        ("half:1=x", Pin::Lost),
    ]);
    let stale = |ledger: &Ledger| stale(ledger, &store);
    let both = |repos: &[&str]| {
        let pairs = repos.iter();
        let pairs = pairs.flat_map(|repo| [format!("{repo}:1"), at_digest(repo, "x")]);
        pairs.collect::<Vec<_>>()
    };
    assert_eq!(stale(&ledger), both(&["old", "half"]));
    ledger.remove(Path::new("a.tar"));
    assert_eq!(
        stale(&ledger),
        both(&["a", "old", "half"]),
        "b.tar brings what both had"
    );
    ledger.remove(Path::new("b.tar"));
    assert_eq!(stale(&ledger), both(&["shared", "b", "a", "old", "half"]));
}

#[test]
fn a_new_version_lets_go_of_the_old_one_only_when_it_is_whole() {
    let mut ledger = Ledger::default();
    let mut store = store(&[("app:1=new", Pin::Own), ("gone:1=x", Pin::Own)]);
    let old = at_digest("app", "old");
    let mut old_name = store[0].clone();
    old_name.name.clone_from(&old);
    store.push(old_name);
    let stale = |ledger: &Ledger| stale(ledger, &store);
    ledger.record("a.tar".into(), good(1, &["app:1=old", "gone:1=x"]));
    ledger.record("a.tar".into(), bad(2, &["app:1=new"]));
    assert_eq!(stale(&ledger), Vec::<String>::new());
    ledger.record("a.tar".into(), bad(2, &[]));
    assert_eq!(
        stale(&ledger),
        Vec::<String>::new(),
        "nor when the retry brings less"
    );
    ledger.record("a.tar".into(), good(2, &["app:1=new"]));
    assert_eq!(
        stale(&ledger),
        ["gone:1".to_owned(), at_digest("gone", "x"), old.clone()]
    );
}

#[test]
fn what_entries_of_another_images_directory_bring_is_not_unpinned() {
    let mut ledger = Ledger::default();
    let store = store(&[("a:1=x", Pin::Own), ("b:1=y", Pin::Own)]);
    let (a, b) = (at_digest("a", "x"), at_digest("b", "y"));
    assert_eq!(stale(&ledger, &store), ["a:1", &a, "b:1", &b]);
    ledger.bring_elsewhere(["a:1".to_owned(), a]);
    assert_eq!(stale(&ledger, &store), ["b:1", &b]);
    assert_eq!(
        decide(&ledger, &store, "/images/a.tar", 1),
        Decision::Changed(Change::New)
    );
}

/// What was read from disk holds its images before anybody has looked into the entries.
#[test]
fn a_record_that_does_not_stand_yet_holds_its_images() {
    let mut ledger = Ledger::default();
    ledger.record("/images/a.tar".into(), good(1, &["a:1=x"]));
    let json = ledger.snapshot().to_json(Path::new("/images"));
    let (ledger, _) = Ledger::from_json(&json, Path::new("/images"));
    let store = store(&[("a:1=x", Pin::Own)]);
    assert!(
        Audit::new(&ledger, &store, &PinOwner::default())
            .stale_pins()
            .is_empty()
    );
    assert_eq!(
        decide(&ledger, &store, "/images/a.tar", 1),
        Decision::Unchanged
    );
}
