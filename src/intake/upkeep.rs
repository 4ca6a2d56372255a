//! What is done when no archive is in work: pins that nobody needs are taken off, the ledger is
//! saved.

use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::image_store::{Image, ImageStore, StoreError};
use crate::ledger::Audit;
use crate::ledger_file::{LedgerFile, News, Written};

use super::{Done, Intake, IntakeError};

/// How long what is in work and the last write of the ledger may take, when stowd ends.
const LAST_SAVE: Duration = Duration::from_secs(5);

/// Whether pins are to be looked at, or are being looked at.
///
/// An image is pinned before its entry has a record. So no import is in work from the moment in
/// which the store is asked for its images until the last of them is unpinned, and no list pins
/// anything that it has not pledged.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    due: Option<Instant>,
    in_work: bool,
}

impl Upkeep {
    /// Something has changed that may leave pins behind. Looked at after `rest`: a rename is a file
    /// that goes and then one that comes.
    pub(super) fn ask(&mut self, rest: Duration) {
        self.due.get_or_insert(Instant::now() + rest);
    }

    /// When pins are to be looked at, if that is to be waited for.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        self.due.filter(|due| *due > now)
    }

    /// Whether imports have to wait.
    pub(super) fn is_in_work(&self) -> bool {
        self.in_work
    }
}

/// A step of the upkeep that has ended.
pub(super) enum UpkeepDone {
    Listed(Result<Vec<Image>, StoreError>),
    Unpinned(Result<(), StoreError>),
    Saved(Written),
}

impl<S: ImageStore> Intake<S> {
    /// Begins what is due.
    pub(super) fn keep_up(&mut self) {
        if let Some(write) = self.file.begin(&self.ledger, Instant::now()) {
            let run = move || Done::Upkeep(UpkeepDone::Saved(write.run()));
            self.tasks.spawn_blocking(run);
        }
        // Before the first drain has ended, what an entry brings may have no record yet.
        let may = self.drained && self.is_accounted_for() && !self.upkeep.in_work;
        let is_due = self.upkeep.due.is_some_and(|due| due <= Instant::now());
        if may && is_due && self.settings.unpin_removed {
            self.upkeep.due = None;
            self.upkeep.in_work = true;
            let store = self.store.clone();
            let list = async move { Done::Upkeep(UpkeepDone::Listed(store.images().await)) };
            self.tasks.spawn(list);
        }
    }

    /// Whether each pin of stowd's that an entry needs is in a record or pledged. Archives that fail
    /// are not waited for: they go on holding what they held. Lists whose images are still being
    /// pulled are not either: a registry that is away would keep all pins.
    fn is_accounted_for(&self) -> bool {
        let mut running = self.running.values();
        let archives = self.queue.is_drained_of_archives();
        archives
            && self.queue.waiting_lists().next().is_none()
            && running.all(|running| running.is_pulling)
    }

    pub(super) fn kept_up(&mut self, done: UpkeepDone) {
        match done {
            UpkeepDone::Listed(Ok(images)) if self.is_accounted_for() => self.unpin(&images),
            // An entry has come meanwhile: what it brings is not in the ledger yet.
            UpkeepDone::Listed(Ok(_)) => {
                self.upkeep.in_work = false;
                self.upkeep.ask(self.settings.settle);
            }
            UpkeepDone::Unpinned(Ok(())) => self.upkeep.in_work = false,
            UpkeepDone::Listed(Err(error)) | UpkeepDone::Unpinned(Err(error)) => {
                warn!(%error, "pins not looked after: {error}");
                // With the next change, or the next rescan.
                self.upkeep.in_work = false;
            }
            UpkeepDone::Saved(written) => self.saved(written),
        }
        if !self.upkeep.in_work {
            self.pledges.let_pin();
        }
    }

    fn unpin(&mut self, images: &[Image]) {
        let stale = Audit::new(&self.ledger, images).stale_pins();
        let stale = stale.into_iter().filter(|name| !self.pledges.has(name));
        let stale = stale.map(str::to_owned).collect::<Vec<_>>();
        let store = self.store.clone();
        self.tasks.spawn(async move {
            let mut unpinned = Ok(());
            for name in stale {
                unpinned = store.unpin(&name).await;
                if unpinned.is_err() {
                    break;
                }
                info!(image = name, "unpinned {name}: no entry brings it any more");
            }
            Done::Upkeep(UpkeepDone::Unpinned(unpinned))
        });
    }

    pub(super) async fn load_ledger(&mut self) -> Result<(), IntakeError> {
        let (state_dir, dir) = (self.settings.state_dir.clone(), self.settings.dir.clone());
        let load = move || {
            let mut file = LedgerFile::new(&state_dir, &dir);
            let loaded = file.load();
            (file, loaded)
        };
        let (file, loaded) = tokio::task::spawn_blocking(load).await?;
        for warning in loaded.warnings {
            warn!(error = %warning, "{warning}; what it knew is imported again");
        }
        self.file = file;
        self.ledger = loaded.ledger;
        Ok(())
    }

    /// Ends what is in work and saves what the disk lacks, if the disk answers in time.
    pub(super) async fn end(mut self) {
        let save = async {
            self.tasks.abort_all();
            while let Some(done) = self.tasks.join_next().await {
                if let Ok(Done::Upkeep(UpkeepDone::Saved(written))) = done {
                    self.saved(written);
                }
            }
            if let Some(write) = self.file.begin_at_once(&self.ledger)
                && let Ok(written) = tokio::task::spawn_blocking(move || write.run()).await
            {
                self.saved(written);
            }
        };
        // A listing may hang in a file system that does not answer.
        if tokio::time::timeout(LAST_SAVE, save).await.is_err() {
            warn!("ledger not saved in time");
        }
    }

    fn saved(&mut self, written: Written) {
        match self.file.ended(written, Instant::now()) {
            Some(News::Failing(error)) => warn!(%error, "{error}"),
            Some(News::Recovered(path)) => {
                let path = path.display();
                info!(%path, "ledger written again: {path}");
            }
            None => {}
        }
    }
}
