//! Steps of a start that are done again when a store returns.

use std::time::Duration;

use crate::happened::{ProcessEvent, Run, StoreEvent};
use crate::image_store::StoreError;
use crate::reporter::report;

use super::store_service::StoreService;

/// How long the store may take to let go of leases, and to collect what they kept.
const RELEASE: Duration = Duration::from_secs(10);

/// Says that the store does not serve yet.
pub(super) fn report_wait(waited: Duration, missing: &str) {
    report(ProcessEvent::Awaited {
        seconds: waited.as_secs(),
        missing: missing.to_owned(),
    });
}

/// Leases expire by themselves: no load is given up for them.
pub(super) async fn stale_leases<S: StoreService>(store: &S) -> Vec<S::Lease> {
    let stale = store.stale_leases().await;
    stale.unwrap_or_else(|error| {
        report(StoreEvent::LeasesNotFound(error.to_string()));
        Vec::new()
    })
}

/// Leases expire by themselves: that they cannot be cleared now is worth a line, and no more.
pub(super) async fn in_time(run: Run, clear: impl Future<Output = Result<(), StoreError>>) {
    let error = match tokio::time::timeout(RELEASE, clear).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("not within {RELEASE:?}"),
    };
    report(StoreEvent::LeasesNotCleared { run, error });
}
