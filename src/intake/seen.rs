//! What there is to do: from notices and listings to the queue.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tracing::{info, warn};

use crate::entry::{Entry, Identity, Verdict, shown};
use crate::image_store::{Image, ImageStore, StoreError};
use crate::images_dir::{Noticed, Scan, Unreadable, is_gone, scan};
use crate::ledger::{Audit, Decision};
use crate::queue::settling;
use crate::retry;

use super::ended::Failed;
use super::{Done, Intake, STORE_AWAY, iec};

/// How long the end of a writing is waited for. A copy that takes longer is imported when it has ended,
/// and holds nobody until then.
const WRITING: Duration = Duration::from_secs(2 * 60);

/// Who has not written for so long is not taken for a writer any more: truncate(2) writes, and never
/// closes.
const LONG_QUIET: Duration = Duration::from_secs(10 * 60);

/// The longest rest between two listings.
const LISTING_REST: Duration = Duration::from_secs(10);

/// Listings of the whole images directory: one at a time, and one more when another was asked for.
#[derive(Debug, Default)]
pub(super) struct Listing {
    in_work: bool,
    again: bool,
    listed_before: bool,
    // A listing rests for four times as long as the last one took: a storm of directories must not
    // keep the processor busy with listing them.
    not_before: Option<Instant>,
}

/// The images directory, and the store's images of about the same moment.
pub(super) struct Listed {
    took: Duration,
    scan: Scan,
    images: Result<Vec<Image>, StoreError>,
}

/// A path of which something was noticed, and what is there now.
pub(super) struct Touched {
    path: PathBuf,
    found: Found,
}

impl Touched {
    /// The path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

enum Found {
    Nothing,
    Directory,
    File(Identity),
    Special,
    Unknown(String),
}

impl<S: ImageStore> Intake<S> {
    pub(super) fn noticed(&mut self, notice: Noticed) {
        match notice {
            Noticed::Touched(path) => {
                self.queue.listing_begun();
                self.tasks.spawn_blocking(move || Done::Touched(look(path)));
            }
            Noticed::Rescan(cause) => {
                tracing::debug!(%cause, "listing the images directory again: {cause}");
                self.list();
            }
            Noticed::Polling(shortfall) => {
                warn!(cause = %shortfall, "polling the images directory: {shortfall}");
            }
            Noticed::Following => info!("following the images directory again"),
        }
    }

    pub(super) fn list(&mut self) {
        if self.listing.in_work {
            self.listing.again = true;
            return;
        }
        self.listing.in_work = true;
        self.queue.listing_begun();
        let (store, dir) = (self.store.clone(), self.settings.dir.clone());
        let rest = self.listing.not_before;
        self.tasks.spawn(async move {
            if let Some(rest) = rest {
                tokio::time::sleep_until(rest.into()).await;
            }
            let begun = Instant::now();
            let scan = tokio::task::spawn_blocking(move || scan(&dir));
            let (scan, images) = tokio::join!(scan, store.images());
            let scan = match scan {
                Ok(scan) => scan,
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            };
            if images.is_err() {
                // The store is away: it is asked again, at a pace.
                tokio::time::sleep(STORE_AWAY).await;
            }
            let took = begun.elapsed();
            Done::Listed(Box::new(Listed { took, scan, images }))
        });
    }

    pub(super) fn listed(&mut self, listed: Listed) {
        self.listing.in_work = false;
        let Listed { took, scan, images } = listed;
        self.listing.not_before = Some(Instant::now() + (4 * took).min(LISTING_REST));
        match images {
            Ok(images) => self.take_in(scan, &images),
            Err(error) => {
                warn!(%error, "containerd does not list its images; trying again: {error}");
                self.listing.again = true;
            }
        }
        if std::mem::take(&mut self.listing.again) {
            self.list();
        }
        // The next listing has begun before this one ends: the drain does not slip between them.
        self.queue.listing_ended();
    }

    fn take_in(&mut self, scan: Scan, images: &[Image]) {
        let first = !std::mem::replace(&mut self.listing.listed_before, true);
        let dir = shown(&self.settings.dir);
        if scan.missing && first {
            warn!(path = dir, "images directory missing: {dir}");
        }
        for path in scan.others {
            self.mention(path);
        }
        self.forget_gone(&scan.entries, &scan.unreadable);
        for unreadable in scan.unreadable {
            let error = unreadable.to_string();
            // The same complaint at every rescan would say nothing new.
            let known = self.ledger.get(&unreadable.path);
            if known.is_some_and(|record| record.outcome.error() == Some(&error)) {
                self.ledger.uphold(&unreadable.path);
                self.look_again(&unreadable.path);
            } else {
                self.failed(&unreadable.path, Failed::new(None, error));
            }
        }
        let settings = self.settings.fingerprint();
        let audit = Audit::new(&self.ledger, images);
        let decide = |entry: Entry| {
            let decision = audit.decide(&entry.path, &entry.identity, &settings);
            (entry, decision)
        };
        let decided = scan.entries.into_iter().map(decide).collect::<Vec<_>>();
        for (entry, decision) in decided {
            self.act(entry, decision, first);
        }
        self.upkeep.ask(self.settings.settle);
    }

    /// Prunes what is not there any more. What lies below something that could not be looked at may
    /// be there still.
    fn forget_gone(&mut self, entries: &[Entry], unreadable: &[Unreadable]) {
        let there = entries
            .iter()
            .map(|entry| entry.path.as_path())
            .collect::<HashSet<_>>();
        let hidden = |path: &Path| unreadable.iter().any(|dir| path.starts_with(&dir.path));
        let is_there = |path: &Path| there.contains(path) || hidden(path);
        for path in self.ledger.prune(is_there) {
            gone(&path);
            self.pledges.redeem(&path);
        }
        for (path, running) in self.running.iter().filter(|(path, _)| !is_there(path)) {
            running.stop.cancel();
            self.pledges.redeem(path);
        }
        let waiting = self.queue.paths().filter(|path| !is_there(path));
        for path in waiting.map(Path::to_owned).collect::<Vec<_>>() {
            self.queue.remove(&path);
        }
    }

    fn act(&mut self, entry: Entry, decision: Decision, first: bool) {
        if self.is_under_way(&entry) {
            return;
        }
        match decision {
            Decision::Unchanged => self.skip(&entry.path),
            Decision::Missing(names) => {
                let (path, names) = (shown(&entry.path), names.join(" "));
                info!(
                    entry = path,
                    names, "bringing back what is missing of {path}: {names}"
                );
                self.enqueue(entry, Duration::ZERO);
            }
            Decision::Failed if first => self.enqueue(entry, Duration::ZERO),
            Decision::Failed => self.try_again(entry),
            Decision::Changed(change) => {
                let (path, bytes) = (shown(&entry.path), entry.identity.size);
                info!(entry = path, bytes, reason = %change, "found {path}, {}, {change}", iec(bytes));
                let wait = settling(&entry.identity, now(), self.settings.settle);
                self.enqueue(entry, wait);
            }
        }
    }

    /// Whether this version of the entry waits or is being read already.
    fn is_under_way(&self, entry: &Entry) -> bool {
        let running = self
            .running
            .get(&entry.path)
            .map(|running| &running.identity);
        let waiting = self.queue.waiting(&entry.path);
        waiting.or(running) == Some(&entry.identity)
    }

    fn skip(&mut self, path: &Path) {
        if !self.ledger.stands(path) {
            let shown = shown(path);
            info!(entry = shown, "skipped {shown}: unchanged");
            self.ledger.uphold(path);
        }
    }

    /// `wait`: how long the file must still be left alone.
    pub(super) fn enqueue(&mut self, entry: Entry, wait: Duration) {
        if let Some(running) = self.running.get(&entry.path)
            && running.identity != entry.identity
        {
            running.stop.cancel();
        }
        self.ledger.reopen(&entry.path);
        self.queue.add(entry, Instant::now() + wait);
    }

    /// Puts an entry that has failed in line for its next try.
    pub(super) fn try_again(&mut self, entry: Entry) {
        let next = self
            .ledger
            .get(&entry.path)
            .and_then(|record| record.next_try);
        if let Some(next) = next {
            let wait = retry::left(next, SystemTime::now());
            self.ledger.uphold(&entry.path);
            self.queue.add_again(entry, Instant::now() + wait);
        }
    }

    pub(super) fn touched(&mut self, touched: Touched) {
        let Touched { path, found } = touched;
        let verdict = Verdict::on(path.file_name().unwrap_or_default());
        match (found, verdict) {
            (Found::File(identity), Verdict::Entry(kind)) => self.look_into(Entry {
                path,
                kind,
                identity,
            }),
            (Found::File(_) | Found::Special, Verdict::Entry(_) | Verdict::Other) => {
                self.mention(path)
            }
            (Found::Nothing, _) => self.forget(&path),
            (Found::Unknown(error), Verdict::Entry(_)) => {
                self.failed(&path, Failed::new(None, error));
            }
            _ => {}
        }
    }

    /// Looks at what is there now, since it may have gone or changed unseen.
    pub(super) fn look_now(&mut self, path: &Path) {
        let path = path.to_owned();
        self.tasks.spawn_blocking(move || Done::Looked(look(path)));
    }

    /// Looks again, when it is due, at a path that could not be looked at.
    pub(super) fn look_again(&mut self, path: &Path) {
        let next = self.ledger.get(path).and_then(|record| record.next_try);
        if let Some(next) = next
            && self.looks.insert(path.to_owned())
        {
            let wait = retry::left(next, SystemTime::now());
            let path = path.to_owned();
            self.tasks.spawn(async move {
                tokio::time::sleep(wait).await;
                let looked = tokio::task::spawn_blocking(move || look(path)).await;
                Done::Looked(
                    looked.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())),
                )
            });
        }
    }

    /// The entry's file is not whole: somebody has it open and has written to it, or it changed while
    /// it was read.
    pub(super) fn wait_until_whole(&mut self, entry: Entry) {
        let now = Instant::now();
        let since = *self.unsettled.entry(entry.path.clone()).or_insert(now);
        if now - since < WRITING {
            let pause = self.settings.settle.max(Duration::from_millis(100));
            self.enqueue(entry, pause);
        } else {
            let error = "is still being written; it is imported when it is whole".to_owned();
            self.failed(&entry.path, Failed::new(entry.identity, error));
            self.try_again(entry);
        }
    }

    /// Something happened to an entry's file: it is left alone until it has settled, and imported
    /// if it is another one than before.
    fn look_into(&mut self, entry: Entry) {
        let settings = self.settings.fingerprint();
        let known = self.ledger.get(&entry.path).is_some_and(|record| {
            record.identity.as_ref() == Some(&entry.identity) && record.settings == settings
        });
        if known || self.is_under_way(&entry) {
            return;
        }
        // A file that grows is found once.
        if self.queue.waiting(&entry.path).is_none() {
            let (path, bytes) = (shown(&entry.path), entry.identity.size);
            let size = iec(bytes);
            info!(
                entry = path,
                bytes,
                reason = "noticed",
                "found {path}, {size}"
            );
        }
        let settle = self.settings.settle;
        self.enqueue(entry, settle);
    }

    fn forget(&mut self, path: &Path) {
        self.mentioned.remove(path);
        self.unsettled.remove(path);
        self.queue.remove(path);
        self.pledges.redeem(path);
        if let Some(running) = self.running.get(path) {
            running.stop.cancel();
            self.upkeep.ask(self.settings.settle);
        }
        let shares = self.ledger.shares_names(path);
        if self.ledger.remove(path) {
            gone(path);
            self.upkeep.ask(self.settings.settle);
        }
        if shares {
            // Another entry is to have the names: the audit brings them back.
            self.list();
        }
    }

    fn mention(&mut self, path: PathBuf) {
        if self.mentioned.insert(path.clone()) {
            let path = shown(&path);
            info!(path, "ignored: not an archive and not a list: {path}");
        }
    }
}

fn gone(path: &Path) {
    let path = shown(path);
    info!(entry = path, "gone: {path}");
}

fn look(path: PathBuf) -> Touched {
    let found = match std::fs::metadata(&path) {
        Ok(metadata) if metadata.is_dir() => Found::Directory,
        Ok(metadata) if metadata.is_file() => Found::File(Identity::of(&metadata)),
        Ok(_) => Found::Special,
        Err(_) if is_gone(&path) => Found::Nothing,
        Err(error) => Found::Unknown(format!("cannot be read: {error}")),
    };
    Touched { path, found }
}

/// Whether nobody has touched the entry's file for long.
pub(super) fn is_long_quiet(entry: &Entry) -> bool {
    settling(&entry.identity, now(), LONG_QUIET).is_zero()
}

fn now() -> i128 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i128::try_from(since.as_nanos()).unwrap_or(i128::MAX)
}
