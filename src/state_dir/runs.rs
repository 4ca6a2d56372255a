//! What a run leaves in the state directory for the next one, beside the ledger: whether it has ended, and
//! how far the scrub has come.
//!
//! ```text
//!   running.json   written when a run begins, and before the ledger where that could not be or the clock was
//!                  set back since; removed when the run has ended cleanly
//!   scrub.json     written as the scrub goes on
//! ```

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::happened::DaemonEvent;
use crate::reporter::report;
use crate::scrub::{RunMarker, ScrubMemory};

const MARKER: &str = "running.json";
const SCRUB: &str = "scrub.json";

/// What the kernel calls itself since it was started (random(4)). Empty where that cannot be read.
pub(crate) fn boot_id() -> String {
    let read = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    read.unwrap_or_default().trim().to_owned()
}

/// A run that goes on. Clones are one.
#[derive(Debug, Clone)]
pub(crate) struct MarkedRun {
    dir: PathBuf,
    mark: Arc<Mutex<Mark>>,
}

#[derive(Debug)]
struct Mark {
    marker: RunMarker,
    /// The disk lacks it.
    is_due: bool,
    /// What lies there tells of an unclean stop that could not be kept otherwise: it stays.
    is_held: bool,
}

impl MarkedRun {
    /// The run has come to this time.
    pub(crate) fn reach(&self, now: SystemTime) {
        let mut mark = self.mark();
        mark.is_due |= mark.marker.reach(now);
    }

    /// Writes the marker, if the disk lacks it. To be called before anything is kept of what was brought.
    pub(crate) fn keep(&self) -> io::Result<()> {
        let due = {
            let mut mark = self.mark();
            let is_due = !mark.is_held && std::mem::take(&mut mark.is_due);
            is_due.then(|| mark.marker.clone())
        };
        let written = due.map_or(Ok(()), |marker| write(&self.dir.join(MARKER), &marker));
        self.mark().is_due |= written.is_err();
        written
    }

    /// The run has ended cleanly. Where that cannot be written, the next one reads more than it must.
    pub(crate) fn end(&self) {
        if !self.mark().is_held {
            let removed = fs::remove_file(self.dir.join(MARKER));
            let _ = removed.and_then(|()| sync_dir(&self.dir));
        }
    }

    // Nothing panics while it is locked.
    fn mark(&self) -> MutexGuard<'_, Mark> {
        self.mark.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A run begins under the kernel of this boot. Returns what runs before have left about the scrub as well.
pub(crate) fn begin_run(dir: &Path, boot_id: &str, now: SystemTime) -> (MarkedRun, ScrubMemory) {
    let mut memory = read::<ScrubMemory>(&dir.join(SCRUB))
        .unwrap_or_default()
        .unwrap_or_default();
    let left = read::<RunMarker>(&dir.join(MARKER));
    let lost_since = match &left {
        Ok(marker) => marker
            .as_ref()
            .and_then(|marker| marker.lost_since(boot_id, now)),
        // It was there.
        Err(_) => Some(SystemTime::UNIX_EPOCH),
    };
    if let Some(since) = lost_since {
        memory.suspect(since);
        report(DaemonEvent::UncleanStop(since));
    }
    let saved = lost_since.map_or(Ok(()), |_| save_scrub(dir, &memory));
    let of_this_boot = left.ok().flatten().filter(|marker| marker.is_of(boot_id));
    let mark = Mark {
        is_due: of_this_boot.is_none(),
        marker: of_this_boot.unwrap_or_else(|| RunMarker::new(boot_id.to_owned(), now)),
        is_held: saved.is_err(),
    };
    let run = MarkedRun {
        dir: dir.to_owned(),
        mark: Arc::new(Mutex::new(mark)),
    };
    run.reach(now);
    // In this order: whatever comes between them, it is not forgotten.
    if let Err(error) = saved.and_then(|()| run.keep()) {
        let (path, error) = (dir.join(MARKER), error.to_string());
        report(DaemonEvent::StateDirNotWritten { path, error });
    }
    (run, memory)
}

/// Has the next run know it.
pub(crate) fn save_scrub(dir: &Path, memory: &ScrubMemory) -> io::Result<()> {
    write(&dir.join(SCRUB), memory)
}

/// `None` where there is no such file.
fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(json) => Ok(Some(serde_json::from_slice(&json)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whole or not at all, whatever happens meanwhile.
fn write(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let new = path.with_extension("json.new");
    let mut file = File::create(&new)?;
    file.write_all(&serde_json::to_vec(value)?)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    sync_dir(path.parent().unwrap_or(Path::new("/")))
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn begun(dir: &Path, boot_id: &str, now: u64) -> (MarkedRun, Option<SystemTime>) {
        let (run, memory) = begin_run(dir, boot_id, at(now));
        (run, memory.suspect_since)
    }

    fn suspect(dir: &Path, boot_id: &str, now: u64) -> Option<SystemTime> {
        begun(dir, boot_id, now).1
    }

    fn end_run(dir: &Path, boot_id: &str) {
        begin_run(dir, boot_id, at(1000)).0.end();
    }

    #[test]
    fn only_a_kernel_that_ended_leaves_an_unclean_stop() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let (run, suspect_since) = begun(dir, "a", 10);
        assert_eq!(suspect_since, None);
        run.end();
        assert_eq!(suspect(dir, "b", 20), None, "it was stopped");
        assert_eq!(suspect(dir, "b", 30), None, "it was killed");
        assert_eq!(suspect(dir, "c", 40), Some(at(20)));
        // What is to be read is not forgotten, however this run ends.
        end_run(dir, "c");
        assert_eq!(suspect(dir, "c", 50), Some(at(20)));
        assert_eq!(suspect(dir, "d", 60), Some(at(20)));
        let memory = ScrubMemory {
            ended: Some(at(70)),
            ..ScrubMemory::default()
        };
        save_scrub(dir, &memory).unwrap();
        assert_eq!(begin_run(dir, "d", at(80)).1, memory);
        assert_eq!(suspect(dir, "e", 90), Some(at(60)));
    }

    #[test]
    fn a_marker_that_cannot_be_understood_is_one() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(MARKER), "").unwrap();
        assert_eq!(suspect(dir.path(), "a", 10), Some(UNIX_EPOCH));
    }

    #[test]
    fn a_directory_that_cannot_be_written_holds_nothing() {
        let nowhere = Path::new("/proc/none");
        let (run, suspect_since) = begun(nowhere, "a", 10);
        assert_eq!(suspect_since, None);
        run.keep().unwrap_err();
        run.end();
        assert!(save_scrub(nowhere, &ScrubMemory::default()).is_err());
    }

    #[test]
    fn a_clock_that_was_ahead_when_the_run_began_hides_nothing_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let run = begun(dir, "a", 9000).0;
        // It is set right, and later set wrong again.
        for now in [20, 30, 9000] {
            run.reach(at(now));
        }
        run.keep().unwrap();
        assert_eq!(suspect(dir, "b", 10_000), Some(at(20)));
        // The next run of the same boot knows it as well.
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        begun(dir, "a", 9000);
        begun(dir, "a", 20);
        assert_eq!(suspect(dir, "b", 10_000), Some(at(20)));
    }

    /// Nothing can be written for a while: where files are to be made, directories are.
    fn full(dir: &Path, name: &str) -> PathBuf {
        let path = dir.join(name).with_extension("json.new");
        fs::create_dir(&path).unwrap();
        path
    }

    #[test]
    fn a_directory_that_was_full_at_first_has_a_marker_as_soon_as_it_can() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let full = full(dir, MARKER);
        let run = begun(dir, "a", 10).0;
        run.keep().unwrap_err();
        assert!(!dir.join(MARKER).exists());
        fs::remove_dir(full).unwrap();
        run.keep().unwrap();
        assert_eq!(suspect(dir, "b", 20), Some(at(10)));
    }

    #[test]
    fn an_unclean_stop_that_cannot_be_kept_is_not_forgotten_by_a_clean_one() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        begun(dir, "a", 10);
        let full = full(dir, SCRUB);
        let (run, suspect_since) = begun(dir, "b", 20);
        assert_eq!(suspect_since, Some(at(10)));
        fs::remove_dir(full).unwrap();
        run.keep().unwrap();
        run.end();
        assert_eq!(suspect(dir, "b", 30), Some(at(10)));
    }

    #[test]
    fn the_kernel_has_a_name() {
        assert_eq!(boot_id().len(), 36);
    }
}
