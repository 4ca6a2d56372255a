//! A file system on a disk in memory that is recorded, and on what the disk is after a cut.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::recorded_disk::RecordedDisk;
use crate::SOON;
use crate::support::{eventually_in_turn, shell, sweep};

/// The smallest that mkfs.xfs makes is 300 MiB.
const DISK: u64 = 512 << 20;

/// How it is made and mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    mkfs: &'static str,
    options: &'static str,
}

/// Where its journal is committed each second, what is not synced is soon half on the disk: names without
/// their bytes.
pub(super) const KINDS: [Kind; 3] = [
    Kind {
        name: "ext4",
        mkfs: "mkfs.ext4 -q -F",
        options: "loop,commit=1",
    },
    Kind {
        name: "xfs",
        mkfs: "mkfs.xfs -q",
        options: "loop",
    },
    Kind {
        name: "btrfs",
        mkfs: "mkfs.btrfs -q",
        options: "loop,commit=1",
    },
];

/// The directory that all of it is in. Whatever is mounted below it is unmounted when this is dropped,
/// and the loop devices go with that.
pub(super) struct Mounts {
    kind: Kind,
    dir: PathBuf,
}

impl Drop for Mounts {
    fn drop(&mut self) {
        sweep(&self.dir);
    }
}

impl Mounts {
    /// Makes the file system, and mounts it on a disk that is recorded from now on.
    pub(super) fn recorded(kind: Kind, dir: &Path) -> (Self, RecordedDisk) {
        let dir = dir.to_owned();
        let mounts = Self { kind, dir };
        fs::create_dir(mounts.ram()).expect("a directory");
        fs::create_dir(mounts.point()).expect("a mount point");
        shell("mount -t tmpfs -o size=2g tmpfs \"$1\"", &[&mounts.ram()]);
        let blank = mounts.ram().join("blank");
        let file = File::create(&blank).expect("a file");
        file.set_len(DISK).expect("a sparse file");
        in_sbin(kind.mkfs, &blank);
        let path = mounts.ram().join("disk");
        let disk = RecordedDisk::serve(&blank, &path);
        mounts.mount(&path);
        (mounts, disk)
    }

    fn ram(&self) -> PathBuf {
        self.dir.join("ram")
    }

    /// Where it is mounted.
    pub(super) fn point(&self) -> PathBuf {
        self.dir.join("mounted")
    }

    /// Where the disk after a cut goes.
    pub(super) fn after(&self) -> PathBuf {
        self.ram().join("after")
    }

    pub(super) fn mount(&self, disk: &Path) {
        let Kind { name, options, .. } = self.kind;
        let script = format!("mount -t {name} -o {options} \"$1\" \"$2\"");
        shell(&script, &[disk, &self.point()]);
    }

    /// Returns when the loop device is gone with it: a mount namespace of another process may have the
    /// file system for a moment longer, and it writes to its disk for as long.
    pub(super) fn unmount(&self) {
        shell("umount \"$1\"", &[&self.point()]);
        eventually_in_turn(SOON, "the loop device is gone", || {
            let devices = fs::read_dir("/sys/block").expect("/sys/block").flatten();
            let files = devices
                .filter_map(|it| fs::read_to_string(it.path().join("loop/backing_file")).ok());
            let own = files.filter(|file| Path::new(file).starts_with(&self.dir));
            let own = own.collect::<Vec<_>>();
            own.is_empty().then_some(()).ok_or(format!("{own:?}"))
        });
        if self.kind.name == "btrfs" {
            // Else the kernel may take the next disk for an older one of the same file system.
            in_sbin("btrfs device scan --forget", Path::new(""));
        }
    }
}

/// Runs a command that may not be on the PATH of a user, with a file.
fn in_sbin(command: &str, file: &Path) {
    let script = format!("PATH=$PATH:/usr/sbin:/sbin {command} ${{1:+\"$1\"}}");
    shell(&script, &[file]);
}
