//! What the plan says of itself, state by state.

use std::path::Path;
use std::time::Duration;

use stowd::digest::Digest;
use stowd::ledger::{FailureClass, Ledger};
use stowd::plan::{Event, Rules, UnpackEnd};
use stowd::source_event::{Listing, SourceEvent};
use stowd::status::{EntryState, EntryStatus, OnBoard, UnpackStage, WorkDone};
use stowd::unpack::UnpackWhen;

use crate::plan::{Stage, brought, entry, failed, listed, rules, seconds, store};

/// What it says, of archives that are half read.
fn board(stage: &Stage) -> OnBoard {
    let half = |_: &Path| Some(WorkDone { done: 1, total: 2 });
    stage.plan.on_board("the line".to_owned(), stage.now, half)
}

fn of<'b>(board: &'b OnBoard, name: &str) -> &'b EntryStatus {
    let path = format!("/i/{name}");
    let mut entries = board.entries.iter();
    entries.find(|entry| entry.path == path).unwrap()
}

fn states(board: &OnBoard) -> Vec<(&str, EntryState)> {
    let entries = board.entries.iter();
    let states = entries.map(|entry| (entry.path.strip_prefix("/i/").unwrap(), entry.state));
    states.collect()
}

#[test]
fn each_entry_is_told_as_it_goes() {
    let mut stage = Stage::new();
    assert_eq!(
        board(&stage),
        OnBoard {
            line: "the line".to_owned(),
            ..OnBoard::default()
        }
    );
    stage.on(listed(&["a.tar", "b.tar", "c.tar"]));
    let checking = board(&stage);
    assert!(
        checking
            .entries
            .iter()
            .all(|entry| entry.state == EntryState::Checking)
    );
    stage.on(store(&[]));
    let begun = board(&stage);
    let (working, queued) = (EntryState::Working, EntryState::Queued);
    assert_eq!(
        states(&begun),
        [("a.tar", working), ("b.tar", working), ("c.tar", queued)]
    );
    assert_eq!(
        of(&begun, "a.tar").progress,
        Some(WorkDone { done: 1, total: 2 })
    );
    assert_eq!(of(&begun, "c.tar").progress, None);

    stage.ends("a.tar", brought(&["x"]));
    stage.ends("b.tar", failed(FailureClass::Environment));
    let lacks = || failed(FailureClass::MissingBlob);
    stage.ends("c.tar", lacks());
    // What the first one has brought may have been it.
    assert_eq!(of(&board(&stage), "c.tar").state, working);
    stage.ends("c.tar", lacks());
    let board_now = board(&stage);
    assert_eq!(
        states(&board_now),
        [
            ("a.tar", EntryState::Imported),
            ("b.tar", EntryState::Failed),
            ("c.tar", EntryState::Failed)
        ]
    );
    assert_eq!(of(&board_now, "a.tar").images[0].names[0], "r.example/x:1");
    let failure = of(&board_now, "b.tar");
    assert_eq!(failure.error.as_deref(), Some("broken"));
    assert_eq!(failure.class.as_deref(), Some("environment"));
    assert_eq!(failure.attempts, 1);
    assert!(failure.next_try.is_some_and(|next| next > stage.now.wall));
    let lacking = of(&board_now, "c.tar");
    assert_eq!(
        (lacking.class.as_deref(), lacking.next_try),
        (Some("missing-blob"), None)
    );
}

/// The record of the version before says nothing of the one that is there now.
#[test]
fn of_a_file_that_has_changed_the_old_failure_is_not_told() {
    let mut stage = Stage::new();
    stage.on(listed(&["a.tar"]));
    stage.on(store(&[]));
    stage.ends("a.tar", failed(FailureClass::Content));
    assert!(of(&board(&stage), "a.tar").error.is_some());
    stage.on(Event::Source(SourceEvent::Settled(entry("a.tar", 2))));
    let board = board(&stage);
    let changed = of(&board, "a.tar");
    assert_eq!(
        (changed.state, &changed.error),
        (EntryState::Working, &None)
    );
}

#[test]
fn what_is_out_of_sight_keeps_its_images() {
    let mut stage = Stage::loaded(&["a.tar"]);
    assert!(board(&stage).loaded);
    stage.on(Event::Source(SourceEvent::Listed(Listing::default())));
    let board = board(&stage);
    let unseen = of(&board, "a.tar");
    assert_eq!(
        (unseen.state, unseen.images.len()),
        (EntryState::OutOfSight, 1)
    );
    assert!(board.images_dir_missing);
}

#[test]
fn each_image_is_told_as_it_is_unpacked() {
    let rules = Rules {
        unpack: UnpackWhen::BeforeReady,
        ..rules()
    };
    let mut stage = Stage::by(rules, Ledger::default());
    stage.on(listed(&["a.tar"]));
    stage.on(store(&[]));
    stage.ends("a.tar", brought(&["w", "x", "y"]));
    let stages = |stage: &Stage| {
        let board = board(stage);
        let images = of(&board, "a.tar").images.iter();
        let unpacks = images.map(|image| image.unpack.clone().unwrap());
        unpacks.collect::<Vec<_>>()
    };
    let found = stages(&stage);
    let found = found.iter().map(|unpack| unpack.stage).collect::<Vec<_>>();
    let unpacking = UnpackStage::Unpacking;
    assert_eq!(found, [unpacking, unpacking, UnpackStage::Waiting]);

    let target = |name: &str| Digest::of(name.as_bytes());
    let end = UnpackEnd::Failed(FailureClass::Environment, "no mount".to_owned());
    stage.on(Event::UnpackEnded(target("w"), end));
    stage.on(Event::UnpackEnded(
        target("x"),
        UnpackEnd::Unpacked { made: 1 },
    ));
    stage.on(Event::UnpackEnded(target("y"), UnpackEnd::NothingToUnpack));
    let found = stages(&stage);
    assert_eq!(found[0].stage, UnpackStage::Failed);
    assert_eq!(found[0].error.as_deref(), Some("no mount"));
    let later = stage.now.wall + seconds(1);
    assert!(
        found[0].next_try.is_some_and(|next| next > later),
        "{found:?}"
    );
    assert_eq!(found[1].stage, UnpackStage::Unpacked);
    assert_eq!(found[2].stage, UnpackStage::NothingToUnpack);

    // It says the same later, and what has been unpacked has failed of nothing.
    stage.now.uptime += Duration::from_millis(300);
    stage.now.wall += Duration::from_millis(300);
    assert_eq!(stages(&stage), found);
    stage.pass(seconds(3600));
    stage.on(Event::UnpackEnded(
        target("w"),
        UnpackEnd::Unpacked { made: 1 },
    ));
    let found = stages(&stage);
    assert_eq!(
        (found[0].stage, &found[0].error),
        (UnpackStage::Unpacked, &None)
    );
}

#[test]
fn of_what_is_kept_it_is_told_how_much_the_store_keeps_pinned() {
    let mut stage = Stage::new();
    assert_eq!(board(&stage).pinned_images, None);
    stage.on(listed(&["a.tar"]));
    stage.on(store(&[]));
    stage.ends("a.tar", brought(&["x", "y"]));
    // Pins are looked after when nothing has changed for a while.
    stage.pass(seconds(60));
    stage.on(store(&["x", "z"]));
    // No entry brings z.
    assert_eq!(board(&stage).pinned_images, Some(1));
    assert_eq!(of(&board(&stage), "a.tar").images.len(), 2);
}
