//! Pulls, names and pins the images of one list, in two jobs.
//!
//! ```text
//!   look   list -> lines -> does the store have it? --yes--> named, pinned --> Looked
//!                                                  --no----> absent ---------> Looked
//!
//!   pull   absent lines -> does the store have it now? -> pulled, several at once -> named, pinned
//! ```
//!
//! A look waits for no registry. Between the two the plan waits for archives that may bring what is
//! absent. A line that fails costs no other line anything, and what succeeded is kept. Memory: the
//! list (bounded by [`crate::image_list`]), a few names a line, and of an error as much as fits a line
//! of the log; the bytes of images are containerd's.

mod error;
mod job_end;
mod lines;
mod login;
mod permits;
mod repair;
mod repairs;
mod rules;
mod stored_image;

use tokio_util::sync::CancellationToken;

use crate::admit::line_names;
use crate::entry::{Entry, shown};
use crate::entry_file;
use crate::image_list::{ImageList, LIST_MAX};
use crate::image_store::ImageStore;
use crate::ledger::ImportedImage;
use crate::plan::{EntryResult, Looked};
use crate::progress::Meter;
use crate::told::Told;

use lines::ListWork;
use login::LoginFile;
use permits::Permits;
use repairs::Repairs;

pub use error::PullListError;
pub use rules::PullRules;
pub(crate) use stored_image::stored_blobs;

/// What the pulls of all lists share.
#[derive(Debug, Clone)]
pub struct Puller<S: ImageStore> {
    store: S,
    rules: PullRules,
    permits: Permits,
    repairs: Repairs<S>,
    login_file: LoginFile,
    told: Told,
}

impl<S: ImageStore> Puller<S> {
    /// Pulls into `store`.
    pub fn new(store: S, rules: PullRules) -> Self {
        Self {
            store,
            permits: Permits::new(rules.parallel),
            repairs: Repairs::default(),
            login_file: LoginFile::default(),
            rules,
            told: Told::default(),
        }
    }

    /// Sets the rules of lists that are begun from now on. Where the limit of pulls changes, pulls that
    /// are under way do not count against the new one.
    pub(crate) fn set_rules(&mut self, rules: PullRules) {
        if rules.parallel != self.rules.parallel {
            self.permits = Permits::new(rules.parallel);
        }
        self.rules = rules;
    }

    /// Names and pins the images of a list that the store has whole, and returns which it lacks. `known`
    /// is what the list has brought before; `meter` counts lines.
    pub async fn look(
        &self,
        entry: &Entry,
        known: &[ImportedImage],
        meter: &Meter,
    ) -> Result<Looked, PullListError> {
        let list = ImageList::parse(&read(entry, meter).await?)?;
        meter.expect((list.lines.len() + list.problems.len()) as u64);
        let looked = self.work(entry, &list, known, meter).look(&list).await?;
        still(entry, meter).await.map(|()| looked)
    }

    /// Pulls, names and pins the images that a look has not found. Cancelling `stop` abandons the pulls
    /// under way, and the result is [`PullListError::Changed`].
    pub async fn pull(
        &self,
        entry: &Entry,
        known: &[ImportedImage],
        looked: Looked,
        meter: &Meter,
        stop: &CancellationToken,
    ) -> Result<EntryResult, PullListError> {
        let list = ImageList::parse(&read(entry, meter).await?)?;
        let dealt_with = (looked.images.len() + looked.problems.len()) as u64;
        meter.expect(dealt_with + looked.absent.len() as u64);
        meter.add(dealt_with);
        let work = self.work(entry, &list, known, meter);
        let pulled = stop.run_until_cancelled(work.pull(looked)).await;
        let pulled = pulled.ok_or(PullListError::Changed)??;
        still(entry, meter).await.map(|()| pulled.into())
    }

    fn work<'a>(
        &'a self,
        entry: &Entry,
        list: &ImageList,
        known: &'a [ImportedImage],
        meter: &'a Meter,
    ) -> ListWork<'a, S> {
        ListWork {
            store: &self.store,
            rules: &self.rules,
            permits: &self.permits,
            repairs: &self.repairs,
            login_file: &self.login_file,
            known,
            name: shown(&entry.path),
            identity: entry.identity,
            told: &self.told,
            names: line_names(list, &self.rules.extra_registries),
            meter,
        }
    }
}

/// Fails where the path leads to another version of the list by now.
async fn still(entry: &Entry, meter: &Meter) -> Result<(), PullListError> {
    match entry_file::is_still(entry, meter).await? {
        true => Ok(()),
        false => Err(PullListError::Changed),
    }
}

/// The bytes of the list, or one more than a list may have.
async fn read(entry: &Entry, meter: &Meter) -> Result<Vec<u8>, PullListError> {
    let read = entry_file::read(entry, LIST_MAX, meter).await?;
    read.ok_or(PullListError::Changed)
}
