//! Counts of what the ledger has: images, entries, failures.

use std::collections::HashMap;

use super::record::ImportedImage;
use crate::digest::Digest;

/// The ledger in three numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Different images that the entries brought.
    pub images: usize,
    /// Entries with an outcome.
    pub entries: usize,
    /// Entries of which something failed.
    pub failed: usize,
}

/// The counts, kept up as outcomes come and go: they are asked for at every turn of the loop.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// How many outcomes have an image: by its first name and its digest.
    images: HashMap<(Option<String>, Digest), usize>,
    entries: usize,
    failed: usize,
}

impl Tally {
    /// Adds an entry with an outcome.
    pub(super) fn add(&mut self, images: &[ImportedImage], is_failed: bool) {
        self.entries += 1;
        self.failed += usize::from(is_failed);
        for image in images {
            *self.images.entry(key(image)).or_default() += 1;
        }
    }

    /// Takes back one that was added.
    pub(super) fn remove(&mut self, images: &[ImportedImage], is_failed: bool) {
        self.entries -= 1;
        self.failed -= usize::from(is_failed);
        for image in images {
            let key = key(image);
            if let Some(count) = self.images.get_mut(&key) {
                *count -= 1;
                if *count == 0 {
                    self.images.remove(&key);
                }
            }
        }
    }

    pub(super) fn summary(&self) -> Summary {
        Summary {
            images: self.images.len(),
            entries: self.entries,
            failed: self.failed,
        }
    }
}

fn key(image: &ImportedImage) -> (Option<String>, Digest) {
    (image.names.first().cloned(), image.digest.clone())
}
