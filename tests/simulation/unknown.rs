//! Entries of which it is not known what they bring, since they could not be read, or the store had no
//! space: what they would bring is left pinned for a while.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use stowd::ledger::{FailureClass, Keeps, Ledger};
use stowd::plan::JobEnd;

use crate::directory::Directory;
use crate::holds::Version;
use crate::invariants::Violation;
use crate::jobs::JobUnderWay;
use crate::oracle::Oracle;

/// So many attempts long: `UNKNOWN_ATTEMPTS` of `src/ledger/record.rs`.
const ATTEMPTS: u32 = 7;

#[derive(Debug, Default)]
pub(crate) struct Unknown {
    /// Attempts at each version that have failed, also of processes before.
    attempts: HashMap<(PathBuf, Version), u32>,
    /// The entries of which it is not known, in this version.
    entries: BTreeMap<PathBuf, Version>,
}

impl Unknown {
    /// Another process knows what the ledger says.
    pub(crate) fn restarted(&mut self, ledger: &Ledger) {
        self.entries.retain(|path, (identity, _)| {
            let record = ledger.get(path);
            record.is_some_and(|record| record.is_unknown && record.identity == Some(*identity))
        });
    }
}

impl Oracle {
    /// A job was recorded.
    pub(crate) fn tried(&mut self, job: &JobUnderWay, end: &JobEnd) {
        let path = &job.entry.path;
        let version = (job.entry.identity, job.config.shape());
        self.unknown.entries.remove(path);
        let is_of_them = |class| {
            matches!(
                class,
                FailureClass::Environment | FailureClass::NoSpace { .. }
            )
        };
        let is_of_surroundings = match end {
            JobEnd::Through(brought) if brought.problems.is_empty() => return,
            JobEnd::Through(brought) => is_of_them(brought.class) && brought.keeps == Keeps::All,
            JobEnd::Failed(class, _) => is_of_them(*class),
            _ => return,
        };
        let attempts = self.unknown.attempts.entry((path.clone(), version));
        let attempts = attempts.or_default();
        *attempts += 1;
        if is_of_surroundings && *attempts <= ATTEMPTS {
            self.unknown.entries.insert(path.clone(), version);
        }
    }

    /// No entry of which it is not known what it brings would bring one of these names.
    pub(crate) fn brings_none_of(
        &self,
        names: &[String],
        directory: &Directory,
        ledger: &Ledger,
    ) -> Result<(), Violation> {
        // Each time that the store has no space for it is an attempt as well.
        let is_put_off = |path: &PathBuf| {
            let record = ledger.get(path);
            record.is_some_and(|record| {
                matches!(record.class, Some(FailureClass::NoSpace { .. }))
                    && record.attempts > ATTEMPTS
            })
        };
        let unknown = self.unknown.entries.iter();
        for (path, (identity, shape)) in unknown.filter(|(path, _)| !is_put_off(path)) {
            let file = directory.files.get(path);
            let file = file.filter(|file| file.identity == *identity);
            let Some(file) = file.filter(|_| *shape == self.config.shape()) else {
                continue;
            };
            let brought = file.content.names(self.config.extra_registry());
            if let Some(name) = names.iter().find(|name| brought.contains(*name)) {
                let path = path.display();
                return Err(Violation::new(format!(
                    "2: {name} is to be unpinned, and {path} could not be read"
                )));
            }
        }
        Ok(())
    }
}
