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
    /// All of the list that was in the store is pinned; the rest is to be pulled.
    Pull {
        /// The list.
        entry: PathBuf,
        /// Answered when no archive is left that might bring it.
        granted: oneshot::Sender<()>,
    },
}

impl Asks {
    /// Returns when the names may be pinned.
    pub(super) async fn pin(&self, entry: &Path, names: Vec<String>) {
        let entry = entry.to_owned();
        self.ask(|granted| Ask::Pin {
            entry,
            names,
            granted,
        })
        .await;
    }

    /// Returns when images may be pulled.
    pub(super) async fn pull(&self, entry: &Path) {
        let entry = entry.to_owned();
        self.ask(|granted| Ask::Pull { entry, granted }).await;
    }

    async fn ask(&self, ask: impl FnOnce(oneshot::Sender<()>) -> Ask) {
        let (granted, answer) = oneshot::channel();
        if self.0.send(ask(granted)).is_err() || answer.await.is_err() {
            // The list is not in work any more, or stowd ends: whoever waits here is dropped.
            std::future::pending().await
        }
    }
}
