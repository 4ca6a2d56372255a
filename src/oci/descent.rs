//! The way through the documents of an image, from its target on, level by level. The caller reads each
//! document: what one that cannot be read means differs.

use std::collections::{HashSet, VecDeque};

use super::children::Children;
use crate::digest::Digest;
use crate::needed_blob::NeededBlob;

/// The levels of documents that are followed: indexes, and a manifest. Real images have no more than
/// three.
const LEVELS: usize = 4;

/// The documents that are still to be read. Each blob is met once.
#[derive(Debug)]
pub(crate) struct Descent {
    open: VecDeque<(usize, NeededBlob)>,
    seen: HashSet<Digest>,
    configs: Vec<Digest>,
    blobs_max: usize,
}

impl Descent {
    /// From this target on. No more than `blobs_max` blobs are met.
    pub(crate) fn from(target: NeededBlob, blobs_max: usize) -> Self {
        Self {
            open: [(0, target)].into(),
            seen: HashSet::new(),
            configs: Vec::new(),
            blobs_max,
        }
    }

    /// The next document to be read, and its level: 0 is that of the target.
    pub(crate) fn next(&mut self) -> Option<(usize, NeededBlob)> {
        while let Some((level, blob)) = self.open.pop_front() {
            if self.is_new(&blob) {
                return Some((level, blob));
            }
        }
        None
    }

    /// Takes in what a document of this level says. Returns the blobs that it refers to and that are no
    /// documents.
    pub(crate) fn take_in(&mut self, level: usize, document: &[u8]) -> Vec<NeededBlob> {
        let Children {
            documents,
            leaves,
            config,
        } = Children::of(document);
        self.configs.extend(config);
        if level + 1 < LEVELS {
            let below = documents.into_iter().map(|blob| (level + 1, blob));
            self.open.extend(below);
        }
        let leaves = leaves.into_iter().filter(|leaf| self.is_new(leaf));
        leaves.collect()
    }

    /// The configurations that the documents so far refer to.
    pub(crate) fn into_configs(self) -> Vec<Digest> {
        self.configs
    }

    fn is_new(&mut self, blob: &NeededBlob) -> bool {
        self.seen.len() < self.blobs_max && self.seen.insert(blob.digest.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(bytes: &str) -> NeededBlob {
        NeededBlob {
            digest: Digest::of(bytes.as_bytes()),
            size: bytes.len() as u64,
        }
    }

    fn index(of: &[&str]) -> String {
        let manifests = of.iter().map(|bytes| {
            let NeededBlob { digest, size } = blob(bytes);
            format!(r#"{{"digest":"{digest}","size":{size}}}"#)
        });
        let manifests = manifests.collect::<Vec<_>>().join(",");
        format!(r#"{{"manifests":[{manifests}]}}"#)
    }

    fn manifest(of: &str) -> String {
        let NeededBlob { digest, size } = blob(of);
        format!(r#"{{"config":{{"digest":"{digest}","size":{size}}},"layers":[]}}"#)
    }

    /// Each document that is met, with its level, and all leaves.
    fn met(target: &str, all: &[&str], blobs_max: usize) -> (Vec<usize>, usize) {
        let mut descent = Descent::from(blob(target), blobs_max);
        let (mut levels, mut leaves) = (Vec::new(), 0);
        while let Some((level, met)) = descent.next() {
            levels.push(level);
            let document = all.iter().find(|bytes| blob(bytes) == met).unwrap();
            leaves += descent.take_in(level, document.as_bytes()).len();
        }
        (levels, leaves)
    }

    #[test]
    fn each_blob_is_met_once_level_by_level() {
        let (one, two, same) = (manifest("a"), manifest("b"), manifest("a "));
        let inner = index(&[&two, &one]);
        let outer = index(&[&one, &inner, &one, &same]);
        let all = [outer.as_str(), &inner, &one, &two, &same];
        assert_eq!(met(&outer, &all, 100), (vec![0, 1, 1, 1, 2], 3));
        assert_eq!(met(&outer, &all, 3), (vec![0, 1], 1));
    }

    #[test]
    fn levels_are_bounded() {
        let mut document = manifest("a");
        let mut all = vec![document.clone()];
        for _ in 0..6 {
            document = index(&[&document]);
            all.push(document.clone());
        }
        let all = all.iter().map(String::as_str).collect::<Vec<_>>();
        assert_eq!(met(&document, &all, 100), (vec![0, 1, 2, 3], 0));
    }
}
