//! What the plan makes of what the store says by itself.

use std::time::Duration;

use stowd::image_store::StoreState;
use stowd::ledger::FailureClass;
use stowd::plan::{Event, JobEnd};
use stowd::source_event::SourceEvent;

use crate::plan::{
    NOTHING, Stage, absent, brought, entry, failed, listed, path, rules, seconds, store,
};

fn deleted(losses: u64) -> Event {
    Event::Store(StoreState {
        losses,
        ..StoreState::default()
    })
}

fn away(error: &str) -> Event {
    Event::Store(StoreState {
        away: Some(error.to_owned()),
        ..StoreState::default()
    })
}

fn returned(returns: u64) -> Event {
    Event::Store(StoreState {
        returns,
        ..StoreState::default()
    })
}

/// With `a.tar`, an hour after its start, when it has nothing to do any more.
fn at_rest() -> Stage {
    let mut stage = Stage::loaded(&["a.tar"]);
    while let Some(effects) = stage.pass_to_due() {
        if effects == ["list images"] {
            assert_eq!(stage.on(store(&["a"])), NOTHING);
        }
    }
    stage.pass(seconds(3600));
    stage
}

#[test]
fn what_is_deleted_is_brought_back_at_once() {
    let mut stage = at_rest();
    assert_eq!(stage.on(deleted(1)), ["list images"]);
    assert_eq!(stage.on(store(&[])), ["import a.tar"]);
    stage.ends("a.tar", brought(&["a"]));
    assert_eq!(stage.on(deleted(1)), NOTHING, "that is no news");
}

/// Another line of the list names a registry that is away.
#[test]
fn what_is_deleted_of_an_entry_that_waits_for_its_next_try_is_brought_back_at_once() {
    let mut stage = Stage::new();
    stage.on(listed(&["l.txt"]));
    stage.on(store(&[]));
    let JobEnd::Through(mut result) = brought(&["a"]) else {
        unreachable!()
    };
    result.problems.push("no registry".to_owned());
    result.class = FailureClass::Environment;
    stage.ends("l.txt", JobEnd::Through(result));
    assert_eq!(stage.pass(seconds(1)), NOTHING);
    assert_eq!(stage.on(deleted(1)), ["list images"]);
    assert_eq!(stage.on(store(&[])), ["look at l.txt"]);
}

#[test]
fn a_flood_of_deletions_has_the_store_listed_once_a_second() {
    let mut stage = at_rest();
    let mut listed = 0;
    for number in 1..=2900 {
        listed += stage.on(deleted(number)).len();
        listed += stage.pass(Duration::from_millis(1)).len();
        stage.on(store(&["a"]));
    }
    assert_eq!(listed, 3);
    let last = stage.pass_to_due().expect("the last ones");
    assert_eq!(last, ["list images"]);
}

/// A deletion may hit what a job has brought and no record tells of yet.
#[test]
fn what_is_deleted_while_jobs_run_is_compared_when_each_has_ended() {
    let mut stage = at_rest();
    for name in ["b.tar", "c.tar"] {
        stage.source(SourceEvent::Settled(entry(name, 1)));
    }
    assert_eq!(stage.on(deleted(1)), ["list images"]);
    stage.on(store(&["a"]));
    for (name, image, has) in [("b.tar", "b", &["a"][..]), ("c.tar", "c", &["a", "b"])] {
        stage.pass(seconds(1));
        assert_eq!(stage.ends(name, brought(&[image])), ["list images"]);
        assert_eq!(stage.on(store(has)), [format!("import {name}")]);
        stage.pass(seconds(1));
        assert_eq!(
            stage.ends(name, brought(&[image])),
            match name {
                // The other job runs still.
                "b.tar" => &["list images"][..],
                _ => &[],
            }
        );
        stage.on(store(&["a", "b", "c"]));
    }
}

#[test]
fn what_is_deleted_between_the_look_at_a_list_and_its_pull_is_compared_after_the_pull() {
    let mut stage = at_rest();
    stage.source(SourceEvent::Settled(entry("b.txt", 1)));
    assert_eq!(stage.on(deleted(1)), ["list images"]);
    stage.on(store(&["a"]));
    stage.pass(seconds(1));
    let words = stage.ends("b.txt", absent(&["x"]));
    assert_eq!(words, ["pull b.txt", "list images"]);
    stage.on(store(&["a"]));
    stage.pass(seconds(1));
    assert_eq!(stage.ends("b.txt", brought(&["x"])), ["list images"]);
}

/// A client deletes the image a hundred times, as soon as it is there; says how often it was imported.
fn delete_for_ever(stage: &mut Stage, losses: &mut u64) -> usize {
    let mut imports = 0;
    for _ in 0..100 {
        *losses += 1;
        let mut words = stage.on(deleted(*losses));
        words.extend(stage.pass(seconds(1)));
        while let Some(word) = words.pop() {
            if word == "list images" {
                words.extend(stage.on(store(&[])));
            } else {
                assert_eq!(word, "import a.tar");
                imports += 1;
                words.extend(stage.ends("a.tar", brought(&["a"])));
            }
        }
    }
    imports
}

#[test]
fn an_image_that_is_deleted_again_and_again_is_given_up_with_one_warning() {
    let mut stage = at_rest();
    let mut losses = 0;
    let told = |stage: &Stage| stage.told("given up /i/a.tar: ");
    assert_eq!(delete_for_ever(&mut stage, &mut losses), 5);
    assert_eq!(delete_for_ever(&mut stage, &mut losses), 0);
    assert_eq!(told(&stage), 1);
    // Now and then it is tried, and not told.
    stage.pass(seconds(600));
    assert_eq!(delete_for_ever(&mut stage, &mut losses), 1);
    assert_eq!(told(&stage), 1);
    // A reload, another version and another store each begin anew.
    stage.on(Event::Reloaded(rules()));
    assert_eq!(delete_for_ever(&mut stage, &mut losses), 5);
    assert_eq!(told(&stage), 2);
    stage.source(SourceEvent::Settled(entry("a.tar", 2)));
    stage.ends("a.tar", brought(&["a"]));
    assert_eq!(delete_for_ever(&mut stage, &mut losses), 5);
    stage.on(returned(1));
    stage.on(store(&["a"]));
    losses = 0;
    assert_eq!(delete_for_ever(&mut stage, &mut losses), 5);
    assert_eq!(told(&stage), 4);
}

#[test]
fn while_the_store_is_away_nothing_is_begun_asked_or_ready() {
    let mut stage = Stage::new();
    assert_eq!(stage.on(listed(&["a.tar", "b.tar"])), ["list images"]);
    assert_eq!(stage.on(store(&[])), ["import a.tar", "import b.tar"]);
    stage.on(away("no answer"));
    stage.on(away("connection refused"));
    assert_eq!(stage.told("containerd does not answer"), 1);
    stage.ends("a.tar", brought(&["a"]));
    stage.ends("b.tar", JobEnd::StoreAway("away".to_owned()));
    assert_eq!(stage.told("containerd is away"), 0, "it was told");
    stage.source(SourceEvent::Settled(entry("c.tar", 1)));
    stage.source(SourceEvent::Removed(path("a.tar")));
    for _ in 0..100 {
        assert_eq!(stage.pass(seconds(10)), NOTHING);
        assert_eq!(stage.on(listed(&["b.tar", "c.tar"])), NOTHING);
        if let Some(effects) = stage.pass_to_due() {
            assert_eq!(effects, NOTHING);
        }
    }
    assert!(!stage.plan.is_loaded());
    let words = stage.on(returned(1));
    assert_eq!(words, ["import b.tar", "import c.tar", "list images"]);
    assert_eq!(stage.told("containerd answers again"), 1);
}

#[test]
fn an_outage_that_a_job_has_met_is_told_once_and_the_next_one_again() {
    let mut stage = at_rest();
    stage.source(SourceEvent::Settled(entry("b.tar", 1)));
    stage.ends("b.tar", JobEnd::StoreAway("away".to_owned()));
    stage.on(away("no answer"));
    assert_eq!(stage.told("containerd is away"), 1);
    assert_eq!(stage.told("containerd does not answer"), 0);
    stage.on(returned(1));
    let mut again = StoreState {
        away: Some("no answer".to_owned()),
        returns: 1,
        losses: 0,
    };
    stage.on(Event::Store(again.clone()));
    assert_eq!(stage.told("containerd does not answer"), 1);
    // It was away for too short a time to be told.
    again.away = None;
    again.returns = 3;
    stage.on(Event::Store(again));
    assert_eq!(stage.told("containerd answers again"), 2);
}

#[test]
fn a_store_that_returns_is_compared_and_what_it_may_have_failed_is_tried() {
    let mut stage = at_rest();
    stage.source(SourceEvent::Settled(entry("b.tar", 1)));
    stage.ends("b.tar", failed(FailureClass::Content));
    while stage.pass_to_due().unwrap() != ["verify b.tar"] {
        stage.on(store(&["a"]));
    }
    // Only its file can help.
    stage.ends("b.tar", failed(FailureClass::Content));
    for (name, class) in [
        ("c.tar", FailureClass::Environment),
        ("d.tar", FailureClass::MissingBlob),
    ] {
        stage.source(SourceEvent::Settled(entry(name, 1)));
        stage.ends(name, failed(class));
    }
    stage.on(away("no answer"));
    // The pins of another store are looked after, too.
    let words = stage.on(returned(1));
    assert_eq!(words, ["import c.tar", "import d.tar", "list images"]);
    stage.ends("c.tar", brought(&["c"]));
    assert_eq!(stage.on(store(&[]))[0], "import a.tar");
}

#[test]
fn what_was_deleted_while_the_last_job_of_the_load_ran_is_there_before_ready() {
    let mut stage = Stage::new();
    stage.on(listed(&["a.tar"]));
    stage.on(store(&[]));
    stage.on(deleted(1));
    stage.pass(seconds(1));
    stage.on(store(&[]));
    assert_eq!(stage.ends("a.tar", brought(&["a"])), ["list images"]);
    assert!(!stage.plan.is_loaded());
    assert_eq!(stage.on(store(&[])), ["import a.tar"]);
    assert!(!stage.plan.is_loaded());
    let words = stage.ends("a.tar", brought(&["a"]));
    stage.answered(words, &["a"]);
    assert!(stage.plan.is_loaded());
}

#[test]
fn what_a_hang_has_failed_in_the_load_is_tried_before_ready() {
    let mut stage = Stage::new();
    stage.on(listed(&["a.tar"]));
    stage.on(store(&[]));
    stage.on(away("no answer"));
    stage.ends("a.tar", failed(FailureClass::Environment));
    let words = stage.on(returned(1));
    assert_eq!(stage.answered(words, &[]), ["import a.tar"]);
    assert!(!stage.plan.is_loaded());
    let words = stage.ends("a.tar", brought(&["a"]));
    stage.answered(words, &["a"]);
    assert!(stage.plan.is_loaded());
    assert_eq!(stage.plan.ledger().summary().failed, 0);
}
