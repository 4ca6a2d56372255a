//! The store after the start: what it says by itself is passed on to the intake, and when it answers again
//! what a start asks of it is asked again first.
//!
//! It waits on: what the store says; the steps of a return.

use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use crate::happened::Run;
use crate::image_store::StoreState;

use super::store_service::StoreService;
use super::store_steps::{in_time, report_wait, stale_leases};

/// Between two waits for a store that answers and does not serve.
const NOT_SERVING: Duration = Duration::from_secs(30);

/// Follows the store.
pub(super) struct StoreFollower<'a, S> {
    pub(super) store: &'a S,
    /// Whether the store is another's, which starts and ends it as it likes.
    pub(super) is_attached: bool,
    /// Whether blobs are written directly, where that is safe.
    pub(super) direct: bool,
    /// How long the store may take to serve.
    pub(super) start_timeout: Duration,
    /// What the store says.
    pub(super) said: watch::Sender<StoreState>,
    /// To the intake.
    pub(super) told: watch::Sender<StoreState>,
}

impl<S: StoreService> StoreFollower<'_, S> {
    pub(super) async fn run(self) -> Infallible {
        let state = self.said.subscribe();
        tokio::select! {
            never = self.store.follow_state(self.is_attached, &self.said) => never,
            never = self.pass_on(state) => never,
        }
    }

    async fn pass_on(&self, mut state: watch::Receiver<StoreState>) -> Infallible {
        let mut checked = 0;
        loop {
            let now = state.borrow_and_update().clone();
            if now.away.is_none() && now.returns > checked {
                tokio::select! {
                    biased;
                    _ = state.wait_for(|state| state.away.is_some()) => continue,
                    () = self.check_again() => checked = now.returns,
                }
            }
            self.told.send_replace(now);
            if state.changed().await.is_err() {
                // Its sender lives as long as this.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Another store may answer now, or the same one in another state.
    async fn check_again(&self) {
        let (store, timeout) = (self.store, self.start_timeout);
        while let Err(error) = store.serving(timeout, report_wait).await {
            report_wait(timeout, &error.to_string());
            sleep(NOT_SERVING).await;
        }
        store.find_content(self.direct).await;
        let stale = stale_leases(store).await;
        in_time(Run::Earlier, store.clear_leases(&stale)).await;
    }
}
