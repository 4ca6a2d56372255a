//! What a daemon is told by while it runs.

use crate::metrics::Counters;
use crate::notify::Notifier;

use super::status_keeper::StatusTeller;

/// The service manager, the status file and the metrics.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tellers<'a> {
    pub(super) notifier: &'a Notifier,
    pub(super) status: &'a StatusTeller,
    pub(super) counters: &'a Counters,
}
