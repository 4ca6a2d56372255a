//! The baked set on disk: what a run with `--keep` writes, and what takes something out of it.

use std::fs;
use std::path::Path;
use std::time::Instant;

use stowd::ledger::Ledger;
use stowd::ledger_file::{BakedFile, LedgerFile};

use crate::ledger::{bad, good};

/// A run has brought these entries, and has ended.
fn run(state: &Path, entries: &[(&str, &str)]) {
    let mut file = LedgerFile::new(state, Path::new("/images"));
    let mut ledger = file.load().ledger;
    for (path, image) in entries {
        ledger.record(path.into(), good(1, &[image]));
    }
    ledger.record("/images/broken.tar".into(), bad(1, &[]));
    let write = file.begin_at_once(&ledger).unwrap();
    assert!(file.ended(write.run(), Instant::now()).is_none());
}

/// What that run has left.
fn ledger(state: &Path) -> Ledger {
    LedgerFile::new(state, Path::new("/images")).look().ledger
}

fn paths(set: &Ledger) -> Vec<String> {
    let paths = set.iter().map(|(path, _)| path.display().to_string());
    paths.collect()
}

fn names(set: &Ledger, path: &str) -> Vec<String> {
    let record = set.get(Path::new(path)).unwrap();
    let names = record.images().flat_map(|image| image.names.clone());
    names.collect()
}

#[test]
fn what_was_imported_is_baked_and_what_is_baked_later_is_added() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path();
    let file = BakedFile::new(state);
    assert!(file.read().0.iter().next().is_none(), "nothing is baked");
    run(state, &[("/images/a.tar", "a:1=x")]);
    let tally = file.bake(ledger(state)).unwrap();
    assert_eq!((tally.entries, tally.images), (1, 1), "not what is broken");
    run(
        state,
        &[("/images/a.tar", "a:1=y"), ("/images/b.tar", "b:1=z")],
    );
    let tally = file.bake(ledger(state)).unwrap();
    assert_eq!((tally.entries, tally.images), (2, 2));
    // What is followed is another directory by now, and what the ledger knew is lost.
    fs::remove_file(state.join("ledger.json")).unwrap();
    let loaded = LedgerFile::new(state, Path::new("/other")).look();
    assert!(loaded.warnings.is_empty() && loaded.others.is_empty());
    assert_eq!(paths(&loaded.ledger), ["/images/a.tar", "/images/b.tar"]);
    assert!(loaded.ledger.is_baked(Path::new("/images/a.tar")));
    assert_eq!(names(&loaded.ledger, "/images/a.tar")[0], "a:1");
}

#[test]
fn what_is_taken_out_of_the_set_stays_out() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path();
    let file = BakedFile::new(state);
    let (a, b) = (Path::new("/images/a.tar"), Path::new("/images/b.tar"));
    run(
        state,
        &[("/images/a.tar", "a:1=x"), ("/images/b.tar", "a:1=x")],
    );
    file.bake(ledger(state)).unwrap();
    let tag = ["a:1".to_owned()].into();
    file.release(&tag).unwrap();
    assert_eq!(names(&file.read().0, "/images/a.tar").len(), 1);
    let by_digest = names(&file.read().0, "/images/b.tar").into_iter().collect();
    file.release(&by_digest).unwrap();
    let (set, warning) = file.read();
    assert!(warning.is_none());
    for path in [a, b] {
        assert!(set.get(path).unwrap().images().next().is_none());
    }
    file.unbake(a).unwrap();
    assert_eq!(paths(&file.read().0), ["/images/b.tar"]);
}

#[test]
fn a_set_that_cannot_be_read_is_neither_changed_nor_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path();
    let file = BakedFile::new(state);
    run(state, &[("/images/a.tar", "a:1=x")]);
    fs::write(file.path(), "{\"version\":99,\"entries\":[]}").unwrap();
    let loaded = LedgerFile::new(state, Path::new("/images")).look();
    let warning = loaded.warnings[0].to_string();
    assert!(
        warning.contains("ledger-baked.json: of version 99"),
        "{warning}"
    );
    let held = loaded.ledger.lacking_elsewhere();
    assert_eq!(held, Some(file.path()), "nothing is unpinned");
    for error in [
        file.bake(ledger(state)).unwrap_err().to_string(),
        file.unbake(Path::new("/images/a.tar"))
            .unwrap_err()
            .to_string(),
    ] {
        assert!(error.contains("of version 99"), "{error}");
    }
    let left = fs::read_to_string(file.path()).unwrap();
    assert!(left.contains("99"));
}
