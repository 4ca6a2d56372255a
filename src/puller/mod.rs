//! The other verb: the images of one list are pulled, named and pinned.
//!
//! ```text
//!   list -> lines -> is it there? --yes--> named, pinned -----------------------------+
//!                         |                                                           +--> PullReport
//!                         +--no--> archives done? -> there now? -> pulled, several ---+
//!                                                                  at once
//! ```
//!
//! What is there is dealt with first, without waiting for a registry; what an archive may bring is not
//! pulled. A line that fails costs no other line anything, and what succeeded is kept. Memory: the list
//! (bounded by [`crate::image_list`]), a few names a line, and of an error as much as fits a line of
//! the log; the bytes of images are containerd's.

mod asks;
mod extra;
mod lines;
mod login;
mod permits;
mod sources;

pub use asks::{Ask, Asks};

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::fs::File;
use tokio::io::AsyncReadExt as _;
use tokio_util::sync::CancellationToken;

use crate::entry::{Entry, Identity, shown};
use crate::image_list::{ImageList, LIST_MAX, ListError};
use crate::image_store::{ImageStore, StoreError};
use crate::importer::is_still;
use crate::ledger::{ImportedImage, Keeps};
use crate::progress::Meter;
use crate::shown::first_few;

use extra::ExtraNames;
use lines::Pull;
use permits::Permits;

/// What pulls are made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullRules {
    /// What is pulled is also named as if it came from these.
    pub extra_registries: Vec<String>,
    /// Pulls at once, of all lists together.
    pub parallel: usize,
    /// How long one image may take.
    pub timeout: Duration,
    /// Where the credentials are, if not in containerd's own configuration.
    pub auth_file: Option<PathBuf>,
}

/// What the pulls of all lists share.
#[derive(Debug, Clone)]
pub struct Puller<S> {
    store: S,
    rules: PullRules,
    permits: Permits,
    asks: Asks,
}

/// What came of a list that was read.
#[derive(Debug)]
pub struct PullReport {
    /// The images of the list that are in the store, named and pinned.
    pub images: Vec<ImportedImage>,
    /// Why others are not, a line each: the first few, and how many more there are.
    pub problems: Vec<String>,
    /// What of that which the list brought before is still its own.
    pub keeps: Keeps,
    /// Which version of the list was read.
    pub identity: Identity,
    /// How long a registry asked to be left alone.
    pub not_before: Option<Duration>,
}

/// Why the lines of a list were not gone through.
#[derive(Debug, thiserror::Error)]
pub enum PullListError {
    /// The file cannot be opened or read.
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    /// It is no list.
    #[error(transparent)]
    List(#[from] ListError),
    /// The store does not do what no list can do without.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file is not the one that was to be read, or is it no longer.
    #[error("changed while it was read")]
    Changed,
}

impl<S: ImageStore> Puller<S> {
    /// Pulls into `store`. Before a name is pinned, `asks` is asked.
    pub fn new(store: S, rules: PullRules, asks: Asks) -> Self {
        Self {
            store,
            permits: Permits::new(rules.parallel),
            rules,
            asks,
        }
    }

    /// Other rules, for the lists that are begun from now on. Where the limit changes, they do not
    /// count those that are in work.
    pub fn set_rules(&mut self, rules: PullRules) {
        if rules.parallel != self.rules.parallel {
            self.permits = Permits::new(rules.parallel);
        }
        self.rules = rules;
    }

    /// Sees to it that all images of a list are in the store, named and pinned. `meter` counts
    /// lines. At `stop` what is under way is given up, and the list is [`PullListError::Changed`].
    pub async fn pull(
        &self,
        entry: &Entry,
        meter: &Meter,
        stop: &CancellationToken,
    ) -> Result<PullReport, PullListError> {
        let list = ImageList::parse(&read(entry).await?)?;
        meter.expect((list.lines.len() + list.problems.len()) as u64);
        let name = shown(&entry.path);
        // Nobody knows what a line that is wrong would have brought.
        let is_understood = list.problems.is_empty();
        let pull = Pull {
            puller: self,
            path: &entry.path,
            name: &name,
            extra: ExtraNames::of(&list, &self.rules.extra_registries),
            meter,
        };
        let dealt = stop.run_until_cancelled(pull.deal_with(list)).await;
        let dealt = dealt.ok_or(PullListError::Changed)??;
        if !is_still(entry).await {
            return Err(PullListError::Changed);
        }
        let mut problems = dealt.problems.into_values().collect();
        first_few(&mut problems);
        Ok(PullReport {
            images: dealt.images.into_values().collect(),
            problems,
            keeps: match is_understood {
                true => Keeps::Named(dealt.failed),
                false => Keeps::All,
            },
            identity: entry.identity,
            not_before: dealt.not_before,
        })
    }
}

/// The bytes of the list, or one more than a list may have.
async fn read(entry: &Entry) -> Result<Vec<u8>, PullListError> {
    let mut file = match File::open(&entry.path).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(PullListError::Changed);
        }
        opened => opened?,
    };
    let bytes = up_to(LIST_MAX, &mut file).await?;
    // After the bytes: whoever writes meanwhile makes another version of it.
    let metadata = file.metadata().await?;
    if Identity::of(&metadata) == entry.identity {
        Ok(bytes)
    } else {
        Err(PullListError::Changed)
    }
}

/// The bytes of a file, or one more than the most it may have, so that the excess is noticed.
async fn up_to(most: u64, file: &mut File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).await?;
    Ok(bytes)
}
