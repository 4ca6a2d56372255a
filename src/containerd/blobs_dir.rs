//! The directory of containerd's content store, `blobs/sha256` (containerd,
//! `plugins/content/local`), as a directory to put files into.
//!
//! A blob is written to a file that has no name (open(2), `O_TMPFILE`) and gets its name when it is
//! whole, on the disk, and hashed. So, whenever stowd is killed, a file with a name has the bytes that
//! the name promises, and the kernel removes a file without one. The next start has nothing to clear
//! up. If stowd is killed after a file got its name and before containerd records it, an unreferenced
//! valid blob remains until the next import or collection.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use super::blocking::assert_may_wait;
use crate::digest::Digest;

/// What containerd asks for when it makes the file of a blob, less its umask, and what it takes away
/// when the blob is whole (`writer` and `Commit` of its local store).
const MADE: u32 = 0o666;
const TAKEN: u32 = 0o333;

/// `blobs/sha256` of a content store, open.
#[derive(Debug)]
pub(super) struct BlobsDir {
    dir: File,
    path: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error("its content store at {} is not to be seen from here: {cause}", root.display())]
    Unseen { root: PathBuf, cause: io::Error },
    #[error(
        "its content store at {} belongs to the user {owner}, and stowd runs as {own}",
        root.display()
    )]
    OfOthers { root: PathBuf, owner: u32, own: u32 },
    #[error("files without a name cannot be made in {}: {cause}", path.display())]
    NoFiles { path: PathBuf, cause: io::Error },
}

impl BlobsDir {
    /// Opens the directory of the content store at `root`; `witness` is another file of containerd's.
    /// A store that has no blob yet may not even have its root: it gets its directories now.
    pub(super) fn open(root: &Path, witness: &Path) -> Result<Self, Unusable> {
        assert_may_wait();
        let unseen = |cause| Unusable::Unseen {
            root: root.to_owned(),
            cause,
        };
        let own = rustix::process::geteuid().as_raw();
        let owner = |path: &Path| fs::metadata(path).map(|metadata| metadata.uid());
        // A missing witness shows that stowd sees another file system than containerd.
        let owners = [owner(witness).map_err(unseen)?, owner(root).unwrap_or(own)];
        if let Some(owner) = owners.into_iter().find(|owner| *owner != own) {
            let root = root.to_owned();
            return Err(Unusable::OfOthers { root, owner, own });
        }
        let path = root.join("blobs/sha256");
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o755);
        let no_files = |cause| Unusable::NoFiles {
            path: path.clone(),
            cause,
        };
        builder.create(&path).map_err(no_files)?;
        let dir = File::open(&path).map_err(unseen)?;
        let blobs = Self { dir, path };
        match blobs.create() {
            Ok(_) => Ok(blobs),
            Err(cause) => Err(Unusable::NoFiles {
                path: blobs.path,
                cause,
            }),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A new file without a name.
    pub(super) fn create(&self) -> io::Result<File> {
        assert_may_wait();
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(MADE);
        Ok(rustix::fs::openat(&self.dir, ".", flags, mode)?.into())
    }

    /// Whether there is a file of this name and length.
    pub(super) fn has(&self, digest: &Digest, size: u64) -> bool {
        assert_may_wait();
        let found = rustix::fs::statat(&self.dir, digest.hex(), AtFlags::SYMLINK_NOFOLLOW);
        found.is_ok_and(|found| u64::try_from(found.st_size) == Ok(size))
    }

    /// Syncs a whole file and gives it its name. Another file of this name and length stays: it
    /// promises the same bytes. A file of another length was left by a loss of power, and is replaced.
    pub(super) fn publish(&self, file: &File, digest: &Digest) -> io::Result<()> {
        assert_may_wait();
        let made = file.metadata()?.mode();
        rustix::fs::fchmod(file, Mode::from_raw_mode(made & MADE & !TAKEN))?;
        file.sync_data()?;
        if !self.link(file, digest)? && !self.has(digest, file.metadata()?.len()) {
            match rustix::fs::unlinkat(&self.dir, digest.hex(), AtFlags::empty()) {
                // NOENT: a garbage collection has removed it meanwhile.
                Ok(()) | Err(Errno::NOENT) => self.link(file, digest)?,
                Err(error) => return Err(error.into()),
            };
        }
        // Again, now that it has a name: btrfs does not write a file without one to its log.
        file.sync_all()?;
        // The name must be on the disk before containerd's records speak of it.
        self.dir.sync_all()
    }

    /// Whether the file has got the name, or another file has it.
    fn link(&self, file: &File, digest: &Digest) -> io::Result<bool> {
        let nameless = format!("/proc/self/fd/{}", file.as_raw_fd());
        let follow = AtFlags::SYMLINK_FOLLOW;
        match rustix::fs::linkat(CWD, nameless, &self.dir, digest.hex(), follow) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes the name away again, if it leads to this file.
    pub(super) fn take_back(&self, file: &File, digest: &Digest) -> io::Result<()> {
        assert_may_wait();
        let own = rustix::fs::fstat(file)?;
        let named = rustix::fs::statat(&self.dir, digest.hex(), AtFlags::SYMLINK_NOFOLLOW)?;
        if (own.st_dev, own.st_ino) == (named.st_dev, named.st_ino) {
            rustix::fs::unlinkat(&self.dir, digest.hex(), AtFlags::empty())?;
        }
        Ok(())
    }
}

pub(super) fn is_named(file: &File) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.nlink() > 0)
}

/// Whether the error is about one file or one moment, and not about the directory.
pub(super) fn is_passing(error: &io::Error) -> bool {
    let passing = [
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOMEM,
        Errno::INTR,
        Errno::IO,
    ];
    Errno::from_io_error(error).is_some_and(|errno| passing.contains(&errno))
}

/// Whether the disk, or a quota of it, is full.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    fn store() -> (tempfile::TempDir, BlobsDir) {
        let dir = tempfile::tempdir().unwrap();
        let blobs = open(dir.path()).unwrap();
        (dir, blobs)
    }

    fn open(dir: &Path) -> Result<BlobsDir, Unusable> {
        fs::write(dir.join("meta.db"), "").unwrap();
        BlobsDir::open(&dir.join("content"), &dir.join("meta.db"))
    }

    fn file(blobs: &BlobsDir, bytes: &[u8]) -> File {
        let mut file = blobs.create().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn names(blobs: &BlobsDir) -> Vec<String> {
        let entries = fs::read_dir(blobs.path()).unwrap();
        let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name();
        entries
            .map(|entry| name(entry).into_string().unwrap())
            .collect()
    }

    #[test]
    fn a_file_has_no_name_before_it_is_published_and_containerds_mode_then() {
        let (_dir, blobs) = store();
        let digest = Digest::of(b"abc");
        let file = file(&blobs, b"abc");
        assert!(!is_named(&file) && names(&blobs).is_empty());
        blobs.publish(&file, &digest).unwrap();
        assert!(is_named(&file));
        assert_eq!(names(&blobs), [digest.hex()]);
        assert!(blobs.has(&digest, 3) && !blobs.has(&digest, 4));
        let path = blobs.path().join(digest.hex());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o444);
        let mut bytes = Vec::new();
        File::open(&path).unwrap().read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, b"abc");

        // A second file of that name: the first one stays.
        let second = self::file(&blobs, b"abc");
        blobs.publish(&second, &digest).unwrap();
        assert!(!is_named(&second));
        blobs.take_back(&second, &digest).unwrap();
        assert!(blobs.has(&digest, 3));
        blobs.take_back(&file, &digest).unwrap();
        assert!(names(&blobs).is_empty() && !is_named(&file));
    }

    #[test]
    fn what_a_loss_of_power_has_left_makes_room() {
        let (_dir, blobs) = store();
        let digest = Digest::of(b"abc");
        let path = blobs.path().join(digest.hex());
        for left in ["", "ab", "abcd"] {
            fs::write(&path, left).unwrap();
            let file = file(&blobs, b"abc");
            blobs.publish(&file, &digest).unwrap();
            assert!(is_named(&file), "{left:?}");
            assert_eq!(fs::read(&path).unwrap(), b"abc");
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn what_is_not_a_content_store_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("content");
        let error = BlobsDir::open(&root, &dir.path().join("meta.db"));
        let error = error.unwrap_err().to_string();
        assert!(error.contains("not to be seen from here"), "{error}");
        assert!(!root.exists());
        fs::write(&root, "").unwrap();
        let error = open(dir.path()).unwrap_err().to_string();
        assert!(error.contains("cannot be made"), "{error}");
        let error = BlobsDir::open(Path::new("/proc/self"), Path::new("/proc/self/stat"));
        assert!(error.is_err(), "no file can be made there");
    }
}
