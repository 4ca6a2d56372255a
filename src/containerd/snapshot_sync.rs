//! Sees to it that the files of snapshots are on the disk.
//!
//! The file system of the snapshotter is synced, and no other: sync(2) waits for all of them, and where one
//! is a server that is gone, for ever. The same may happen to syncfs(2). It is waited for on a thread, for a
//! time; the thread cannot be ended, and until it has, no other is begun.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use containerd_client::types::Mount;
use rustix::fs::syncfs;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::blocking::{assert_may_wait, begin_blocking};
use crate::blocking::joined;

/// So long it may take to write back what is dirty: tens of GB, on a slow disk. How much is left tells no
/// file: what /proc/meminfo counts is that of all disks, and grows when others write.
pub(super) const LONGEST: Duration = Duration::from_secs(30 * 60);

/// Clones are one.
#[derive(Debug, Clone, Default)]
pub(super) struct SnapshotSyncs {
    /// Those that were waited for in vain.
    hung: Arc<Mutex<Vec<JoinHandle<io::Result<bool>>>>>,
    is_doubt_told: Arc<AtomicBool>,
}

impl SnapshotSyncs {
    /// Waits for work that syncs, and no longer than `longest`; as long as other work hangs, not at all.
    pub(super) async fn wait(
        &self,
        longest: Duration,
        work: impl FnOnce() -> io::Result<bool> + Send + 'static,
    ) -> Result<bool, String> {
        if self.is_any_hung() {
            return Err("an earlier one has not ended yet".to_owned());
        }
        let mut task = begin_blocking(work);
        match timeout(longest, &mut task).await {
            Ok(ended) => match joined(ended) {
                Some(synced) => synced.map_err(|error| error.to_string()),
                None => std::future::pending().await,
            },
            Err(_) => {
                self.hung().push(task);
                Err(format!("it has not ended within {} s", longest.as_secs()))
            }
        }
    }

    /// Whether it is the first time that what is synced is in doubt.
    pub(super) fn is_first_doubt(&self) -> bool {
        !self.is_doubt_told.swap(true, Ordering::Relaxed)
    }

    fn is_any_hung(&self) -> bool {
        let mut hung = self.hung();
        hung.retain(|task| !task.is_finished());
        !hung.is_empty()
    }

    fn hung(&self) -> MutexGuard<'_, Vec<JoinHandle<io::Result<bool>>>> {
        self.hung.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The directories that writing into a snapshot changes, whatever mounts it.
pub(super) fn written_dirs(mounts: &[Mount]) -> impl Iterator<Item = PathBuf> {
    let dirs = mounts.iter().flat_map(|mount| {
        let options = mount.options.iter();
        let upper = options.filter_map(|option| option.strip_prefix("upperdir="));
        upper.chain([mount.source.as_str()])
    });
    dirs.map(PathBuf::from).filter(|dir| dir.is_absolute())
}

/// Syncs the file systems of those that can be opened, each once. Returns whether there is any.
pub(super) fn sync_dirs(dirs: &[PathBuf]) -> io::Result<bool> {
    assert_may_wait();
    let mut synced = BTreeSet::new();
    for dir in dirs {
        let Ok(dir) = File::open(dir) else {
            continue;
        };
        if synced.insert(dir.metadata()?.dev()) {
            syncfs(&dir)?;
        }
    }
    Ok(!synced.is_empty())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn what_hangs_is_given_up_and_not_begun_again_before_it_has_ended() {
        let syncs = SnapshotSyncs::default();
        let (end, ended) = mpsc::channel::<()>();
        let hangs = move || {
            let _ = ended.recv();
            Ok(true)
        };
        let given_up = syncs.wait(Duration::from_millis(10), hangs).await;
        assert_eq!(given_up.unwrap_err(), "it has not ended within 0 s");
        let refused = syncs.wait(LONGEST, || Ok(true)).await;
        assert_eq!(refused.unwrap_err(), "an earlier one has not ended yet");
        drop(end);
        while syncs.is_any_hung() {
            tokio::task::yield_now().await;
        }
        assert_eq!(syncs.wait(LONGEST, || Ok(true)).await, Ok(true));
        let failed = syncs.wait(LONGEST, || Err(io::ErrorKind::Other.into()));
        failed.await.unwrap_err();
    }

    #[test]
    fn what_a_snapshot_is_written_into_is_told_by_its_mounts() {
        let mount = |kind: &str, source: &str, options: &[&str]| Mount {
            r#type: kind.to_owned(),
            source: source.to_owned(),
            options: options.iter().map(|&option| option.to_owned()).collect(),
            ..Default::default()
        };
        let mounts = [
            mount("bind", "/n/1", &["rw", "rbind"]),
            mount(
                "overlay",
                "overlay",
                &["upperdir=/o/2/fs", "lowerdir=/o/1/fs"],
            ),
        ];
        let dirs = written_dirs(&mounts).collect::<Vec<_>>();
        assert_eq!(dirs, ["/n/1", "/o/2/fs"].map(PathBuf::from));
    }

    #[test]
    fn what_can_be_opened_is_synced() {
        let dir = tempfile::tempdir().unwrap();
        let gone = dir.path().join("gone");
        assert!(sync_dirs(&[gone.clone(), dir.path().to_owned()]).unwrap());
        assert!(!sync_dirs(&[gone]).unwrap());
    }
}
