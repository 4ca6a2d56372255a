//! How much room containerd's content store has.

use std::fs::File;
use std::os::fd::AsFd;

use rustix::fs::fstatvfs;

use super::blocking::{assert_may_wait, blocking};
use super::client::Containerd;
use super::content_store::ToldStore;

impl Containerd {
    /// How many bytes are free on the file system of the content store, as `df` tells it: what is kept
    /// back for root is not. `None` where the store is not on a file system that stowd sees.
    pub(super) async fn free_content_space(&self) -> Option<u64> {
        if let Some(blobs) = self.direct_writes.dir() {
            return blocking(move || free_on(blobs.dir())).await;
        }
        let plugins = self.plugins().await.ok()?;
        let content = ToldStore::of(&plugins).ok()?;
        blocking(move || {
            // Without it stowd sees another file system than containerd.
            content.witness.exists().then_some(())?;
            // A store that has no blob yet may not have its root.
            let mut above = content.root.ancestors();
            free_on(&above.find_map(|path| File::open(path).ok())?)
        })
        .await
    }
}

fn free_on(directory: impl AsFd) -> Option<u64> {
    assert_may_wait();
    let found = fstatvfs(directory).ok()?;
    // Some file systems do not count.
    (found.f_blocks > 0).then(|| found.f_bavail.saturating_mul(found.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_that_does_not_count_tells_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert!(free_on(File::open(dir.path()).unwrap()).is_some_and(|free| free > 0));
        assert_eq!(free_on(File::open("/proc").unwrap()), None);
    }
}
