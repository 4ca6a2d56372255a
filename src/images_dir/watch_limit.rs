//! Why a part of the images directory must be polled.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::statfs;
use rustix::io::Errno;

use crate::entry::shown;

/// Something that inotify cannot do here, with what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub(super) enum WatchLimit {
    /// The user has as many inotify instances as it may have.
    #[error(
        "no inotify instance is left: raise fs.inotify.max_user_instances{}", now(*.limit)
    )]
    Instances {
        /// What the sysctl says, if it could be read.
        limit: Option<u64>,
    },
    /// The process has as many open files as it may have.
    #[error("no file descriptor is left for inotify: raise LimitNOFILE of the unit")]
    Descriptors,
    /// The user has as many inotify watches as it may have.
    #[error("no inotify watch is left: raise fs.inotify.max_user_watches{}", now(*.limit))]
    Watches {
        /// What the sysctl says, if it could be read.
        limit: Option<u64>,
    },
    /// A file system on which others change files without this kernel knowing.
    #[error(
        "{} is on {file_system}, where not every change raises an inotify event",
        shown(path)
    )]
    FileSystem {
        /// The first directory that was found on it.
        path: PathBuf,
        /// Its name.
        file_system: &'static str,
    },
    #[error("inotify cannot watch {}: {cause}", shown(path))]
    Refused {
        /// The first directory that could not be watched.
        path: PathBuf,
        /// The kernel's word.
        cause: String,
    },
}

impl WatchLimit {
    /// Why there is no instance.
    pub(super) fn of_instance(error: Errno) -> Self {
        match error {
            // The same error number for two limits: only the one for the process is in the way of
            // opening anything else.
            Errno::MFILE if fs::File::open("/").is_ok() => Self::Instances {
                limit: sysctl("max_user_instances"),
            },
            Errno::MFILE | Errno::NFILE => Self::Descriptors,
            other => Self::refused(Path::new("anything"), other),
        }
    }

    /// Why there is no watch on `dir`; `None` if the directory has gone, which is none.
    pub(super) fn of_watch(error: Errno, dir: &Path) -> Option<Self> {
        match error {
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG => None,
            Errno::NOSPC => Some(Self::Watches {
                limit: sysctl("max_user_watches"),
            }),
            other => Some(Self::refused(dir, other)),
        }
    }

    /// Why not every change of `dir` is an event; `None` if each is, or that cannot be told.
    pub(super) fn of_file_system(dir: &Path) -> Option<Self> {
        let status = statfs(dir).ok()?;
        // The field is wider than the numbers on some machines, and signed on others.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let file_system = shared(status.f_type as u32)?;
        Some(Self::FileSystem {
            path: dir.to_owned(),
            file_system,
        })
    }

    fn refused(path: &Path, error: Errno) -> Self {
        Self::Refused {
            path: path.to_owned(),
            cause: error.to_string(),
        }
    }
}

fn sysctl(name: &str) -> Option<u64> {
    let text = fs::read_to_string(Path::new("/proc/sys/fs/inotify").join(name)).ok()?;
    text.trim().parse().ok()
}

fn now(limit: Option<u64>) -> String {
    limit.map_or_else(String::new, |limit| format!(" (now {limit})"))
}

/// The file systems whose files others can change: another machine, the host of a virtual machine,
/// or the program that serves it. The numbers are `f_type` of statfs(2) (linux/magic.h and the
/// file systems' own sources).
const SHARED: [(u32, &str); 20] = [
    (0x6969, "nfs"),
    (0x517b, "smb"),
    (0xff53_4d42, "cifs"),
    (0xfe53_4d42, "smb2"),
    (0x0102_1997, "9p"),
    (0x6573_5546, "fuse"),
    (0x00c3_6400, "ceph"),
    (0x5346_414f, "afs"),
    (0x6b41_4653, "kafs"),
    (0x7375_7245, "coda"),
    (0x564c, "ncp"),
    (0x0bd0_0bd0, "lustre"),
    (0x0116_1970, "gfs2"),
    (0x7461_636f, "ocfs2"),
    (0x4750_4653, "gpfs"),
    (0xaad7_aaea, "panfs"),
    (0x1983_0326, "beegfs"),
    (0x786f_4256, "vboxsf"),
    (0xbacb_acbc, "vmhgfs"),
    (0x7c7c_6673, "prlfs"),
];

/// The name of a file system of this `f_type`, if others can change its files.
fn shared(f_type: u32) -> Option<&'static str> {
    let found = SHARED.iter().find(|(number, _)| *number == f_type);
    found.map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_that_others_change_are_polled_and_local_ones_are_not() {
        for (number, name) in [
            (0x6969, "nfs"),
            (0xfe53_4d42, "smb2"),
            (0x6573_5546, "fuse"),
        ] {
            assert_eq!(shared(number), Some(name));
        }
        // ext4, xfs, btrfs, tmpfs, overlay, zfs
        for number in [
            0xef53,
            0x5846_5342,
            0x9123_683e,
            0x0102_1994,
            0x794c_7630,
            0x2fc1_2fc1,
        ] {
            assert_eq!(shared(number), None, "{number:x}");
        }
    }

    #[test]
    fn what_is_said_names_the_fix() {
        let said = |limit: WatchLimit| limit.to_string();
        assert_eq!(
            said(WatchLimit::Watches { limit: Some(8192) }),
            "no inotify watch is left: raise fs.inotify.max_user_watches (now 8192)"
        );
        assert_eq!(
            said(WatchLimit::Instances { limit: None }),
            "no inotify instance is left: raise fs.inotify.max_user_instances"
        );
        let path = PathBuf::from("/srv/images");
        assert_eq!(
            said(WatchLimit::FileSystem {
                path,
                file_system: "nfs"
            }),
            "/srv/images is on nfs, where not every change raises an inotify event"
        );
    }

    #[test]
    fn a_directory_that_has_gone_is_none() {
        let dir = Path::new("/x");
        assert_eq!(WatchLimit::of_watch(Errno::NOENT, dir), None);
        assert_eq!(
            WatchLimit::of_watch(Errno::ACCESS, dir).map(|s| s.to_string()),
            Some("inotify cannot watch /x: Permission denied (os error 13)".to_owned())
        );
    }
}
