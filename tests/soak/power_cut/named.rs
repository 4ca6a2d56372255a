//! What a store names, held against the bytes on the disk.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use stowd::digest::Digest;

use crate::support::{Store, architecture, children_of, file_names};

/// What is wrong with a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Damage {
    NoRecord,
    NoFile,
    OtherLength,
    /// The length is right. Only reading it shows this.
    OtherBytes,
}

/// What is wrong with the blobs that the named images consist of, for this host.
pub(super) fn damage_of_named(store: &Store, blobs_dir: &Path) -> Vec<(String, Damage)> {
    let own = format!("linux/{}", architecture());
    let blobs = store.blobs();
    let images = store.images().into_values();
    let mut open = images.map(|image| (image.target, true)).collect::<Vec<_>>();
    let (mut seen, mut damaged) = (BTreeSet::new(), Vec::new());
    while let Some((digest, has_children)) = open.pop() {
        if !seen.insert(digest.clone()) {
            continue;
        }
        let Some(blob) = blobs.get(&digest) else {
            damaged.push((digest, Damage::NoRecord));
            continue;
        };
        let hex = digest.trim_start_matches("sha256:");
        let damage = match fs::read(blobs_dir.join(hex)) {
            Err(_) => Damage::NoFile,
            Ok(bytes) if bytes.len() as u64 != blob.size => Damage::OtherLength,
            Ok(bytes) if Digest::of(&bytes).hex() != hex => Damage::OtherBytes,
            Ok(bytes) => {
                if has_children {
                    let document = serde_json::from_slice(&bytes).expect("a document");
                    let needed = children_of(&document).into_iter().filter(|child| {
                        let is_for = child.platform.as_ref();
                        blobs.contains_key(&child.digest) || is_for.is_none_or(|it| *it == own)
                    });
                    open.extend(needed.map(|child| (child.digest, child.has_children)));
                }
                continue;
            }
        };
        damaged.push((digest, damage));
    }
    damaged
}

/// The files whose bytes are not those of their names, with their lengths.
pub(super) fn wrong_files(blobs_dir: &Path) -> Vec<(String, u64)> {
    let files = file_names(blobs_dir).into_iter().filter_map(|name| {
        let bytes = fs::read(blobs_dir.join(&name)).expect("a blob");
        (Digest::of(&bytes).hex() != name).then_some((name, bytes.len() as u64))
    });
    files.collect()
}
