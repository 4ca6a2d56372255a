//! Files that are copies of those that were imported before.

use super::*;

/// A run before has imported `a.tar`, and has taken its sample.
fn imported_before(sample: Option<Digest>) -> Ledger {
    let mut before = Stage::new();
    before.on(listed(&["a.tar"]));
    before.on(store(&[]));
    let JobEnd::Through(brought) = brought(&["a"]) else {
        unreachable!()
    };
    before.ends("a.tar", JobEnd::Through(EntryResult { sample, ..brought }));
    let json = before.plan.ledger().snapshot().to_json(Path::new("/i"));
    let (ledger, dropped) = Ledger::from_json(&json, Path::new("/i"));
    assert_eq!(dropped, None);
    ledger
}

fn copied(identity: Identity) -> Event {
    let mut listing = listing(&["a.tar"]);
    listing.entries[0].entry.identity = identity;
    Event::Source(SourceEvent::Listed(listing))
}

#[test]
fn only_a_file_that_may_be_a_copy_is_compared_and_all_others_are_imported() {
    let known = entry("a.tar", 1).identity;
    let copy = Identity {
        inode: known.inode + 1,
        ctime: known.ctime + 1,
        ..known
    };
    let other_disk = Identity {
        device: known.device + 1,
        ctime: known.ctime + 1,
        ..known
    };
    let same_inode = Identity {
        ctime: known.ctime + 1,
        ..known
    };
    let (longer, later) = (copy.size + 1, copy.mtime + 1);
    let sample = Some(Digest::of(b"sample"));
    for (identity, sample, expected, why) in [
        (copy, &sample, "compare a.tar", "another inode"),
        (other_disk, &sample, "compare a.tar", "another device"),
        (same_inode, &sample, "import a.tar", "it was written to"),
        (
            Identity {
                size: longer,
                ..copy
            },
            &sample,
            "import a.tar",
            "another length",
        ),
        (
            Identity {
                mtime: later,
                ..copy
            },
            &sample,
            "import a.tar",
            "another mtime",
        ),
        (copy, &None, "import a.tar", "an older stowd took no sample"),
    ] {
        let mut stage = Stage::with(imported_before(sample.clone()));
        assert_eq!(stage.on(copied(identity)), ["list images"], "{why}");
        assert_eq!(stage.on(store(&["a"])), [expected], "{why}");
        assert!(!stage.plan.is_loaded(), "{why}");
    }
}

#[test]
fn a_copy_is_skipped_when_the_store_has_all_of_it() {
    let known = entry("a.tar", 1).identity;
    let copy = Identity {
        inode: known.inode + 1,
        ctime: known.ctime + 1,
        ..known
    };
    for (there, next) in [(&["a"][..], &[][..]), (&[], &["import a.tar"])] {
        let mut stage = Stage::with(imported_before(Some(Digest::of(b"sample"))));
        stage.on(copied(copy));
        stage.on(store(there));
        let asked = stage.ends("a.tar", JobEnd::Compared(true));
        assert_eq!(asked, ["list images"], "skipped means checked");
        assert!(!stage.plan.is_loaded());
        assert_eq!(stage.on(store(there)), next);
        assert_eq!(stage.plan.is_loaded(), next.is_empty());
        assert_eq!(stage.told("skipped /i/a.tar"), usize::from(next.is_empty()));
        assert_eq!(stage.told("found "), 0, "nothing is to be imported");
    }
    let mut stage = Stage::with(imported_before(Some(Digest::of(b"sample"))));
    stage.on(copied(copy));
    stage.on(store(&["a"]));
    let other = stage.ends("a.tar", JobEnd::Compared(false));
    assert_eq!(other, ["import a.tar"]);
    assert_eq!(stage.told("found /i/a.tar"), 1);
    // What could not be read is tried again as any other file.
    let mut stage = Stage::with(imported_before(Some(Digest::of(b"sample"))));
    stage.on(copied(copy));
    stage.on(store(&["a"]));
    stage.ends("a.tar", failed(FailureClass::Environment));
    assert_eq!(stage.told("failed /i/a.tar"), 1);
}
