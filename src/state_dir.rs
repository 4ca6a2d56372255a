//! The state directory: made when missing, and one daemon's at a time.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use tracing::warn;

/// Held for as long as this daemon may use the state directory.
#[derive(Debug)]
pub struct Lock {
    _file: Option<File>,
}

/// Another daemon holds the state directory.
#[derive(Debug, thiserror::Error)]
#[error(
    "another stowd uses state-dir {}; stop it, or give this one a state-dir of its own",
    dir.display()
)]
pub struct Taken {
    dir: PathBuf,
}

/// Takes the state directory. Two daemons on one would import the same images twice and clear each
/// other's leases. A directory that cannot be written holds nothing that could clash: it is used
/// as it is, with a warning.
pub fn lock(dir: &Path) -> Result<Lock, Taken> {
    let opened = fs::create_dir_all(dir).and_then(|()| open(&dir.join("lock")));
    let file = match opened {
        Ok(file) => file,
        Err(error) => {
            let path = dir.display();
            warn!(%path, %error, "state directory cannot be written: {path}: {error}");
            return Ok(Lock { _file: None });
        }
    };
    match file.try_lock() {
        Ok(()) => Ok(Lock { _file: Some(file) }),
        Err(TryLockError::WouldBlock) => Err(Taken {
            dir: dir.to_owned(),
        }),
        Err(TryLockError::Error(error)) => {
            let path = dir.display();
            warn!(%path, %error, "state directory cannot be locked: {path}: {error}");
            Ok(Lock { _file: None })
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
}
