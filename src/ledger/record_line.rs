//! A record as a line of the ledger's file.
//!
//! - `path` is relative to the images directory where it lies in it; see [`super::path_text`].
//! - `mtime` and `ctime` are nanoseconds since the epoch, as text: they outgrow 64 bits, and tools
//!   that read JSON numbers as floating point would round them.
//! - `finished` and `next_try` are RFC 3339. A failed entry also has `error`, `class`, `kept`,
//!   `next_try` where it is tried again by itself, and `unknown` where no version was gone through.
//! - `blobs` are the digests of the blobs that an image needs, without their algorithm, and the length
//!   of each.
//! - `seen_in` are the directories above the file, the images directory first: the file system's
//!   identifier in hexadecimal and the inode of each.
//! - `sample` tells a copy of the file from another one; see [`Record::is_of_copy`].
//! - `checksum` is the SHA-256 of the record's values: of the line as stowd writes it, without the
//!   checksum, behind [`SALT`]. Whatever byte of a record is changed, the record is what it was or
//!   it is dropped. Without it a flipped digit of an inode would only cost an import, but one of a
//!   digest or of a name could keep a wrong image pinned and let a right one go.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::fingerprint::Fingerprint;
use super::path_text;
use super::record::{FailureClass, Imported, ImportedImage, Outcome, Record};
use crate::digest::{Digest, Hasher};
use crate::entry::Identity;
use crate::needed_blob::NeededBlob;
use crate::source_event::DirectoryId;

/// Before the bytes that are hashed, so that no line of another version passes for one of this.
const SALT: &[u8] = b"stowd ledger 1\n";

/// The last second that RFC 3339 can write: 9999-12-31T23:59:59Z.
const LAST_SECOND: u64 = 253_402_300_799;

/// A record as it is written. The order of the fields is part of the checksum.
#[derive(Serialize, Deserialize)]
pub(super) struct RecordLine {
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sample: Option<Digest>,
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
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    blobs: Vec<String>,
}

impl RecordLine {
    pub(super) fn of(path: &Path, record: &Record) -> Self {
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
            sample: record.sample.clone(),
            serial: record.serial,
            checksum: None,
        }
    }

    /// The line as it is written.
    pub(super) fn with_checksum(mut self) -> Vec<u8> {
        self.checksum = Some(self.digest());
        self.to_json()
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

    pub(super) fn read(mut self) -> Result<(PathBuf, Record), String> {
        let checksum = self.checksum.take();
        if checksum != Some(self.digest()) {
            return Err("its checksum does not match".to_owned());
        }
        let wrong = |what: &str| format!("its {what} cannot be understood");
        let imported = Imported {
            images: read_images(self.images).ok_or_else(|| wrong("images"))?,
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
            kept: read_images(self.kept).ok_or_else(|| wrong("kept"))?,
            is_unknown: self.unknown,
            finished: read_time(&self.finished).ok_or_else(|| wrong("finished"))?,
            attempts: self.attempts,
            next_try,
            sample: self.sample,
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
            blobs: image.blobs.iter().map(write_blob).collect(),
        }
    }

    fn read(self) -> Option<ImportedImage> {
        let blobs = self.blobs.iter().map(|text| read_blob(text));
        Some(ImportedImage {
            names: self.names,
            digest: self.digest,
            blobs: blobs.collect::<Option<_>>()?,
        })
    }
}

fn read_images(images: Vec<LineImage>) -> Option<Vec<ImportedImage>> {
    images.into_iter().map(LineImage::read).collect()
}

fn write_blob(blob: &NeededBlob) -> String {
    format!("{}:{}", blob.digest.hex(), blob.size)
}

fn read_blob(text: &str) -> Option<NeededBlob> {
    let (hex, size) = text.split_once(':')?;
    Some(NeededBlob {
        digest: Digest::of_hex(hex).ok()?,
        size: size.parse().ok()?,
    })
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
