//! What a daemon is told by while it runs.

use crate::notify::Notifier;

use super::status_keeper::StatusTeller;

/// The service manager, and the status file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tellers<'a> {
    pub(super) notifier: &'a Notifier,
    pub(super) status: &'a StatusTeller,
}
