//! What is wrong, or worth knowing, a line each.

use crate::one_line::one_line;
use crate::progress::counted;

use super::answer::Unasked;
use super::columns::wrapped;
use super::document::DaemonPhase;
use super::entry_report::EntryReport;
use super::image_report::ImageReport;
use super::on_board::{EntryState, UnpackStage};
use super::reader::{Leftover, SeenDaemon};
use super::report::Report;
use super::style::{Style, Tone};

/// The columns before the second and the further lines of a problem.
const INDENT: usize = 2;
/// So many names of one kind are told.
const NAMES_MAX: usize = 5;

/// A problem: how bad it is, what kind, and which.
type Problem = (Tone, &'static str, String);

pub(super) fn problems(report: &Report, style: Style) -> String {
    let mut found = of_daemon(report);
    for entry in &report.entries {
        found.extend(of_entry(entry));
        for image in &entry.images {
            found.extend(of_image(&entry.name, image));
        }
    }
    found.extend(of_directory(report));
    let line = |(tone, kind, text): Problem| {
        let first = kind.len() + ": ".len();
        let text = wrapped(&one_line(&text), style.width, first, INDENT);
        format!("{}: {text}\n", style.paint(tone, kind))
    };
    found.into_iter().map(line).collect()
}

fn of_daemon(report: &Report) -> Vec<Problem> {
    let mut found = Vec::new();
    if let SeenDaemon::NotRunning(Leftover::Ended(error)) = &report.seen {
        found.push((Tone::Bad, "ended", error.clone()));
    }
    if let SeenDaemon::Unknown(error) = &report.seen {
        found.push((Tone::Bad, "not known", error.clone()));
    }
    let kind = match &report.seen {
        SeenDaemon::NotRunning(_) => Some("not running"),
        SeenDaemon::Unknown(_) => Some("not known"),
        SeenDaemon::Runs { document, .. } => {
            (document.phase == DaemonPhase::Starting).then_some("starting")
        }
    };
    if let Some(kind) = kind {
        let text = "what is shown is what the ledger of the last run says";
        found.push((Tone::Doubtful, kind, text.to_owned()));
    }
    match (report.silence(), &report.asked) {
        (Some(error), _) => {
            let text = format!("{error}; what is shown was so when it was asked last");
            found.push((Tone::Bad, "containerd", text));
        }
        (None, Err(Unasked::NotAllowed)) => {
            let text = "only root may ask it; what is shown was so when stowd asked it last";
            found.push((Tone::Doubtful, "containerd", text.to_owned()));
        }
        _ => {}
    }
    let board = &report.on_board;
    if report
        .seen
        .document()
        .is_some_and(|said| said.phase == DaemonPhase::Ready)
        && !board.loaded
        && board.containerd_away.is_none()
    {
        let text = "it was away; what it has is checked again";
        found.push((Tone::Doubtful, "containerd", text.to_owned()));
    }
    let document = report.seen.document();
    let unserved = document.and_then(|said| said.metrics_error.clone());
    found.extend(unserved.map(|error| (Tone::Doubtful, "metrics", error)));
    let notes = report.notes.iter();
    found.extend(notes.map(|note| (Tone::Doubtful, "note", note.clone())));
    found
}

fn of_entry(entry: &EntryReport) -> Option<Problem> {
    let error = entry.failure()?;
    let text = format!("{}: {error} ({})", entry.name, entry.retry());
    Some((Tone::Bad, "failed", text))
}

fn of_image(file: &str, image: &ImageReport) -> Vec<Problem> {
    let mut found = Vec::new();
    let name = image.name();
    if let Some(stored) = &image.stored {
        let of = |names: &[String]| format!("{} of {file}", first_of(&tagged(names)));
        if !stored.gone.is_empty() {
            found.push((Tone::Bad, "gone", of(&stored.gone)));
        }
        let damage = stored.damage.iter();
        found.extend(damage.map(|damage| (Tone::Bad, "damaged", damage.to_string())));
        if !stored.moved.is_empty() {
            let text = format!("{}, to another image", of(&stored.moved));
            found.push((Tone::Bad, "name moved", text));
        }
        if !stored.unpinned.is_empty() {
            found.push((Tone::Bad, "not pinned", of(&stored.unpinned)));
        }
        for (name, instance) in &stored.left {
            let text = format!("{name} of {file}: instance {instance} has pinned another image");
            found.push((Tone::Doubtful, "other instance", text));
        }
        if image.has_lost_snapshots() {
            let text = format!("{name}: it is unpacked again at the next rescan");
            found.push((Tone::Bad, "snapshots gone", text));
        }
    }
    if let Some(unpack) = &image.image.unpack
        && unpack.stage == UnpackStage::Failed
    {
        let error = unpack.error.as_deref().unwrap_or("it could not be");
        let next = match unpack.next_try {
            Some(next) => format!("next at {}", humantime::format_rfc3339_seconds(next)),
            None => "not tried again before it is imported again".to_owned(),
        };
        found.push((
            Tone::Bad,
            "not unpacked",
            format!("{name}: {error} ({next})"),
        ));
    }
    found
}

fn of_directory(report: &Report) -> Vec<Problem> {
    let mut found = Vec::new();
    let board = &report.on_board;
    for shadowed in &board.shadowed {
        let name = |path: &str| EntryReport::name_of(path, &report.images_dir);
        let (entry, by) = (name(&shadowed.entry), name(&shadowed.by));
        let names = first_of(&shadowed.names);
        let text = format!("{names} of {entry}, by {by}, which is later in name order");
        found.push((Tone::Doubtful, "shadowed", text));
    }
    let is_unseen = |entry: &&EntryReport| entry.entry.state == EntryState::OutOfSight;
    let unseen = report.entries.iter().filter(is_unseen).collect::<Vec<_>>();
    if let Some(first) = unseen.first() {
        let images = unseen.iter().map(|entry| entry.images.len()).sum();
        let images = counted(images, "image", "images");
        let entries = counted(unseen.len(), "entry", "entries");
        let text = format!(
            "{entries}, the first {}; {images} kept pinned until their directory is back",
            first.name
        );
        found.push((Tone::Bad, "out of sight", text));
    }
    let is_baked = |entry: &&EntryReport| entry.entry.state == EntryState::Baked;
    let baked = report.entries.iter().filter(is_baked).collect::<Vec<_>>();
    if !baked.is_empty() {
        let images = baked.iter().map(|entry| entry.images.len()).sum();
        let images = counted(images, "image", "images");
        let entries = counted(baked.len(), "entry", "entries");
        let text = format!(
            "{images} of {entries} kept for good, without the files: no file is there to repair them from"
        );
        found.push((Tone::Plain, "baked", text));
    }
    let damaged = board
        .damaged
        .iter()
        .map(|line| (Tone::Bad, "damaged", line.clone()));
    found.extend(damaged);
    if let Some(name) = report.missing_sandbox() {
        let text = format!("{name}: without it no pod starts offline");
        found.push((Tone::Bad, "sandbox image missing", text));
    }
    if board.images_dir_missing {
        found.push((Tone::Doubtful, "missing", report.images_dir.clone()));
    }
    if !board.ignored.is_empty() {
        let names = board.ignored.iter();
        let names = names.map(|path| EntryReport::name_of(path, &report.images_dir));
        let text = format!(
            "{}: neither archive nor list",
            first_of(&names.collect::<Vec<_>>())
        );
        found.push((Tone::Plain, "ignored", text));
    }
    found
}

/// The names with a tag, or else all.
fn tagged(names: &[String]) -> Vec<String> {
    let tagged = names.iter().filter(|name| !name.contains('@'));
    match tagged.cloned().collect::<Vec<_>>() {
        none if none.is_empty() => names.to_vec(),
        tagged => tagged,
    }
}

fn first_of(names: &[String]) -> String {
    let first = names.iter().take(NAMES_MAX).map(String::as_str);
    let first = first.collect::<Vec<_>>().join(" ");
    match names.len().saturating_sub(NAMES_MAX) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}
