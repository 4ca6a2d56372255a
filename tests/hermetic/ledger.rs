//! The ledger in memory: what a record takes over from the one before, and the counts.

use std::path::Path;
use std::time::{Duration, SystemTime};

use stowd::digest::Digest;
use stowd::entry::Identity;
use stowd::ledger::{
    Attempt, FailureClass, Fingerprint, Imported, ImportedImage, Keeps, Ledger, Outcome, Record,
    Summary,
};
use stowd::needed_blob::NeededBlob;
use stowd::platform::Wanted;
use stowd::retry;

/// A version of a file, told from others by its ctime.
pub(crate) fn version(number: u64) -> Identity {
    Identity {
        device: 2049,
        inode: 1,
        size: 7,
        mtime: 1_763_712_000_123_456_789,
        ctime: 1_763_712_000_123_456_790 + i128::from(number),
    }
}

/// `name:content`: an image of that name whose digest is that of the content.
pub(crate) fn image(text: &str) -> ImportedImage {
    let (name, content) = text.split_once('=').expect("name:tag=content");
    let digest = Digest::of(content.as_bytes());
    let (repo, _) = name.split_once(':').expect("a tag");
    ImportedImage {
        names: vec![name.to_owned(), format!("{repo}@{digest}")],
        blobs: [content, "layer"].map(blob).to_vec(),
        digest,
    }
}

/// The blob of these bytes.
pub(crate) fn blob(content: &str) -> NeededBlob {
    NeededBlob {
        digest: Digest::of(content.as_bytes()),
        size: content.len() as u64,
    }
}

pub(crate) fn imported(images: &[&str]) -> Imported {
    Imported {
        images: images.iter().map(|text| image(text)).collect(),
        bytes: 7,
        duration: Duration::new(1, 234_567_891),
    }
}

pub(crate) fn settings(namespace: &str) -> Fingerprint {
    Fingerprint::of(&Wanted::All, &[], namespace)
}

pub(crate) fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::new(1_763_712_000 + seconds, 123_456_789)
}

pub(crate) fn good(number: u64, images: &[&str]) -> Attempt {
    Attempt {
        identity: Some(version(number)),
        settings: settings("n"),
        outcome: Outcome::Imported(imported(images)),
        class: FailureClass::Environment,
        seen_in: Vec::new(),
        finished: at(0),
        seed: 1,
        keeps: Keeps::All,
        not_before: Duration::ZERO,
        was_interrupted: false,
    }
}

pub(crate) fn bad(number: u64, images: &[&str]) -> Attempt {
    let outcome = Outcome::Failed {
        error: "broken".to_owned(),
        imported: imported(images),
    };
    Attempt {
        outcome,
        ..good(number, &[])
    }
}

fn images<'a>(images: impl IntoIterator<Item = &'a ImportedImage>) -> Vec<&'a str> {
    let all = images.into_iter();
    all.map(|image| image.names[0].as_str()).collect()
}

fn after(attempts: impl IntoIterator<Item = Attempt>) -> Record {
    let mut ledger = Ledger::default();
    for attempt in attempts {
        ledger.record("a.tar".into(), attempt);
    }
    let record = ledger.get(Path::new("a.tar"));
    record.expect("an attempt").clone()
}

fn summary(images: usize, entries: usize, failed: usize) -> Summary {
    Summary {
        images,
        entries,
        failed,
    }
}

#[test]
fn attempts_at_one_version_are_counted_and_wait_longer_each_time() {
    let mut ledger = Ledger::default();
    let path = Path::new("a.tar");
    for attempts in 1..10 {
        let attempt = Attempt {
            finished: at(u64::from(attempts)),
            ..bad(1, &[])
        };
        let record = ledger.record(path.into(), attempt);
        assert_eq!(record.attempts, attempts);
        let due = at(u64::from(attempts)) + retry::delay(attempts, path, 1);
        assert_eq!(record.next_try, Some(due));
    }
    let record = ledger.record(path.into(), good(1, &[]));
    assert_eq!((record.attempts, record.next_try), (10, None));
    // What was good has no failures behind it.
    assert_eq!(ledger.record(path.into(), bad(1, &[])).attempts, 1);
}

#[test]
fn another_version_or_other_settings_begin_anew() {
    assert_eq!(after([bad(1, &[]), bad(2, &[])]).attempts, 1);
    let other = Attempt {
        settings: settings("other"),
        ..bad(1, &[])
    };
    assert_eq!(after([bad(1, &[]), other]).attempts, 1);
    let unseen = || Attempt {
        identity: None,
        ..bad(1, &[])
    };
    assert_eq!(after([unseen(), unseen()]).attempts, 2);
    assert_eq!(after([unseen(), bad(1, &[])]).attempts, 1);
}

#[test]
fn a_version_that_fails_holds_what_the_last_whole_one_brought() {
    let record = after([good(1, &["a:1=x", "b:1=x"]), bad(2, &["a:1=y"])]);
    assert_eq!(images(&record.outcome.imported().images), ["a:1"]);
    assert_eq!(images(&record.kept), ["a:1", "b:1"]);
    assert_eq!(images(record.images()), ["a:1", "a:1", "b:1"]);

    let record = after([good(1, &["a:1=x"]), bad(2, &[]), good(3, &["c:1=x"])]);
    assert_eq!(
        images(record.images()),
        ["c:1"],
        "whole again: nothing is held"
    );
}

#[test]
fn the_same_version_holds_it_too_when_it_cannot_be_brought_back() {
    let record = after([good(1, &["a:1=x"]), bad(1, &[])]);
    assert_eq!(images(&record.kept), ["a:1"]);
    let unseen = Attempt {
        identity: None,
        ..bad(1, &[])
    };
    let record = after([good(1, &["a:1=x"]), unseen, bad(1, &[]), bad(1, &[])]);
    assert_eq!(images(record.images()), ["a:1"]);
}

#[test]
fn a_retry_that_brings_less_holds_what_the_attempts_before_brought() {
    let attempts = [
        bad(1, &["a:1=x", "b:1=x"]),
        bad(1, &["b:1=x", "c:1=x"]),
        bad(1, &[]),
    ];
    let record = after(attempts);
    assert_eq!(
        images(&record.outcome.imported().images),
        ["b:1", "c:1", "a:1"]
    );
    assert!(record.kept.is_empty());
}

/// Every night another version comes, and each of them lacks something.
#[test]
fn what_is_held_does_not_grow() {
    let nights = (2..50).flat_map(|night| {
        let partly = bad(night, &[&format!("part:1={night}")]);
        [partly.clone(), bad(night, &[]), partly]
    });
    let whole = good(1, &["a:1=x", "b:1=x"]);
    let record = after(std::iter::once(whole).chain(nights.clone()));
    assert_eq!(images(record.images()), ["part:1", "a:1", "b:1"]);
    let record = after(nights);
    assert_eq!(
        images(record.images()),
        ["part:1", "part:1"],
        "none was ever whole"
    );
}

#[test]
fn a_list_holds_what_its_failed_lines_brought_and_nothing_that_it_lost() {
    let part = |keeps: &[&str]| Attempt {
        keeps: Keeps::Named(keeps.iter().map(|name| (*name).to_owned()).collect()),
        ..bad(2, &["a:1=x"])
    };
    let first = || good(1, &["a:1=x", "b:1=x", "c:1=x"]);
    let record = after([first(), part(&["b:1"])]);
    assert_eq!(
        images(record.images()),
        ["a:1", "b:1"],
        "c:1 is no line of it"
    );
    let again = after([first(), part(&["b:1"]), part(&["b:1"])]);
    assert_eq!(images(again.images()), ["a:1", "b:1"]);
    let record = after([first(), part(&[])]);
    assert_eq!(images(record.images()), ["a:1"]);
}

#[test]
fn versions_of_a_list_that_fail_one_after_the_other_lose_nothing() {
    let keeps = |keeps: &[&str]| Keeps::Named(keeps.iter().map(|k| (*k).to_owned()).collect());
    let second = Attempt {
        keeps: keeps(&["b:1"]),
        ..bad(2, &["a:1=x"])
    };
    let third = Attempt {
        keeps: keeps(&["a:1", "b:1"]),
        ..bad(3, &[])
    };
    let record = after([good(1, &["a:1=x", "b:1=x"]), second, third]);
    assert_eq!(images(record.images()), ["a:1", "b:1"]);
}

#[test]
fn a_registry_that_asks_to_be_left_alone_is() {
    let asked = Duration::from_secs(120);
    let attempt = || Attempt {
        not_before: asked,
        ..bad(1, &[])
    };
    let first = after([attempt()]).next_try.unwrap();
    assert!(first >= at(0) + asked, "{first:?}");
    let tenth = after((0..10).map(|_| attempt())).next_try.unwrap();
    assert!(
        tenth >= at(0) + Duration::from_secs(480),
        "its own delay is longer"
    );
}

#[test]
fn an_error_of_many_members_stays_short() {
    let failed = |error: String| {
        let imported = Imported::default();
        let outcome = Outcome::Failed { error, imported };
        let record = after([Attempt {
            outcome,
            ..good(1, &[])
        }]);
        record.outcome.error().unwrap().to_owned()
    };
    let long = failed("ä".repeat(1 << 20));
    assert_eq!(long, format!("{}…", "ä".repeat(2000)));
    assert_eq!(failed("ä".repeat(2000)), "ä".repeat(2000));
}

#[test]
fn later_records_have_larger_serials() {
    let mut ledger = Ledger::default();
    let first = ledger.record("b".into(), good(1, &[])).serial;
    let second = ledger.record("a".into(), good(1, &[])).serial;
    let third = ledger.record("b".into(), good(2, &[])).serial;
    assert!(first < second && second < third);
    let json = ledger.snapshot().to_json(Path::new("/"));
    let (mut read, dropped) = Ledger::from_json(&json, Path::new("/"));
    assert_eq!(dropped, None);
    assert!(
        read.record("c".into(), good(1, &[])).serial > third,
        "after a restart too"
    );
}

#[test]
fn an_image_that_two_entries_bring_is_one_image() {
    let mut ledger = Ledger::default();
    let same = |names: &[&str]| {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let digest = Digest::of(b"");
        Imported {
            images: vec![ImportedImage {
                names,
                digest,
                blobs: Vec::new(),
            }],
            ..Imported::default()
        }
    };
    let ended = |outcome| Attempt {
        outcome,
        ..good(1, &[])
    };
    let whole = |names| ended(Outcome::Imported(same(names)));
    ledger.record("a.tar".into(), whole(&["x:1", "y:1"]));
    ledger.record("b.tar".into(), whole(&["x:1"]));
    let error = "broken".to_owned();
    let imported = same(&["z:1"]);
    ledger.record("c.tar".into(), ended(Outcome::Failed { error, imported }));
    assert_eq!(ledger.summary(), summary(2, 3, 1));
    ledger.record("c.tar".into(), whole(&["z:1"]));
    assert_eq!(ledger.summary(), summary(2, 3, 0));
    ledger.remove(Path::new("a.tar"));
    assert_eq!(ledger.summary(), summary(2, 2, 0), "b.tar brings it still");
    ledger.remove(Path::new("b.tar"));
    assert_eq!(ledger.summary(), summary(1, 1, 0));
}

#[test]
fn a_record_counts_only_while_it_stands() {
    let mut ledger = Ledger::default();
    let (a, b) = (Path::new("a.tar"), Path::new("b.tar"));
    ledger.record(a.into(), good(1, &["a:1=x"]));
    ledger.record(b.into(), bad(1, &["b:1=x"]));
    let json = ledger.snapshot().to_json(Path::new("/"));
    ledger.reopen(b);
    ledger.reopen(b);
    assert_eq!(ledger.summary(), summary(1, 1, 0));

    let (mut read, _) = Ledger::from_json(&json, Path::new(""));
    assert_eq!(read.iter().count(), 2);
    assert_eq!(
        read.summary(),
        summary(0, 0, 0),
        "the store was not looked at yet"
    );
    let revision = read.revision();
    for _ in 0..2 {
        read.confirm(a);
    }
    read.confirm(Path::new("unknown.tar"));
    assert_eq!(read.summary(), summary(1, 1, 0));
    assert_eq!(read.revision(), revision, "nothing of it is for the disk");
    read.record(b.into(), good(2, &["b:1=y"]));
    assert_eq!(read.summary(), summary(2, 2, 0));
    assert_ne!(read.revision(), revision);
}

#[test]
fn what_is_removed_is_gone_and_names_are_shared_no_longer() {
    let mut ledger = Ledger::default();
    for path in ["a", "b"] {
        ledger.record(path.into(), good(1, &["a:1=x"]));
    }
    assert!(ledger.shares_names(Path::new("a")));
    let revision = ledger.revision();
    assert!(!ledger.remove(Path::new("c")));
    assert_eq!(ledger.revision(), revision);
    assert!(ledger.remove(Path::new("b")));
    assert_ne!(ledger.revision(), revision);
    assert!(ledger.get(Path::new("b")).is_none());
    assert!(!ledger.shares_names(Path::new("a")));
}
