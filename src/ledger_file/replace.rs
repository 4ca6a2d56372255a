//! Puts a new version of a ledger's file in the place of the old one.
//!
//! Written anew as a whole: into a file beside it whose name begins with a dot (a scan passes it
//! over), synced, renamed, its directory synced. A crash leaves the old ledger or the new one.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::read::CACHE;

/// What the file that is being written ends in.
const NEW: &str = ".stowd-new";

/// Why a ledger was not written. What stowd knows is in memory alone until a write succeeds.
#[derive(Debug, thiserror::Error)]
#[error("{}: {step}: {cause}{}", path.display(), hint(path, cause))]
pub struct WriteError {
    pub path: PathBuf,
    step: &'static str,
    pub(super) cause: io::Error,
}

/// The file into which the next version of the one at `path` is written.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default();
    let mut new = std::ffi::OsString::from(".");
    new.push(name);
    new.push(NEW);
    path.with_file_name(new)
}

/// Removes what a write of the file at `path` that was cut off has left. What cannot be removed does no
/// harm, and is not reported.
pub(super) fn remove_rest(path: &Path) {
    let _ = fs::remove_file(beside(path));
}

/// Puts a file with these bytes in the place of the one at `path`, whole or not at all.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    put(path, bytes).map_err(|(step, cause)| WriteError {
        path: path.to_owned(),
        step,
        cause,
    })
}

fn put(path: &Path, bytes: &[u8]) -> Result<(), (&'static str, io::Error)> {
    let new = beside(path);
    let written = write_new(&new, bytes).and_then(|()| {
        fs::rename(&new, path).map_err(|error| ("it cannot take the place of the old one", error))
    });
    if written.is_err() {
        // On a full disk its bytes are wanted elsewhere.
        let _ = fs::remove_file(&new);
        return written;
    }
    let dir = path.parent().unwrap_or(Path::new("/"));
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(|error| ("its directory cannot be synced", error))
}

fn write_new(new: &Path, bytes: &[u8]) -> Result<(), (&'static str, io::Error)> {
    let create = || File::options().write(true).create_new(true).open(new);
    let created = match create() {
        // Of a write that was cut off.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(new).and_then(|()| create())
        }
        // The state directory was removed.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let dir = new.parent().unwrap_or(Path::new("/"));
            fs::create_dir_all(dir).and_then(|()| create())
        }
        created => created,
    };
    let mut file = created.map_err(|error| ("a file beside it cannot be created", error))?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written.map_err(|error| ("the file beside it cannot be written", error))
}

/// The fix, where there is one.
fn hint(path: &Path, cause: &io::Error) -> String {
    let denied = matches!(
        cause.kind(),
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied
    );
    if denied && path.ends_with(CACHE) {
        format!("; remove {CACHE} and stowd keeps the ledger in state-dir")
    } else {
        String::new()
    }
}
