//! The report: what is on board, against what the store says.

use std::collections::HashMap;
use std::path::PathBuf;

use crate::digest::Digest;
use crate::entry::InNameOrder;
use crate::naming::Reference;

use super::answer::{SandboxAnswer, StoreAnswer, Unasked};
use super::condition::Condition;
use super::document::DaemonPhase;
use super::entry_report::EntryReport;
use super::image_report::{ImageReport, Lookup};
use super::on_board::OnBoard;
use super::reader::SeenDaemon;

/// All that `stowd status` shows.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    pub(super) seen: SeenDaemon,
    pub(super) images_dir: String,
    pub(super) on_board: OnBoard,
    /// In name order.
    pub(super) entries: Vec<EntryReport>,
    /// Whether containerd was asked, and has answered.
    pub(super) asked: Result<(), Unasked>,
    pub(super) sandbox: Option<SandboxAnswer>,
    pub(super) disk: Disk,
    /// What could not be read, a line each.
    pub(super) notes: Vec<String>,
}

/// How much room the blobs on board take, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Disk {
    /// Each blob once.
    pub(super) bytes: u64,
    /// Of those that more than one image needs.
    pub(super) shared: u64,
    pub(super) free: Option<u64>,
}

impl Report {
    /// Of what a daemon, or else its ledger, says. `answer` is that of containerd; `instance` and
    /// `images_dir` are those of the configuration.
    pub fn new(
        seen: SeenDaemon,
        on_board: OnBoard,
        answer: Result<StoreAnswer, Unasked>,
        instance: &str,
        images_dir: &str,
        notes: Vec<String>,
    ) -> Self {
        let found = answer.as_ref().ok();
        let lookup = Lookup::new(&on_board.entries, found, instance);
        let mut entries = on_board.entries.iter().collect::<Vec<_>>();
        entries.sort_by_cached_key(|entry| InNameOrder(PathBuf::from(&entry.path)));
        let reports = entries.into_iter().map(|entry| EntryReport {
            name: EntryReport::name_of(&entry.path, images_dir),
            images: {
                let images = entry.images.iter();
                let report = |image| ImageReport::of(&entry.path, image, &lookup);
                images.map(report).collect()
            },
            entry: entry.clone(),
        });
        let entries = reports.collect();
        let sandbox = found.and_then(|found| found.sandbox.clone());
        let disk = disk(&on_board, &lookup, found.and_then(|found| found.free));
        Self {
            entries,
            disk,
            sandbox,
            asked: answer.map(drop),
            seen,
            images_dir: images_dir.to_owned(),
            on_board,
            notes,
        }
    }

    pub fn condition(&self) -> Condition {
        let daemon = match &self.seen {
            SeenDaemon::Runs { document, .. } => document,
            SeenDaemon::NotRunning(_) => return Condition::NotRunning,
            SeenDaemon::Unknown(_) => return Condition::Unknown,
        };
        match daemon.phase {
            DaemonPhase::Stopping | DaemonPhase::Failed => return Condition::NotRunning,
            DaemonPhase::Starting | DaemonPhase::Loading => return Condition::Starting,
            DaemonPhase::Ready => {}
        }
        let is_degraded = !self.on_board.loaded
            || self.silence().is_some()
            || !self.on_board.damaged.is_empty()
            || self.entries.iter().any(EntryReport::is_degraded);
        let has_failed =
            self.missing_sandbox().is_some() || self.entries.iter().any(EntryReport::has_failed);
        match (is_degraded, has_failed) {
            (true, _) => Condition::Degraded,
            (_, true) => Condition::Failures,
            _ => Condition::Well,
        }
    }

    /// The part of it that is about an image or an entry of this name; `None` where there is none.
    pub fn about(&self, name: &str) -> Option<Self> {
        let canonical = Reference::parse(name).map(|name| name.canonical().to_string());
        let canonical = canonical.unwrap_or_default();
        let is_image = |image: &ImageReport| {
            let mut names = image.image.names.iter();
            image.image.digest.as_str() == name
                || names.any(|own| *own == name || *own == canonical)
        };
        let is_file = |entry: &EntryReport| {
            let is_last = |path: &str| path.rsplit('/').next() == Some(name);
            entry.name == name || entry.entry.path == name || is_last(&entry.entry.path)
        };
        let mut part = self.clone();
        // They are about no image, or about another one.
        part.sandbox = None;
        part.on_board.missing_sandbox_image = None;
        part.on_board.damaged.retain(|line| line.contains(name));
        part.entries.retain(is_file);
        if part.entries.is_empty() {
            part.entries = self.entries.clone();
            for entry in &mut part.entries {
                entry.images.retain(is_image);
            }
            part.entries.retain(|entry| !entry.images.is_empty());
        }
        (!part.entries.is_empty()).then_some(part)
    }

    /// Why containerd does not answer, as the daemon says or as it was found now.
    pub(super) fn silence(&self) -> Option<&str> {
        let found = match &self.asked {
            Err(Unasked::Silent(error)) => Some(error.as_str()),
            _ => None,
        };
        self.on_board.containerd_away.as_deref().or(found)
    }

    /// The name of the sandbox image, where it is not there. Before READY an entry may still bring it.
    pub(super) fn missing_sandbox(&self) -> Option<&str> {
        let phase = self.seen.document().map(|said| said.phase);
        if matches!(phase, Some(DaemonPhase::Starting | DaemonPhase::Loading)) {
            return None;
        }
        match &self.sandbox {
            Some(sandbox) => (!sandbox.is_there).then_some(sandbox.name.as_str()),
            None => self.on_board.missing_sandbox_image.as_deref(),
        }
    }

    /// How many different images are on board.
    pub(super) fn images(&self) -> usize {
        let images = self.entries.iter().flat_map(|entry| &entry.images);
        let mut known = images
            .map(|image| (image.image.names.first(), &image.image.digest))
            .collect::<Vec<_>>();
        known.sort();
        known.dedup();
        known.len()
    }
}

fn disk(on_board: &OnBoard, lookup: &Lookup<'_>, free: Option<u64>) -> Disk {
    let images = on_board.entries.iter().flat_map(|entry| &entry.images);
    let blobs = images.flat_map(|image| &image.blobs);
    let blobs = blobs.map(|blob| (&blob.digest, blob.size));
    let blobs: HashMap<&Digest, u64> = blobs.collect();
    let is_shared = |blob: &&Digest| lookup.needed.get(*blob).is_some_and(|needed| *needed > 1);
    let shared = blobs.iter().filter(|(blob, _)| is_shared(blob));
    Disk {
        bytes: blobs.values().sum(),
        shared: shared.map(|(_, size)| size).sum(),
        free,
    }
}
