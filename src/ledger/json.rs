//! The ledger as a file, version 1: one JSON document, one record a line.
//!
//! ```json
//! {"version":1,"images_dir":"/var/lib/stowd/images","entries":[
//! {"path":"app.tar.zst","outcome":"imported","identity":{"device":2049,"inode":12,"size":7,
//!  "mtime":"1763712000123456789","ctime":"1763712000123456789"},"settings":"sha256:…",
//!  "images":[{"digest":"sha256:…","names":["docker.io/library/app:1"]}],"bytes":7,
//!  "duration_ns":1200000000,"finished":"2026-11-21T08:00:00.000000000Z","attempts":1,"serial":3,
//!  "checksum":"sha256:…"}
//! ]}
//! ```
//!
//! - `images_dir` is the images directory, as it was configured; an older stowd wrote none.
//! - `path` is relative to the images directory where it lies in it; see [`super::path_text`].
//! - `mtime` and `ctime` are nanoseconds since the epoch, as text: they outgrow 64 bits, and tools
//!   that read JSON numbers as floating point would round them.
//! - `finished` and `next_try` are RFC 3339. A failed entry also has `error`, `class`, `kept`,
//!   `next_try` where it is tried again by itself, and `unknown` where no version was gone through.
//! - `seen_in` are the directories above the file, the images directory first: the file system's
//!   identifier in hexadecimal and the inode of each.
//! - `checksum` is the SHA-256 of the record's values: of the line as stowd writes it, without the
//!   checksum, behind [`SALT`]. Whatever byte of a record is changed, the record is what it was or
//!   it is dropped. Without it a flipped digit of an inode would only cost an import, but one of a
//!   digest or of a name could keep a wrong image pinned and let a right one go.
//!
//! A file that is not whole is read line by line: what its checksum proves is used. A record that
//! is dropped costs no more than an import of its entry.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fingerprint::Fingerprint;
use super::path_text;
use super::record::{FailureClass, Imported, ImportedImage, Outcome, Record};
use super::records::Ledger;
use super::snapshot::Snapshot;
use crate::digest::{Digest, Hasher};
use crate::entry::Identity;
use crate::source_event::DirectoryId;

/// The version of the form. To be raised when an older stowd would misread a record.
pub const VERSION: u64 = 1;

/// Before the bytes that are hashed, so that no line of another version passes for one of this.
const SALT: &[u8] = b"stowd ledger 1\n";

/// The last second that RFC 3339 can write: 9999-12-31T23:59:59Z.
const LAST_SECOND: u64 = 253_402_300_799;

/// What of a ledger's file was not used, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Dropped {
    /// It ends too early, or was never JSON.
    #[error("damaged ({cause}); {kept} of its records could still be read")]
    Damaged {
        cause: String,
        /// Records that are used.
        kept: usize,
    },
    #[error("of version {found}, and this stowd reads version {VERSION}; none of it is used")]
    Version {
        /// The version that it claims.
        found: String,
    },
    /// k3s wrote it (`pkg/agent/containerd/watcher.go`: a map of paths to `size` and `modTime`).
    #[error("the cache of k3s, which does not tell the images in it; none of it is used")]
    K3s,
    /// It is JSON, and something else.
    #[error("not a ledger; none of it is used")]
    Foreign,
    /// Some records were not understood.
    #[error("{dropped} of its {total} records are not used, the first because {cause}")]
    Records {
        /// Records that are not used.
        dropped: usize,
        total: usize,
        /// What is wrong with the first of them.
        cause: String,
    },
}

impl Snapshot {
    /// The file. Paths in `images_dir` are written relative to it.
    pub fn to_json(&self, images_dir: &Path) -> Vec<u8> {
        let dir = serde_json::Value::from(path_text::write(images_dir));
        let mut json =
            format!("{{\"version\":{VERSION},\"images_dir\":{dir},\"entries\":[").into_bytes();
        let mut separator: &[u8] = b"\n";
        for (path, record) in &self.records {
            json.extend_from_slice(separator);
            let path = Path::new(path);
            let mut line = RecordLine::of(path.strip_prefix(images_dir).unwrap_or(path), record);
            line.checksum = Some(line.digest());
            json.extend(line.to_json());
            separator = b",\n";
        }
        json.extend_from_slice(b"\n]}\n");
        json
    }
}

impl Ledger {
    /// Reads a file: what can be understood of it, and what was dropped. Relative paths are taken
    /// to be in `images_dir`. Empty is a ledger with nothing in it. No record stands.
    pub fn from_json(json: &[u8], images_dir: &Path) -> (Self, Option<Dropped>) {
        let mut records = BTreeMap::new();
        let mut take = |line: Result<RecordLine, serde_json::Error>| -> Result<(), String> {
            let (path, record) = line.map_err(|error| error.to_string())?.read()?;
            records.insert(images_dir.join(path).into_os_string(), Arc::new(record));
            Ok(())
        };
        let dropped = if json.trim_ascii().is_empty() {
            None
        } else {
            match serde_json::from_slice::<Value>(json) {
                Ok(document) => match entries(document) {
                    Ok(entries) => {
                        let total = entries.len();
                        let results = entries.into_iter().map(serde_json::from_value).map(take);
                        let mut causes = results.filter_map(Result::err);
                        causes.next().map(|cause| Dropped::Records {
                            dropped: 1 + causes.count(),
                            total,
                            cause,
                        })
                    }
                    Err(dropped) => dropped,
                },
                Err(error) => {
                    let lines = json.split(|byte| *byte == b'\n');
                    let lines = lines.map(|line| line.strip_suffix(b",").unwrap_or(line));
                    let taken = lines.map(|line| take(serde_json::from_slice(line)));
                    Some(Dropped::Damaged {
                        kept: taken.filter(Result::is_ok).count(),
                        cause: error.to_string(),
                    })
                }
            }
        };
        let is_whole = dropped.is_none() && !json.trim_ascii().is_empty();
        (Self::remembered(records, is_whole), dropped)
    }
}

/// The images directory that a file says it is of; one that was cut off behind its first line says so as
/// well.
pub fn images_dir_of(json: &[u8]) -> Option<PathBuf> {
    let first_line = json.split(|byte| *byte == b'\n').next()?;
    // The first line says it, where stowd has written the file: the rest need not be parsed.
    let header: LedgerHeader = serde_json::from_slice(&[first_line, b"]}"].concat())
        .or_else(|_| serde_json::from_slice(json))
        .ok()?;
    path_text::read(&header.images_dir)
}

/// What a file says of itself.
#[derive(Deserialize)]
struct LedgerHeader {
    images_dir: String,
}

/// The records of a document. Where there are none to be had: why, or nothing when it is empty.
fn entries(document: Value) -> Result<Vec<Value>, Option<Dropped>> {
    let Value::Object(mut document) = document else {
        return Err(Some(Dropped::Foreign));
    };
    if document.is_empty() {
        return Err(None);
    }
    match (document.remove("version"), document.remove("entries")) {
        (Some(version), Some(Value::Array(entries))) if version == VERSION => Ok(entries),
        (Some(version @ Value::Number(_)), _) if version != VERSION => {
            let found = version.to_string();
            Err(Some(Dropped::Version { found }))
        }
        (None, None) if document.values().all(is_of_k3s) => Err(Some(Dropped::K3s)),
        _ => Err(Some(Dropped::Foreign)),
    }
}

/// k3s can write a `null` for a file; see B14 of its known faults.
fn is_of_k3s(value: &Value) -> bool {
    value.is_null() || (value.get("size").is_some() && value.get("modTime").is_some())
}

/// A record as it is written. The order of the fields is part of the checksum.
#[derive(Serialize, Deserialize)]
struct RecordLine {
    path: String,
    outcome: LineOutcome,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    identity: Option<LineIdentity>,
    settings: Digest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    class: Option<LineClass>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    seen_in: Vec<String>,
    images: Vec<LineImage>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    kept: Vec<LineImage>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    unknown: bool,
    bytes: u64,
    duration_ns: u64,
    finished: String,
    attempts: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next_try: Option<String>,
    serial: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    checksum: Option<Digest>,
}

#[derive(Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum LineOutcome {
    Imported,
    Failed,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum LineClass {
    Content,
    MissingBlob,
    Environment,
}

impl LineClass {
    fn of(class: FailureClass) -> Self {
        match class {
            FailureClass::Content => Self::Content,
            FailureClass::MissingBlob => Self::MissingBlob,
            // How much room it needs is not written: a restart tries it, and refuses it again.
            FailureClass::NoSpace { .. } | FailureClass::Environment => Self::Environment,
        }
    }

    fn read(self) -> FailureClass {
        match self {
            Self::Content => FailureClass::Content,
            Self::MissingBlob => FailureClass::MissingBlob,
            Self::Environment => FailureClass::Environment,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct LineIdentity {
    device: u64,
    inode: u64,
    size: u64,
    mtime: String,
    ctime: String,
}

#[derive(Serialize, Deserialize)]
struct LineImage {
    digest: Digest,
    names: Vec<String>,
}

impl RecordLine {
    fn of(path: &Path, record: &Record) -> Self {
        let Imported {
            images,
            bytes,
            duration,
        } = record.outcome.imported();
        Self {
            path: path_text::write(path),
            outcome: match record.outcome {
                Outcome::Imported(_) => LineOutcome::Imported,
                Outcome::Failed { .. } => LineOutcome::Failed,
            },
            identity: record.identity.as_ref().map(LineIdentity::of),
            settings: record.settings.digest().clone(),
            error: record.outcome.error().map(str::to_owned),
            class: record.class.map(LineClass::of),
            seen_in: record.seen_in.iter().map(write_directory).collect(),
            images: images.iter().map(LineImage::of).collect(),
            kept: record.kept.iter().map(LineImage::of).collect(),
            unknown: record.is_unknown,
            bytes: *bytes,
            duration_ns: u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX),
            finished: write_time(record.finished),
            attempts: record.attempts,
            next_try: record.next_try.map(write_time),
            serial: record.serial,
            checksum: None,
        }
    }

    /// What the checksum should be.
    fn digest(&self) -> Digest {
        let mut hasher = Hasher::default();
        hasher.update(SALT);
        hasher.update(&self.to_json());
        hasher.finish()
    }

    fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts, numbers and lists of them have a JSON form")
    }

    fn read(mut self) -> Result<(PathBuf, Record), String> {
        let checksum = self.checksum.take();
        if checksum != Some(self.digest()) {
            return Err("its checksum does not match".to_owned());
        }
        let wrong = |what: &str| format!("its {what} cannot be understood");
        let imported = Imported {
            images: self.images.into_iter().map(LineImage::read).collect(),
            bytes: self.bytes,
            duration: Duration::from_nanos(self.duration_ns),
        };
        let outcome = match (self.outcome, self.error) {
            (LineOutcome::Imported, None) => Outcome::Imported(imported),
            (LineOutcome::Failed, Some(error)) => Outcome::Failed { error, imported },
            _ => return Err(wrong("outcome")),
        };
        let identity = match self.identity {
            Some(identity) => Some(identity.read().ok_or_else(|| wrong("identity"))?),
            None => None,
        };
        let next_try = match self.next_try {
            Some(time) => Some(read_time(&time).ok_or_else(|| wrong("next_try"))?),
            None => None,
        };
        let seen_in = self.seen_in.iter().map(|text| read_directory(text));
        let seen_in = seen_in.collect::<Option<Vec<_>>>();
        let failed = outcome.error().is_some();
        // A stowd that wrote no class tried all of them again.
        let class = self.class.map(LineClass::read);
        let class = failed.then_some(class.unwrap_or(FailureClass::Environment));
        let record = Record {
            identity,
            settings: Fingerprint::from_digest(self.settings),
            outcome,
            is_broken: class == Some(FailureClass::Content),
            class,
            seen_in: seen_in.ok_or_else(|| wrong("seen_in"))?,
            kept: self.kept.into_iter().map(LineImage::read).collect(),
            is_unknown: self.unknown,
            finished: read_time(&self.finished).ok_or_else(|| wrong("finished"))?,
            attempts: self.attempts,
            next_try,
            serial: self.serial,
        };
        let path = path_text::read(&self.path).ok_or_else(|| wrong("path"))?;
        Ok((path, record))
    }
}

impl LineIdentity {
    fn of(identity: &Identity) -> Self {
        Self {
            device: identity.device,
            inode: identity.inode,
            size: identity.size,
            mtime: identity.mtime.to_string(),
            ctime: identity.ctime.to_string(),
        }
    }

    fn read(self) -> Option<Identity> {
        Some(Identity {
            device: self.device,
            inode: self.inode,
            size: self.size,
            mtime: self.mtime.parse().ok()?,
            ctime: self.ctime.parse().ok()?,
        })
    }
}

impl LineImage {
    fn of(image: &ImportedImage) -> Self {
        Self {
            digest: image.digest.clone(),
            names: image.names.clone(),
        }
    }

    fn read(self) -> ImportedImage {
        ImportedImage {
            names: self.names,
            digest: self.digest,
        }
    }
}

/// As text: the numbers have 64 bits.
fn write_directory(directory: &DirectoryId) -> String {
    format!("{:x}:{}", directory.file_system, directory.inode)
}

fn read_directory(text: &str) -> Option<DirectoryId> {
    let (file_system, inode) = text.split_once(':')?;
    Some(DirectoryId {
        file_system: u64::from_str_radix(file_system, 16).ok()?,
        inode: inode.parse().ok()?,
    })
}

/// A time that RFC 3339 cannot write becomes the nearest that it can: no clock may end stowd.
fn write_time(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let since = since.min(Duration::from_secs(LAST_SECOND));
    humantime::format_rfc3339_nanos(UNIX_EPOCH + since).to_string()
}

fn read_time(text: &str) -> Option<SystemTime> {
    humantime::parse_rfc3339(text).ok()
}
