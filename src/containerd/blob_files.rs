//! The files in which containerd's content store keeps its blobs (`plugins/content/local`), as they are
//! seen from here: their lengths, and, where that is to be known, their bytes.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustix::fs::{Advice, fadvise};

use super::blocking::assert_may_wait;
use crate::digest::{Digest, Hasher};

/// The bytes that are hashed at a time.
const CHUNK: usize = 256 << 10;

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

    /// The digest of the bytes that a blob's file has.
    pub(super) fn hash(&self, digest: &Digest) -> io::Result<Digest> {
        assert_may_wait();
        let mut file = File::open(self.path(digest))?;
        let (mut hasher, mut buffer) = (Hasher::default(), vec![0; CHUNK]);
        loop {
            match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => hasher.update(&buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        // No process reads a blob before a container wants it.
        let _ = fadvise(&file, 0, None, Advice::DontNeed);
        Ok(hasher.finish())
    }

    /// Removes a blob's file; that there is none is fine.
    pub(super) fn remove(&self, digest: &Digest) -> io::Result<()> {
        assert_may_wait();
        match fs::remove_file(self.path(digest)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.dir.join(digest.hex())
    }
}

/// The files, where they can be seen. Clones are one.
#[derive(Debug, Clone, Default)]
pub(super) struct SeenFiles(Arc<RwLock<Option<Arc<BlobFiles>>>>);

impl SeenFiles {
    pub(super) fn get(&self) -> Option<Arc<BlobFiles>> {
        let files = self.0.read().unwrap_or_else(PoisonError::into_inner);
        files.clone()
    }

    pub(super) fn set(&self, files: Option<BlobFiles>) {
        let mut place = self.0.write().unwrap_or_else(PoisonError::into_inner);
        *place = files.map(Arc::new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_measured_hashed_and_removed_by_their_digests() {
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
            assert_eq!(files.hash(&digest).unwrap(), Digest::of(bytes.as_bytes()));
        }
        files.remove(&digest).unwrap();
        files.remove(&digest).unwrap();
        assert!(files.hash(&digest).is_err());
    }
}
