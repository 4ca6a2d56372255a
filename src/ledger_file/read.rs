//! Reads a ledger's file, and says why it, or part of it, is not used.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::ledger::{Dropped, Ledger};

/// In the images directory, where an operator created it. k3s's name for the same purpose.
pub(super) const CACHE: &str = ".cache.json";
/// A longer file is not read. A record takes some hundred bytes, and 75 for each blob of its images.
const MAX: u64 = 64 << 20;

/// Why a ledger's file, or part of it, is not used. Its entries are imported again.
#[derive(Debug, thiserror::Error)]
#[error("{}: {cause}", path.display())]
pub struct LoadWarning {
    pub path: PathBuf,
    pub cause: Unused,
}

/// What is wrong with a ledger's file.
#[derive(Debug, thiserror::Error)]
pub enum Unused {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It is a directory or a device.
    #[error("not a regular file")]
    NotAFile,
    /// It is too long to be a ledger.
    #[error("{0} bytes long, more than any ledger ({MAX}); none of it is used")]
    TooLong(u64),
    #[error("its file system does not answer; the ledger in state-dir is used")]
    Silent,
    /// Not all of it is understood.
    #[error(transparent)]
    Dropped(#[from] Dropped),
}

pub(super) fn read(path: &Path, images_dir: &Path) -> (Ledger, Option<LoadWarning>) {
    understood(path, bytes(path), images_dir)
}

/// The ledger that these bytes of the file at `path` are.
pub(super) fn understood(
    path: &Path,
    json: Result<Vec<u8>, Unused>,
    images_dir: &Path,
) -> (Ledger, Option<LoadWarning>) {
    let warning = |cause| LoadWarning {
        path: path.to_owned(),
        cause,
    };
    match json {
        Ok(json) => {
            let (ledger, dropped) = Ledger::from_json(&json, images_dir);
            (ledger, dropped.map(|dropped| warning(dropped.into())))
        }
        Err(cause) => (Ledger::default(), Some(warning(cause))),
    }
}

/// The bytes of the file; none where there is no file.
pub(super) fn bytes(path: &Path) -> Result<Vec<u8>, Unused> {
    let metadata = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        metadata => metadata?,
    };
    // Before it is opened: opening a pipe waits for a writer.
    if !metadata.is_file() {
        return Err(Unused::NotAFile);
    }
    if metadata.len() > MAX {
        return Err(Unused::TooLong(metadata.len()));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}
