//! One entry, and what the store says of its images.

use std::path::Path;

use crate::entry::{Kind, Verdict, shown};
use crate::progress::counted;

use super::image_report::ImageReport;
use super::on_board::{EntryState, EntryStatus, UnpackStage, WorkDone};
use super::style::Tone;

/// An entry with its images.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct EntryReport {
    pub(super) entry: EntryStatus,
    /// Its path below the images directory, for people.
    pub(super) name: String,
    pub(super) images: Vec<ImageReport>,
}

impl EntryReport {
    pub(super) fn name_of(path: &str, images_dir: &str) -> String {
        let path = Path::new(path);
        match path.strip_prefix(images_dir) {
            Ok(name) if name.as_os_str().is_empty() => shown(path),
            Ok(name) => shown(name),
            Err(_) => shown(path),
        }
    }

    pub(super) fn has_failed(&self) -> bool {
        let is_of = |image: &ImageReport| image.stage() == Some(UnpackStage::Failed);
        self.failure().is_some() || self.images.iter().any(is_of)
    }

    /// Why it has failed, if it has.
    pub(super) fn failure(&self) -> Option<&str> {
        let is_failed = self.entry.state == EntryState::Failed;
        let error = self.entry.error.as_deref();
        error.or(is_failed.then_some("it has failed"))
    }

    pub(super) fn is_degraded(&self) -> bool {
        self.entry.state == EntryState::OutOfSight
            || self.images.iter().any(ImageReport::is_degraded)
    }

    /// What is the matter with it, where its images do not tell.
    pub(super) fn word(&self) -> Option<(Tone, String)> {
        let doubtful = |text: &str| Some((Tone::Doubtful, text.to_owned()));
        match (self.entry.state, self.entry.progress) {
            (EntryState::Imported, _) if self.images.is_empty() => {
                Some((Tone::Good, "no images".to_owned()))
            }
            (EntryState::Imported, _) => None,
            (EntryState::Baked, _) if self.failure().is_some() => {
                Some((Tone::Bad, "failed".to_owned()))
            }
            (EntryState::Baked, _) => None,
            (EntryState::OutOfSight, _) => doubtful("out of sight"),
            (EntryState::Checking, _) => doubtful("checking"),
            (EntryState::Settling, _) => doubtful("being written"),
            (EntryState::Queued, _) => doubtful("queued"),
            (EntryState::Failed, _) => Some((Tone::Bad, "failed".to_owned())),
            (EntryState::Working, Some(moved)) if moved.total > 0 => {
                doubtful(&format!("{} {}", self.work(), percent(moved)))
            }
            (EntryState::Working, _) => doubtful(self.work()),
        }
    }

    fn work(&self) -> &'static str {
        let name = Path::new(&self.entry.path).file_name().unwrap_or_default();
        match Verdict::on(name) {
            Verdict::Entry(Kind::List) => "pulling",
            _ => "importing",
        }
    }

    /// When it is tried again.
    pub(super) fn retry(&self) -> String {
        let attempts = match self.entry.attempts {
            0 => String::new(),
            attempts => counted(attempts as usize, "attempt", "attempts") + ", ",
        };
        match self.entry.next_try {
            Some(next) => format!(
                "{attempts}next at {}",
                humantime::format_rfc3339_seconds(next)
            ),
            None if self.entry.class.as_deref() == Some("missing-blob") => {
                format!("{attempts}tried again when another entry brings something")
            }
            None if self.entry.state == EntryState::Baked => {
                "not tried again before its file is back".to_owned()
            }
            None if self.entry.attempts == 0 => "looked at again by itself".to_owned(),
            None => format!("{attempts}not tried again before it changes"),
        }
    }
}

/// An entry that is read a second time has been counted twice.
fn percent(moved: WorkDone) -> String {
    let done = moved.done.min(moved.total);
    format!("{} %", u128::from(done) * 100 / u128::from(moved.total))
}
