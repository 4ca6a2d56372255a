//! Where containerd's program is.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::Access;

/// Why there is no program to run. Each message names the fix.
#[derive(Debug, thiserror::Error)]
pub enum BinaryError {
    /// A bare name that no directory of PATH has.
    #[error(
        "{}: not found on PATH ({}); install Debian's package containerd, or set containerd.binary",
        .name.display(), .path.display()
    )]
    NotOnPath {
        /// `containerd.binary`.
        name: PathBuf,
        /// The PATH that was searched.
        path: PathBuf,
    },
    /// A path with a slash at which there is no file.
    #[error(
        "containerd.binary {}: no such file; install Debian's package containerd, or set containerd.binary",
        .0.display()
    )]
    Missing(PathBuf),
    /// There, but not a file.
    #[error("containerd.binary {}: not a file", .0.display())]
    NotAFile(PathBuf),
    /// There, but it may not be run.
    #[error(
        "containerd.binary {}: may not be executed: {cause} (chmod +x it, or look for a noexec mount)",
        .path.display()
    )]
    NotExecutable {
        path: PathBuf,
        /// What the kernel said.
        cause: io::Error,
    },
}

/// Finds the program: a path with a slash is taken as it is, a bare name is looked up in the
/// directories of `path` (the value of PATH) as execvp(3) does.
///
/// # Errors
/// When there is none, or only one that cannot be run.
pub fn find(binary: &Path, path: &OsStr) -> Result<PathBuf, BinaryError> {
    if binary.as_os_str().as_bytes().contains(&b'/') {
        return check(binary.to_owned());
    }
    let mut found_but = None;
    for mut directory in std::env::split_paths(path) {
        if directory.as_os_str().is_empty() {
            // The current directory, and the result has a slash, so that it is not looked up again.
            directory.push(".");
        }
        match check(directory.join(binary)) {
            Ok(program) => return Ok(program),
            Err(error @ BinaryError::NotExecutable { .. }) => {
                found_but.get_or_insert(error);
            }
            Err(_) => {}
        }
    }
    Err(found_but.unwrap_or_else(|| BinaryError::NotOnPath {
        name: binary.to_owned(),
        path: path.into(),
    }))
}

fn check(program: PathBuf) -> Result<PathBuf, BinaryError> {
    match program.metadata() {
        Err(_) => Err(BinaryError::Missing(program)),
        Ok(metadata) if !metadata.is_file() => Err(BinaryError::NotAFile(program)),
        Ok(_) => match rustix::fs::access(&program, Access::EXEC_OK) {
            Ok(()) => Ok(program),
            Err(errno) => Err(BinaryError::NotExecutable {
                path: program,
                cause: errno.into(),
            }),
        },
    }
}
