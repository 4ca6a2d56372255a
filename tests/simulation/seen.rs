//! What the source has told of each file.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use stowd::entry::{Entry, Identity};
use stowd::source_event::{Listed, SourceEvent};

use crate::directory::PATHS;
use crate::invariants::Violation;
use crate::oracle::Oracle;

#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The files that are there, each in the version that was told last, and whether that was called whole.
    files: BTreeMap<PathBuf, (Entry, bool)>,
    /// The versions that the source of this process or of one before has called whole.
    whole: HashSet<(PathBuf, Identity)>,
    /// The directories that the last listing could not list.
    hidden: BTreeSet<PathBuf>,
    /// Those that no listing has had since.
    unlisted: BTreeSet<PathBuf>,
}

impl Seen {
    /// The source of another process has told nothing yet.
    pub(crate) fn restarted(&mut self) {
        self.files.clear();
        self.hidden.clear();
        self.unlisted.clear();
    }

    /// A directory that could not be listed.
    pub(crate) fn hidden(&self) -> Option<&PathBuf> {
        self.hidden.first()
    }

    /// Whether there is a directory that could not be listed, and was not seen since.
    pub(crate) fn is_any_unlisted(&self) -> bool {
        !self.unlisted.is_empty()
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.files.values().map(|(entry, _)| entry)
    }

    pub(crate) fn has(&self, path: &Path) -> bool {
        self.files.contains_key(path)
    }

    /// Whether the newest that was told of a file is that it is whole.
    pub(crate) fn is_whole(&self, path: &Path) -> bool {
        matches!(self.files.get(path), Some((_, true)))
    }

    pub(crate) fn was_whole(&self, entry: &Entry) -> bool {
        self.whole.contains(&(entry.path.clone(), entry.identity))
    }

    fn see(&mut self, entry: &Entry, whole: bool) {
        self.files
            .insert(entry.path.clone(), (entry.clone(), whole));
        if whole {
            self.whole.insert((entry.path.clone(), entry.identity));
        }
    }

    /// A job has found that the file is another one than the source has told.
    pub(crate) fn changed(&mut self, path: &Path) {
        if let Some((_, whole)) = self.files.get_mut(path) {
            *whole = false;
        }
    }

    fn take(&mut self, event: &SourceEvent) {
        match event {
            SourceEvent::Settling(entry) | SourceEvent::StillWritten(entry) => {
                self.see(entry, false);
            }
            SourceEvent::Settled(entry) => self.see(entry, true),
            SourceEvent::Unreadable(unreadable) => _ = self.files.remove(&unreadable.path),
            SourceEvent::Removed(path) => self.files.retain(|other, _| !other.starts_with(path)),
            SourceEvent::Listed(listing) => {
                self.files.clear();
                let unreadable = listing.unreadable.iter().map(|other| other.path.clone());
                let is_file = |path: &PathBuf| PATHS.iter().any(|file| Path::new(file) == path);
                self.hidden = unreadable.filter(|path| !is_file(path)).collect();
                self.unlisted.extend(self.hidden.iter().cloned());
                self.unlisted
                    .retain(|path| !listing.directories.contains_key(path));
                for Listed { entry, whole } in &listing.entries {
                    self.see(entry, *whole);
                }
            }
            _ => {}
        }
    }

    /// The plan has the source look at a path again, which takes as long as a file is left alone. There is
    /// nothing to find at one that the source has just called whole.
    pub(crate) fn looks_again(&self, path: &Path) -> Result<(), Violation> {
        match self.files.get(path) {
            Some((_, true)) => {
                let path = path.display();
                Err(Violation::new(format!(
                    "4: {path} is looked at again, which is whole"
                )))
            }
            _ => Ok(()),
        }
    }
}

impl Oracle {
    /// The source tells the plan something.
    pub(crate) fn sees(&mut self, event: &SourceEvent) {
        match event {
            SourceEvent::Settling(entry)
            | SourceEvent::StillWritten(entry)
            | SourceEvent::Settled(entry) => {
                self.has_memory = true;
                self.pace.sees();
                if !self.seen.has(&entry.path) {
                    self.pace.is_new(&entry.path);
                }
                if let SourceEvent::Settled(entry) = event {
                    self.pace.is_whole(entry);
                }
            }
            SourceEvent::Removed(path) => {
                self.pace.removed(path);
                // What is there in its place by now comes later.
                if let Some(start) = &mut self.start {
                    start.retain(|other| !other.starts_with(path));
                }
                let takers = self.put_by.values();
                let takers = takers.filter(|taker| taker.starts_with(path));
                self.removed_takers.extend(takers.cloned());
            }
            SourceEvent::Unreadable(unreadable) => {
                self.pace.sees();
                self.pace.is_new(&unreadable.path);
            }
            SourceEvent::Listed(listing) => {
                self.has_memory |= !listing.entries.is_empty();
                let entries = listing.entries.iter();
                let there = entries.map(|listed| &listed.entry.path);
                let there = there.collect::<BTreeSet<_>>();
                self.pace.lists(&there);
                for Listed { entry, whole } in &listing.entries {
                    match self.seen.has(&entry.path) {
                        true if *whole => self.pace.is_whole(entry),
                        true => {}
                        false => {
                            self.pace.is_new(&entry.path);
                            self.pace.comes_back(entry, *whole);
                        }
                    }
                }
                self.first_listing
                    .get_or_insert_with(|| there.into_iter().cloned().collect());
            }
            _ => {}
        }
        self.seen.take(event);
    }
}
