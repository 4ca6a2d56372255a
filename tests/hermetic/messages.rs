//! The table of stable log messages in the README. What happens is a value: each is reported and
//! held against its row.

mod log_macros;
mod one_of_each;

use std::collections::BTreeSet;
use std::fs;
use std::sync::{Arc, Mutex};

use stowd::happened::Happened;
use stowd::reporter::report;
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use one_of_each::one_of_each;

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
pub(crate) struct Line {
    level: String,
    pub(crate) message: String,
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
pub(crate) struct Kept(pub(crate) Arc<Mutex<Vec<Line>>>);

/// Keeps the messages that are logged above debug.
#[derive(Default)]
pub(crate) struct Messages(Arc<Mutex<Vec<Line>>>);

impl Messages {
    pub(crate) fn layer<S: tracing::Subscriber>(&self) -> impl Layer<S> {
        Kept(Arc::clone(&self.0))
    }

    pub(crate) fn all(&self) -> Vec<String> {
        let lines = self.0.lock().unwrap();
        let told = lines
            .iter()
            .filter(|line| line.level != "debug" && line.level != "trace");
        told.map(|line| line.message.clone()).collect()
    }
}

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

#[test]
fn everything_that_happens_is_a_row_of_the_table_with_its_level_and_fields() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let subscriber = tracing_subscriber::registry().with(Kept(Arc::clone(&lines)));
    let all = one_of_each();
    tracing::subscriber::with_default(subscriber, || all.iter().cloned().for_each(report));
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

/// The longest message or field.
#[derive(Default)]
struct Longest(Arc<Mutex<usize>>);

impl Visit for Longest {
    fn record_debug(&mut self, _: &Field, value: &dyn std::fmt::Debug) {
        let mut longest = self.0.lock().unwrap();
        *longest = (*longest).max(format!("{value:?}").len());
    }
}

impl<S: tracing::Subscriber> Layer<S> for Longest {
    fn on_event(&self, event: &tracing::Event<'_>, _context: Context<'_, S>) {
        event.record(&mut Self(Arc::clone(&self.0)));
    }
}

#[test]
fn however_many_names_there_are_a_line_has_a_few_of_them() {
    let names = (0..4000).map(|n| format!("registry.example/team/app-{n}:1"));
    let names = names.collect::<Vec<_>>();
    let mut all = one_of_each();
    for happened in &mut all {
        match happened {
            Happened::Missing { names: few, .. }
            | Happened::LeftToInstance { names: few, .. }
            | Happened::GivenUp { names: few, .. } => *few = names.clone(),
            Happened::Overruled(image) => image.names = names.clone(),
            Happened::ListsOvertime { lists, .. } => {
                *lists = names.iter().map(Into::into).collect();
            }
            _ => {}
        }
    }
    let longest = Longest::default();
    let length = Arc::clone(&longest.0);
    let subscriber = tracing_subscriber::registry().with(longest);
    tracing::subscriber::with_default(subscriber, || all.into_iter().for_each(report));
    assert!(*length.lock().unwrap() < 2000, "{length:?}");
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
