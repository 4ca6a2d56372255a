//! Brings back what is damaged of an image that the store has, and that a line names.
//!
//! ```text
//!   pull     cannot even ask for the image -> nothing is thrown away: what works of it goes on working
//!     |
//!   discard  what is damaged, under a lease that keeps the rest of the image
//!     |
//!   pull     fails -> the lease stays until the image is whole
//!     |
//!   layers   that were thrown away and are unpacked, one by one: a pull of the image leaves them out
//! ```

use super::lines::{LineState, ListWork, PullLineError};
use crate::admit::LeasedStore;
use crate::credentials::Credentials;
use crate::image_list::Line;
use crate::image_store::{ImageStore, PullError, StoreError};
use crate::needed_blob::{BlobFault, BlobFaults};

impl<S: ImageStore> ListWork<'_, S> {
    /// Has the damaged blobs of the image of a line replaced. What it has begun it goes on with at the
    /// next try, if it fails.
    pub(super) async fn repair(
        &self,
        line: &Line,
        logins: &Credentials,
    ) -> Result<(), PullLineError> {
        let name = line.reference.to_string();
        let leased = self.repairs.lease(self.store, &name, &self.name).await?;
        let repaired = self.replace(line, &leased, logins).await;
        if self.repairs.discarded(&name).is_empty() {
            self.repairs.end(&name).await;
        }
        repaired
    }

    async fn replace(
        &self,
        line: &Line,
        leased: &LeasedStore<S>,
        logins: &Credentials,
    ) -> Result<(), PullLineError> {
        let name = line.reference.to_string();
        // A damaged document does not keep them, and loses the labels that do when it is pulled.
        if let Err(error) = self.keep_known(&name, leased).await {
            if error.is_refusal() {
                // The lease may be gone.
                self.repairs.end(&name).await;
            }
            return Err(error.into());
        }
        let asked = self.pull_image(&line.reference, logins).await;
        if asked.as_ref().is_err_and(PullLineError::is_unanswered) {
            return asked;
        }
        let mut damaged = self.faults(line).await?;
        // The file of what has no record may be another namespace's.
        damaged.retain(|_, fault| *fault != BlobFault::NoRecord);
        if damaged.is_empty() {
            asked?;
        }
        for digest in damaged.keys() {
            self.repairs.add_discarded(&name, digest);
            self.store.discard_if_damaged(&leased.lease, digest).await?;
        }
        if !damaged.is_empty() {
            self.pull_image(&line.reference, logins).await?;
        }
        // Not what the runtime throws away when it is unpacked: it would be thrown away again.
        let discarded = self.repairs.discarded(&name);
        let mut lacking = self.faults(line).await?;
        lacking.retain(|digest, _| discarded.contains(digest));
        for digest in lacking.keys() {
            let name = line.reference.by_digest(digest).to_string();
            let login = logins.login_for(&line.reference);
            let pull = self.store.pull_blob(&leased.lease, &name, digest, login);
            let pulled = self.in_time(login, pull).await;
            pulled.map_err(|error| error.of_layer(digest))?;
        }
        Ok(())
    }

    /// Puts what the list has brought of an image under the lease.
    async fn keep_known(&self, name: &str, leased: &LeasedStore<S>) -> Result<(), StoreError> {
        let known = self.known.iter();
        let known = known.filter(|image| image.names.iter().any(|own| own == name));
        for blob in known.flat_map(|image| &image.blobs) {
            self.store.has_blob(&leased.lease, &blob.digest).await?;
        }
        Ok(())
    }

    /// What is wrong with the image of a line now.
    async fn faults(&self, line: &Line) -> Result<BlobFaults, PullLineError> {
        Ok(match self.what_is_there(line, self.known).await? {
            LineState::Damaged(faults) => faults,
            LineState::Absent | LineState::Kept(_) => BlobFaults::new(),
        })
    }
}

impl PullLineError {
    /// Whether nothing is known of what the registry has.
    fn is_unanswered(&self) -> bool {
        matches!(
            self,
            Self::Late(_) | Self::Pull(PullError::Store(_) | PullError::Unresolved(_))
        )
    }
}
