//! The instance: one stowd has it in one containerd, and a second one is refused.
//!
//! The lock is containerd's own: of the writers of one ingest it lets a single one in
//! (`content/local/locks.go`), for as long as that one's stream is open. The stream ends with the
//! process that opened it, in whatever container or pid namespace that is, and no earlier: a process
//! that is stopped has the instance as well. Nothing is ever written to the ingest.
//!
//! A lease without an expiry keeps the ingest from collection, and its labels say which process has the
//! instance. The lease of a process that was killed stays; the next one that gets the lock removes it.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use containerd_client::services::v1 as api;
use tokio::time::{Instant, sleep};
use tracing::debug;

use super::client::Containerd;
use super::failure::FailureKind;
use super::ingest::Ingest;
use super::lease::Lease;
use super::leases::{OWNER, new_id};
use super::owner;
use super::stream_writer::StreamWriter;
use crate::happened::StoreEvent;
use crate::image_store::{BlobWriter as _, StoreError};
use crate::one_line::beginning;
use crate::reporter::report;

/// The label of the lease that names the instance; that it is there tells these leases.
const INSTANCE: &str = "io.stowd.instance";
/// The label that names the state directory of the process.
const STATE_DIR: &str = "io.stowd.state-dir";
/// containerd refuses a label of more than 4096 bytes, key and value together.
const STATE_DIR_CHARS: usize = 500;

/// How long the lock is waited for where its holder is not seen to run: containerd hears a little later
/// than the kernel that a process has ended, and this process may have had the lock itself.
const ENDING: Duration = Duration::from_secs(3);
/// Between two tries to have the lock meanwhile. While containerd tries, half a second long, it writes no
/// other metadata.
const BETWEEN_TRIES: Duration = Duration::from_secs(1);
/// Between two tries while containerd does not answer.
const WHILE_AWAY: Duration = Duration::from_secs(1);
/// Between two looks whether the lease is there, and two tries on a full disk. As with
/// `images.rescan`, in between stowd wakes up for nothing.
const BETWEEN_LOOKS: Duration = Duration::from_secs(10 * 60);

/// Another process has the instance. The message names it and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct InstanceInUse {
    pub instance: String,
    /// Which process has it; `None` where its lease does not tell.
    pub holder: Option<Holder>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its pid, in its own pid namespace.
    pub pid: u32,
    /// Whether that is the pid namespace of this process, and the process runs.
    pub is_seen_to_run: bool,
    /// Its state directory, in its own mount namespace.
    pub state_dir: String,
}

/// Why the instance cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    #[error(transparent)]
    InUse(#[from] InstanceInUse),
    /// containerd did not answer, or refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// This process has the instance, until this is released or dropped.
pub struct InstanceClaim {
    store: Containerd,
    state_dir: String,
    /// `None` where it is to be had again.
    held: Option<HeldInstance>,
}

struct HeldInstance {
    lease: Lease,
    stream: StreamWriter,
}

impl Containerd {
    /// Takes the instance for this process. On a full disk the lock cannot be had: then stowd goes on
    /// without, with a warning, and [`InstanceClaim::lost`] tries again.
    pub(crate) async fn claim_instance(
        &self,
        state_dir: &Path,
    ) -> Result<InstanceClaim, ClaimError> {
        let state_dir = state_dir.to_string_lossy();
        let state_dir = beginning(&state_dir, STATE_DIR_CHARS).to_owned();
        let held = match self.hold_instance(&state_dir).await {
            Ok(held) => Some(held),
            Err(ClaimError::Store(error @ StoreError::NoSpace { .. })) => {
                report(StoreEvent::InstanceNotHeld(error.to_string()));
                None
            }
            Err(error) => return Err(error),
        };
        Ok(InstanceClaim {
            store: self.clone(),
            state_dir,
            held,
        })
    }

    async fn hold_instance(&self, state_dir: &str) -> Result<HeldInstance, ClaimError> {
        let ingest = Ingest::of_instance(self.instance());
        let deadline = Instant::now() + ENDING;
        let refuse = |holder| InstanceInUse {
            instance: self.instance().to_owned(),
            holder,
        };
        let runs = |holder: &Option<Holder>| holder.as_ref().is_some_and(|h| h.is_seen_to_run);
        // Before anything is written: the disk may be full, and the other one have the lock.
        let (other, _) = holder(&self.instance_leases().await?, None);
        if runs(&other) {
            return Err(refuse(other).into());
        }
        let mut lease = self.create_instance_lease(state_dir).await?;
        loop {
            let (other, came_first) = holder(&self.instance_leases().await?, Some(&lease));
            if came_first && runs(&other) {
                self.give_up(&lease).await;
                return Err(refuse(other).into());
            }
            let failure = match StreamWriter::open(self, &lease, &ingest).await {
                Ok(stream) => {
                    self.clear_instance_leases(&lease).await;
                    return Ok(HeldInstance { lease, stream });
                }
                Err(failure) => failure,
            };
            let may_try_again = Instant::now() < deadline;
            match failure.kind {
                FailureKind::Locked if may_try_again => {}
                // A process that got the lock meanwhile has removed it.
                FailureKind::NotFound if may_try_again => {
                    lease = self.create_instance_lease(state_dir).await?;
                }
                kind => {
                    self.give_up(&lease).await;
                    return Err(match kind {
                        FailureKind::Locked => refuse(other).into(),
                        _ => StoreError::from(failure).into(),
                    });
                }
            }
            sleep(BETWEEN_TRIES).await;
        }
    }

    /// Removes the lease of a try. The next process that gets the lock removes it as well.
    async fn give_up(&self, lease: &Lease) {
        if let Err(error) = self.delete_lease(lease, false).await {
            debug!(%error, "lease {} not removed: {error}", lease.id());
        }
    }

    async fn create_instance_lease(&self, state_dir: &str) -> Result<Lease, StoreError> {
        let instance = self.instance();
        let labels = HashMap::from([
            (INSTANCE.to_owned(), instance.to_owned()),
            (OWNER.to_owned(), owner::this_process()),
            (STATE_DIR.to_owned(), state_dir.to_owned()),
        ]);
        let id = new_id(&format!("stowd-instance-{instance}"));
        self.create_lease_with(id, "the instance".to_owned(), labels)
            .await
    }

    async fn instance_leases(&self) -> Result<Vec<api::Lease>, StoreError> {
        let instance = self.instance();
        self.list_leases(format!("labels.\"{INSTANCE}\"==\"{instance}\""))
            .await
    }

    /// Removes what processes that had the instance before have left, and what others that try to have
    /// it have begun.
    async fn clear_instance_leases(&self, own: &Lease) {
        let clear = async {
            for lease in self.instance_leases().await? {
                if lease.id != own.id {
                    self.delete_lease_by_id(&lease.id, false).await?;
                }
            }
            Ok::<_, StoreError>(())
        };
        if let Err(error) = clear.await {
            debug!(%error, "leases of this instance not removed: {error}");
        }
    }
}

/// The other process that has, or is to have, the instance: that of the oldest lease. Whether that lease
/// is older than `own`. Other leases of this process do not count: it has lost what it had.
fn holder(leases: &[api::Lease], own: Option<&Lease>) -> (Option<Holder>, bool) {
    let order = |lease: &&api::Lease| {
        let created = lease.created_at.as_ref();
        let created = created.map(|created| (created.seconds, created.nanos));
        (created, lease.id.clone())
    };
    let this = owner::this_process();
    let others = leases
        .iter()
        .filter(|lease| lease.labels.get(OWNER) != Some(&this));
    let Some(first) = others.min_by_key(order) else {
        return (None, false);
    };
    let own = own.and_then(|own| leases.iter().find(|lease| lease.id == own.id));
    let came_first = own.is_some_and(|own| order(&first) < order(&own));
    let describe = || {
        let owner = first.labels.get(OWNER)?;
        Some(Holder {
            pid: owner::pid(owner)?,
            is_seen_to_run: owner::runs(owner),
            state_dir: first.labels.get(STATE_DIR)?.clone(),
        })
    };
    (describe(), came_first)
}

impl InstanceClaim {
    /// Returns when another process has the instance. Until then the instance is taken again whenever
    /// it was lost: containerd was restarted, or another one serves, or the lease was removed.
    ///
    /// May be dropped at any time.
    pub async fn lost(&mut self) -> InstanceInUse {
        loop {
            if let Some(held) = &mut self.held {
                tokio::select! {
                    () = held.stream.ended() => {}
                    () = sleep(BETWEEN_LOOKS) => {
                        if self.store.is_kept(held).await.unwrap_or(true) {
                            continue;
                        }
                    }
                }
            }
            // Its stream ends before another one is opened.
            self.held = None;
            match self.store.hold_instance(&self.state_dir).await {
                Ok(held) => self.held = Some(held),
                Err(ClaimError::InUse(other)) => return other,
                Err(ClaimError::Store(error)) => {
                    debug!(%error, "the instance is not held: {error}");
                    let is_full = matches!(error, StoreError::NoSpace { .. });
                    sleep(if is_full { BETWEEN_LOOKS } else { WHILE_AWAY }).await;
                }
            }
        }
    }

    /// Lets another process have the instance.
    pub async fn release(self) -> Result<(), StoreError> {
        let Some(HeldInstance { lease, stream }) = self.held else {
            return Ok(());
        };
        stream.abort().await?;
        self.store.delete_lease(&lease, false).await.map(drop)
    }
}

impl Containerd {
    /// Whether the lock still keeps others out. Where the lease was removed, the ingest is collected, and
    /// the next writer of one of this name gets a new one.
    async fn is_kept(&self, held: &HeldInstance) -> Result<bool, StoreError> {
        let leases = self
            .list_leases(format!("id==\"{}\"", held.lease.id))
            .await?;
        let ingest = Ingest::of_instance(self.instance());
        Ok(!leases.is_empty() && self.ingest_offset(&ingest.reference).await?.is_some())
    }
}

impl fmt::Display for InstanceInUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let instance = &self.instance;
        let has = format_args!("has instance {instance} of this containerd");
        let fix = "or give this one an instance of its own";
        match &self.holder {
            Some(Holder {
                pid,
                is_seen_to_run: true,
                state_dir,
            }) => write!(
                f,
                "another stowd, pid {pid} with state-dir {state_dir}, {has}; stop it first (systemctl stop \
                 stowd, or kill {pid}), {fix}"
            ),
            Some(Holder { pid, state_dir, .. }) => write!(
                f,
                "another stowd, pid {pid} in its own pid namespace, with state-dir {state_dir}, {has}; \
                 stop it first, {fix}"
            ),
            None => write!(f, "another stowd {has}; stop it first, {fix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    fn lease(id: &str, created: u64, labels: &[(&str, &str)]) -> api::Lease {
        let labels = labels.iter().map(|&(k, v)| (k.to_owned(), v.to_owned()));
        api::Lease {
            id: id.to_owned(),
            created_at: Some((SystemTime::UNIX_EPOCH + Duration::from_secs(created)).into()),
            labels: labels.collect(),
        }
    }

    #[test]
    fn the_other_with_the_oldest_lease_has_the_instance() {
        let this = owner::this_process();
        let earlier = lease("earlier", 0, &[(OWNER, &this), (STATE_DIR, "/s")]);
        let first = lease("a", 1, &[(OWNER, "1.2.3"), (STATE_DIR, "/first")]);
        let mine = lease("b", 2, &[(OWNER, &this), (STATE_DIR, "/s")]);
        let last = lease("c", 2, &[(OWNER, "1.4.3"), (STATE_DIR, "/last")]);
        let unknown = lease("d", 1, &[(OWNER, "x")]);
        let own = Lease {
            id: "b".to_owned(),
            purpose: String::new(),
        };
        for (leases, expected, came_first) in [
            (
                vec![&mine, &first, &earlier, &last],
                Some((2, "/first")),
                true,
            ),
            (vec![&last, &mine], Some((4, "/last")), false),
            (vec![&first], Some((2, "/first")), false),
            (vec![&unknown, &mine], None, true),
            (vec![&earlier, &mine], None, false),
            (vec![], None, false),
        ] {
            let leases = leases.into_iter().cloned().collect::<Vec<_>>();
            let expected = expected.map(|(pid, state_dir)| Holder {
                pid,
                is_seen_to_run: false,
                state_dir: state_dir.to_owned(),
            });
            assert_eq!(
                holder(&leases, Some(&own)),
                (expected, came_first),
                "{leases:?}"
            );
        }
    }

    #[test]
    fn the_message_names_the_process_where_it_is_known() {
        let told = |holder: Option<(u32, bool)>| {
            let holder = holder.map(|(pid, is_seen_to_run)| Holder {
                pid,
                is_seen_to_run,
                state_dir: "/s".to_owned(),
            });
            let instance = "edge".to_owned();
            InstanceInUse { instance, holder }.to_string()
        };
        let end = ", or give this one an instance of its own";
        for (holder, begins) in [
            (
                Some((7, true)),
                "another stowd, pid 7 with state-dir /s, has instance edge of this containerd; stop it \
                 first (systemctl stop stowd, or kill 7)",
            ),
            (
                Some((1, false)),
                "another stowd, pid 1 in its own pid namespace, with state-dir /s, has instance edge of \
                 this containerd; stop it first",
            ),
            (
                None,
                "another stowd has instance edge of this containerd; stop it first",
            ),
        ] {
            assert_eq!(told(holder), format!("{begins}{end}"));
        }
    }
}
