//! Half-written blobs: waiting for the writer that has one, and throwing one away.

use std::time::Duration;

use containerd_client::services::v1::{AbortRequest, StatusRequest};
use tokio::time::Instant;

use super::client::{Containerd, answered};
use super::failure::{CallFailure, FailureKind};
use super::ingest::Ingest;
use crate::image_store::StoreError;
use crate::keyed_lock::KeyGuard;

/// Between two tries to throw away an ingest whose writer still closes its files.
const ABORT_AGAIN: Duration = Duration::from_millis(20);

/// How far another writer has come: the offset of its ingest, and how often it has reported progress.
type Position = (Option<i64>, u64);

/// When another writer has last moved.
pub(super) struct Moved {
    position: Position,
    since: Instant,
}

impl Default for Moved {
    fn default() -> Self {
        Self {
            position: Position::default(),
            since: Instant::now(),
        }
    }
}

impl Moved {
    /// How long it has been where it is now.
    fn how_long_ago(&mut self, position: Position) -> Duration {
        if position != self.position {
            self.position = position;
            self.since = Instant::now();
        }
        self.since.elapsed()
    }
}

impl Containerd {
    /// Waits for the lock of an ingest, as long as its holder gets on.
    pub(super) async fn lock_ingest(&self, ingest: &Ingest) -> Result<KeyGuard, StoreError> {
        let mut moved = Moved::default();
        loop {
            let lock = self.locks.lock(&ingest.reference);
            match tokio::time::timeout(self.deadlines().change / 4, lock).await {
                Ok(guard) => return Ok(guard),
                Err(_) => {
                    let failure = CallFailure {
                        call: "Content.Write",
                        kind: FailureKind::Locked,
                        cause: format!("{} is being written", ingest.reference),
                    };
                    self.check_it_moves(ingest, &mut moved, failure).await?;
                }
            }
        }
    }

    /// Fails with `failure` where an ingest that another writer has does not get on.
    pub(super) async fn check_it_moves(
        &self,
        ingest: &Ingest,
        moved: &mut Moved,
        failure: CallFailure,
    ) -> Result<(), StoreError> {
        // A direct write has no ingest; its writer reports progress to the lock.
        let offset = self.ingest_offset(&ingest.reference).await?;
        let deadline = self.deadlines().change;
        if moved.how_long_ago((offset, self.locks.progress(&ingest.reference))) < deadline {
            return Ok(());
        }
        let cause = format!(
            "another writer has it and has not moved for {} s: {}",
            deadline.as_secs(),
            failure.cause
        );
        Err(CallFailure { cause, ..failure }.into())
    }

    /// Throws an ingest away, if there is one. Asking first costs less than an abort.
    pub(super) async fn clear_ingest(&self, ingest: &Ingest) -> Result<(), StoreError> {
        match self.ingest_offset(&ingest.reference).await? {
            Some(_) => self.abort_ingest(&ingest.reference).await,
            None => Ok(()),
        }
    }

    /// How far an ingest has come; `None` where there is none.
    pub(super) async fn ingest_offset(&self, reference: &str) -> Result<Option<i64>, StoreError> {
        let request = StatusRequest {
            r#ref: reference.to_owned(),
        };
        let mut content = self.content(None);
        let status = content.status(request);
        match answered("Content.Status", self.deadlines().answer, status).await {
            Ok(answer) => Ok(answer.status.map(|status| status.offset)),
            Err(failure) if failure.kind == FailureKind::NotFound => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }

    /// Throws an ingest away; that there is none is fine.
    pub(super) async fn abort_ingest(&self, reference: &str) -> Result<(), StoreError> {
        let deadline = self.deadlines().change;
        let began = Instant::now();
        loop {
            let request = AbortRequest {
                r#ref: reference.to_owned(),
            };
            let mut content = self.content(None);
            match answered("Content.Abort", deadline, content.abort(request)).await {
                Ok(_) => return Ok(()),
                Err(failure) if failure.kind == FailureKind::NotFound => return Ok(()),
                // A writer that was just dropped closes its files while they are being removed.
                Err(failure) if failure.is_removal_race() && began.elapsed() < deadline => {
                    tokio::time::sleep(ABORT_AGAIN).await;
                }
                Err(failure) => return Err(failure.into()),
            }
        }
    }
}
