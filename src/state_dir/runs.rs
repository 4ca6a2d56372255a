//! What a run leaves in the state directory for the next one, beside the ledger: whether it has ended, and
//! how far the scrub has come.
//!
//! ```text
//!   running.json   written when a run begins, removed when it has ended cleanly
//!   scrub.json     written as the scrub goes on
//! ```

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
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

/// A run begins under the kernel of this boot. Returns what runs before have left about the scrub.
pub(crate) fn begin_run(dir: &Path, boot_id: &str, now: SystemTime) -> ScrubMemory {
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
    let is_same_boot = matches!(&left, Ok(Some(marker)) if marker.is_of(boot_id));
    let marker = RunMarker::new(boot_id.to_owned(), now);
    let saved = lost_since.map_or(Ok(()), |_| save_scrub(dir, &memory));
    // In this order: whatever comes between them, it is not forgotten.
    let written = saved.and_then(|()| match is_same_boot {
        true => Ok(()),
        false => write(&dir.join(MARKER), &marker),
    });
    if let Err(error) = written {
        let (path, error) = (dir.join(MARKER), error.to_string());
        report(DaemonEvent::StateDirNotWritten { path, error });
    }
    memory
}

/// The run has ended cleanly. Where that cannot be written, the next one reads more than it must.
pub(crate) fn end_run(dir: &Path) {
    let _ = fs::remove_file(dir.join(MARKER)).and_then(|()| sync_dir(dir));
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

    fn suspect(dir: &Path, boot_id: &str, now: u64) -> Option<SystemTime> {
        begin_run(dir, boot_id, at(now)).suspect_since
    }

    #[test]
    fn only_a_kernel_that_ended_leaves_an_unclean_stop() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        assert_eq!(suspect(dir, "a", 10), None);
        end_run(dir);
        assert_eq!(suspect(dir, "b", 20), None, "it was stopped");
        assert_eq!(suspect(dir, "b", 30), None, "it was killed");
        assert_eq!(suspect(dir, "c", 40), Some(at(20)));
        // What is to be read is not forgotten, however this run ends.
        end_run(dir);
        assert_eq!(suspect(dir, "c", 50), Some(at(20)));
        assert_eq!(suspect(dir, "d", 60), Some(at(20)));
        let memory = ScrubMemory {
            ended: Some(at(70)),
            ..ScrubMemory::default()
        };
        save_scrub(dir, &memory).unwrap();
        assert_eq!(begin_run(dir, "d", at(80)), memory);
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
        assert_eq!(suspect(nowhere, "a", 10), None);
        end_run(nowhere);
        assert!(save_scrub(nowhere, &ScrubMemory::default()).is_err());
    }

    #[test]
    fn the_kernel_has_a_name() {
        assert_eq!(boot_id().len(), 36);
    }
}
