//! What is on board, to be looked at: nothing is decided by it.

use std::path::Path;

use crate::ledger::ImportedImage;
use crate::status::{
    EntryState, EntryStatus, ImageUnpack, OnBoard, Overshadowed, Traffic, WorkDone,
};
use crate::unpack::UnpackWhen;

use super::event::Now;
use super::life::Life;
use super::state::Plan;

impl Plan {
    /// All that is on board, or is to be. `line` is that of the service manager; `moved` tells how far the
    /// work on an entry has come. What was moved it does not know.
    pub fn on_board(
        &self,
        line: String,
        now: Now,
        moved: impl Fn(&Path) -> Option<WorkDone>,
    ) -> OnBoard {
        let lives = self.entries.iter();
        let mut entries = lives
            .map(|(path, life)| self.entry_status(path, Some(life), now, &moved))
            .collect::<Vec<_>>();
        // What a run before has recorded, and no listing has shown yet.
        let unseen = self.ledger.iter().map(|(path, _)| path);
        let unseen = unseen.filter(|path| self.entries.get(path).is_none());
        entries.extend(unseen.map(|path| self.entry_status(path, None, now, &moved)));
        entries.sort_by(|one, other| one.path.cmp(&other.path));
        let ignored = self.ignored.iter();
        let damaged = self.left_damage();
        OnBoard {
            line,
            loaded: self.is_loaded(),
            containerd_away: self.why_store_is_away().map(str::to_owned),
            images_dir_missing: self.load.is_begun() && self.is_dir_missing(),
            missing_sandbox_image: self.missing_sandbox_image().map(str::to_owned),
            pinned_images: self.pinned,
            traffic: Traffic::default(),
            entries,
            ignored: ignored
                .map(|path| path.to_string_lossy().into_owned())
                .collect(),
            shadowed: self.overruled.iter().map(Overshadowed::from).collect(),
            damaged: damaged
                .map(|damage| {
                    let (image, blob) = (damage.image, damage.blob.digest);
                    format!("{image}: blob {blob}: the scrub has found it damaged")
                })
                .collect(),
        }
    }

    fn entry_status(
        &self,
        path: &Path,
        life: Option<&Life>,
        now: Now,
        moved: impl Fn(&Path) -> Option<WorkDone>,
    ) -> EntryStatus {
        let unpack = |image: &ImportedImage| self.image_unpack(image, now);
        let state = life.map_or(EntryState::Checking, Life::state);
        let mut status = EntryStatus::of(path, state, self.ledger.get(path), unpack);
        if life.is_none_or(|life| life.open().is_some()) {
            // Its record is about what was there before.
            status.error = None;
            status.class = None;
            status.next_try = None;
        } else if let Some(trouble) = self.ledger.trouble_of(path) {
            status.error = Some(trouble.to_owned());
            status.class = None;
            status.next_try = None;
            status.attempts = 0;
        }
        if state == EntryState::Working {
            status.progress = moved(path);
        }
        status
    }

    fn image_unpack(&self, image: &ImportedImage, now: Now) -> Option<ImageUnpack> {
        if self.rules.unpack == UnpackWhen::Never {
            return None;
        }
        let (stage, due) = self.unpacks.stage(&image.digest)?;
        let due = due.and_then(|due| now.wall.checked_add(due.saturating_sub(now.uptime)));
        Some(ImageUnpack {
            stage,
            error: self.unpacks.error(&image.digest).map(str::to_owned),
            next_try: due,
        })
    }
}

impl Life {
    fn state(&self) -> EntryState {
        match self {
            Self::Checking(_) => EntryState::Checking,
            Self::Settling(_) | Self::Rereading(_) => EntryState::Settling,
            Self::Queued(queued) if queued.again => EntryState::Failed,
            Self::Queued(_) => EntryState::Queued,
            Self::Running(_) => EntryState::Working,
            Self::Done(_) => EntryState::Imported,
            Self::Unfinished(_) | Self::Waiting(..) | Self::Unreadable { .. } => EntryState::Failed,
            Self::OutOfSight { .. } => EntryState::OutOfSight,
            Self::Baked => EntryState::Baked,
        }
    }
}
