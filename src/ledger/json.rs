//! The ledger as a file, version 1: one JSON document, one record a line.
//!
//! ```json
//! {"version":1,"images_dir":"/var/lib/stowd/images","entries":[
//! {"path":"app.tar.zst","outcome":"imported","identity":{"device":2049,"inode":12,"size":7,
//!  "mtime":"1763712000123456789","ctime":"1763712000123456789"},"settings":"sha256:…",
//!  "images":[{"digest":"sha256:…","names":["docker.io/library/app:1"],"blobs":["…:7"]}],"bytes":7,
//!  "duration_ns":1200000000,"finished":"2026-11-21T08:00:00.000000000Z","attempts":1,"serial":3,
//!  "checksum":"sha256:…"}
//! ]}
//! ```
//!
//! `images_dir` is the images directory, as it was configured; an older stowd wrote none. What a record
//! says is in [`super::record_line`].
//!
//! A file that is not whole is read line by line: what its checksum proves is used. A record that
//! is dropped costs no more than an import of its entry.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::path_text;
use super::record_line::RecordLine;
use super::records::Ledger;
use super::snapshot::Snapshot;

/// The version of the form. To be raised when an older stowd would misread a record.
pub const VERSION: u64 = 1;

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
            let line = RecordLine::of(path.strip_prefix(images_dir).unwrap_or(path), record);
            json.extend(line.with_checksum());
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
