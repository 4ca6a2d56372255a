//! `stowd status`: what is on board, whether a daemon runs or not.

mod ask;
mod look;
mod terminal;

use std::io;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::config::Config;
use crate::status::{DaemonPhase, Report, SeenDaemon, detail, overview};

use look::{StatusLook, seen};
use terminal::{CLEAR, is_terminal, style};

/// Between two looks at the file while a READY is waited for.
const WAITING: Duration = Duration::from_millis(250);
/// While a READY is waited for, what is missing is told so often at most.
const TOLD: Duration = Duration::from_secs(10);
/// Between two looks while it is watched.
const WATCHING: Duration = Duration::from_secs(1);
/// While nothing of stowd changes, containerd is asked so often.
const ASKED: Duration = Duration::from_secs(10);

/// What is to be shown, and how.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// A file of the images directory, or an image.
    pub name: Option<String>,
    pub json: bool,
}

/// What is shown once.
pub struct Shown {
    pub text: String,
    pub exit_status: u8,
}

/// How it is now.
///
/// # Errors
/// The system refuses threads, or there is nothing of the name.
pub fn show(config: &Config, request: &Request) -> Result<Shown, String> {
    let report = report(config, StatusLook::now(config))?;
    shown(&report, request)
}

/// Returns when a daemon has told READY, or `limit` is over. Until then `tell` gets what it waits for, when
/// that changes.
pub fn wait(config: &Config, limit: Option<Duration>, tell: impl Fn(&str)) {
    let begun = Instant::now();
    let is_over = |limit: Duration| begun.elapsed() >= limit;
    let mut last = None::<(String, Instant)>;
    while let Some(waits) = waits_for(&seen(config))
        && !limit.is_some_and(is_over)
    {
        let is_news = |(told, when): &(String, Instant)| *told != waits && when.elapsed() >= TOLD;
        if last.as_ref().is_none_or(is_news) {
            tell(&waits);
            last = Some((waits, Instant::now()));
        }
        sleep(WAITING);
    }
}

/// What a daemon that has not told READY is at.
fn waits_for(seen: &SeenDaemon) -> Option<String> {
    let document = match seen {
        SeenDaemon::Runs { document, .. } => document,
        SeenDaemon::NotRunning(_) => return Some("stowd does not run".to_owned()),
        SeenDaemon::Unknown(error) => return Some(error.clone()),
    };
    match (document.phase, document.on_board.line.as_str()) {
        (DaemonPhase::Ready, _) => None,
        (DaemonPhase::Starting, _) | (_, "") => Some("stowd starts".to_owned()),
        (_, line) => Some(format!("stowd: {line}")),
    }
}

/// Shows it again each time that it changes, by `print`, until the reader has left.
///
/// # Errors
/// As those of [`show`], and of `print`.
pub fn watch(
    config: &Config,
    request: &Request,
    print: impl Fn(&str) -> io::Result<()>,
) -> Result<(), String> {
    let clear = if is_terminal() { CLEAR } else { "" };
    let mut last = None;
    let mut asked = Instant::now();
    loop {
        let looked = StatusLook::now(config);
        if last.as_ref() != Some(&looked) || asked.elapsed() >= ASKED {
            asked = Instant::now();
            last = Some(looked.clone());
            let shown = shown(&report(config, looked)?, request)?;
            match print(&format!("{clear}{}", shown.text)) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                printed => printed.map_err(|error| error.to_string())?,
            }
        }
        sleep(WATCHING);
    }
}

/// What was looked at, against what containerd says.
fn report(config: &Config, looked: StatusLook) -> Result<Report, String> {
    let StatusLook {
        seen,
        on_board,
        mut notes,
    } = looked;
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime: io::Result<_> = { runtime }.enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let answer = runtime.block_on(ask::ask(config, &on_board, &mut notes));
    // A thread may wait for a disk that hangs.
    runtime.shutdown_background();
    let dir = config.images.dir.to_string_lossy();
    Ok(Report::new(
        seen,
        on_board,
        answer,
        &config.instance,
        &dir,
        notes,
    ))
}

fn shown(report: &Report, request: &Request) -> Result<Shown, String> {
    let part = match &request.name {
        Some(name) => {
            let missing = || format!("neither an image nor a file on board: {name}");
            Some(report.about(name).ok_or_else(missing)?)
        }
        None => None,
    };
    let text = match (&part, request.json) {
        (part, true) => part.as_ref().unwrap_or(report).json(),
        (Some(part), false) => detail(report, part, style()),
        (None, false) => overview(report, style()),
    };
    let condition = part.as_ref().unwrap_or(report).condition();
    Ok(Shown {
        text,
        exit_status: condition.exit_status(),
    })
}
