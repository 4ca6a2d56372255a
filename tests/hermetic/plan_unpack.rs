//! When images are unpacked, and what READY waits for.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use stowd::digest::Digest;
use stowd::image_store::StoreState;
use stowd::ledger::{FailureClass, ImportedImage, Ledger};
use stowd::needed_blob::{BlobFault, NeededBlob};
use stowd::plan::{EntryResult, Event, JobEnd, Rules, UnpackEnd};
use stowd::source_event::{Listing, SourceEvent};
use stowd::unpack::{UnpackTally, UnpackWhen};

use crate::plan::{NOTHING, Stage, brought, failed, image, listed, rules, seconds, store, through};

fn by(unpack: UnpackWhen) -> Rules {
    Rules { unpack, ..rules() }
}

fn stage(unpack: UnpackWhen) -> Stage {
    Stage::by(by(unpack), Ledger::default())
}

/// Of two entries the images are in the store; they are to be unpacked.
fn imported(unpack: UnpackWhen) -> Stage {
    let mut stage = stage(unpack);
    stage.on(listed(&["a.tar", "b.tar"]));
    stage.on(store(&[]));
    stage.ends("a.tar", brought(&["x"]));
    stage.ends("b.tar", brought(&["y"]));
    stage
}

fn ended(name: &str, end: UnpackEnd) -> Event {
    Event::UnpackEnded(Digest::of(name.as_bytes()), end)
}

fn unpacked(name: &str) -> Event {
    ended(name, UnpackEnd::Unpacked { made: 2 })
}

fn broken(name: &str, class: FailureClass) -> Event {
    ended(name, UnpackEnd::Failed(class, format!("{class:?}")))
}

fn tally(unpacked: usize, failed: usize) -> Option<UnpackTally> {
    Some(UnpackTally { unpacked, failed })
}

#[test]
fn ready_waits_for_images_that_are_unpacked_as_they_come() {
    let mut stage = stage(UnpackWhen::BeforeReady);
    stage.on(listed(&["a.tar", "b.tar"]));
    stage.on(store(&[]));
    let begun = stage.ends("a.tar", brought(&["x"]));
    assert_eq!(begun, ["unpack r.example/x:1"], "beside the next import");
    // One at a time for an image.
    let begun = stage.ends("b.tar", brought(&["x", "y"]));
    assert_eq!(begun, ["unpack r.example/y:1", "list images"]);
    stage.on(store(&["x", "y"]));
    assert!(!stage.plan.is_loaded());
    stage.on(unpacked("y"));
    // It has been brought again meanwhile.
    assert_eq!(stage.on(unpacked("x")), ["unpack r.example/x:1"]);
    assert!(!stage.plan.is_loaded());
    stage.on(ended("x", UnpackEnd::Unpacked { made: 0 }));
    assert!(stage.plan.is_loaded());
    assert_eq!(stage.plan.unpack_tally(), tally(2, 0));
    assert_eq!(stage.told("unpacked r.example/"), 2);
}

#[test]
fn no_more_images_are_unpacked_at_once_than_entries_are_imported() {
    let mut stage = stage(UnpackWhen::BeforeReady);
    stage.on(listed(&["a.tar"]));
    stage.on(store(&[]));
    let begun = stage.ends("a.tar", brought(&["w", "x", "y"]));
    assert_eq!(begun, ["unpack r.example/w:1", "unpack r.example/x:1"]);
    assert_eq!(stage.on(unpacked("w")), ["unpack r.example/y:1"]);
}

#[test]
fn a_failure_is_that_of_the_image_and_holds_nothing() {
    let mut stage = imported(UnpackWhen::BeforeReady);
    stage.on(broken("x", FailureClass::Content));
    assert!(!stage.plan.is_loaded());
    stage.on(ended("y", UnpackEnd::NothingToUnpack));
    assert!(stage.plan.is_loaded());
    assert_eq!(stage.plan.unpack_tally(), tally(0, 1));
    assert_eq!(
        stage.told("not unpacked r.example/x:1: Content (attempt 1)"),
        1
    );
    assert_eq!(stage.plan.ledger().summary().failed, 0, "the image stands");

    // A broken layer is written twice, and then not before something changes.
    assert_eq!(stage.pass(seconds(3)), ["list images"]);
    stage.on(store(&["x", "y"]));
    assert_eq!(stage.pass(seconds(3)), ["unpack r.example/x:1"]);
    stage.on(broken("x", FailureClass::Content));
    assert_eq!(stage.pass(Duration::from_secs(3600)), NOTHING);
    assert_eq!(stage.told("not unpacked "), 1, "told once");
    assert_eq!(
        stage.on(Event::Reloaded(by(UnpackWhen::BeforeReady))),
        ["rescan", "unpack r.example/x:1"]
    );
    stage.on(unpacked("x"));
    assert_eq!(stage.plan.unpack_tally(), tally(1, 0));
}

#[test]
fn other_failures_take_no_try_from_an_image_that_turns_out_broken() {
    let mut stage = imported(UnpackWhen::BeforeReady);
    stage.on(unpacked("y"));
    // The first of them lets it wait for space, of which there is none twice.
    let mut spaces = [Some(9), Some(9), None].into_iter();
    let classes = [
        FailureClass::NoSpace { needs: 10 },
        FailureClass::Environment,
        FailureClass::Content,
        FailureClass::Content,
    ];
    stage.on(broken("x", classes[0]));
    for class in &classes[1..] {
        let mut words = Vec::new();
        while !words.contains(&"unpack r.example/x:1".to_owned()) {
            words = stage.pass_to_due().expect("it is tried again");
            for word in words.clone() {
                match word.as_str() {
                    "list images" => words.extend(stage.on(store(&["x", "y"]))),
                    "ask for space" => {
                        let free = spaces.next().unwrap();
                        words.extend(stage.on(Event::FreeSpace(free)));
                    }
                    _ => {}
                }
            }
        }
        stage.on(broken("x", *class));
    }
    assert_eq!(stage.pass(Duration::from_secs(3600)), NOTHING);
}

/// An archive with the image `x`, and with another one that is broken.
fn half() -> JobEnd {
    match brought(&["x"]) {
        JobEnd::Through(brought) => JobEnd::Through(EntryResult {
            problems: vec!["y is broken".to_owned()],
            ..brought
        }),
        other => other,
    }
}

#[test]
fn what_a_broken_entry_brings_back_is_unpacked_again() {
    for is_broken in [false, true] {
        let end = || match is_broken {
            true => broken("x", FailureClass::Content),
            false => unpacked("x"),
        };
        let mut stage = stage(UnpackWhen::BeforeReady);
        let mut words = stage.on(listed(&["a.tar"]));
        stage.on(store(&[]));
        words.clear();
        words.extend(stage.ends("a.tar", half()));
        while let Some(word) = words.pop() {
            words.extend(match word.as_str() {
                "import a.tar" | "verify a.tar" => stage.ends("a.tar", half()),
                "list images" => stage.on(store(&["x"])),
                "unpack r.example/x:1" => stage.on(end()),
                _ => Vec::new(),
            });
            while words.is_empty()
                && let Some(more) = stage.pass_to_due()
            {
                words = more;
            }
        }
        // Nothing but a change helps it now. The store loses x, and with it the snapshots.
        stage.pass(seconds(61));
        stage.on(listed(&["a.tar"]));
        assert_eq!(stage.on(store(&[])), ["import a.tar"], "{is_broken}");
        let begun = stage.ends("a.tar", half());
        assert!(
            begun.contains(&"unpack r.example/x:1".to_owned()),
            "{is_broken}: {begun:?}"
        );
    }
}

#[test]
fn what_is_wrong_around_it_is_tried_for_ever_and_told_once() {
    let mut stage = imported(UnpackWhen::BeforeReady);
    stage.on(broken("x", FailureClass::Environment));
    stage.on(broken("y", FailureClass::Environment));
    assert!(stage.plan.is_loaded());
    assert_eq!(stage.told("not unpacked "), 1);
    for _ in 0..20 {
        let begun = stage.pass_to_due().unwrap();
        for name in ["x", "y"] {
            if begun.contains(&format!("unpack r.example/{name}:1")) {
                stage.on(broken(name, FailureClass::Environment));
            }
        }
    }
    assert_eq!(stage.told("not unpacked "), 1);
}

#[test]
fn after_ready_nothing_is_unpacked_before_and_never_not_at_all() {
    let mut stage = stage(UnpackWhen::AfterReady);
    stage.on(listed(&["a.tar"]));
    stage.on(store(&[]));
    let begun = stage.ends("a.tar", brought(&["x"]));
    assert!(stage.plan.is_loaded());
    assert_eq!(begun, ["unpack r.example/x:1"]);

    let mut stage = imported(UnpackWhen::Never);
    assert!(stage.plan.is_loaded());
    assert_eq!(stage.on(Event::Tick), NOTHING);
    assert_eq!(stage.plan.unpack_tally(), None);
    // A reload has them unpacked, of which the store has no snapshots.
    let asked = stage.on(Event::Reloaded(by(UnpackWhen::AfterReady)));
    assert_eq!(asked, ["rescan", "list snapshots"]);
    let begun = stage.on(Event::UnpackedListed(Ok(BTreeSet::new())));
    assert_eq!(begun.len(), 2, "{begun:?}");
    assert_eq!(stage.on(Event::Reloaded(by(UnpackWhen::Never))), ["rescan"]);
    stage.on(unpacked("x"));
    assert_eq!(stage.plan.unpack_tally(), None);
}

/// A run before has imported images with these configurations.
fn remembered(names: &[&str]) -> Ledger {
    let mut before = Stage::new();
    before.on(listed(&["a.tar"]));
    before.on(store(&[]));
    before.ends(
        "a.tar",
        through(names.iter().map(|name| with_config(name)).collect()),
    );
    let json = before.plan.ledger().snapshot().to_json(Path::new("/i"));
    let (ledger, dropped) = Ledger::from_json(&json, Path::new("/i"));
    assert_eq!(dropped, None);
    ledger
}

fn config(name: &str) -> Digest {
    Digest::of(format!("config of {name}").as_bytes())
}

fn with_config(name: &str) -> ImportedImage {
    let blob = NeededBlob {
        digest: config(name),
        size: 1,
    };
    ImportedImage {
        blobs: vec![blob],
        ..image(name)
    }
}

fn snapshots(names: &[&str]) -> Event {
    let configs = names.iter().map(|name| config(name));
    Event::UnpackedListed(Ok(configs.collect()))
}

/// The answer to a question for images and blobs.
fn checked(names: &[&str]) -> Event {
    let Event::Images(Ok(images)) = store(names) else {
        unreachable!()
    };
    Event::Checked(Ok((images, Default::default())))
}

#[test]
fn a_start_lists_snapshots_once_and_makes_what_is_missing() {
    let mut stage = Stage::by(by(UnpackWhen::BeforeReady), remembered(&["x", "y", "z"]));
    stage.on(listed(&["a.tar"]));
    assert_eq!(stage.on(checked(&["x", "y", "z"])), ["list snapshots"]);
    assert!(
        !stage.plan.is_loaded(),
        "what is skipped may lack snapshots"
    );
    assert_eq!(stage.on(snapshots(&["x", "z"])), ["unpack r.example/y:1"]);
    assert!(!stage.plan.is_loaded());
    stage.on(unpacked("y"));
    assert!(stage.plan.is_loaded());
    assert_eq!(stage.plan.unpack_tally(), tally(3, 0));

    // A snapshot that is removed tells nothing: the next audit finds it.
    stage.pass(seconds(61));
    stage.on(listed(&["a.tar"]));
    assert_eq!(stage.on(checked(&["x", "y", "z"])), ["list snapshots"]);
    let begun = stage.on(snapshots(&["y", "z"]));
    assert_eq!(begun, ["unpack r.example/x:1"]);
    assert_eq!(
        stage.told("unpacking again, snapshots are missing: r.example/x:1"),
        1
    );
    assert_eq!(stage.plan.unpack_tally(), tally(2, 0));
}

#[test]
fn an_answer_says_nothing_of_what_has_come_since_the_question() {
    let mut stage = Stage::by(by(UnpackWhen::BeforeReady), remembered(&["x"]));
    stage.on(listed(&["a.tar"]));
    assert_eq!(stage.on(checked(&["x"])), ["list snapshots"]);
    stage.on(listed(&["a.tar", "b.tar"]));
    assert_eq!(stage.pass(seconds(1)), ["list images"]);
    assert_eq!(stage.on(store(&["x"])), ["import b.tar"]);
    let begun = stage.ends("b.tar", through(vec![with_config("y")]));
    assert_eq!(begun, ["unpack r.example/y:1"]);
    stage.on(unpacked("y"));
    assert_eq!(stage.on(snapshots(&["x"])), NOTHING);
    assert_eq!(stage.plan.unpack_tally(), tally(2, 0));
}

#[test]
fn snapshots_that_cannot_be_listed_are_looked_for_one_by_one() {
    let mut stage = Stage::by(by(UnpackWhen::BeforeReady), remembered(&["x"]));
    stage.on(listed(&["a.tar"]));
    stage.on(checked(&["x"]));
    let begun = stage.on(Event::UnpackedListed(Err("no such snapshotter".to_owned())));
    assert_eq!(begun, ["unpack r.example/x:1"]);
    stage.on(broken("x", FailureClass::Environment));
    assert!(stage.plan.is_loaded());
}

#[test]
fn another_store_is_asked_for_its_snapshots() {
    let mut stage = Stage::by(by(UnpackWhen::BeforeReady), remembered(&["x"]));
    stage.on(listed(&["a.tar"]));
    stage.on(checked(&["x"]));
    stage.on(snapshots(&["x"]));
    assert!(stage.plan.is_loaded());
    let returned = StoreState {
        returns: 1,
        ..StoreState::default()
    };
    let asked = stage.on(Event::Store(returned));
    assert!(asked.contains(&"list snapshots".to_owned()), "{asked:?}");
    stage.on(checked(&["x"]));
    assert!(
        !stage.plan.is_loaded(),
        "what is unpacked is so in the store before"
    );
    let begun = stage.on(snapshots(&[]));
    assert!(begun.contains(&"unpack r.example/x:1".to_owned()));
    assert!(!stage.plan.is_loaded());
    stage.on(unpacked("x"));
    stage.on(snapshots(&["x"]));
    assert!(stage.plan.is_loaded());
}

#[test]
fn what_lacked_space_is_tried_when_there_is_some() {
    let mut stage = imported(UnpackWhen::BeforeReady);
    stage.on(unpacked("y"));
    stage.on(broken("x", FailureClass::NoSpace { needs: 10 }));
    assert!(stage.plan.is_loaded());
    let asks_for_space = |stage: &mut Stage| {
        let mut asked = Vec::new();
        while !asked.contains(&"ask for space".to_owned()) {
            asked = stage.pass_to_due().unwrap();
            assert!(!asked.contains(&"unpack r.example/x:1".to_owned()));
        }
    };
    let began = stage.now.uptime;
    for _ in 0..3 {
        asks_for_space(&mut stage);
        assert_eq!(stage.on(Event::FreeSpace(Some(9))), NOTHING);
    }
    let waited = stage.now.uptime - began;
    assert!(waited < seconds(60), "{waited:?}");
    asks_for_space(&mut stage);
    let begun = stage.on(Event::FreeSpace(Some(10)));
    assert_eq!(begun, ["unpack r.example/x:1"]);
    // Where it cannot be told there may be room.
    stage.on(broken("x", FailureClass::NoSpace { needs: 10 }));
    asks_for_space(&mut stage);
    assert_eq!(stage.on(Event::FreeSpace(None)), ["unpack r.example/x:1"]);
    stage.on(unpacked("x"));
    assert_eq!(stage.plan.unpack_tally(), tally(2, 0));
    assert_eq!(stage.told("not unpacked "), 1);
}

#[test]
fn a_layer_that_a_list_had_thrown_away_is_pulled_when_it_is_needed() {
    let mut before = Stage::new();
    before.on(listed(&["a.txt"]));
    before.on(store(&[]));
    before.ends("a.txt", through(vec![with_config("x")]));
    let json = before.plan.ledger().snapshot().to_json(Path::new("/i"));
    let (ledger, _) = Ledger::from_json(&json, Path::new("/i"));
    let mut stage = Stage::by(by(UnpackWhen::BeforeReady), ledger);
    stage.on(listed(&["a.txt"]));
    stage.on(checked(&["x"]));
    assert_eq!(stage.on(snapshots(&[])), ["unpack r.example/x:1"]);
    let layer = NeededBlob {
        digest: Digest::of(b"layer"),
        size: 7,
    };
    let end = UnpackEnd::Lacks(layer.clone(), "no such layer".to_owned());
    assert_eq!(stage.on(ended("x", end)), ["check 2 blobs"]);
    assert!(!stage.plan.is_loaded(), "it is pulled first");
    let Event::Images(Ok(images)) = store(&["x"]) else {
        unreachable!()
    };
    let faults = [(layer.digest, BlobFault::NoRecord)].into();
    let begun = stage.on(Event::Checked(Ok((images, faults))));
    assert_eq!(begun, ["look at a.txt", "list snapshots"]);
    // The pull has unpacked it, and thrown the layer away again.
    let begun = stage.ends("a.txt", through(vec![with_config("x")]));
    assert_eq!(begun[0], "unpack r.example/x:1", "{begun:?}");
    stage.on(ended("x", UnpackEnd::Unpacked { made: 0 }));
    stage.on(checked(&["x"]));
    assert!(stage.plan.is_loaded());
    assert_eq!(stage.plan.unpack_tally(), tally(1, 0));
}

#[test]
fn what_an_entry_out_of_sight_has_brought_is_unpacked_and_not_counted() {
    let ledger = remembered(&["x"]);
    let mut stage = Stage::by(by(UnpackWhen::BeforeReady), ledger);
    stage.on(Event::Source(SourceEvent::Listed(Listing::default())));
    let asked = stage.on(checked(&["x"]));
    assert!(stage.plan.is_loaded(), "nothing waits for it");
    assert!(asked.contains(&"list snapshots".to_owned()), "{asked:?}");
    assert_eq!(stage.on(snapshots(&[])), ["unpack r.example/x:1"]);
    stage.on(unpacked("x"));
    assert_eq!(stage.plan.unpack_tally(), tally(0, 0));
    stage.on(listed(&["a.tar"]));
    stage.pass(seconds(1));
    stage.on(checked(&["x"]));
    assert_eq!(stage.plan.unpack_tally(), tally(1, 0));
}

#[test]
fn images_are_counted_by_their_names_as_those_of_entries_are() {
    let mut stage = stage(UnpackWhen::BeforeReady);
    stage.on(listed(&["a.tar", "b.tar"]));
    stage.on(store(&[]));
    stage.ends("a.tar", brought(&["x"]));
    let other = ImportedImage {
        names: vec!["r.example/other:1".to_owned()],
        ..image("x")
    };
    stage.ends("b.tar", through(vec![other]));
    stage.on(unpacked("x"));
    stage.on(unpacked("x"));
    let images = stage.plan.ledger().summary().images;
    assert_eq!((images, stage.plan.unpack_tally()), (2, tally(2, 0)));
}

#[test]
fn a_store_that_is_away_says_nothing_about_the_image() {
    let mut stage = imported(UnpackWhen::BeforeReady);
    let away = || UnpackEnd::StoreAway("gone".to_owned());
    assert_eq!(stage.on(ended("x", away())), NOTHING);
    assert_eq!(stage.on(ended("y", away())), NOTHING);
    assert!(!stage.plan.is_loaded());
    assert_eq!(stage.told("containerd does not answer"), 1);
    let begun = stage.pass(seconds(2));
    assert_eq!(begun, ["unpack r.example/x:1", "unpack r.example/y:1"]);
}

#[test]
fn what_no_entry_brings_any_more_is_forgotten() {
    let mut stage = imported(UnpackWhen::BeforeReady);
    stage.on(broken("x", FailureClass::Environment));
    stage.on(unpacked("y"));
    stage.pass(seconds(61));
    stage.on(listed(&["b.tar"]));
    stage.on(checked(&["x", "y"]));
    assert_eq!(stage.plan.unpack_tally(), tally(1, 0));
    stage.ends("b.tar", failed(FailureClass::Environment));
    assert_eq!(stage.plan.unpack_tally(), tally(1, 0));
}

#[test]
fn an_image_that_no_entry_brings_is_not_asked_for_again_and_again() {
    let mut stage = imported(UnpackWhen::BeforeReady);
    stage.on(unpacked("x"));
    stage.on(unpacked("y"));
    stage.on(listed(&["b.tar"]));
    // Before the audit that would forget it.
    let returned = StoreState {
        returns: 1,
        ..StoreState::default()
    };
    stage.on(Event::Store(returned));
    for _ in 0..3 {
        let asked = stage.on(snapshots(&["y"]));
        let again = asked.iter().filter(|effect| *effect == "list snapshots");
        assert_eq!(again.count(), 0, "{asked:?}");
    }
}

#[test]
fn an_image_that_no_entry_brings_any_more_keeps_its_slot_until_its_unpacking_ends() {
    for is_brought_again in [false, true] {
        let mut stage = imported(UnpackWhen::BeforeReady);
        stage.pass(seconds(61));
        stage.on(listed(&["b.tar"]));
        stage.on(checked(&["x", "y"]));
        stage.on(snapshots(&[]));
        let end = match is_brought_again {
            true => brought(&["x"]),
            false => brought(&["z"]),
        };
        stage.on(listed(&["b.tar", "c.tar"]));
        stage.pass(seconds(1));
        stage.on(store(&["x", "y"]));
        let begun = stage.ends("c.tar", end);
        let begins = |words: &[String]| words.iter().any(|word| word.starts_with("unpack "));
        assert!(!begins(&begun), "two are under way: {begun:?}");
        let begun = stage.on(unpacked("x"));
        assert!(begins(&begun), "{begun:?}");
        assert_eq!(
            stage.told("unpacked r.example/x:1"),
            usize::from(is_brought_again)
        );
    }
}
