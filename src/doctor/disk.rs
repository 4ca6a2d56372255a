//! File systems and directories.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use bytesize::ByteSize;
use rustix::fs::{statfs, statvfs};

use super::diagnosis::Diagnosis;
use crate::config::Config;
use crate::entry::shown;

/// The kubelet evicts pods where less than this share, in percent, of the file system of the images is
/// free (`imagefs.available`, the default of its `evictionHard`).
const EVICTION: u64 = 15;

/// File systems by `f_type` (statfs(2)).
const OVERLAY: i64 = 0x794c_7630;
const TMPFS: i64 = 0x0102_1994;
const NFS: i64 = 0x6969;

pub(super) fn examine(config: &Config) -> Vec<Diagnosis> {
    let mut found = Vec::new();
    if config.containerd.supervise {
        found.push(root(&config.containerd.root));
    }
    let images = &config.images.dir;
    found.push(match images.is_dir() {
        true => Diagnosis::good("images directory", shown(images)),
        false => Diagnosis::doubtful(
            "images directory",
            format!(
                "{} is not there: nothing is imported; mkdir -p it, or see whether it is mounted",
                shown(images)
            ),
        ),
    });
    let directories = [images.as_path(), &config.state_dir, &config.containerd.root];
    found.extend(directories.into_iter().filter_map(writers));
    found
}

/// Where containerd keeps blobs and snapshots.
fn root(root: &Path) -> Diagnosis {
    const SUBJECT: &str = "containerd.root";
    // It is made at the first start.
    let Some(there) = root.ancestors().find(|path| path.exists()) else {
        return Diagnosis::bad(SUBJECT, format!("{} cannot be looked at", shown(root)));
    };
    let path = shown(root);
    let (Ok(kind), Ok(space)) = (statfs(there), statvfs(there)) else {
        return Diagnosis::bad(SUBJECT, format!("{path} cannot be looked at"));
    };
    #[allow(clippy::unnecessary_cast)] // It has another width on other machines.
    match kind.f_type as i64 {
        OVERLAY => {
            return Diagnosis::bad(
                SUBJECT,
                format!(
                    "{path} is on an overlay file system, on which overlayfs snapshots cannot lie; \
                         mount a disk there, or set containerd.root"
                ),
            );
        }
        NFS => {
            return Diagnosis::bad(
                SUBJECT,
                format!("{path} is on NFS, on which snapshots cannot lie; set containerd.root"),
            );
        }
        TMPFS => {
            return Diagnosis::doubtful(
                SUBJECT,
                format!(
                    "{path} is on a tmpfs: images take up memory and are gone at the next boot; set \
                         containerd.root to a directory of a disk"
                ),
            );
        }
        _ => {}
    }
    let free = space.f_bavail * space.f_frsize;
    let share = 100 * space.f_bavail / space.f_blocks.max(1);
    let free = ByteSize::b(free).display().iec();
    match share < EVICTION {
        true => Diagnosis::doubtful(
            SUBJECT,
            format!(
                "{path}: {free} free, {share} %: below {EVICTION} % the kubelet evicts pods; make room"
            ),
        ),
        false => Diagnosis::good(SUBJECT, format!("{path}: {free} free, {share} %")),
    }
}

/// A directory that others than root may write to.
fn writers(path: &Path) -> Option<Diagnosis> {
    let mode = fs::metadata(path).ok()?.permissions().mode() & 0o7777;
    (mode & 0o002 != 0).then(|| {
        let path = shown(path);
        Diagnosis::doubtful(
            "permissions",
            format!("{path} (mode {mode:04o}): everyone may write here, and so decide what runs on this \
                     node; chmod o-w {path}"),
        )
    })
}
