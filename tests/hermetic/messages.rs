//! The table of stable log messages in the README. What happens is a value: each is reported and
//! held against its row.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use stowd::entry::Kind;
use stowd::happened::{FoundBecause, Happened};
use stowd::ledger::{Change, Summary};
use stowd::reporter::report;
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

/// A row of the table.
#[derive(Debug)]
struct Row {
    begins: String,
    level: String,
    fields: BTreeSet<String>,
}

fn rows() -> Vec<Row> {
    let readme = fs::read_to_string("README.md").unwrap();
    let (_, table) = readme
        .split_once("| begins with | level | fields | when |\n")
        .expect("the table");
    let table = table.lines().skip(1);
    let rows = table.take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells = row.split('|').map(str::trim).collect::<Vec<_>>();
        let fields = cells[3].split('`').skip(1).step_by(2);
        Row {
            begins: cells[1].trim_matches('`').to_owned(),
            level: cells[2].to_owned(),
            fields: fields.map(str::to_owned).collect(),
        }
    })
    .collect()
}

/// A line of the log.
#[derive(Debug, Default)]
struct Line {
    level: String,
    message: String,
    fields: BTreeSet<String>,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            name => _ = self.fields.insert(name.to_owned()),
        }
    }
}

/// Keeps what is logged.
struct Kept(Arc<Mutex<Vec<Line>>>);

impl<S: tracing::Subscriber> Layer<S> for Kept {
    fn on_event(&self, event: &tracing::Event<'_>, _context: Context<'_, S>) {
        let mut line = Line {
            level: event.metadata().level().as_str().to_lowercase(),
            ..Line::default()
        };
        event.record(&mut line);
        self.0.lock().unwrap().push(line);
    }
}

/// One of each thing that can happen. A new one does not compile until it is here.
fn one_of_each() -> Vec<Happened> {
    let path = || PathBuf::from("/images/a.tar");
    let error = || "no space left".to_owned();
    let next = |happened: &Happened| match happened {
        Happened::Found { .. } => Some(Happened::Skipped(path())),
        Happened::Skipped(_) => Some(Happened::Missing {
            path: path(),
            names: vec!["r.example/a:1".to_owned()],
        }),
        Happened::Missing { .. } => Some(Happened::Imported {
            path: path(),
            kind: Kind::Archive,
            images: Vec::new(),
            bytes: 1,
            duration: Duration::ZERO,
        }),
        Happened::Imported { .. } => Some(Happened::Failed {
            path: path(),
            images: Vec::new(),
            error: error(),
            attempts: 1,
            next_try: Some(SystemTime::UNIX_EPOCH),
        }),
        Happened::Failed { .. } => Some(Happened::Changed(path())),
        Happened::Changed(_) => Some(Happened::NotPulled {
            entry: "/images/a.txt".to_owned(),
            line: 1,
            image: Some("r.example/a:1".to_owned()),
            error: error(),
        }),
        Happened::NotPulled { .. } => Some(Happened::PullingWithoutCredentials {
            entry: "/images/a.txt".to_owned(),
            error: error(),
        }),
        Happened::PullingWithoutCredentials { .. } => Some(Happened::NotNamed {
            image: "r.example/a:1".to_owned(),
            error: error(),
        }),
        Happened::NotNamed { .. } => Some(Happened::GoneUnimported(path())),
        Happened::GoneUnimported(_) => Some(Happened::Gone(path())),
        Happened::Gone(_) => Some(Happened::Ignored(path())),
        Happened::Ignored(_) => Some(Happened::DirectoryMissing(path())),
        Happened::DirectoryMissing(_) => Some(Happened::OutOfSight {
            first: path(),
            entries: 1,
        }),
        Happened::OutOfSight { .. } => Some(Happened::InSightAgain),
        Happened::InSightAgain => Some(Happened::Degraded(error())),
        Happened::Degraded(_) => Some(Happened::Restored),
        Happened::Restored => Some(Happened::Unpinned("r.example/a:1".to_owned())),
        Happened::Unpinned(_) => Some(Happened::PinsNotChecked(error())),
        Happened::PinsNotChecked(_) => Some(Happened::PinsHeld(path())),
        Happened::PinsHeld(_) => Some(Happened::StoreNotListed(error())),
        Happened::StoreNotListed(_) => Some(Happened::StoreAway {
            path: path(),
            error: error(),
        }),
        Happened::StoreAway { .. } => Some(Happened::ListsOvertime {
            lists: vec![path()],
            limit: Duration::from_secs(300),
        }),
        Happened::ListsOvertime { .. } => Some(Happened::ContainerdStarted {
            pid: 1,
            binary: "/usr/bin/containerd".to_owned(),
        }),
        Happened::ContainerdStarted { .. } => Some(Happened::ContainerdAttached(error())),
        Happened::ContainerdAttached(_) => Some(Happened::ContainerdAwaited {
            seconds: 5,
            missing: "no socket".to_owned(),
        }),
        Happened::ContainerdAwaited { .. } => Some(Happened::ContainerdStopped {
            pid: 1,
            status: "exit status: 0".to_owned(),
        }),
        Happened::ContainerdStopped { .. } => Some(Happened::Loaded(Summary::default())),
        Happened::Loaded(_) => Some(Happened::Reloaded(Vec::new())),
        Happened::Reloaded(_) => Some(Happened::NotTakenBeforeRestart(vec!["state-dir"])),
        Happened::NotTakenBeforeRestart(_) => Some(Happened::NotReloaded(error())),
        Happened::NotReloaded(_) => Some(Happened::Stopping("SIGTERM")),
        Happened::Stopping(_) => Some(Happened::StoppingAtOnce("SIGTERM")),
        Happened::StoppingAtOnce(_) => Some(Happened::Stopped(error())),
        Happened::Stopped(_) => None,
    };
    let first = Happened::Found {
        path: path(),
        bytes: 1,
        reason: FoundBecause::Listed(Change::New),
    };
    std::iter::successors(Some(first), next).collect()
}

#[test]
fn everything_that_happens_is_a_row_of_the_table_with_its_level_and_fields() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let subscriber = tracing_subscriber::registry().with(Kept(Arc::clone(&lines)));
    let all = one_of_each();
    tracing::subscriber::with_default(subscriber, || all.iter().for_each(report));
    let lines = lines.lock().unwrap();
    assert_eq!(lines.len(), all.len(), "a line each");
    let rows = rows();
    for line in lines.iter() {
        let mut fitting = rows
            .iter()
            .filter(|row| line.message.starts_with(&row.begins));
        let row = fitting
            .next()
            .unwrap_or_else(|| panic!("no row for {line:?}"));
        assert_eq!(fitting.count(), 0, "two rows for {line:?}");
        assert_eq!(
            (&line.level, &line.fields),
            (&row.level, &row.fields),
            "{row:?}"
        );
    }
}

#[test]
fn every_row_of_the_table_is_something_that_happens() {
    let happened = one_of_each();
    let happened = happened.iter().map(ToString::to_string).collect::<Vec<_>>();
    for row in rows() {
        let is_there = happened.iter().any(|line| line.starts_with(&row.begins));
        assert!(is_there, "{row:?}");
    }
}
