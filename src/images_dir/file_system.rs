//! Which directory a directory is: which file system it is on, and its inode there.
//!
//! The kernel has no one number that tells file systems apart, and so the first of these counts that is there:
//! `f_fsid` of statfs(2), where it is no number of a device; a UUID, of the kernel (Linux 6.9) or of udev; what
//! the mount table says of a server; when its root was made. Where none of them is, it is the same one for as
//! long as its mount stays: the number of a device is given again, to another stick or another server.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{
    AtFlags, Mode, OFlags, Statx, StatxAttributes, StatxFlags, fstat, fstatvfs, openat, statx,
};
use rustix::io::Errno;

use super::fs_uuid::fs_uuid;
use super::mounts::Table;
use crate::digest::Digest;
use crate::source_event::DirectoryId;

/// udev's links to the devices of file systems.
const BY_UUID: &str = "/dev/disk/by-uuid";
/// Changes with each boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// A number of a mount that is not given again before a reboot: `STATX_MNT_ID_UNIQUE` (Linux 6.8).
const UNIQUE_MOUNT: StatxFlags = StatxFlags::from_bits_retain(0x4000);

/// The file systems that a look has found.
#[derive(Debug, Default)]
pub(super) struct FileSystems {
    table: OnceCell<Table>,
    /// By the device and the mount.
    known: RefCell<HashMap<(u64, u64), u64>>,
}

impl FileSystems {
    pub(super) fn directory_id(&self, directory: impl AsFd) -> Result<DirectoryId, Errno> {
        let directory = directory.as_fd();
        let stat = fstat(directory)?;
        let fsid = fstatvfs(directory)?.f_fsid;
        let file_system = match is_of_device(fsid) {
            true => self.by_other_means(directory, stat.st_dev),
            false => fsid,
        };
        Ok(DirectoryId {
            file_system,
            inode: stat.st_ino,
        })
    }

    fn by_other_means(&self, directory: BorrowedFd<'_>, device: u64) -> u64 {
        if let Some(uuid) = fs_uuid(directory) {
            return hash(&by_uuid(&uuid));
        }
        // Of what follows some is slow, and the same for all of a mount.
        let mount = mount_number(directory, StatxFlags::MNT_ID);
        let unique = mount_number(directory, UNIQUE_MOUNT);
        let key = (device, unique.or(mount).unwrap_or_default());
        if let Some(known) = self.known.borrow().get(&key) {
            return *known;
        }
        let table = self.table.get_or_init(Table::read);
        let text = uuid_of_device(Path::new(BY_UUID), device)
            .map(|uuid| by_uuid(&uuid))
            .or_else(|| table.server(mount?))
            .or_else(|| root_birth(directory).map(|birth| format!("made {birth}").into_bytes()))
            .unwrap_or_else(|| {
                let boot = fs::read_to_string(BOOT_ID).unwrap_or_default();
                format!("mounted {boot} {key:?}").into_bytes()
            });
        let id = hash(&text);
        self.known.borrow_mut().insert(key, id);
        id
    }
}

/// Whether a file system has no number but that of a device, or none at all: XFS and FAT make `f_fsid` from
/// the device, and with NFS and FUSE it is 0. The others make all of its 64 bits from their UUID.
fn is_of_device(fsid: u64) -> bool {
    u32::try_from(fsid).is_ok()
}

fn hash(text: &[u8]) -> u64 {
    let digest = Digest::of(text);
    u64::from_str_radix(&digest.hex()[..16], 16).unwrap_or_default()
}

fn by_uuid(uuid: &str) -> Vec<u8> {
    format!("uuid {uuid}").into_bytes()
}

/// The UUID of the file system on a block device, as `fs_uuid` writes it.
fn uuid_of_device(links: &Path, device: u64) -> Option<String> {
    let links = fs::read_dir(links).ok()?.flatten();
    let mut own = links.filter(|link| {
        let leads_to = fs::metadata(link.path());
        leads_to.is_ok_and(|metadata| metadata.rdev() == device)
    });
    let name = own.next()?.file_name();
    Some(name.to_string_lossy().replace('-', "").to_lowercase())
}

/// When the root of the mount was made, in seconds and nanoseconds. `None` where that is not known, and where
/// a time without nanoseconds may be one that was given.
fn root_birth(directory: BorrowedFd<'_>) -> Option<String> {
    let mut above: OwnedFd = parent(directory, ".")?;
    loop {
        let found = look(above.as_fd(), StatxFlags::BTIME | StatxFlags::INO)?;
        if found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
            let time = found.stx_btime;
            let is_known = found.stx_mask & StatxFlags::BTIME.bits() != 0 && time.tv_nsec != 0;
            return is_known.then(|| format!("{}.{}", time.tv_sec, time.tv_nsec));
        }
        let next = parent(above.as_fd(), "..")?;
        // The root of a chroot(2) is its own parent.
        if look(next.as_fd(), StatxFlags::INO)?.stx_ino == found.stx_ino {
            return None;
        }
        above = next;
    }
}

fn parent(directory: BorrowedFd<'_>, name: &str) -> Option<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(directory, name, flags, Mode::empty()).ok()
}

/// The number of its mount, of the kind that is asked for. `None` before Linux 5.8.
fn mount_number(directory: BorrowedFd<'_>, kind: StatxFlags) -> Option<u64> {
    let found = look(directory, kind)?;
    (found.stx_mask & kind.bits() != 0).then_some(found.stx_mnt_id)
}

fn look(directory: BorrowedFd<'_>, wanted: StatxFlags) -> Option<Statx> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    statx(directory, "", flags, wanted).ok()
}

#[cfg(test)]
mod tests {
    use super::super::look::open_directory;
    use super::*;

    #[test]
    fn a_device_has_the_uuid_that_a_link_to_it_tells() {
        let links = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/zero", links.path().join("1")).unwrap();
        std::os::unix::fs::symlink("/nowhere", links.path().join("2")).unwrap();
        std::os::unix::fs::symlink("/dev/null", links.path().join("8A3F-01b2")).unwrap();
        let device = fs::metadata("/dev/null").unwrap().rdev();
        let uuid = uuid_of_device(links.path(), device);
        assert_eq!(uuid.as_deref(), Some("8a3f01b2"));
        assert_eq!(uuid_of_device(links.path(), 0), None);
        assert_eq!(uuid_of_device(Path::new("/nowhere"), device), None);
    }

    #[test]
    fn all_directories_of_a_mount_tell_when_its_root_was_made() {
        let temporary = tempfile::tempdir_in("/dev/shm").unwrap();
        let deep = temporary.path().join("a/b");
        fs::create_dir_all(&deep).unwrap();
        let birth = |path: &Path| root_birth(open_directory(path).unwrap().as_fd());
        assert!(birth(&deep).is_some());
        assert_eq!(birth(&deep), birth(Path::new("/dev/shm")));
        assert_eq!(birth(Path::new("/proc")), None);
    }

    #[test]
    fn what_has_nothing_else_is_known_by_its_mount_and_not_by_its_device() {
        let id = |path: &str| {
            let directory = open_directory(Path::new(path)).unwrap();
            FileSystems::default().directory_id(directory).unwrap()
        };
        let proc = id("/proc");
        assert!(!is_of_device(proc.file_system), "{proc:?}");
        assert_eq!(id("/proc"), proc);
        assert_eq!(id("/proc/self").file_system, proc.file_system);
        assert_ne!(id("/").file_system, proc.file_system);
    }
}
