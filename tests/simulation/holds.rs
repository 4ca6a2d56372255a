//! What each entry holds, as the oracle knows it: which names must stay pinned for it.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use stowd::entry::{Entry, Identity, Kind};
use stowd::ledger::{FailureClass, Keeps};
use stowd::plan::{EntryResult, JobEnd};

use crate::content::in_registry;
use crate::directory::Directory;
use crate::invariants::Violation;
use crate::jobs::JobUnderWay;
use crate::oracle::Oracle;

/// A version of a file, and which settings shaped what was made of it.
pub(crate) type Version = (Identity, u8);

/// What an entry holds, as somebody would say who sees everything.
#[derive(Debug, Clone, Default)]
pub(crate) struct Holds {
    /// By the version of the file that is there, as jobs for it have ended.
    pub(crate) current: BTreeSet<String>,
    /// Pinned for that version by a job that has not ended yet.
    pub(crate) pending: BTreeSet<String>,
    /// By the last version that was whole, until a newer one is.
    pub(crate) kept: BTreeSet<String>,
    /// What it need not hold, and may until it is whole again.
    pub(crate) may: BTreeSet<String>,
    pub(crate) version: Option<Version>,
    /// A job for this version has ended with what it brought.
    pub(crate) is_recorded: bool,
    /// A version before it was removed, and stowd may not have heard of it: what the next version
    /// goes on holding is not known.
    pub(crate) is_obscure: bool,
}

impl Holds {
    /// What a record says of an entry of which nothing else is known.
    pub(crate) fn on_record_again(names: BTreeSet<String>) -> Self {
        Self {
            may: names,
            is_obscure: true,
            ..Self::default()
        }
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &String> {
        self.current.iter().chain(&self.pending).chain(&self.kept)
    }

    /// Whether the name must stay pinned while this version of the file is there.
    fn must_hold(&self, name: &str, version: Version) -> bool {
        let current = self.current.contains(name);
        let kept = self.kept.contains(name);
        match self.version == Some(version) {
            true => current || kept || self.pending.contains(name),
            // The next version goes on holding what the last whole one has brought.
            false if self.is_obscure => false,
            false => kept || (current && self.is_recorded && self.kept.is_empty()),
        }
    }
}

impl Oracle {
    /// A name was pinned for an entry.
    pub(crate) fn pinned(
        &mut self,
        entry: &Entry,
        version: Version,
        name: String,
        directory: &Directory,
    ) {
        self.put_by.insert(name.clone(), entry.path.clone());
        let file = directory.files.get(&entry.path);
        match file {
            Some(file) if file.identity == entry.identity => {
                let holds = self.version(&entry.path, version);
                // What a line names may be another image the next time.
                match entry.kind == Kind::List && name.contains('@') {
                    true => holds.may.insert(name),
                    false => holds.pending.insert(name),
                };
            }
            // The file is another one by now.
            Some(_) => drop(
                self.holds
                    .entry(entry.path.clone())
                    .or_default()
                    .may
                    .insert(name),
            ),
            None => {}
        }
    }

    fn version(&mut self, path: &Path, version: Version) -> &mut Holds {
        let holds = self.holds.entry(path.to_owned()).or_default();
        if holds.version != Some(version) {
            let current = std::mem::take(&mut holds.current);
            holds.may.append(&mut holds.pending);
            if !holds.is_recorded {
                // Only of what has been recorded the next version goes on holding anything.
                holds.may.extend(current);
            } else if holds.is_obscure {
                holds.may.extend(current);
            } else if holds.kept.is_empty() {
                holds.kept = current;
            }
            holds.version = Some(version);
            holds.is_recorded = false;
        }
        holds
    }

    pub(crate) fn ended(&mut self, job: &JobUnderWay, end: &JobEnd, directory: &Directory) {
        let entry = &job.entry;
        let file = directory.files.get(&entry.path);
        let is_current = file.is_some_and(|file| file.identity == entry.identity);
        let brought = match end {
            JobEnd::Through(brought) => brought.clone(),
            JobEnd::NoList(_) => nothing(),
            JobEnd::Failed(FailureClass::Content, _) => return self.read(entry),
            JobEnd::Failed(..) => return self.unread(&entry.path),
            _ => return,
        };
        if !is_current {
            // Its record is about a version that is no more; what it held is replaced all the same.
            if brought.problems.is_empty() {
                let holds = self.holds.entry(entry.path.clone()).or_default();
                let names = brought.images.iter().flat_map(|image| &image.names);
                // It is the last whole version, and what the next one goes on holding is of it.
                *holds = Holds {
                    may: names.cloned().collect(),
                    is_obscure: true,
                    ..Holds::default()
                };
            }
            return;
        }
        let names = brought.images.iter().flat_map(|image| &image.names);
        let names = names.cloned().collect::<BTreeSet<_>>();
        let holds = self.version(&entry.path, (entry.identity, job.config.shape()));
        holds.is_recorded = true;
        let (names, by_digest): (BTreeSet<_>, BTreeSet<_>) = names
            .into_iter()
            .partition(|name| entry.kind == Kind::Archive || !name.contains('@'));
        let pending = std::mem::take(&mut holds.pending);
        if brought.problems.is_empty() {
            holds.current = names;
            holds.kept.clear();
            holds.may.clear();
            holds.is_obscure = false;
        } else if let Keeps::Named(failed) = &brought.keeps {
            // All of the list was gone through: what failed is kept, by its tagged name.
            let is_kept = |name: &String| failed.contains(name);
            let kept = holds.all().filter(|name| is_kept(name)).cloned().collect();
            // The other names of an image that is kept stay with it.
            let path = |name: &str| {
                let path = in_registry(name);
                path.split(['@', ':']).next().map(str::to_owned)
            };
            let stays = |name: &String| failed.iter().any(|failed| path(failed) == path(name));
            let may = holds.may.iter().filter(|name| stays(name));
            holds.may = holds.all().chain(may).cloned().collect();
            holds.kept = kept;
            holds.current = names;
        } else {
            holds.current.extend(names);
            // What an attempt that was given up had pinned, and this one has not brought.
            holds.may.extend(pending);
        }
        holds.may.extend(by_digest);
    }

    /// Nothing of an entry could be read. What a job before has pinned that was given up need not stay.
    fn unread(&mut self, path: &Path) {
        if let Some(holds) = self.holds.get_mut(path) {
            holds.may.append(&mut holds.pending);
        }
    }

    /// The file of an entry was removed, or is another one that is not known yet.
    pub(crate) fn removed(&mut self, path: &Path) {
        self.let_go(|held| held == path);
        if let Some(start) = &mut self.start {
            start.remove(path);
        }
    }

    /// Nothing must be held for these. A file that is made in their place before stowd has heard of it
    /// is another version to stowd.
    fn let_go(&mut self, is_removed: impl Fn(&Path) -> bool) {
        for (_, holds) in self.holds.iter_mut().filter(|(path, _)| is_removed(path)) {
            let may = holds.all().chain(&holds.may).cloned().collect();
            *holds = Holds {
                may,
                is_obscure: true,
                ..Holds::default()
            };
        }
    }

    pub(crate) fn removed_below(&mut self, dir: &Path) {
        self.let_go(|path| path.starts_with(dir));
        if let Some(start) = &mut self.start {
            start.retain(|path| !path.starts_with(dir));
        }
    }

    pub(crate) fn unpinned(&self, name: &str, directory: &Directory) -> Result<(), Violation> {
        for (path, holds) in &self.holds {
            let file = directory.files.get(path);
            let version = file.map(|file| (file.identity, self.config.shape()));
            if version.is_some_and(|version| holds.must_hold(name, version)) {
                let path = path.display();
                return Err(Violation::new(format!("2: {name} of {path} was unpinned")));
            }
        }
        Ok(())
    }
}

/// What was gone through and brings nothing.
pub(crate) fn nothing() -> EntryResult {
    EntryResult {
        images: Vec::new(),
        problems: Vec::new(),
        class: FailureClass::Content,
        keeps: Keeps::All,
        not_before: Duration::ZERO,
        sample: None,
    }
}
