//! The header: three lines for the daemon, the images and the disk.

use std::fmt::Write as _;

use bytesize::ByteSize;

use crate::one_line::shortened;
use crate::progress::counted;

use super::answer::Unasked;
use super::columns::cut_middle;
use super::document::DaemonPhase;
use super::entry_report::EntryReport;
use super::on_board::EntryState;
use super::reader::{Leftover, SeenDaemon};
use super::report::Report;
use super::rfc3339;
use super::style::{Style, Tone};

/// The width of what stands before each line.
const LABELS: usize = 8;

pub(super) fn header(report: &Report, style: Style) -> String {
    let (tone, first, rest) = daemon(report);
    let images = images(report, style);
    let disk = disk(report);
    let mut text = String::new();
    for (label, tone, first, rest) in [
        ("stowd", tone, first, rest),
        ("images", Tone::Plain, String::new(), images),
        ("disk", Tone::Plain, String::new(), disk),
    ] {
        // Control characters in what others say must not reach the terminal.
        let line = shortened(&format!("{first}{rest}"), style.width - LABELS);
        let line = match line.strip_prefix(first.as_str()) {
            Some(rest) => style.paint(tone, &first) + rest,
            None => line,
        };
        let _ = writeln!(text, "{label:>6}: {line}");
    }
    text
}

/// How good it is, the word for it, and what follows.
fn daemon(report: &Report) -> (Tone, String, String) {
    let store = containerd(report);
    let (document, is_elsewhere) = match &report.seen {
        SeenDaemon::Unknown(_) => {
            return (Tone::Bad, "not known".to_owned(), format!("; {store}"));
        }
        SeenDaemon::NotRunning(left) => {
            return (
                Tone::Bad,
                "not running".to_owned(),
                format!("{}; {store}", why(left)),
            );
        }
        SeenDaemon::Runs {
            document,
            is_elsewhere,
        } => (document, is_elsewhere),
    };
    let pid = match is_elsewhere {
        true => format!("pid {} of another PID namespace", document.pid),
        false => format!("pid {}", document.pid),
    };
    let (tone, word, since) = match document.phase {
        DaemonPhase::Ready => {
            let since = document.ready_since.map(rfc3339::text).unwrap_or_default();
            let tone = match report.condition().exit_status() {
                0 => Tone::Good,
                1 => Tone::Doubtful,
                _ => Tone::Bad,
            };
            (tone, "ready", format!(" since {since}"))
        }
        DaemonPhase::Starting => {
            return (
                Tone::Doubtful,
                "starting".to_owned(),
                format!(", {pid}; {store}"),
            );
        }
        DaemonPhase::Loading => {
            let line = match report.on_board.line.as_str() {
                "" => "looking for images",
                line => line,
            };
            return (
                Tone::Doubtful,
                "loading".to_owned(),
                format!(", {pid}; {line}"),
            );
        }
        DaemonPhase::Stopping | DaemonPhase::Failed => (Tone::Bad, "stopping", String::new()),
    };
    (tone, word.to_owned(), format!("{since}, {pid}; {store}"))
}

fn why(left: &Leftover) -> String {
    match left {
        Leftover::Nothing => String::new(),
        Leftover::OfAnotherBoot => ": not started since the machine was".to_owned(),
        Leftover::OfAKilled(pid) => format!(": pid {pid} was killed"),
        Leftover::Ended(_) => ": it ended of an error".to_owned(),
    }
}

fn containerd(report: &Report) -> &'static str {
    match (&report.asked, report.silence()) {
        (_, Some(_)) => "containerd does not answer",
        (Err(Unasked::NotAllowed), _) => "containerd not asked",
        _ => "containerd answers",
    }
}

fn images(report: &Report, style: Style) -> String {
    let board = &report.on_board;
    let entries = &report.entries;
    let count = counted(entries.len(), "entry", "entries");
    let mut text = format!("{} from {count}", report.images());
    let failed = entries.iter().filter(|entry| entry.failure().is_some());
    let unseen = |entry: &&EntryReport| entry.entry.state == EntryState::OutOfSight;
    for (count, what) in [
        (failed.count(), "failed"),
        (board.ignored.len(), "ignored"),
        (entries.iter().filter(unseen).count(), "out of sight"),
    ] {
        if count > 0 {
            let _ = write!(text, ", {count} {what}");
        }
    }
    let missing = match board.images_dir_missing {
        true => " (missing)",
        false => "",
    };
    let left = (style.width - LABELS).saturating_sub(text.len() + "; in ".len() + missing.len());
    let dir = cut_middle(&report.images_dir, left);
    let _ = write!(text, "; in {dir}{missing}");
    text
}

fn disk(report: &Report) -> String {
    let disk = report.disk;
    let mut text = format!("{} of blobs", iec(disk.bytes));
    if disk.shared > 0 {
        let _ = write!(text, " ({} shared)", iec(disk.shared));
    }
    if let Some(free) = disk.free {
        let _ = write!(text, ", {} free", iec(free));
    }
    match (report.missing_sandbox(), &report.sandbox) {
        (Some(_), _) => text.push_str("; no sandbox image"),
        (None, Some(sandbox)) if sandbox.is_there => text.push_str("; sandbox image there"),
        (None, _) => {}
    }
    text
}

pub(super) fn iec(bytes: u64) -> String {
    ByteSize::b(bytes).display().iec().to_string()
}
