//! The log: to the journal with fields when systemd has connected stderr to it, else to stderr for
//! people.
//!
//! In the journal the fields of an event are journal fields (`entry` is `STOWD_ENTRY`). Its text repeats
//! what its fields say, because stderr gets the text alone.

mod journal;

use std::env;
use std::io::{self, IsTerminal as _};

use rustix::fs::fstat;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{EnvFilter, ParseError};
use tracing_subscriber::fmt::format::debug_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

use crate::happened::DaemonEvent;
use crate::journal_stream;
use crate::one_line::one_line;
use crate::reporter::report;

use journal::JournalLayer;

/// Dependencies that log every step of a connection: only their warnings are shown, unless the filter
/// names them.
const CHATTY: [&str; 5] = ["h2", "hyper", "hyper_util", "tonic", "tower"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// The journal, with fields.
    Journal,
    /// Standard error, for people.
    Stderr,
}

#[derive(Debug, thiserror::Error)]
pub enum InitError {
    #[error("log-level {filter:?}: {cause}")]
    Filter { filter: String, cause: ParseError },
    /// There is a log already.
    #[error("the log is set up already: {0}")]
    Twice(#[from] TryInitError),
}

/// Sets the log up, once in a process. `level` is a filter in the words of `RUST_LOG`; the variable
/// itself wins where it is set and not empty. An invalid `RUST_LOG` is ignored with a warning. A stderr
/// without a reader is no error, at the start or later.
pub fn init(level: &str) -> Result<Destination, InitError> {
    let from_environment = env::var("RUST_LOG").ok().filter(|words| !words.is_empty());
    let chosen = from_environment.as_deref().map(filter);
    let (filter, ignored) = match chosen {
        Some(Ok(filter)) => (filter, None),
        Some(Err(cause)) => (configured(level)?, Some(cause)),
        None => (configured(level)?, None),
    };
    let journal = match destination() {
        Destination::Journal => JournalLayer::connect().ok(),
        Destination::Stderr => None,
    };
    let registry = tracing_subscriber::registry().with(filter);
    let destination = match journal {
        Some(journal) => {
            registry.with(journal).try_init()?;
            Destination::Journal
        }
        None => {
            let people = tracing_subscriber::fmt::layer()
                .with_writer(io::stderr)
                .with_ansi(colours())
                .with_target(false)
                .fmt_fields(debug_fn(|to, field, value| match field.name() {
                    // Text that a message quotes must not begin a line of its own.
                    "message" => write!(to, "{}", one_line(&format!("{value:?}"))),
                    _ => Ok(()),
                }))
                // The library would report on stderr that stderr cannot be written to, and panic.
                .log_internal_errors(false);
            registry.with(people).try_init()?;
            Destination::Stderr
        }
    };
    if let Some(cause) = ignored {
        report(DaemonEvent::FilterIgnored(cause.to_string()));
    }
    Ok(destination)
}

/// Where stderr leads: `JOURNAL_STREAM` names the file that systemd has connected to the journal.
pub fn destination() -> Destination {
    let stream = env::var_os("JOURNAL_STREAM").unwrap_or_default();
    match fstat(io::stderr()) {
        Ok(stat) if journal_stream::names(&stream, stat.st_dev, stat.st_ino) => {
            Destination::Journal
        }
        _ => Destination::Stderr,
    }
}

fn configured(level: &str) -> Result<EnvFilter, InitError> {
    filter(level).map_err(|cause| InitError::Filter {
        filter: level.to_owned(),
        cause,
    })
}

fn filter(words: &str) -> Result<EnvFilter, ParseError> {
    EnvFilter::builder().parse(with_caps(words))
}

/// The filter behind caps for the verbose dependencies. Later directives win, so that a filter that names
/// `h2` gets it. A cap never shows more than the general level does.
fn with_caps(words: &str) -> String {
    let words: Vec<&str> = words.split(',').map(str::trim).collect();
    let general: Option<LevelFilter> = words.iter().rev().find_map(|word| word.parse().ok());
    let Some(general) = general else {
        return words.join(",");
    };
    let cap = general.min(LevelFilter::WARN);
    CHATTY
        .iter()
        .map(|target| format!("{target}={cap}"))
        .chain(words.iter().map(|word| (*word).to_owned()))
        .collect::<Vec<_>>()
        .join(",")
}

/// <https://no-color.org>: set and not empty, it wins over the terminal.
fn colours() -> bool {
    let plain = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || env::var_os("TERM").is_some_and(|value| value == "dumb");
    !plain && io::stderr().is_terminal()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chatty_are_capped_unless_they_are_named() {
        let capped = |words| {
            with_caps(words)
                .split(',')
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            capped("debug,h2=trace"),
            [
                "h2=warn",
                "hyper=warn",
                "hyper_util=warn",
                "tonic=warn",
                "tower=warn",
                "debug",
                "h2=trace"
            ]
        );
        assert_eq!(capped("error")[0], "h2=error");
        assert_eq!(capped("off")[0], "h2=off");
        assert_eq!(capped("stowd=debug"), ["stowd=debug"]);
    }

    #[test]
    fn later_words_win_over_the_caps() {
        let filter = filter("info,h2=trace").unwrap().to_string();
        assert!(filter.contains("h2=trace"), "{filter}");
        assert!(!filter.contains("h2=warn"), "{filter}");
    }
}
