//! The credentials of `lists.auth-file`, read anew for each list: they change without a restart.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::timeout;

use crate::blocking::blocking;
use crate::credentials::{CREDENTIALS_MAX, Credentials, CredentialsError};
use crate::keyed_lock::KeyedLock;

/// A read that takes longer hangs.
const ANSWER: Duration = Duration::from_secs(30);

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
    #[error("cannot be read: its file system does not answer")]
    Hangs,
    #[error("is not a regular file")]
    NoFile,
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
}

/// Reads the file. Clones read it one after the other: a thread whose call does not return cannot be
/// ended, and there is one of them at most.
#[derive(Debug, Clone, Default)]
pub(super) struct LoginFile(KeyedLock);

impl LoginFile {
    pub(super) async fn credentials(&self, path: &Path) -> Result<Credentials, LoginError> {
        let opened = path.to_owned();
        let read = self.in_time(path, ANSWER, move || read(&opened)).await;
        read.map_err(|cause| LoginError {
            path: path.to_owned(),
            cause,
        })
    }

    async fn in_time<T: Send + 'static>(
        &self,
        path: &Path,
        limit: Duration,
        read: impl FnOnce() -> Result<T, Cause> + Send + 'static,
    ) -> Result<T, Cause> {
        let read = async {
            let alone = self.0.lock(&path.to_string_lossy()).await;
            let read = move || {
                let _alone = alone;
                read()
            };
            blocking(read).await
        };
        timeout(limit, read).await.unwrap_or(Err(Cause::Hangs))
    }
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_read_that_hangs_is_given_up_and_no_other_begins_before_it_has_returned() {
        let (file, path) = (LoginFile::default(), Path::new("/a/auth.json"));
        let soon = Duration::from_millis(20);
        let (returns, returned) = mpsc::channel::<()>();
        let hangs = move || {
            _ = returned.recv();
            Ok(())
        };
        let given_up = file.in_time(path, soon, hangs).await;
        assert!(matches!(given_up, Err(Cause::Hangs)), "{given_up:?}");
        let begins = || -> Result<(), Cause> { panic!("a second thread") };
        let given_up = file.in_time(path, soon, begins).await;
        assert!(matches!(given_up, Err(Cause::Hangs)), "{given_up:?}");
        let other = file.in_time(Path::new("/b/auth.json"), ANSWER, || Ok(1));
        assert_eq!(other.await.unwrap(), 1);
        drop(returns);
        assert_eq!(file.in_time(path, ANSWER, || Ok(2)).await.unwrap(), 2);
    }
}
