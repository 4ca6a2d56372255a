//! One entry's record, and how it follows from the one before.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::fingerprint::Fingerprint;
use crate::digest::Digest;
use crate::entry::Identity;
use crate::needed_blob::NeededBlob;
use crate::one_line::cut;
use crate::one_line::without_numbers;
use crate::retry;
use crate::source_event::DirectoryId;

/// An error text is cut after this many characters: an archive can have a problem a member.
pub(super) const ERROR_MAX: usize = 2000;

/// So many attempts long, some ten minutes, it counts that it is not known what an entry brings: nothing
/// is unpinned then. No longer, because what it fails of may be the space that others hold.
const UNKNOWN_ATTEMPTS: u32 = 7;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All that it holds is in the store.
    Imported(Imported),
    /// Something of it is not.
    Failed {
        /// Why, in one line.
        error: String,
        /// What of it is in the store all the same, by this attempt or by earlier ones at the same
        /// version.
        imported: Imported,
    },
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Imported {
    pub images: Vec<ImportedImage>,
    /// The length of the entry's file, in bytes.
    pub bytes: u64,
    pub duration: Duration,
}

/// An image that is in the store under its names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImportedImage {
    /// All names that it got, `repo:tag` before `repo@digest`. Each points to `digest`.
    pub names: Vec<String>,
    /// The digest of its manifest or index.
    pub digest: Digest,
    /// All blobs that it needs here, each once: those of platforms that are not wanted are none of
    /// them. Where the images of an archive need very many, the last of them have none recorded.
    pub blobs: Vec<NeededBlob>,
}

impl ImportedImage {
    /// Its names with a tag: a name by digest is never two images.
    pub(super) fn tagged_names(&self) -> impl Iterator<Item = &str> {
        let names = self.names.iter().map(String::as_str);
        names.filter(|name| !name.contains('@'))
    }

    /// The first of these, or its digest where it has no name.
    pub fn name_to_show(&self) -> &str {
        self.names_to_show().next().unwrap_or(self.digest.as_str())
    }

    /// Its names for people: those with a tag, which each have one by digest beside them, or all where it
    /// has no tag.
    pub fn names_to_show(&self) -> impl Iterator<Item = &str> {
        let has_tag = self.tagged_names().next().is_some();
        let names = self.names.iter().map(String::as_str);
        names.filter(move |name| !(has_tag && name.contains('@')))
    }
}

/// What is wrong with an entry that failed, as far as it decides when it is tried again.
///
/// Of several problems the greatest class counts: that which is tried again the soonest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailureClass {
    /// The file itself: it cannot mend by itself. It is read once more, and then not before it
    /// changes: reading and writing gigabytes for it wears out flash.
    #[default]
    Content,
    /// A blob that neither the archive nor the store has. It is tried when another entry brought
    /// something.
    MissingBlob,
    /// The store has no room. It is tried for ever, but not before there is room for what the entry has
    /// to write.
    NoSpace {
        /// So many bytes, as far as is known.
        needs: u64,
    },
    /// Anything else around it: I/O errors, containerd, a registry. It is tried for ever.
    Environment,
}

impl FailureClass {
    /// The word for it in the log, in the status and in the metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Content => "content",
            Self::MissingBlob => "missing-blob",
            Self::NoSpace { .. } => "no-space",
            Self::Environment => "environment",
        }
    }

    /// Whether the file itself is not what is wrong, nor what it lacks.
    pub(crate) fn is_of_surroundings(self) -> bool {
        matches!(self, Self::NoSpace { .. } | Self::Environment)
    }
}

/// An attempt at an entry that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Which version of the file it was about: the same before and after it was read. `None` where
    /// no version was read.
    pub identity: Option<Identity>,
    pub settings: Fingerprint,
    pub outcome: Outcome,
    /// Of a failure: what is wrong.
    pub class: FailureClass,
    /// The directories above the file, the images directory first.
    pub seen_in: Vec<DirectoryId>,
    pub finished: SystemTime,
    /// What spreads the retries of this process from those of others; see [`retry::delay`].
    pub seed: u64,
    /// Of a failure: what the entry goes on holding of what it brought before.
    pub keeps: Keeps,
    /// Of a failure: how long a registry asked to be left alone.
    pub not_before: Duration,
    /// Whether an attempt before it, at the same version, was interrupted: it has no record, and may have
    /// pinned images.
    pub was_interrupted: bool,
}

/// What an entry that failed goes on holding.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Keeps {
    /// All: what it would have brought is not known.
    #[default]
    All,
    /// Images that have one of these names: all of the entry was gone through, as with a list, and
    /// these names failed. What else it brought before is not its own any more.
    Named(BTreeSet<String>),
}

impl Keeps {
    fn of<'a>(&self, images: impl IntoIterator<Item = &'a ImportedImage>) -> Vec<ImportedImage> {
        let keeps = |image: &&ImportedImage| match self {
            Self::All => true,
            Self::Named(kept) => image.names.iter().any(|name| kept.contains(name)),
        };
        images.into_iter().filter(keeps).cloned().collect()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Which version of the file it is about; `None` where none was read.
    pub identity: Option<Identity>,
    pub settings: Fingerprint,
    pub outcome: Outcome,
    /// Of a failed entry: what is wrong.
    pub class: Option<FailureClass>,
    /// The directories that were above the file when it was seen last, the images directory first.
    /// Empty in the record of a stowd that did not write them down.
    pub seen_in: Vec<DirectoryId>,
    /// Of a failed entry: what it brought when it was last whole, and goes on holding until an
    /// attempt succeeds. A new version that is cut short must not unpin what the node runs.
    pub kept: Vec<ImportedImage>,
    /// Whether a reading of this version with these settings has found the file itself wrong. Not
    /// written to disk where a failure of another class came after that.
    pub is_broken: bool,
    /// Of a failed entry: whether what it brings is not known: this version was not gone through, and
    /// the file itself is not what is wrong; or an attempt that was interrupted has found it right, and it
    /// is read once more.
    pub is_unknown: bool,
    /// When the last attempt ended, by the wall clock.
    pub finished: SystemTime,
    /// Attempts at this version with these settings, up to and including the last; at least 1.
    pub attempts: u32,
    /// Of a failed entry: when it is due again, by the wall clock; `None` where only a change can
    /// help.
    pub next_try: Option<SystemTime>,
    /// The sample of the file, where all of an archive was imported and it was taken.
    pub sample: Option<Digest>,
    /// Grows from record to record, and tells which are newer than a question to the store. A clock
    /// may be set back; this is not.
    pub serial: u64,
}

impl Imported {
    /// Adds the images that earlier attempts have brought and this one has not. Of a tag that has moved
    /// on, the image that it pointed to before is dropped.
    fn add(&mut self, earlier: &[ImportedImage]) {
        let own = self.images.iter().flat_map(|image| &image.names);
        let own = own.cloned().collect::<HashSet<_>>();
        let is_new = |image: &&ImportedImage| !image.names.iter().any(|name| own.contains(name));
        self.images.extend(earlier.iter().filter(is_new).cloned());
    }
}

impl Outcome {
    /// What is in the store, all of the entry or some of it.
    pub fn imported(&self) -> &Imported {
        match self {
            Self::Imported(imported) | Self::Failed { imported, .. } => imported,
        }
    }

    pub(super) fn imported_mut(&mut self) -> &mut Imported {
        match self {
            Self::Imported(imported) | Self::Failed { imported, .. } => imported,
        }
    }

    /// Why something is not, if so.
    pub fn error(&self) -> Option<&str> {
        match self {
            Self::Imported(_) => None,
            Self::Failed { error, .. } => Some(error),
        }
    }
}

impl Record {
    /// The record of an attempt at the entry at `path`, which had an `earlier` record or none.
    pub(super) fn after(
        earlier: Option<&Self>,
        path: &Path,
        attempt: Attempt,
        serial: u64,
    ) -> Self {
        let Attempt {
            identity,
            settings,
            mut outcome,
            class,
            seen_in,
            finished,
            seed,
            keeps,
            not_before,
            was_interrupted,
        } = attempt;
        let again = earlier
            .filter(|earlier| earlier.identity == identity && earlier.settings == settings)
            .filter(|earlier| earlier.outcome.error().is_some());
        let attempts = again.map_or(0, |again| again.attempts).saturating_add(1);
        let was_broken = again.is_some_and(|again| again.is_broken);
        let mut kept = Vec::new();
        let mut next_try = None;
        if let Outcome::Failed { error, imported } = &mut outcome {
            if let Cow::Owned(cut) = cut(error, ERROR_MAX) {
                *error = cut;
            }
            // What a registry asked for is spread by the shortest delay.
            let asked = match not_before {
                Duration::ZERO => Duration::ZERO,
                asked => asked + retry::delay(1, path, seed),
            };
            let wait = match class {
                // The second time.
                FailureClass::Content if was_broken => None,
                FailureClass::MissingBlob => None,
                _ => Some(retry::delay(attempts, path, seed).max(asked)),
            };
            next_try = wait.and_then(|wait| finished.checked_add(wait));
            match (again, earlier) {
                (Some(again), _) => {
                    imported.add(&keeps.of(&again.outcome.imported().images));
                    kept = keeps.of(&again.kept);
                }
                (None, Some(earlier)) if keeps == Keeps::All => kept = earlier.hands_on().to_vec(),
                (None, Some(earlier)) => kept = keeps.of(earlier.images()),
                (None, None) => {}
            }
        }
        let has_failed = outcome.error().is_some();
        let may_be_right = class.is_of_surroundings() || (was_interrupted && next_try.is_some());
        let may_bring_more = has_failed && keeps == Keeps::All && may_be_right;
        Self {
            identity,
            settings,
            class: has_failed.then_some(class),
            outcome,
            seen_in,
            is_broken: has_failed && (was_broken || class == FailureClass::Content),
            is_unknown: may_bring_more && attempts <= UNKNOWN_ATTEMPTS,
            kept,
            finished,
            attempts,
            next_try,
            sample: None,
            serial,
        }
    }

    /// The entry could not be tried for what it has failed of: that is one more attempt. Says whether it
    /// still counts that it is not known what the entry brings.
    pub(super) fn put_off(&mut self, next_try: Option<SystemTime>) -> bool {
        self.attempts = self.attempts.saturating_add(1);
        self.next_try = next_try.or(self.next_try);
        self.is_unknown &= self.attempts <= UNKNOWN_ATTEMPTS;
        self.is_unknown
    }

    /// Whether a file with this identity may be a copy of the one that was imported, as when a baked tree is
    /// copied: its length and its mtime are those of the file, and it has an inode of its own. Where the inode
    /// is the same and its times differ, the file was written to. Then the sample tells whether it is one.
    pub(crate) fn is_of_copy(&self, other: &Identity) -> bool {
        let of_copy = |known: &Identity| {
            let inode = |one: &Identity| (one.device, one.inode);
            let version = |one: &Identity| (one.size, one.mtime);
            version(known) == version(other) && inode(known) != inode(other) && known != other
        };
        self.outcome.error().is_none() && self.identity.as_ref().is_some_and(of_copy)
    }

    /// Whether this failure and another one are the same: of the same version, for the same reason. How
    /// much space is free makes no other reason of a lack of it, nor do numbers alone, such as a port.
    pub(crate) fn failed_alike(&self, other: &Self) -> bool {
        let is_of_space = matches!(other.class, Some(FailureClass::NoSpace { .. }));
        let error = |record: &Self| {
            let error = record.outcome.error();
            error.map(|error| without_numbers(error).collect::<String>())
        };
        self.identity == other.identity
            && self.settings == other.settings
            && self.class == other.class
            && (is_of_space || error(self) == error(other))
    }

    /// What another version goes on holding when it fails: of versions that failed one after the
    /// other it is the last whole one's. An entry that comes anew every night and always lacks
    /// something must not pin all that it ever brought.
    fn hands_on(&self) -> &[ImportedImage] {
        if self.kept.is_empty() {
            &self.outcome.imported().images
        } else {
            &self.kept
        }
    }

    /// Every image that the entry keeps pinned: what the last attempt brought, then what is kept.
    pub fn images(&self) -> impl Iterator<Item = &ImportedImage> {
        self.outcome.imported().images.iter().chain(&self.kept)
    }
}
