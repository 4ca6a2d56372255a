//! What the ledger says of entries, and of all that is on board where no daemon runs.

use std::path::Path;

use crate::ledger::{ImportedImage, Ledger, OverruledImage, Record};

use super::on_board::{EntryState, EntryStatus, ImageStatus, ImageUnpack, OnBoard, Overshadowed};

impl OnBoard {
    /// As a run before has left it.
    pub fn of_ledger(ledger: &Ledger) -> Self {
        let entries = ledger.iter().map(|(path, record)| {
            let state = match record.outcome.error() {
                None if !ledger.has_file(path) => EntryState::Baked,
                None => EntryState::Imported,
                Some(_) => EntryState::Failed,
            };
            EntryStatus::of(path, state, Some(record), |_| None)
        });
        Self {
            entries: entries.collect(),
            shadowed: ledger.overruled().iter().map(Overshadowed::from).collect(),
            ..Self::default()
        }
    }
}

impl EntryStatus {
    /// An entry in this state, with what its record says, if it has one. `unpack` tells how far an image is.
    pub(crate) fn of(
        path: &Path,
        state: EntryState,
        record: Option<&Record>,
        unpack: impl Fn(&ImportedImage) -> Option<ImageUnpack>,
    ) -> Self {
        let image = |image: &ImportedImage, kept| ImageStatus {
            names: image.names.clone(),
            digest: image.digest.clone(),
            kept,
            unpack: unpack(image),
            blobs: image.blobs.clone(),
        };
        let imported = record.map(|record| record.outcome.imported());
        let images = imported.into_iter().flat_map(|imported| &imported.images);
        let kept = record.into_iter().flat_map(|record| &record.kept);
        let images = images.map(|one| image(one, false));
        Self {
            path: path.to_string_lossy().into_owned(),
            state,
            progress: None,
            bytes: imported.map(|imported| imported.bytes),
            finished: record.map(|record| record.finished),
            seconds: imported.map(|imported| imported.duration.as_secs_f64()),
            attempts: record.map_or(0, |record| record.attempts),
            error: record.and_then(|record| record.outcome.error().map(str::to_owned)),
            class: record
                .and_then(|record| record.class)
                .map(|class| class.word().to_owned()),
            next_try: record.and_then(|record| record.next_try),
            images: images
                .chain(kept.map(|one| image(one, true)))
                .collect::<Vec<_>>(),
        }
    }
}

impl From<&OverruledImage> for Overshadowed {
    fn from(image: &OverruledImage) -> Self {
        Self {
            entry: image.entry.to_string_lossy().into_owned(),
            digest: image.digest.clone(),
            names: image.names.clone(),
            by: image.by.to_string_lossy().into_owned(),
            other: image.other.clone(),
        }
    }
}
