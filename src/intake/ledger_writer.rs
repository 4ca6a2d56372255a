//! Writes the ledger to disk beside everything else, one write at a time.

use std::path::Path;
use std::time::{Duration, Instant};

use tokio::task::{JoinError, JoinHandle};

use crate::happened::DaemonEvent;
use crate::ledger::Ledger;
use crate::ledger_file::{LedgerFile, News, Written};
use crate::reporter::report;
use crate::state_dir::MarkedRun;

/// How long the last writes may take, when stowd ends, and those that READY waits for.
pub(super) const LAST_SAVE: Duration = Duration::from_secs(5);

/// The ledger's file, and the write that is under way.
#[derive(Debug)]
pub(super) struct LedgerWriter {
    file: LedgerFile,
    write: Option<JoinHandle<Written>>,
}

/// What is known of the ledger and its disk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Recording {
    /// The ledger's revision now.
    pub(super) revision: u64,
    /// The one that the disk has.
    pub(super) on_disk: Option<u64>,
    /// The last write has failed.
    pub(super) is_failing: bool,
}

impl LedgerWriter {
    /// Reads the ledger of these directories.
    pub(super) async fn load(state_dir: &Path, dir: &Path) -> Result<(Self, Ledger), JoinError> {
        let mut file = LedgerFile::new(state_dir, dir);
        let load = move || {
            let loaded = file.load();
            (file, loaded)
        };
        let (file, loaded) = tokio::task::spawn_blocking(load).await?;
        for warning in loaded.warnings {
            report(DaemonEvent::LedgerNotUsed(warning.to_string()));
        }
        for other in loaded.others {
            report(DaemonEvent::LedgerOfAnother {
                path: other.path,
                images_dir: other.images_dir,
                names: other.names,
            });
        }
        Ok((Self { file, write: None }, loaded.ledger))
    }

    /// What the disk has of the ledger.
    pub(super) fn recording(&self, ledger: &Ledger) -> Recording {
        Recording {
            revision: ledger.revision(),
            on_disk: self.file.on_disk(),
            is_failing: self.file.is_failing(),
        }
    }

    /// Begins the write that is due, if one is; where it is awaited, also without a rest after the last one.
    /// Before what was brought, the disk has that the run goes on.
    pub(super) fn begin(&mut self, ledger: &Ledger, run: &MarkedRun, is_awaited: bool) {
        let write = match is_awaited {
            true => self.file.begin_at_once(ledger),
            false => self.file.begin(ledger, Instant::now()),
        };
        if let Some(write) = write {
            let run = run.clone();
            self.write = Some(tokio::task::spawn_blocking(move || {
                // It was told when the run began, and is tried again with the next write.
                let _ = run.keep();
                write.run()
            }));
        }
    }

    /// Returns when a write is due, or one has ended. It is to be asked again after
    /// [`begin`](Self::begin).
    pub(super) async fn wait(&mut self, ledger: &Ledger) -> Result<(), JoinError> {
        if let Some(write) = &mut self.write {
            let written = write.await?;
            self.write = None;
            self.written(written);
            return Ok(());
        }
        match self.file.due(ledger, Instant::now()) {
            Some(due) => tokio::time::sleep_until(due.into()).await,
            None => std::future::pending().await,
        }
        Ok(())
    }

    /// Saves what the disk lacks, if the disk answers in time. A write that is under way is waited
    /// for.
    pub(super) async fn end(mut self, ledger: &Ledger) {
        let save = async {
            if let Some(write) = self.write.take()
                && let Ok(written) = write.await
            {
                self.written(written);
            }
            if let Some(write) = self.file.begin_at_once(ledger)
                && let Ok(written) = tokio::task::spawn_blocking(move || write.run()).await
            {
                self.written(written);
            }
        };
        if tokio::time::timeout(LAST_SAVE, save).await.is_err() {
            report(DaemonEvent::LedgerNotSaved);
        }
    }

    fn written(&mut self, written: Written) {
        match self.file.ended(written, Instant::now()) {
            Some(News::Failing(error)) => report(DaemonEvent::LedgerNotWritten(error.to_string())),
            Some(News::Recovered(path)) => report(DaemonEvent::LedgerWrittenAgain(path)),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::SystemTime;

    use super::*;
    use crate::ledger::{Attempt, FailureClass, Fingerprint, Imported, Keeps, Outcome};
    use crate::state_dir::begin_run;

    fn attempt() -> Attempt {
        Attempt {
            identity: None,
            settings: Fingerprint::default(),
            outcome: Outcome::Imported(Imported::default()),
            class: FailureClass::Content,
            seen_in: Vec::new(),
            finished: SystemTime::UNIX_EPOCH,
            seed: 0,
            keeps: Keeps::All,
            not_before: Duration::ZERO,
            was_interrupted: false,
        }
    }

    /// A write that waits for a thread when stowd is told to end is neither lost nor the last one.
    #[test]
    fn a_write_that_has_not_begun_is_waited_for_and_what_changed_since_is_written() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .max_blocking_threads(1)
            .build()
            .unwrap();
        let dir = tempfile::tempdir().unwrap();
        let images = PathBuf::from("/images");
        runtime.block_on(async {
            let (mut writer, mut ledger) = LedgerWriter::load(dir.path(), &images).await.unwrap();
            let run = full_at_first(dir.path());
            let busy = tokio::task::spawn_blocking(|| {
                std::thread::sleep(Duration::from_millis(200));
            });
            ledger.record(images.join("a.tar"), attempt());
            writer.begin(&ledger, &run, false);
            ledger.record(images.join("b.tar"), attempt());
            writer.end(&ledger).await;
            busy.await.unwrap();
        });
        let written = std::fs::read_to_string(dir.path().join("ledger.json")).unwrap();
        for name in ["a.tar", "b.tar"] {
            assert!(written.contains(name), "{written}");
        }
        assert!(
            dir.path().join("running.json").exists(),
            "before the ledger"
        );
    }

    /// A run whose marker could not be written when it began.
    fn full_at_first(state_dir: &Path) -> MarkedRun {
        let full = state_dir.join("running.json.new");
        std::fs::create_dir(&full).unwrap();
        let (run, _) = begin_run(state_dir, "a", SystemTime::UNIX_EPOCH);
        assert!(!state_dir.join("running.json").exists());
        std::fs::remove_dir(full).unwrap();
        run
    }
}
