//! The credentials of `lists.auth-file`, read anew for each list: they change without a restart.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::blocking::blocking;
use crate::credentials::{CREDENTIALS_MAX, Credentials, CredentialsError};

/// Why there are no credentials. Nothing of the file's content is in it.
#[derive(Debug, thiserror::Error)]
#[error("lists.auth-file: {}: {cause}", path.display())]
pub(super) struct LoginError {
    path: PathBuf,
    cause: Cause,
}

#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    #[error("is not a regular file")]
    NoFile,
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
}

pub(super) async fn credentials(path: &Path) -> Result<Credentials, LoginError> {
    let path = path.to_owned();
    blocking(move || read(&path).map_err(|cause| LoginError { path, cause })).await
}

fn read(path: &Path) -> Result<Credentials, Cause> {
    if !fs::metadata(path)?.is_file() {
        // Reading a pipe may never end.
        return Err(Cause::NoFile);
    }
    // One byte more, so that the excess is noticed.
    let (mut file, mut bytes) = (File::open(path)?.take(CREDENTIALS_MAX + 1), Vec::new());
    file.read_to_end(&mut bytes)?;
    Ok(Credentials::parse(&bytes)?)
}
