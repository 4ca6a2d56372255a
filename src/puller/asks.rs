//! What a pull asks whoever looks after pins.

use std::path::{Path, PathBuf};

use tokio::sync::{mpsc, oneshot};

/// The way to whoever looks after pins. Clones are one.
///
/// A list can be in work for hours, so pins that nobody needs are looked for meanwhile, and they
/// must not be these: an image is pinned before its entry has a record.
#[derive(Debug, Clone)]
pub struct Asks(pub mpsc::UnboundedSender<Ask>);

/// One of its questions.
#[derive(Debug)]
pub enum Ask {
    /// These names of the entry are about to be pinned.
    Pin {
        /// The list.
        entry: PathBuf,
        /// The names.
        names: Vec<String>,
        /// Answered when they may be.
        granted: oneshot::Sender<()>,
    },
    /// All of the list that was in the store is pinned; what follows is pulled.
    Pulling {
        /// The list.
        entry: PathBuf,
    },
}

impl Asks {
    /// Returns when the names may be pinned. Nobody is left to take pins off where nobody answers.
    pub(super) async fn pin(&self, entry: &Path, names: Vec<String>) {
        let (granted, answer) = oneshot::channel();
        let entry = entry.to_owned();
        let ask = Ask::Pin {
            entry,
            names,
            granted,
        };
        if self.0.send(ask).is_ok() {
            // An error is an end: nobody takes pins off any more.
            let _ = answer.await;
        }
    }

    pub(super) fn pulling(&self, entry: &Path) {
        let entry = entry.to_owned();
        // As above.
        let _ = self.0.send(Ask::Pulling { entry });
    }
}
