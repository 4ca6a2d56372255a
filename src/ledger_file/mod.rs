//! The ledger on disk: where it is, how it is read, when and how it is written.
//!
//! It is `ledger.json` in the state directory; or `.cache.json` in the images directory, for as
//! long as there is such a file. stowd never creates the latter: an operator does, to keep what
//! stowd knows beside the archives. The state directory has a copy of it then: by that a run with another
//! images directory knows what this one has brought.
//!
//! A ledger says of which images directory it is. Where `ledger.json` is of another one, or may be, because
//! it cannot be read, it is left as it is, and the ledger is `ledger-HASH.json`, after the path of the
//! images directory. What the ledgers of other images directories have brought stays pinned.
//!
//! Beside them is the baked set, in `ledger-baked.json`.

mod answers;
mod baked;
mod place;
mod read;
mod replace;

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::ledger::{Ledger, Snapshot};

use place::Place;
use read::{bytes, read, understood};
use replace::{remove_rest, replace};

pub use baked::{BakedFile, BakedTally, NotBaked};
pub use place::OtherLedger;
pub use read::{LoadWarning, Unused};
pub use replace::WriteError;

/// After a write, this many times as long as it took passes before the next: a storm of entries
/// must not spend its time on ledgers.
const REST: u32 = 9;
/// And no less than this: each write is of the whole ledger, and a record that is not written costs a look
/// at its archive after a kill.
const REST_MIN: Duration = Duration::from_secs(1);
/// But no longer than this.
const REST_MAX: Duration = Duration::from_secs(5);
/// How long after a failure the next write waits.
const AFTER_FAILURE: Duration = Duration::from_secs(30);

/// Keeps a ledger on disk. It neither waits nor logs: it says what is to be run and what is to be
/// said.
#[derive(Debug)]
pub struct LedgerFile {
    place: Place,
    /// The revision of the ledger that is on disk; `None` where the disk has none or a bad one.
    on_disk: Option<u64>,
    writing: bool,
    not_before: Option<Instant>,
    /// What the last write failed of, for as long as it does.
    trouble: Option<io::ErrorKind>,
}

/// A ledger that was read, and what is to be said about that.
#[derive(Debug)]
pub struct Loaded {
    /// What could be used.
    pub ledger: Ledger,
    /// What could not, a line for each file.
    pub warnings: Vec<LoadWarning>,
    /// Ledgers of other images directories.
    pub others: Vec<OtherLedger>,
}

/// A write that is to be run where it may block.
#[derive(Debug)]
#[must_use = "nothing is written until it is run"]
pub struct Write {
    place: Place,
    snapshot: Snapshot,
    revision: u64,
}

/// A write that was run.
#[derive(Debug)]
#[must_use = "LedgerFile::ended must know"]
pub struct Written {
    revision: u64,
    took: Duration,
    result: Result<PathBuf, WriteError>,
    /// Why the copy in the state directory was not written, where there is to be one.
    copy: Result<(), WriteError>,
    /// The images directory did not answer: `.cache.json`, if there is one, lacks what was written.
    is_partial: bool,
}

/// A change that is worth a line in the log.
#[derive(Debug)]
pub enum News {
    /// Writes fail from now on, or fail of something else than before.
    Failing(WriteError),
    /// Writes succeed again; the file.
    Recovered(PathBuf),
}

impl LedgerFile {
    /// The file of a daemon with these directories.
    pub fn new(state_dir: &Path, images_dir: &Path) -> Self {
        Self {
            place: Place::new(state_dir, images_dir),
            on_disk: None,
            writing: false,
            not_before: None,
            trouble: None,
        }
    }

    /// Reads the ledger, and removes what a write that was cut off has left. Blocks. Always gives a
    /// ledger; a missing or an empty file is one with nothing in it. When `.cache.json` has no
    /// record, as when it was created a moment ago, or its file system does not answer, the one in the
    /// state directory is used.
    pub fn load(&mut self) -> Loaded {
        self.place.choose_own();
        remove_rest(&self.place.own());
        self.place.remove_rest_of_cache();
        self.read()
    }

    /// Reads the ledger and changes nothing: a daemon may be writing it. Blocks.
    pub fn look(&mut self) -> Loaded {
        self.place.choose_own();
        self.read()
    }

    fn read(&mut self) -> Loaded {
        let mut warnings = Vec::new();
        let own = self.place.own();
        let dir = self.place.images_dir();
        let (mut cached, mut is_copied) = (None, true);
        match self.place.read_cache() {
            Ok(Some((path, json))) => {
                is_copied = matches!((&json, bytes(&own)), (Ok(json), Ok(own)) if *json == own);
                let (ledger, warning) = understood(&path, json, dir);
                cached = Some(ledger).filter(|ledger| ledger.iter().next().is_some());
                warnings.extend(warning);
            }
            Ok(None) => {}
            Err(silent) => warnings.push(silent),
        }
        let mut ledger = cached.unwrap_or_else(|| {
            let (ledger, warning) = read(&own, dir);
            warnings.extend(warning);
            ledger
        });
        let is_on_disk = is_copied && warnings.is_empty();
        let on_disk = ledger.revision();
        // What could not be used is replaced by something that can.
        self.on_disk = is_on_disk.then_some(on_disk);
        warnings.extend(self.place.read_baked(&mut ledger));
        let others = self.place.read_others(&mut ledger, &mut warnings);
        Loaded {
            ledger,
            warnings,
            others,
        }
    }

    /// Whether the disk lacks something of the ledger.
    pub fn lacks(&self, ledger: &Ledger) -> bool {
        self.on_disk != Some(ledger.revision())
    }

    /// The revision of the ledger that the disk has.
    pub fn on_disk(&self) -> Option<u64> {
        self.on_disk
    }

    /// Whether the last write has failed.
    pub fn is_failing(&self) -> bool {
        self.trouble.is_some()
    }

    /// The write that is due, if one is. Cheap: it is to be asked whenever something may have
    /// changed, and at [`due`](Self::due). One write is in work at a time, and what changes
    /// meanwhile is the next one's.
    pub fn begin(&mut self, ledger: &Ledger, now: Instant) -> Option<Write> {
        let rests = self.not_before.is_some_and(|not_before| now < not_before);
        if rests {
            None
        } else {
            self.begin_at_once(ledger)
        }
    }

    /// As [`begin`](Self::begin), but without a rest after the last write: before READY, and before the
    /// end.
    pub fn begin_at_once(&mut self, ledger: &Ledger) -> Option<Write> {
        if self.writing || !self.lacks(ledger) {
            return None;
        }
        self.writing = true;
        Some(Write {
            place: self.place.clone(),
            snapshot: ledger.snapshot(),
            revision: ledger.revision(),
        })
    }

    /// When the next write is due; `None` when nothing is to be written, or one is in work.
    pub fn due(&self, ledger: &Ledger, now: Instant) -> Option<Instant> {
        let wanted = !self.writing && self.lacks(ledger);
        wanted.then(|| self.not_before.unwrap_or(now).max(now))
    }

    /// A write that was begun has ended. Says what is worth a line: a failure that is not the one
    /// of before, and the end of failures.
    pub fn ended(&mut self, written: Written, now: Instant) -> Option<News> {
        self.writing = false;
        self.not_before = Some(now + AFTER_FAILURE);
        if written.result.is_ok() && !written.is_partial {
            self.on_disk = Some(written.revision);
            self.not_before = Some(now + (written.took * REST).clamp(REST_MIN, REST_MAX));
        }
        match written.result.and_then(|path| written.copy.map(|()| path)) {
            Ok(path) => self.trouble.take().map(|_| News::Recovered(path)),
            Err(error) => {
                let trouble = Some(error.cause.kind());
                let news = self.trouble != trouble;
                self.trouble = trouble;
                news.then_some(News::Failing(error))
            }
        }
    }
}

impl Write {
    /// Writes. Blocks until the disk has it.
    pub fn run(self) -> Written {
        let begun = Instant::now();
        let own = self.place.own();
        let json = self.snapshot.to_json(self.place.images_dir());
        let written = replace(&own, &json);
        let cached = self.place.write_cache(json);
        let is_partial = cached.is_none();
        let (result, copy) = match cached.flatten() {
            Some(cached) => (cached, written),
            None => (written.map(|()| own), Ok(())),
        };
        Written {
            revision: self.revision,
            took: begun.elapsed(),
            result,
            copy,
            is_partial,
        }
    }
}
