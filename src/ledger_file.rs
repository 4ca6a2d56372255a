//! The ledger on disk: where it is, how it is read, when and how it is written.
//!
//! It is `ledger.json` in the state directory; or `.cache.json` in the images directory, for as
//! long as there is such a file. stowd never creates the latter: an operator does, to keep what
//! stowd knows beside the archives.
//!
//! A ledger says of which images directory it is. Where `ledger.json` is of another one, it is left as it
//! is, and the ledger is `ledger-HASH.json`, after the path of the images directory. What the ledgers of
//! other images directories have brought stays pinned.
//!
//! Written anew as a whole: into a file beside it whose name begins with a dot (a scan passes it
//! over), synced, renamed, its directory synced. A crash leaves the old ledger or the new one.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::digest::Digest;
use crate::ledger::{Dropped, Ledger, Snapshot, images_dir_of};

/// In the state directory, of the images directory that was the first.
const OWN: &str = "ledger.json";
/// In the state directory, of another one; the length of a hash in hexadecimal.
const OF_ANOTHER: (&str, &str) = ("ledger-", ".json");
const HASH_LENGTH: usize = 16;
/// In the images directory, where an operator created it. k3s's name for the same purpose.
const CACHE: &str = ".cache.json";
/// What the file that is being written ends in.
const NEW: &str = ".stowd-new";

/// A longer file is not read. A record takes some hundred bytes.
const MAX: u64 = 64 << 20;

/// After a write, this many times as long as it took passes before the next: a storm of entries
/// must not spend its time on ledgers.
const REST: u32 = 9;
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

/// The ledger of another images directory. It is read, and not written.
#[derive(Debug, PartialEq, Eq)]
pub struct OtherLedger {
    pub path: PathBuf,
    /// The directory; `None` where an older stowd has not said it.
    pub images_dir: Option<PathBuf>,
    /// How many names of images it has.
    pub names: usize,
}

/// Why a ledger's file, or part of it, is not used. Its entries are imported again.
#[derive(Debug, thiserror::Error)]
#[error("{}: {cause}", path.display())]
pub struct LoadWarning {
    pub path: PathBuf,
    pub cause: Unused,
}

/// What is wrong with a ledger's file.
#[derive(Debug, thiserror::Error)]
pub enum Unused {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It is a directory or a device.
    #[error("not a regular file")]
    NotAFile,
    /// It is too long to be a ledger.
    #[error("{0} bytes long, more than any ledger ({MAX}); none of it is used")]
    TooLong(u64),
    /// Not all of it is understood.
    #[error(transparent)]
    Dropped(#[from] Dropped),
}

/// Why a ledger was not written. What stowd knows is in memory alone until a write succeeds.
#[derive(Debug, thiserror::Error)]
#[error("{}: {step}: {cause}{}", path.display(), hint(path, cause))]
pub struct WriteError {
    pub path: PathBuf,
    step: &'static str,
    cause: io::Error,
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
}

/// A change that is worth a line in the log.
#[derive(Debug)]
pub enum News {
    /// Writes fail from now on, or fail of something else than before.
    Failing(WriteError),
    /// Writes succeed again; the file.
    Recovered(PathBuf),
}

/// Where the ledger may be.
#[derive(Debug, Clone)]
struct Place {
    state_dir: PathBuf,
    images_dir: PathBuf,
    /// The name of the file in the state directory.
    own: PathBuf,
}

impl LedgerFile {
    /// The file of a daemon with these directories.
    pub fn new(state_dir: &Path, images_dir: &Path) -> Self {
        Self {
            place: Place {
                state_dir: state_dir.to_owned(),
                // Without a slash at its end, and no two in a row.
                images_dir: images_dir.components().collect(),
                own: OWN.into(),
            },
            on_disk: None,
            writing: false,
            not_before: None,
            trouble: None,
        }
    }

    /// Reads the ledger, and removes what a write that was cut off has left. Blocks. Always gives a
    /// ledger; a missing or an empty file is one with nothing in it. When `.cache.json` has no
    /// record, as when it was created a moment ago, the one in the state directory is used.
    pub fn load(&mut self) -> Loaded {
        let mut warnings = Vec::new();
        self.place.choose_own();
        let cache = self.place.cache();
        let own = self.place.own();
        for path in cache.iter().chain([&own]) {
            // A file that cannot be removed does no harm, and is not reported.
            let _ = fs::remove_file(beside(path));
        }
        let home = cache.as_ref().unwrap_or(&own);
        let (mut ledger, warning) = read(home, &self.place.images_dir);
        let mut is_on_disk = warning.is_none();
        warnings.extend(warning);
        if cache.is_some() && ledger.iter().next().is_none() {
            let warning;
            (ledger, warning) = read(&own, &self.place.images_dir);
            is_on_disk &= warning.is_none() && ledger.iter().next().is_none();
            warnings.extend(warning);
        }
        // What could not be used is replaced by something that can.
        self.on_disk = is_on_disk.then(|| ledger.revision());
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

    /// As [`begin`](Self::begin), but without a rest after the last write: before the end, and
    /// when an operator asks for it.
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
        match written.result {
            Ok(path) => {
                self.on_disk = Some(written.revision);
                self.not_before = Some(now + (written.took * REST).min(REST_MAX));
                self.trouble.take().map(|_| News::Recovered(path))
            }
            Err(error) => {
                self.not_before = Some(now + AFTER_FAILURE);
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
        let path = self.place.home();
        let json = self.snapshot.to_json(&self.place.images_dir);
        let result = replace(&path, &json).map_err(|(step, cause)| WriteError {
            path: path.clone(),
            step,
            cause,
        });
        Written {
            revision: self.revision,
            took: begun.elapsed(),
            result: result.map(|()| path),
        }
    }
}

impl Place {
    /// The file that counts now.
    fn home(&self) -> PathBuf {
        self.cache().unwrap_or_else(|| self.own())
    }

    fn own(&self) -> PathBuf {
        resolved(self.state_dir.join(&self.own))
    }

    /// A ledger that was begun under a name stays there, also when the one that was in its way has gone.
    fn choose_own(&mut self) {
        let named = self.named();
        let first = bytes(&self.state_dir.join(OWN)).unwrap_or_default();
        let is_first = images_dir_of(&first).is_none_or(|dir| dir == self.images_dir);
        let is_named = !is_first || self.state_dir.join(&named).exists();
        self.own = if is_named { named } else { OWN.into() };
    }

    fn named(&self) -> PathBuf {
        let digest = Digest::of(self.images_dir.as_os_str().as_bytes());
        let (begin, end) = OF_ANOTHER;
        format!("{begin}{}{end}", &digest.hex()[..HASH_LENGTH]).into()
    }

    /// Reads the ledgers of other images directories that are in the state directory. Of what they know
    /// the ledger gets the names of images. `.cache.json` of another directory is not looked for: that
    /// directory may be on a file system that hangs, and is not what this run is about.
    fn read_others(
        &self,
        ledger: &mut Ledger,
        warnings: &mut Vec<LoadWarning>,
    ) -> Vec<OtherLedger> {
        let mut others = Vec::new();
        for path in self.ledgers() {
            let json = bytes(&path);
            let images_dir = json.as_deref().ok().and_then(images_dir_of);
            if images_dir.as_deref() == Some(&self.images_dir) {
                continue;
            }
            let (other, warning) = understood(&path, json, Path::new("/"));
            warnings.extend(warning);
            let images = other.iter().flat_map(|(_, record)| record.images());
            let names = images.flat_map(|image| image.names.iter().cloned());
            let names = names.collect::<BTreeSet<_>>();
            others.push(OtherLedger {
                path,
                images_dir,
                names: names.len(),
            });
            ledger.bring_elsewhere(names);
        }
        others
    }

    /// The ledgers of the state directory but for the own one, in name order.
    fn ledgers(&self) -> BTreeSet<PathBuf> {
        let items = fs::read_dir(&self.state_dir).into_iter().flatten();
        let mut names = items
            .flatten()
            .map(|item| PathBuf::from(item.file_name()))
            .collect::<BTreeSet<_>>();
        let (begin, end) = OF_ANOTHER;
        names.retain(|name| {
            let text = name.to_string_lossy();
            let is_ledger = text == OWN || (text.starts_with(begin) && text.ends_with(end));
            is_ledger && *name != self.own
        });
        names.iter().map(|name| self.state_dir.join(name)).collect()
    }

    fn cache(&self) -> Option<PathBuf> {
        let path = self.images_dir.join(CACHE);
        fs::metadata(&path)
            .is_ok_and(|metadata| metadata.is_file())
            .then(|| resolved(path))
    }
}

/// What a link leads to: renaming onto the link itself would replace it.
fn resolved(path: PathBuf) -> PathBuf {
    fs::canonicalize(&path).unwrap_or(path)
}

/// The file into which the next version of the one at `path` is written.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default();
    let mut new = std::ffi::OsString::from(".");
    new.push(name);
    new.push(NEW);
    path.with_file_name(new)
}

fn read(path: &Path, images_dir: &Path) -> (Ledger, Option<LoadWarning>) {
    understood(path, bytes(path), images_dir)
}

/// The ledger that these bytes of the file at `path` are.
fn understood(
    path: &Path,
    json: Result<Vec<u8>, Unused>,
    images_dir: &Path,
) -> (Ledger, Option<LoadWarning>) {
    let warning = |cause| LoadWarning {
        path: path.to_owned(),
        cause,
    };
    match json {
        Ok(json) => {
            let (ledger, dropped) = Ledger::from_json(&json, images_dir);
            (ledger, dropped.map(|dropped| warning(dropped.into())))
        }
        Err(cause) => (Ledger::default(), Some(warning(cause))),
    }
}

/// The bytes of the file; none where there is no file.
fn bytes(path: &Path) -> Result<Vec<u8>, Unused> {
    let metadata = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        metadata => metadata?,
    };
    // Before it is opened: opening a pipe waits for a writer.
    if !metadata.is_file() {
        return Err(Unused::NotAFile);
    }
    if metadata.len() > MAX {
        return Err(Unused::TooLong(metadata.len()));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Puts a file with these bytes in the place of the one at `path`, whole or not at all.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), (&'static str, io::Error)> {
    let new = beside(path);
    let written = write_new(&new, bytes).and_then(|()| {
        fs::rename(&new, path).map_err(|error| ("it cannot take the place of the old one", error))
    });
    if written.is_err() {
        // On a full disk its bytes are wanted elsewhere.
        let _ = fs::remove_file(&new);
        return written;
    }
    let dir = path.parent().unwrap_or(Path::new("/"));
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(|error| ("its directory cannot be synced", error))
}

fn write_new(new: &Path, bytes: &[u8]) -> Result<(), (&'static str, io::Error)> {
    let create = || File::options().write(true).create_new(true).open(new);
    let created = match create() {
        // Of a write that was cut off.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(new).and_then(|()| create())
        }
        // The state directory was removed.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let dir = new.parent().unwrap_or(Path::new("/"));
            fs::create_dir_all(dir).and_then(|()| create())
        }
        created => created,
    };
    let mut file = created.map_err(|error| ("a file beside it cannot be created", error))?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written.map_err(|error| ("the file beside it cannot be written", error))
}

/// The fix, where there is one.
fn hint(path: &Path, cause: &io::Error) -> String {
    let denied = matches!(
        cause.kind(),
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied
    );
    if denied && path.ends_with(CACHE) {
        format!("; remove {CACHE} and stowd keeps the ledger in state-dir")
    } else {
        String::new()
    }
}
