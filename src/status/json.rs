//! The report for programs: stowd(8) describes it.

use serde_json::{Value, json};

use super::answer::Unasked;
use super::entry_report::EntryReport;
use super::image_report::ImageReport;
use super::on_board::WorkDone;
use super::reader::{Leftover, SeenDaemon};
use super::report::Report;
use super::rfc3339;

/// The version of the document. It grows when a field changes its meaning or goes.
pub const REPORT_VERSION: u32 = 1;

impl Report {
    /// One document.
    pub fn json(&self) -> String {
        let condition = self.condition();
        let daemon = self.seen.document().map(|said| {
            json!({
                "version": said.stowd,
                "pid": said.pid,
                "phase": said.phase,
                "started": said.started.map(rfc3339::text),
                "readySince": said.ready_since.map(rfc3339::text),
                "written": said.written.map(rfc3339::text),
                "line": said.on_board.line,
            })
        });
        let not_running = match &self.seen {
            SeenDaemon::Runs { .. } | SeenDaemon::Unknown(_) => None,
            SeenDaemon::NotRunning(Leftover::Nothing) => Some("stopped"),
            SeenDaemon::NotRunning(Leftover::OfAnotherBoot) => Some("another-boot"),
            SeenDaemon::NotRunning(Leftover::OfAKilled(_)) => Some("killed"),
            SeenDaemon::NotRunning(Leftover::Ended(_)) => Some("failed"),
        };
        let board = &self.on_board;
        let document = json!({
            "version": REPORT_VERSION,
            "condition": condition.word(),
            "exitStatus": condition.exit_status(),
            "daemon": daemon,
            "notRunning": not_running,
            "imagesDir": self.images_dir,
            "imagesDirMissing": board.images_dir_missing,
            "containerd": {
                "answers": self.asked.is_ok() && self.silence().is_none(),
                "error": match &self.asked {
                    Err(Unasked::NotAllowed) => Some("only root may ask it"),
                    _ => self.silence(),
                },
            },
            "disk": {
                "bytes": self.disk.bytes,
                "sharedBytes": self.disk.shared,
                "freeBytes": self.disk.free,
            },
            "sandboxImage": self.sandbox.as_ref().map(|sandbox| json!({
                "name": sandbox.name,
                "there": sandbox.is_there,
            })),
            "entries": self.entries.iter().map(entry).collect::<Vec<_>>(),
            "ignored": board.ignored,
            "shadowed": board.shadowed,
            "damaged": board.damaged,
            "notes": self.notes,
        });
        format!("{document:#}\n")
    }
}

fn entry(report: &EntryReport) -> Value {
    let entry = &report.entry;
    json!({
        "path": entry.path,
        "state": entry.state,
        "progress": entry.progress.map(|WorkDone { done, total }| json!({ "done": done, "total": total })),
        "bytes": entry.bytes,
        "finished": entry.finished.map(rfc3339::text),
        "seconds": entry.seconds,
        "error": report.failure(),
        "class": entry.class,
        "attempts": entry.attempts,
        "nextTry": entry.next_try.map(rfc3339::text),
        "images": report.images.iter().map(image).collect::<Vec<_>>(),
    })
}

fn image(report: &ImageReport) -> Value {
    let stored = report.stored.as_ref();
    let unpack = report.image.unpack.as_ref();
    let (_, word) = report.word();
    json!({
        "names": report.image.names,
        "digest": report.image.digest,
        "state": word,
        "kept": report.image.kept,
        "bytes": report.bytes,
        "sharedBytes": report.shared,
        "whole": stored.map(|stored| stored.gone.is_empty() && stored.damage.is_empty()),
        "pinned": stored.map(|stored| stored.gone.is_empty() && stored.unpinned.is_empty()),
        "pinnedBy": stored.map(|stored| &stored.pinned_by),
        "unpacked": report.is_unpacked(),
        "unpackError": unpack.and_then(|unpack| unpack.error.as_ref()),
        "gone": stored.map(|stored| &stored.gone),
        "moved": stored.map(|stored| &stored.moved),
        "notPinned": stored.map(|stored| &stored.unpinned),
        "shadowed": report.shadowed,
        "damage": stored.map(|stored| {
            let damage = stored.damage.iter().map(ToString::to_string);
            damage.collect::<Vec<_>>()
        }),
    })
}
