//! The files in which containerd's content store keeps its blobs (`plugins/content/local`), as they are
//! seen from here: their lengths, and, where that is to be known, their bytes.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, fstatvfs, statat, syncfs};

use super::blocking::assert_may_wait;
use super::file_hash::{self, BytesOnDisk};
use crate::digest::Digest;
use crate::needed_blob::NeededBlob;

/// The files of a content store.
#[derive(Debug)]
pub(super) struct BlobFiles {
    dir: PathBuf,
}

impl BlobFiles {
    /// Those of the content store at `root`, which may have none yet. A missing `witness`, another file
    /// of containerd's, shows that stowd sees another file system.
    pub(super) fn of(root: &Path, witness: &Path) -> io::Result<Self> {
        assert_may_wait();
        witness.metadata()?;
        let dir = root.join("blobs/sha256");
        Ok(Self { dir })
    }

    /// The length of a blob's file; `None` where there is none.
    pub(super) fn length(&self, digest: &Digest) -> io::Result<Option<u64>> {
        assert_may_wait();
        match self.path(digest).symlink_metadata() {
            Ok(found) => Ok(Some(found.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Those of the blobs that no file of their length is seen of. The directory is looked up once for all of
    /// them.
    pub(super) fn without_file(&self, mut blobs: Vec<NeededBlob>) -> Vec<NeededBlob> {
        assert_may_wait();
        let Ok(dir) = File::open(&self.dir) else {
            return blobs;
        };
        let length = |digest: &Digest| {
            let found = statat(&dir, digest.hex(), AtFlags::SYMLINK_NOFOLLOW).ok()?;
            u64::try_from(found.st_size).ok()
        };
        blobs.retain(|NeededBlob { digest, size }| length(digest) != Some(*size));
        blobs
    }

    /// Removes a blob's file if its bytes have another digest, or are lost. Returns whether they have. A file
    /// that takes its place meanwhile stays, and so does one that cannot be read for another reason. After
    /// each chunk it asks whether it `goes_on`.
    pub(super) fn remove_wrong(
        &self,
        digest: &Digest,
        mut goes_on: impl FnMut() -> bool,
    ) -> io::Result<bool> {
        assert_may_wait();
        let path = self.path(digest);
        let removed = File::open(&path).and_then(|file| {
            let bytes = file_hash::file_bytes(&file, |_| goes_on())?;
            if bytes == BytesOnDisk::Of(digest.clone()) {
                return Ok(false);
            }
            let (hashed, named) = (file.metadata()?, path.symlink_metadata()?);
            if (hashed.dev(), hashed.ino()) == (named.dev(), named.ino()) {
                fs::remove_file(&path)?;
            }
            Ok(true)
        });
        match removed {
            // A garbage collection was first.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            other => other,
        }
    }

    /// Returns when all that was written to their file system is on the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        assert_may_wait();
        Ok(syncfs(File::open(&self.dir)?)?)
    }

    /// What a blob's file has on the disk; `None` where there is none. After each part it asks whether it
    /// `goes_on`.
    pub(super) fn read(
        &self,
        digest: &Digest,
        goes_on: impl FnMut(u64) -> bool,
    ) -> io::Result<Option<BytesOnDisk>> {
        assert_may_wait();
        let file = File::open(self.path(digest));
        match file.and_then(|file| file_hash::file_bytes(&file, goes_on)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some),
        }
    }

    /// How many bytes are free on their file system, as `df` tells it: what is kept back for root is not.
    /// `None` where that is not counted.
    pub(super) fn free_space(&self) -> Option<u64> {
        assert_may_wait();
        // A store that has no blob yet may not have its directories.
        let mut above = self.dir.ancestors();
        let found = above.find_map(|path| File::open(path).ok())?;
        let found = fstatvfs(found).ok()?;
        (found.f_blocks > 0).then(|| found.f_bavail.saturating_mul(found.f_frsize))
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.dir.join(digest.hex())
    }
}

#[cfg(test)]
mod tests {
    use super::super::blob_file::BLOCK;
    use super::*;

    #[test]
    fn files_are_measured_and_removed_where_they_are_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let witness = dir.path().join("meta.db");
        assert!(BlobFiles::of(dir.path(), &witness).is_err());
        fs::write(&witness, "").unwrap();
        let files = BlobFiles::of(dir.path(), &witness).unwrap();
        let digest = Digest::of(b"abc");
        assert_eq!(files.length(&digest).unwrap(), None, "no directory yet");
        let blobs = dir.path().join("blobs/sha256");
        fs::create_dir_all(&blobs).unwrap();
        assert_eq!(files.length(&digest).unwrap(), None);
        for bytes in ["", "ab", "abc", "abcd"] {
            fs::write(blobs.join(digest.hex()), bytes).unwrap();
            assert_eq!(files.length(&digest).unwrap(), Some(bytes.len() as u64));
            let is_wrong = bytes != "abc";
            assert_eq!(files.remove_wrong(&digest, || true).unwrap(), is_wrong);
            let left = files.length(&digest).unwrap();
            assert_eq!(left, (!is_wrong).then_some(3));
            for size in [2, 3, 4] {
                let blob = NeededBlob {
                    digest: digest.clone(),
                    size,
                };
                let without = files.without_file(vec![blob]);
                assert_eq!(without.is_empty(), left == Some(size));
            }
        }
        let removed = files.remove_wrong(&digest, || true);
        assert!(!removed.unwrap(), "there is none");
    }

    #[test]
    fn a_long_file_is_hashed_in_chunks_and_no_further_than_it_is_to_be() {
        let dir = tempfile::tempdir().unwrap();
        let files = BlobFiles::of(dir.path(), dir.path()).unwrap();
        let blobs = dir.path().join("blobs/sha256");
        fs::create_dir_all(&blobs).unwrap();
        let digest = Digest::of(b"abc");
        fs::write(blobs.join(digest.hex()), vec![0; 3 * BLOCK]).unwrap();
        let mut asked = 0;
        let given_up = files.remove_wrong(&digest, || {
            asked += 1;
            asked < 2
        });
        given_up.unwrap_err();
        assert_eq!(asked, 2);
        assert!(files.length(&digest).unwrap().is_some(), "it stays");
        let mut asked = 0;
        let removed = files.remove_wrong(&digest, || {
            asked += 1;
            true
        });
        assert!(removed.unwrap());
        assert_eq!(asked, 3, "after each chunk");
    }

    #[test]
    fn a_file_system_that_does_not_count_tells_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let free = |root: &Path, witness: &Path| {
            let files = BlobFiles::of(root, witness).unwrap();
            files.free_space()
        };
        let no_blob_yet = dir.path().join("root");
        assert!(free(&no_blob_yet, dir.path()).is_some_and(|free| free > 0));
        let proc = Path::new("/proc");
        assert_eq!(free(proc, proc), None);
    }
}
