//! Leases: what is written under one is not collected before it ends
//! (containerd's docs/garbage-collection.md).

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use containerd_client::services::v1 as api;
use containerd_client::services::v1::{CreateRequest, DeleteRequest, ListRequest, Resource};

use super::client::{Containerd, answered};
use super::failure::FailureKind;
use super::lease::Lease;
use super::owner;
use crate::digest::Digest;
use crate::image_store::StoreError;
use crate::one_line::beginning;

/// The label that says what a lease of stowd's is for; that it is there tells stowd's leases.
const PURPOSE: &str = "io.stowd.lease";
/// The label that says which process began it.
pub(super) const OWNER: &str = "io.stowd.owner";
/// When containerd ends it by itself, RFC 3339.
const EXPIRE: &str = "containerd.io/gc.expire";
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// containerd refuses a label of more than 4096 bytes, key and value together.
const PURPOSE_CHARS: usize = 500;

impl Containerd {
    pub(super) async fn create_lease(&self, purpose: &str) -> Result<Lease, StoreError> {
        let purpose = beginning(purpose, PURPOSE_CHARS).to_owned();
        let expiry = humantime::format_rfc3339_seconds(SystemTime::now() + LIFETIME);
        let labels = HashMap::from([
            (PURPOSE.to_owned(), purpose.clone()),
            (OWNER.to_owned(), owner::this_process()),
            (EXPIRE.to_owned(), expiry.to_string()),
        ]);
        self.create_lease_with(new_id("stowd"), purpose, labels)
            .await
    }

    pub(super) async fn create_lease_with(
        &self,
        id: String,
        purpose: String,
        labels: HashMap<String, String>,
    ) -> Result<Lease, StoreError> {
        let request = CreateRequest {
            id: id.clone(),
            labels,
        };
        let mut leases = self.leases();
        let created = leases.create(request);
        answered("Leases.Create", self.deadlines().change, created).await?;
        Ok(Lease { id, purpose })
    }

    /// With `collect`, containerd collects garbage before it answers; without, it does so some time. Returns
    /// whether the lease was there.
    pub(super) async fn delete_lease(
        &self,
        lease: &Lease,
        collect: bool,
    ) -> Result<bool, StoreError> {
        self.delete_lease_by_id(&lease.id, collect).await
    }

    pub(super) async fn delete_lease_by_id(
        &self,
        id: &str,
        collect: bool,
    ) -> Result<bool, StoreError> {
        let request = DeleteRequest {
            id: id.to_owned(),
            sync: collect,
        };
        let mut leases = self.leases();
        let deleted = leases.delete(request);
        match answered("Leases.Delete", self.deadlines().change, deleted).await {
            Err(failure) if failure.kind != FailureKind::NotFound => {
                self.unreleased().insert(id.to_owned());
                Err(failure.into())
            }
            deleted => {
                self.unreleased().remove(id);
                Ok(deleted.is_ok())
            }
        }
    }

    fn unreleased(&self) -> MutexGuard<'_, BTreeSet<String>> {
        let unreleased = self.unreleased.lock();
        unreleased.unwrap_or_else(PoisonError::into_inner)
    }

    /// The leases of stowd processes that have ended without releasing them, and those of this process
    /// that it could not release. What was half written under the former can be resumed only as long as
    /// they are there: take the list before the first import and [clear](Self::clear_leases) it after
    /// that.
    pub async fn stale_leases(&self) -> Result<Vec<Lease>, StoreError> {
        let mut stale = self.leases_of(owner::has_ended).await?;
        let unreleased = self.unreleased().clone();
        if !unreleased.is_empty() {
            let mut own = self.own_leases().await?;
            own.retain(|lease| unreleased.contains(lease.id()));
            stale.extend(own);
        }
        Ok(stale)
    }

    /// The leases that this process began and has not released.
    pub async fn own_leases(&self) -> Result<Vec<Lease>, StoreError> {
        let this = owner::this_process();
        self.leases_of(|owner| owner == this).await
    }

    async fn leases_of(&self, is_of: impl Fn(&str) -> bool) -> Result<Vec<Lease>, StoreError> {
        let leases = self.list_leases(format!("labels.\"{PURPOSE}\"")).await?;
        let leases = leases.into_iter();
        Ok(leases.filter_map(|lease| of_stowd(lease, &is_of)).collect())
    }

    pub(super) async fn list_leases(&self, filter: String) -> Result<Vec<api::Lease>, StoreError> {
        let request = ListRequest {
            filters: vec![filter],
        };
        let mut leases = self.leases();
        let listed = leases.list(request);
        let listed = answered("Leases.List", self.deadlines().answer, listed).await?;
        Ok(listed.leases)
    }

    /// Ends these leases; that one is gone already is fine. What they kept and no image refers to is
    /// collected before this returns: it may fill the disk, and containerd is in no hurry by itself.
    pub async fn clear_leases(&self, leases: &[Lease]) -> Result<(), StoreError> {
        for (number, lease) in leases.iter().enumerate() {
            let is_last = number + 1 == leases.len();
            self.delete_lease(lease, is_last).await?;
        }
        Ok(())
    }

    /// Puts a blob that is there under the lease.
    pub(super) async fn keep_content(
        &self,
        lease: &Lease,
        digest: &Digest,
    ) -> Result<(), StoreError> {
        let resource = Resource {
            id: digest.as_str().to_owned(),
            r#type: "content".to_owned(),
        };
        self.keep(lease, resource).await
    }

    /// Puts something that is there under the lease.
    pub(super) async fn keep(&self, lease: &Lease, resource: Resource) -> Result<(), StoreError> {
        let request = api::AddResourceRequest {
            id: lease.id.clone(),
            resource: Some(resource),
        };
        let mut leases = self.leases();
        let added = leases.add_resource(request);
        answered("Leases.AddResource", self.deadlines().change, added).await?;
        Ok(())
    }
}

fn of_stowd(mut lease: api::Lease, is_of: impl Fn(&str) -> bool) -> Option<Lease> {
    let purpose = lease.labels.remove(PURPOSE)?;
    let is_of = is_of(lease.labels.get(OWNER)?);
    is_of.then_some(Lease {
        id: lease.id,
        purpose,
    })
}

/// Unlike any other: the nanosecond, the process, and a count for those of one nanosecond.
pub(super) fn new_id(prefix: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    format!(
        "{prefix}-{:x}-{}-{count}",
        now.as_nanos(),
        std::process::id()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(labels: &[(&str, &str)]) -> api::Lease {
        let labels = labels.iter().map(|&(k, v)| (k.to_owned(), v.to_owned()));
        api::Lease {
            id: "a".to_owned(),
            labels: labels.collect(),
            ..Default::default()
        }
    }

    #[test]
    fn leases_of_others_and_of_the_living_are_not_stale() {
        let this = owner::this_process();
        let (namespace, _) = this.split_once('.').unwrap();
        let dead = format!("{namespace}.4194305.1");
        let stale = |lease| of_stowd(lease, owner::has_ended);
        assert_eq!(stale(listed(&[(OWNER, &dead)])), None);
        assert_eq!(stale(listed(&[(PURPOSE, "x")])), None);
        assert_eq!(stale(listed(&[(PURPOSE, "x"), (OWNER, &this)])), None);
        let found = stale(listed(&[(PURPOSE, "x"), (OWNER, &dead)])).unwrap();
        assert_eq!((found.id(), found.purpose()), ("a", "x"));
    }

    #[test]
    fn no_two_ids_are_alike() {
        let ids: std::collections::BTreeSet<_> = (0..1000).map(|_| new_id("x")).collect();
        assert_eq!(ids.len(), 1000);
    }
}
