//! READY, and exit status 0, never come of a component that ended. Each scenario is a process of its
//! own that runs what `stowd run` runs, between a store and a source that fail at one step.

mod process;
mod stage;

use std::fs;
use std::thread;
use std::time::Duration;

use stowd::service::Mode;
use stowd::source_event::{Listed, SourceEvent};
use stowd::state_dir;

use crate::memory_store::{Fate, Step};

use process::{Outcome, outcome};
use stage::{Act, READY, SILENT, Stage, fixture, listed, stop, stop_when_heard};

/// Its name; what happens in it; what must be told of it.
type Scenario = (&'static str, fn(&mut Stage), &'static str);

const MODES: [Mode; 2] = [Mode::Once, Mode::Daemon];

/// What ends the daemon before READY, and the cause that it tells.
const FAILURES: &[Scenario] = &[
    (
        "another stowd has the state directory",
        |stage| std::mem::forget(state_dir::lock(&stage.state_dir()).unwrap()),
        "another stowd, pid ",
    ),
    (
        "there is no containerd",
        |stage| stage.supervise("/nowhere/containerd"),
        "/nowhere/containerd",
    ),
    (
        "containerd cannot be executed",
        |stage| stage.supervise(&fixture("no-interpreter")),
        "cannot be executed",
    ),
    (
        "the store cannot be had",
        |stage| stage.refuse_store(),
        "no such namespace",
    ),
    (
        "the store never serves",
        |stage| stage.at(Step::Serve, [Fate::Fail]),
        "does not serve after 120 s: Store.Step: Serve is refused",
    ),
    (
        "another stowd has the instance",
        |stage| {
            stage.acts([listed([stage.archive()])]);
            stage.at(Step::Claim, [Fate::Fail]);
        },
        "another stowd has instance default",
    ),
    (
        "another stowd takes the instance during the load",
        |stage| {
            let lose = Fate::Hang(stage.lose_instance());
            stage.acts([listed([stage.archive()])]);
            stage.at(Step::BeginLease, [lose]);
        },
        "another stowd has instance default",
    ),
    (
        "the store is gone after the load",
        |stage| {
            stage.acts([listed([stage.archive()])]);
            stage.at(Step::Serve, [Fate::Well, Fate::Fail]);
        },
        "does not serve after 120 s",
    ),
    (
        "containerd exits before it serves",
        |stage| exits_at(stage, Step::Serve),
        "exit status: 3; last lines: out of luck",
    ),
    (
        "containerd exits while the instance is claimed",
        |stage| exits_at(stage, Step::Claim),
        "exit status: 3; last lines: out of luck",
    ),
    (
        "containerd exits while direct writes are tried",
        |stage| exits_at(stage, Step::FindContent),
        "exit status: 3; last lines: out of luck",
    ),
    (
        "containerd exits while leases are looked for",
        |stage| exits_at(stage, Step::FindStaleLeases),
        "exit status: 3; last lines: out of luck",
    ),
    (
        "containerd exits while its images are listed",
        |stage| exits_at(stage, Step::ListImages),
        "exit status: 3; last lines: out of luck",
    ),
    (
        "containerd exits during an import",
        |stage| exits_at(stage, Step::BeginLease),
        "exit status: 3; last lines: out of luck",
    ),
    (
        "containerd exits while leases are cleared",
        |stage| exits_at(stage, Step::ClearLeases),
        "exit status: 3; last lines: out of luck",
    ),
    (
        "containerd exits while the directory is listed",
        |stage| {
            let exit = stage.mortal();
            stage.acts([Act::Do(exit)]);
        },
        "exit status: 3; last lines: out of luck",
    ),
    (
        "the watch cannot be started",
        |stage| stage.refuse_watch(),
        "cannot be followed: eventfd: Too many open files",
    ),
    (
        "the source ends at once",
        |stage| stage.acts([Act::End]),
        "images directory is not followed any more: no thread",
    ),
    (
        "the source ends during the load",
        |stage| {
            let unfinished = Listed {
                whole: false,
                ..stage.archive()
            };
            stage.acts([listed([unfinished]), Act::End]);
        },
        "images directory is not followed any more: no thread",
    ),
    (
        "the source ends after the load",
        |stage| {
            stage.acts([listed([]), Act::Until("loaded"), Act::End]);
            stage.at(Step::Serve, [Fate::Well, Fate::Hang(stage.mark("loaded"))]);
        },
        "images directory is not followed any more: no thread",
    ),
    (
        "the source ends after the load, and the work under way only later",
        |stage| {
            // The task of the work sleeps: it cannot be given up meanwhile.
            let (begun, over) = (stage.mark("begun"), stage.until("over"));
            let import = Fate::Hang(Box::new(|| {
                begun();
                over();
            }));
            let settled = SourceEvent::Settled(stage.archive().entry);
            let ended = Act::Do(stage.mark("ended"));
            stage.acts([
                listed([]),
                Act::Tell(settled),
                Act::Until("begun"),
                ended,
                Act::End,
            ]);
            stage.at(Step::BeginLease, [import]);
            let ended = stage.until("ended");
            let cleared = Fate::After(Box::new(|| {
                ended();
                // Until the intake has taken notice.
                thread::sleep(Duration::from_millis(200));
            }));
            stage.at(Step::ClearLeases, [cleared]);
            // READY would be told by then.
            let over = stage.mark("over");
            thread::spawn(move || {
                thread::sleep(Duration::from_secs(2));
                over();
            });
        },
        "images directory is not followed any more: no thread",
    ),
    (
        "the source panics",
        |stage| stage.acts([Act::Panic]),
        "a bug in the source",
    ),
    (
        "the source panics after the load",
        |stage| {
            stage.acts([listed([]), Act::Until("loaded"), Act::Panic]);
            stage.at(Step::Serve, [Fate::Well, Fate::Hang(stage.mark("loaded"))]);
        },
        "a bug in the source",
    ),
    (
        "a job panics",
        |stage| {
            stage.acts([listed([stage.archive()])]);
            stage.at(Step::BeginLease, [Fate::Panic]);
        },
        "a bug in BeginLease",
    ),
    (
        "a question to the store panics",
        |stage| {
            stage.acts([listed([stage.archive()])]);
            stage.at(Step::ListImages, [Fate::Panic]);
        },
        "a bug in ListImages",
    ),
];

fn exits_at(stage: &mut Stage, step: Step) {
    let exit = stage.mortal();
    stage.at(step, [Fate::Hang(exit)]);
    stage.acts([listed([stage.archive()])]);
}

/// Where a signal may stop the daemon before READY.
const STOPS: &[Scenario] = &[
    (
        "stopped while containerd is started",
        |stage| {
            stage.hold_address();
            stop_when_heard();
        },
        "",
    ),
    (
        "stopped before the store serves",
        |stage| stops_at(stage, Step::Serve),
        "",
    ),
    (
        "stopped while the instance is claimed",
        |stage| stops_at(stage, Step::Claim),
        "",
    ),
    (
        "stopped while direct writes are tried",
        |stage| stops_at(stage, Step::FindContent),
        "",
    ),
    (
        "stopped while leases are looked for",
        |stage| stops_at(stage, Step::FindStaleLeases),
        "",
    ),
    (
        "stopped while the directory is listed",
        |stage| stage.acts([Act::Do(stop())]),
        "",
    ),
    (
        "stopped while images are listed",
        |stage| stops_at(stage, Step::ListImages),
        "",
    ),
    (
        "stopped during an import",
        |stage| stops_at(stage, Step::BeginLease),
        "",
    ),
    (
        "stopped while leases are cleared",
        |stage| stops_at(stage, Step::ClearLeases),
        "",
    ),
    (
        "stopped as READY is near",
        |stage| {
            stage.acts([listed([stage.archive()])]);
            stage.at(Step::Serve, [Fate::Well, Fate::Hang(stop())]);
        },
        "",
    ),
];

fn stops_at(stage: &mut Stage, step: Step) {
    stage.supervise(&fixture("script"));
    stage.at(step, [Fate::Hang(stop())]);
    stage.acts([listed([stage.archive()])]);
}

/// What ends a daemon that is ready, and the cause that it tells.
const ENDS: &[Scenario] = &[
    (
        "the source ends after READY",
        |stage| stage.acts([listed([]), Act::Until(READY), Act::End]),
        "images directory is not followed any more: no thread",
    ),
    (
        "the source panics after READY",
        |stage| stage.acts([listed([]), Act::Until(READY), Act::Panic]),
        "a bug in the source",
    ),
    (
        "another stowd takes the instance after READY",
        |stage| {
            let lose = stage.lose_instance();
            stage.acts([listed([]), Act::Until(READY), Act::Do(lose)]);
        },
        "another stowd has instance default",
    ),
    (
        "a job panics after READY",
        |stage| {
            let settled = SourceEvent::Settled(stage.archive().entry);
            stage.acts([listed([]), Act::Until(READY), Act::Tell(settled)]);
            stage.at(Step::BeginLease, [Fate::Panic]);
        },
        "a bug in BeginLease",
    ),
    (
        "containerd exits after READY",
        |stage| {
            let exit = stage.mortal();
            stage.acts([listed([]), Act::Until(READY), Act::Do(exit)]);
        },
        "exit status: 3; last lines: out of luck",
    ),
];

/// What does not keep a daemon from READY, and what the log says of it. A signal ends it.
const HARMLESS: &[Scenario] = &[
    ("all is well", |stage| ready(stage), "ready: 1 image"),
    (
        "the status cannot be written",
        |stage| {
            fs::create_dir_all(stage.state_dir().join("status.json/x")).unwrap();
            ready(stage);
        },
        "status not written: ",
    ),
    (
        "all is well under a supervised containerd",
        |stage| {
            stage.supervise(&fixture("script"));
            ready(stage);
        },
        "containerd stopped: ",
    ),
    (
        "the ledger can be neither read nor written",
        |stage| {
            fs::create_dir_all(stage.state_dir().join("ledger.json/x")).unwrap();
            ready(stage);
        },
        "not a regular file",
    ),
    (
        "there can be no state directory",
        |stage| {
            fs::write(stage.state_dir(), "").unwrap();
            ready(stage);
        },
        "state directory cannot be written",
    ),
    (
        "leases cannot be looked for",
        |stage| {
            stage.at(Step::FindStaleLeases, [Fate::Fail]);
            ready(stage);
        },
        "FindStaleLeases is refused",
    ),
    (
        "leases cannot be cleared",
        |stage| {
            stage.at(Step::ClearLeases, [Fate::Fail]);
            ready(stage);
        },
        "ClearLeases is refused",
    ),
    (
        "leases of its own cannot be looked for",
        |stage| {
            stage.at(Step::FindOwnLeases, [Fate::Fail]);
            ready(stage);
        },
        "FindOwnLeases is refused",
    ),
];

fn ready(stage: &mut Stage) {
    let archive = stage.archive();
    stage.acts([listed([archive]), Act::Until(READY), Act::Do(stop())]);
}

/// What a load can be over without having seen, and the cause that it tells. A daemon waits for it.
const UNSEEN: &[Scenario] = &[
    (
        "the images directory is missing",
        |stage| stage.acts([listed([]), Act::Until(READY), Act::Do(stop())]),
        "/images is missing",
    ),
    (
        "a mount with an entry is away",
        |stage| {
            let archive = stage.archive();
            let mut away = archive.clone();
            away.whole = false;
            away.entry.path.set_file_name("mount/b.tar");
            stage.acts([
                listed([archive.clone(), away]),
                listed([archive]),
                Act::Until(READY),
                Act::Do(stop()),
            ]);
        },
        "not every entry could be seen: 1 out of sight",
    ),
];

/// An archive in the images directory itself, which the real source follows.
const FOLLOWED: Scenario = (
    "an archive in the images directory",
    |stage| {
        stage.archive();
        stage.follow();
    },
    "",
);

/// The store does not answer after READY, and then one does.
const RETURN: Scenario = (
    "a store that goes away and returns",
    |stage| {
        let archive = stage.archive();
        stage.acts([
            listed([archive]),
            Act::Until(READY),
            Act::Do(stage.says(Some("gone"), 0)),
            Act::Until(SILENT),
            Act::Do(stage.says(None, 1)),
            // Each step of a start is done again.
            Act::Until("content found"),
            Act::Until("stale leases found"),
            Act::Until("stale leases cleared"),
            Act::Do(stop()),
        ]);
        let again = |mark| [Fate::Well, Fate::After(mark)];
        for (step, mark) in [
            (Step::FindContent, "content found"),
            (Step::FindStaleLeases, "stale leases found"),
            (Step::ClearLeases, "stale leases cleared"),
        ] {
            stage.at(step, again(stage.mark(mark)));
        }
    },
    "containerd does not answer; waiting for it: gone",
);

/// After the last job, and before READY, another store is there.
const REPLACED: Scenario = (
    "a store that is replaced between the load and READY",
    |stage| {
        let archive = stage.archive();
        stage.acts([
            listed([archive]),
            Act::Until(READY),
            Act::Do(stage.has_image()),
            Act::Do(stop()),
        ]);
        stage.at(Step::ClearLeases, [Fate::After(stage.replace_store())]);
        // It says so meanwhile, and what a start asks of it takes longer.
        let slow = |millis| [Fate::Well, Fate::Slow(Duration::from_millis(millis))];
        stage.at(Step::Serve, slow(200));
        stage.at(Step::FindContent, slow(1000));
    },
    "bringing back what is missing of",
);

/// Who has heard READY looks at the status.
const STATUS: Scenario = (
    "the status is written before READY",
    |stage| {
        let archive = stage.archive();
        stage.acts([
            listed([archive]),
            Act::Until(READY),
            Act::Do(stage.has_status()),
            Act::Do(stop()),
        ]);
    },
    "",
);

/// What a store that panics in the daemon's own task does.
const BUG: Scenario = (
    "a bug in the daemon itself",
    |stage| stage.at(Step::Serve, [Fate::Panic]),
    "a bug in Serve",
);

/// Puts the scenario of this name on the stage.
fn arrange(name: &str, stage: &mut Stage) {
    let tables = [
        FAILURES,
        STOPS,
        ENDS,
        HARMLESS,
        UNSEEN,
        &[FOLLOWED, RETURN, REPLACED, STATUS, BUG],
    ];
    let mut scenarios = tables.into_iter().flatten();
    let found = scenarios.find(|(other, ..)| *other == name);
    found.expect("a scenario").1(stage);
}

/// That the daemon failed, and told the cause in the last STATUS and in the log.
fn assert_failed(name: &str, cause: &str, outcome: &Outcome) {
    assert_eq!(outcome.status, Some(1), "{name}: {outcome:#?}");
    let status = outcome.last_status().unwrap_or_default();
    assert!(
        status.starts_with("failed: ") && status.contains(cause),
        "{name}: {outcome:#?}"
    );
    let mut log = outcome.log.lines();
    assert!(
        log.any(|line| line.contains(" stopped: ") && line.contains(cause)),
        "{name}: {outcome:#?}"
    );
    outcome.assert_in_order(name);
}

/// That it has left a status with this error, or none.
fn assert_left(name: &str, cause: Option<&str>, outcome: &Outcome) {
    let error = outcome.left.as_ref().map(|left| left.error.as_deref());
    match (error, cause) {
        (Some(Some(error)), Some(cause)) => assert!(error.contains(cause), "{name}: {error}"),
        (None, None) => {}
        _ => panic!("{name}: {error:?}"),
    }
}

#[test]
fn the_status_is_written_before_ready() {
    let (name, ..) = STATUS;
    let outcome = outcome(name, Mode::Daemon, None);
    assert_eq!(outcome.status, Some(0), "{outcome:#?}");
    assert_left(name, None, &outcome);
}

#[test]
fn what_fails_before_ready_is_an_error_and_never_ready() {
    for (name, _, cause) in FAILURES {
        for mode in MODES {
            let outcome = outcome(name, mode, None);
            assert!(!outcome.is_ready(), "{name}: {outcome:#?}");
            assert_failed(name, cause, &outcome);
            // One that was refused the state directory has none, and neither has a load. Without
            // descriptors nothing is written.
            let is_written = !cause.contains("Too many open files");
            let has_status = mode == Mode::Daemon && *cause != "another stowd, pid ";
            if is_written {
                assert_left(name, has_status.then_some(*cause), &outcome);
            }
        }
    }
}

#[test]
fn a_stop_before_ready_is_never_ready_and_ends_a_load_with_an_error() {
    for (name, ..) in STOPS {
        let stopped = outcome(name, Mode::Daemon, None);
        assert!(!stopped.is_ready(), "{name}: {stopped:#?}");
        assert_eq!(stopped.status, Some(0), "{name}: {stopped:#?}");
        assert_eq!(stopped.last_status(), Some("stopping"), "{name}");
        assert!(stopped.log.contains("stopping: SIGTERM"), "{stopped:#?}");
        stopped.assert_in_order(name);
        assert_left(name, None, &stopped);

        let interrupted = outcome(name, Mode::Once, None);
        assert!(!interrupted.is_ready(), "{name}: {interrupted:#?}");
        assert_failed(name, "stopped before every entry", &interrupted);
    }
}

#[test]
fn what_ends_a_ready_daemon_is_an_error() {
    for (name, _, cause) in ENDS {
        let outcome = outcome(name, Mode::Daemon, None);
        assert!(outcome.is_ready(), "{name}: {outcome:#?}");
        assert_failed(name, cause, &outcome);
        assert_left(name, Some(cause), &outcome);
    }
}

#[test]
fn a_load_that_is_over_is_ready_and_a_stop_ends_it_with_0() {
    for (name, _, told) in HARMLESS {
        for mode in MODES {
            let outcome = outcome(name, mode, None);
            assert_eq!(outcome.status, Some(0), "{name}: {outcome:#?}");
            assert!(outcome.is_ready(), "{name}: {outcome:#?}");
            assert_eq!(outcome.last_status(), Some("stopping"), "{name}");
            assert!(outcome.log.contains(told), "{name}: {outcome:#?}");
            outcome.assert_in_order(name);
            assert_left(name, None, &outcome);
        }
    }
}

#[test]
fn a_load_that_has_not_seen_every_entry_is_an_error_and_a_daemon_waits() {
    for (name, _, cause) in UNSEEN {
        assert_failed(name, cause, &outcome(name, Mode::Once, None));
        let daemon = outcome(name, Mode::Daemon, None);
        assert_eq!(daemon.status, Some(0), "{name}: {daemon:#?}");
        assert!(daemon.is_ready(), "{name}: {daemon:#?}");
    }
}

#[test]
fn a_store_that_answers_again_is_asked_what_a_start_asks() {
    let (name, _, told) = RETURN;
    let outcome = outcome(name, Mode::Daemon, None);
    assert_eq!(outcome.status, Some(0), "{outcome:#?}");
    assert!(outcome.log.contains(told), "{outcome:#?}");
    let mut statuses = outcome.heard.iter();
    let mut has = |status: &str| statuses.any(|line| line.starts_with(status));
    assert!(has("STATUS=ready: 1 image from 1 entry"), "{outcome:#?}");
    let away = "STATUS=waiting for containerd: gone; 1 image from 1 entry";
    assert!(has(away), "{outcome:#?}");
}

#[test]
fn ready_is_not_told_before_a_store_that_took_the_place_of_the_loaded_one_is_loaded() {
    let (name, _, told) = REPLACED;
    let outcome = outcome(name, Mode::Daemon, None);
    assert_eq!(outcome.status, Some(0), "{outcome:#?}");
    assert!(
        outcome.is_ready() && outcome.log.contains(told),
        "{outcome:#?}"
    );
    outcome.assert_in_order(name);
}

/// There is no orderly end then, and the service manager sees the exit status.
#[test]
fn a_bug_in_the_daemon_itself_is_never_ready() {
    let (name, _, cause) = BUG;
    for mode in MODES {
        let outcome = outcome(name, mode, None);
        assert!(!outcome.is_ready(), "{outcome:#?}");
        assert_eq!(outcome.status, Some(101), "{outcome:#?}");
        assert!(outcome.log.contains(cause), "{outcome:#?}");
    }
}

#[test]
fn out_of_file_descriptors_it_is_not_ready_with_nothing_imported() {
    let (name, ..) = FOLLOWED;
    let (mut loaded, mut refused) = (0, 0);
    for descriptors in 3..36 {
        let outcome = outcome(name, Mode::Once, Some(descriptors));
        let told = format!("{descriptors} descriptors: {outcome:#?}");
        let count = |what| outcome.log.lines().filter(|l| l.contains(what)).count();
        let (imported, failed) = (count(" imported /"), count(" failed /"));
        assert!(imported + failed == 1 || !outcome.is_ready(), "{told}");
        assert_eq!(outcome.status == Some(0), imported == 1, "{told}");
        if imported == 0 {
            assert!(outcome.log.contains("Too many open files"), "{told}");
        }
        if let Some(status) = outcome.last_status()
            && imported + failed == 0
        {
            assert!(status.contains("Too many open files"), "{told}");
        }
        outcome.assert_in_order(name);
        loaded += imported;
        refused += usize::from(imported + failed == 0);
    }
    assert!(
        loaded > 0 && refused > 0,
        "{loaded} loaded, {refused} refused"
    );
}
