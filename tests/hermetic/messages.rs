//! The stable messages of the log. What happens is a value: each is reported and held against the list.

mod documents;
mod log_macros;
mod one_of_each;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use stowd::happened::{Happened, stable_messages};
use stowd::reporter::report;
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use one_of_each::one_of_each;

/// A line of the log.
#[derive(Debug, Default)]
pub(crate) struct Line {
    level: String,
    pub(crate) message: String,
    fields: BTreeSet<String>,
    message_id: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            "message_id" => self.message_id = format!("{value:?}").trim_matches('"').to_owned(),
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
fn everything_that_happens_is_told_as_the_list_has_it() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let subscriber = tracing_subscriber::registry().with(Kept(Arc::clone(&lines)));
    let all = one_of_each();
    tracing::subscriber::with_default(subscriber, || all.iter().cloned().for_each(report));
    let lines = lines.lock().unwrap();
    assert_eq!(lines.len(), all.len(), "a line each");
    for (line, happened) in lines.iter().zip(&all) {
        let beginning =
            stable_messages().filter(|message| line.message.starts_with(message.begins));
        let message = happened.message();
        assert_eq!(beginning.collect::<Vec<_>>(), [message], "{line:?}");
        let fields = message.fields.iter().map(|field| (*field).to_owned());
        assert_eq!(
            line.level,
            message.level.as_str().to_lowercase(),
            "{line:?}"
        );
        assert_eq!(line.fields, fields.collect(), "{line:?}");
        assert_eq!(line.message_id, message.id, "{line:?}");
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
fn every_message_is_of_something_that_happens_and_has_an_id_of_its_own() {
    let all = one_of_each();
    let told = all.iter().map(|happened| happened.message().id);
    let told = told.collect::<BTreeSet<_>>();
    let ids = stable_messages().map(|message| message.id);
    let ids = ids.collect::<Vec<_>>();
    assert_eq!(ids.iter().copied().collect::<BTreeSet<_>>(), told);
    assert_eq!(ids.len(), told.len(), "one is there twice");
    for id in ids {
        let is_digit = |c: char| matches!(c, '0'..='9' | 'a'..='f');
        assert!(id.len() == 32 && id.chars().all(is_digit), "{id}");
    }
}
