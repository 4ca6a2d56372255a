//! What follows the classes of failures.

use std::collections::BTreeMap;

use super::*;

const HOUR: Duration = Duration::from_secs(60 * 60);

fn no_space(free: u64) -> JobEnd {
    let error = format!("no space left: 10 B are to be written, {free} B are free");
    JobEnd::Failed(FailureClass::NoSpace { needs: 10 }, error)
}

/// A stage with one archive that lacked space.
fn without_space() -> Stage {
    let mut stage = Stage::new();
    stage.on(listed(&["a.tar"]));
    stage.on(store(&[]));
    stage.ends("a.tar", no_space(5));
    assert!(stage.plan.is_loaded());
    stage
}

/// Passes to when space is asked for.
fn pass_to_question(stage: &mut Stage) {
    loop {
        let words = stage.pass_to_due().expect("it is tried for ever");
        if words == ["ask for space"] {
            return;
        }
        assert_eq!(stage.answered(words, &[]), NOTHING);
    }
}

#[test]
fn what_lacked_space_is_tried_when_there_is_space_for_it() {
    for (free, is_tried) in [(Some(9), false), (Some(10), true), (None, true)] {
        let mut stage = without_space();
        pass_to_question(&mut stage);
        let next_try = |stage: &Stage| {
            let record = stage.plan.ledger().get(&path("a.tar"));
            record.unwrap().next_try.unwrap()
        };
        let words = stage.on(Event::FreeSpace(free));
        match is_tried {
            true => assert_eq!(words, ["import a.tar"], "{free:?}"),
            false => {
                assert_eq!(words, NOTHING, "{free:?}");
                assert!(
                    next_try(&stage) > stage.now.wall,
                    "STATUS tells the next look"
                );
            }
        }
    }
}

#[test]
fn space_is_asked_for_no_oftener_than_other_failures_are_retried() {
    let mut stage = without_space();
    let mut asked = Vec::new();
    while stage.now.uptime < 2 * HOUR {
        pass_to_question(&mut stage);
        asked.push(stage.now.uptime);
        let words = stage.on(Event::FreeSpace(Some(9)));
        assert_eq!(stage.answered(words, &[]), NOTHING);
    }
    let pauses = asked.windows(2).map(|two| two[1] - two[0]);
    let pauses = pauses.collect::<Vec<_>>();
    assert!(pauses[0] >= seconds(8), "{pauses:?}");
    let longest = pauses.iter().max().unwrap();
    assert!(
        (seconds(480)..=seconds(720)).contains(longest),
        "{pauses:?}"
    );
    assert!(asked.len() < 24, "{pauses:?}");
    assert_eq!(stage.told("failed /i/a.tar"), 1, "nothing was tried");
}

/// The space that it lacks may be what the pins of others hold.
#[test]
fn what_waits_for_space_holds_the_pins_of_others_for_some_minutes_only() {
    let mut stage = Stage::loaded(&["b.tar"]);
    stage.source(SourceEvent::Settled(entry("a.tar", 1)));
    stage.ends("a.tar", no_space(5));
    stage.source(SourceEvent::Removed(path("b.tar")));
    let mut words = Vec::new();
    while !words.contains(&"unpin r.example/b:1".to_owned()) {
        assert!(stage.now.uptime < HOUR / 2, "b.tar was removed");
        words = stage.pass_to_due().expect("it is tried for ever");
        if words.contains(&"ask for space".to_owned()) {
            words.extend(stage.on(Event::FreeSpace(Some(5))));
        }
        words = stage.answered(words, &["b"]);
    }
    assert!(
        stage.now.uptime > seconds(300),
        "it may be b.tar under another name"
    );
}

/// Its directory was away, and it is whole again long after it was due.
#[test]
fn a_file_that_lacked_space_and_becomes_whole_is_not_tried_before_there_is_space() {
    for (free, then) in [(9, &NOTHING[..]), (10, &["import a.tar"][..])] {
        let mut stage = without_space();
        let words = stage.source(SourceEvent::Listed(Listing::default()));
        assert_eq!(stage.answered(words, &[]), NOTHING);
        let mut words = stage.source(SourceEvent::Listed(unfinished_listing()));
        words.extend(stage.pass(HOUR));
        assert_eq!(stage.answered(words, &[]), ["look again at a.tar"]);
        let whole = SourceEvent::Settled(entry("a.tar", 1));
        assert_eq!(stage.source(whole), ["ask for space"]);
        assert_eq!(stage.on(Event::FreeSpace(Some(free))), then);
    }
}

#[test]
fn one_question_answers_all_that_are_due() {
    let mut stage = Stage::new();
    stage.on(listed(&["a.tar", "b.tar"]));
    stage.on(store(&[]));
    stage.ends("a.tar", no_space(5));
    stage.ends("b.tar", no_space(5));
    let words = stage.pass(seconds(60));
    let asked = words.iter().filter(|word| *word == "ask for space");
    assert_eq!(asked.count(), 1, "{words:?}");
    let words = stage.on(Event::FreeSpace(Some(10)));
    assert_eq!(stage.answered(words, &[]), ["import a.tar", "import b.tar"]);
}

#[test]
fn a_failure_is_told_when_it_is_new_or_another_one() {
    let mut stage = without_space();
    let fails = |stage: &mut Stage, end: JobEnd| {
        let mut words = stage.pass_to_due().unwrap();
        while words != ["import a.tar"] {
            words = match words.as_slice() {
                [ask] if ask == "ask for space" => stage.on(Event::FreeSpace(None)),
                _ => stage.answered(words, &[]),
            };
            if words == NOTHING {
                words = stage.pass_to_due().unwrap();
            }
        }
        stage.ends("a.tar", end);
        stage.told("failed /i/a.tar")
    };
    assert_eq!(fails(&mut stage, no_space(7)), 1, "less is lacking");
    let medium = || JobEnd::Failed(FailureClass::Environment, "I/O error".to_owned());
    assert_eq!(fails(&mut stage, medium()), 2);
    assert_eq!(fails(&mut stage, medium()), 2);
    assert_eq!(fails(&mut stage, no_space(7)), 3);
    // An operator who asks is answered.
    let words = stage.on(Event::Reloaded(rules()));
    assert_eq!(words, ["rescan", "import a.tar"]);
    stage.ends("a.tar", no_space(7));
    assert_eq!(stage.told("failed /i/a.tar"), 4);
    // So is another version.
    stage.source(SourceEvent::Settled(entry("a.tar", 2)));
    stage.ends("a.tar", no_space(7));
    assert_eq!(stage.told("failed /i/a.tar"), 5);
}

/// The first reading was wrong, and the archive lacks a blob: what of it is whole is imported.
#[test]
fn an_archive_that_is_found_to_lack_a_blob_only_is_imported() {
    for (class, is_imported) in [
        (FailureClass::MissingBlob, true),
        (FailureClass::Content, false),
    ] {
        let mut stage = Stage::new();
        stage.on(listed(&["a.tar"]));
        stage.on(store(&[]));
        stage.ends("a.tar", failed(FailureClass::Content));
        let mut words = stage.pass_to_due().unwrap();
        while words != ["verify a.tar"] {
            assert_eq!(stage.answered(words, &[]), NOTHING);
            words = stage.pass_to_due().unwrap();
        }
        let JobEnd::Through(mut read) = brought(&[]) else {
            unreachable!("it is gone through");
        };
        read.problems.push("a problem".to_owned());
        read.class = class;
        let words = stage.ends("a.tar", JobEnd::Through(read));
        assert_eq!(
            words == ["import a.tar"],
            is_imported,
            "{class:?}: {words:?}"
        );
    }
}

/// An hour with twenty broken archives: each is imported once, read once more, and told once.
#[test]
fn broken_archives_are_read_twice_and_written_once() {
    let names = (0..20).map(|number| format!("{number}.tar"));
    let names = names.collect::<Vec<_>>();
    let mut stage = Stage::new();
    stage.on(listed(
        &names.iter().map(String::as_str).collect::<Vec<_>>(),
    ));
    let mut words = stage.on(store(&[]));
    let mut jobs = BTreeMap::<String, usize>::new();
    while stage.now.uptime < HOUR {
        let mut next = Vec::new();
        for word in &words {
            if let Some((job, name)) = word.split_once(' ')
                && names.iter().any(|known| known == name)
            {
                *jobs.entry(word.clone()).or_default() += 1;
                assert!(["import", "verify"].contains(&job), "{word}");
                next.extend(stage.ends(name, failed(FailureClass::Content)));
            }
        }
        let lists = words.iter().any(|word| word == "list images");
        if lists {
            next.extend(stage.on(store(&[])));
        }
        words = match next.is_empty() {
            true => match stage.pass_to_due() {
                Some(words) => words,
                None => stage.pass(HOUR),
            },
            false => next,
        };
    }
    assert_eq!(jobs.len(), 40);
    assert!(jobs.values().all(|times| *times == 1), "{jobs:?}");
    assert_eq!(stage.told("failed "), 20);
    assert!(stage.plan.next_due(stage.now).is_none());
}

#[test]
fn an_archive_that_is_whole_after_all_is_imported() {
    let mut stage = Stage::new();
    stage.on(listed(&["a.tar"]));
    stage.on(store(&[]));
    stage.ends("a.tar", failed(FailureClass::Content));
    let mut words = Vec::new();
    while words != ["verify a.tar"] {
        words = stage.pass_to_due().unwrap();
        words = stage.answered(words, &[]);
    }
    assert_eq!(stage.ends("a.tar", brought(&[])), ["import a.tar"]);
    stage.ends("a.tar", brought(&["a"]));
    assert_eq!(stage.told("imported /i/a.tar"), 1);
}

#[test]
fn a_restart_reads_a_broken_archive_without_writing_it() {
    let mut stage = Stage::new();
    stage.on(listed(&["a.tar"]));
    stage.on(store(&[]));
    stage.ends("a.tar", failed(FailureClass::Content));
    let mut stage = stage.restarted();
    stage.on(listed(&["a.tar"]));
    assert_eq!(stage.on(store(&[])), ["verify a.tar"]);
    stage.ends("a.tar", failed(FailureClass::Content));
    assert!(stage.plan.is_loaded());
}
