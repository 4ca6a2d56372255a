//! Where the ledger of an images directory is, and where those of others are.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::answers::Answers;
use super::baked::{BAKED, BakedFile};
use super::read::{CACHE, LoadWarning, Unused, bytes, understood};
use super::replace::{WriteError, remove_rest, replace};
use crate::digest::Digest;
use crate::ledger::{Dropped, Ledger, images_dir_of};

/// In the state directory, of the images directory that was the first.
const OWN: &str = "ledger.json";
/// In the state directory, of another one; the length of a hash in hexadecimal.
const OF_ANOTHER: (&str, &str) = ("ledger-", ".json");
const HASH_LENGTH: usize = 16;

/// Where the ledger may be.
#[derive(Debug, Clone)]
pub(super) struct Place {
    state_dir: PathBuf,
    images_dir: PathBuf,
    /// The name of the file in the state directory.
    own: PathBuf,
    answers: Answers,
}

/// The path of `.cache.json`, and its bytes.
type Cache = (PathBuf, Result<Vec<u8>, Unused>);

/// The ledger of another images directory. It is read, and not written.
#[derive(Debug, PartialEq, Eq)]
pub struct OtherLedger {
    pub path: PathBuf,
    /// The directory; `None` where an older stowd has not said it.
    pub images_dir: Option<PathBuf>,
    /// How many names of images it has.
    pub names: usize,
}

impl Place {
    /// Of a daemon with these directories.
    pub(super) fn new(state_dir: &Path, images_dir: &Path) -> Self {
        Self {
            state_dir: state_dir.to_owned(),
            // Without a slash at its end, and no two in a row.
            images_dir: images_dir.components().collect(),
            own: OWN.into(),
            answers: Answers::default(),
        }
    }

    pub(super) fn images_dir(&self) -> &Path {
        &self.images_dir
    }

    pub(super) fn own(&self) -> PathBuf {
        resolved(self.state_dir.join(&self.own))
    }

    /// A ledger that was begun under a name stays there, also when the one that was in its way has gone.
    pub(super) fn choose_own(&mut self) {
        let named = self.named();
        let is_named = self.state_dir.join(&named).exists() || !self.is_first();
        self.own = if is_named { named } else { OWN.into() };
    }

    /// Whether `ledger.json`, if there is one, is of this images directory, or tells nothing.
    fn is_first(&self) -> bool {
        // One that cannot be read may be of another directory.
        let Ok(json) = bytes(&self.state_dir.join(OWN)) else {
            return false;
        };
        match images_dir_of(&json) {
            Some(dir) => dir == self.images_dir,
            // A whole one is that of an older stowd. Of one that is damaged it is not known whose records
            // those are that can still be read.
            None => {
                let (_, dropped) = Ledger::from_json(&json, &self.images_dir);
                !matches!(dropped, Some(Dropped::Damaged { kept: 1.., .. }))
            }
        }
    }

    /// Removes what a write of `.cache.json` that was cut off has left, where that is used.
    pub(super) fn remove_rest_of_cache(&self) {
        let path = self.images_dir.join(CACHE);
        // Where the images directory does not answer, reading it finds that.
        let _ = self.answers.of(move || {
            if let Some(path) = cache(path) {
                remove_rest(&path);
            }
        });
    }

    /// `.cache.json`, where that is used, and its bytes.
    ///
    /// # Errors
    /// The images directory does not answer.
    pub(super) fn read_cache(&self) -> Result<Option<Cache>, LoadWarning> {
        let path = self.images_dir.join(CACHE);
        let look = path.clone();
        let read = self.answers.of(move || {
            let path = cache(look)?;
            let json = bytes(&path);
            Some((path, json))
        });
        let cause = Unused::Silent;
        read.ok_or(LoadWarning { path, cause })
    }

    /// Writes `.cache.json`, where that is used; `None` where the images directory does not answer.
    pub(super) fn write_cache(&self, json: Vec<u8>) -> Option<Option<Result<PathBuf, WriteError>>> {
        let path = self.images_dir.join(CACHE);
        self.answers.of(move || {
            let path = cache(path)?;
            Some(replace(&path, &json).map(|()| path))
        })
    }

    fn named(&self) -> PathBuf {
        let digest = Digest::of(self.images_dir.as_os_str().as_bytes());
        let (begin, end) = OF_ANOTHER;
        format!("{begin}{}{end}", &digest.hex()[..HASH_LENGTH]).into()
    }

    /// Reads the ledgers of other images directories that are in the state directory, and one of this
    /// directory that could not be read when another was begun. Of what they know the ledger gets the names
    /// of images. `.cache.json` of another directory is not looked for: that
    /// directory may be on a file system that hangs, and there is a copy.
    pub(super) fn read_others(
        &self,
        ledger: &mut Ledger,
        warnings: &mut Vec<LoadWarning>,
    ) -> Vec<OtherLedger> {
        let mut others = Vec::new();
        for path in self.ledgers() {
            let json = bytes(&path);
            let images_dir = json.as_deref().ok().and_then(images_dir_of);
            let (is_read, is_file) = (json.is_ok(), !matches!(json, Err(Unused::NotAFile)));
            let (other, warning) = understood(&path, json, Path::new("/"));
            if warning.is_some() && is_file {
                ledger.lack_elsewhere(path.clone());
            }
            warnings.extend(warning);
            let images = other.iter().flat_map(|(_, record)| record.images());
            let names = images.flat_map(|image| image.names.iter().cloned());
            let names = names.collect::<BTreeSet<_>>();
            if is_read {
                others.push(OtherLedger {
                    path,
                    images_dir,
                    names: names.len(),
                });
            }
            ledger.bring_elsewhere(names);
        }
        others
    }

    /// Reads the baked set. Where it cannot be read nothing is unpinned.
    pub(super) fn read_baked(&self, ledger: &mut Ledger) -> Option<LoadWarning> {
        let file = BakedFile::new(&self.state_dir);
        let (baked, warning) = file.read();
        if warning.is_some() {
            ledger.lack_elsewhere(file.path().to_owned());
        }
        ledger.bake(baked);
        warning
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
            is_ledger && *name != self.own && text != BAKED
        });
        names.iter().map(|name| self.state_dir.join(name)).collect()
    }
}

fn cache(path: PathBuf) -> Option<PathBuf> {
    fs::metadata(&path)
        .is_ok_and(|metadata| metadata.is_file())
        .then(|| resolved(path))
}

/// What a link leads to: renaming onto the link itself would replace it.
fn resolved(path: PathBuf) -> PathBuf {
    fs::canonicalize(&path).unwrap_or(path)
}
