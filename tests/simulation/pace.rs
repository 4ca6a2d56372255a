//! How fast work may be: jobs at once, retries, what is brought back, questions to the store.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use stowd::entry::{Entry, Identity};
use stowd::ledger::FailureClass;
use stowd::plan::{Job, JobEnd};

use crate::invariants::Violation;

/// How often a version of an entry is brought back in a row. What is there for so long was brought back
/// for good, and what was given up may be tried again after as long.
const BROUGHT_BACK: usize = 5;
const FOR_GOOD: Duration = Duration::from_secs(10 * 60);

/// Lists that wait for pulls at once.
const PULLED_LISTS: usize = 256;

/// A file that has changed at each reading for so long, and at more readings than these, is restless.
const RESTLESS: Duration = Duration::from_secs(2 * 60);
const RESTLESS_READS: u32 = 2;

/// A version that has failed.
#[derive(Debug)]
struct Failed {
    identity: Identity,
    /// How often in a row.
    times: u32,
    /// The uptime before which it is not tried again.
    until: Option<Duration>,
    /// It has come back into sight, and is not whole.
    is_unfinished: bool,
    /// It was found broken, and is not to be written again before a reading has found it whole.
    is_broken: bool,
    /// It lacked so much space, and the store has not told since that there is as much.
    lacks: Option<u64>,
}

/// A file that has changed at each reading so far.
#[derive(Debug)]
struct Changing {
    since: Duration,
    readings: u32,
    /// How often it was too many, and the uptime before which it is not read again.
    failures: u32,
    until: Option<Duration>,
}

/// A version that was brought back.
#[derive(Debug)]
struct BroughtBack {
    identity: Option<Identity>,
    /// What the store lacked since the first time.
    names: BTreeSet<String>,
    times: usize,
    last: Duration,
}

/// What one process has done, and when it may do more.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    failed: BTreeMap<PathBuf, Failed>,
    changing: BTreeMap<PathBuf, Changing>,
    brought_back: BTreeMap<PathBuf, BroughtBack>,
    /// Entries that are compared with what the store has when they have come back: that counts for none.
    compared: BTreeSet<PathBuf>,
    questions: usize,
    /// How many questions there may be, but for one a second.
    questions_allowed: usize,
}

/// The shortest wait after so many failures: the table of `src/retry.rs`, at the soonest.
fn shortest(failures: u32) -> Duration {
    Duration::from_secs((4_u64 << (failures - 1).min(16)).min(480))
}

impl Pace {
    /// A job begins, beside so many of its kind.
    pub(crate) fn begins(
        &mut self,
        entry: &Entry,
        job: &Job,
        running: usize,
        parallel: usize,
        uptime: Duration,
    ) -> Result<(), Violation> {
        let path = entry.path.display();
        let slots = match job {
            Job::Import | Job::Verify | Job::Compare(_) | Job::Look => parallel,
            Job::Pull(_) => PULLED_LISTS,
        };
        if running >= slots {
            return Err(Violation::new(format!(
                "8: a job for {path} beside {running} of its kind"
            )));
        }
        let failed = self.failed.get_mut(&entry.path);
        if let Some(failed) = failed.filter(|failed| failed.identity == entry.identity) {
            let times = failed.times;
            if failed.until.take().is_some_and(|until| uptime < until) {
                return Err(Violation::new(format!(
                    "8: a job for {path} too soon after failure {times}"
                )));
            }
            if failed.is_broken && *job == Job::Import {
                return Err(Violation::new(format!(
                    "4: {path} was found broken, and is imported again"
                )));
            }
            if let Some(lacks) = failed.lacks {
                return Err(Violation::new(format!(
                    "8: a job for {path}, for which there is no space of {lacks}"
                )));
            }
            if failed.is_unfinished {
                return Err(Violation::new(format!(
                    "6: a job for {path}, which was not whole when it came back"
                )));
            }
        }
        let changing = self.changing.get_mut(&entry.path);
        if changing
            .is_some_and(|changing| changing.until.take().is_some_and(|until| uptime < until))
        {
            return Err(Violation::new(format!(
                "8: a job for {path}, which changes at each reading, too soon"
            )));
        }
        Ok(())
    }

    /// A job ends. `waits`: if it has failed, nothing but time brings it about again.
    pub(crate) fn ended(&mut self, entry: &Entry, end: &JobEnd, waits: bool, uptime: Duration) {
        self.questions_allowed += 2;
        let class = match end {
            _ if !waits => {
                self.failed.remove(&entry.path);
                return;
            }
            JobEnd::Through(brought) if !brought.problems.is_empty() => brought.class,
            JobEnd::Failed(class, _) => *class,
            JobEnd::Through(_) | JobEnd::NoList(_) | JobEnd::Changed => {
                self.failed.remove(&entry.path);
                return;
            }
            JobEnd::Whole => return self.may_be_whole(|path| *path == entry.path),
            JobEnd::Absent(_) | JobEnd::Compared(_) | JobEnd::StoreAway(_) => return,
        };
        let before = self.failed.get(&entry.path);
        let before = before.filter(|before| before.identity == entry.identity);
        let times = before.map_or(0, |before| before.times) + 1;
        let is_timed = class != FailureClass::MissingBlob;
        let failed = Failed {
            identity: entry.identity,
            times,
            until: is_timed.then(|| uptime + shortest(times)),
            is_unfinished: false,
            is_broken: class == FailureClass::Content,
            lacks: match class {
                FailureClass::NoSpace { needs } => Some(needs),
                _ => None,
            },
        };
        self.failed.insert(entry.path.clone(), failed);
    }

    /// Whether a file that was read has changed once more. `is_there`: the source has told nothing else.
    pub(crate) fn read(&mut self, path: &Path, end: &JobEnd, is_there: bool, uptime: Duration) {
        match end {
            JobEnd::Changed if is_there => {
                let changing = self.changing.entry(path.to_owned()).or_insert(Changing {
                    since: uptime,
                    readings: 0,
                    failures: 0,
                    until: None,
                });
                changing.readings += 1;
                let is_long = uptime - changing.since >= RESTLESS;
                if is_long && changing.readings > RESTLESS_READS {
                    changing.failures += 1;
                    changing.until = Some(uptime + shortest(changing.failures));
                }
            }
            JobEnd::Absent(_) | JobEnd::Whole | JobEnd::Compared(_) | JobEnd::StoreAway(_) => {}
            _ => drop(self.changing.remove(path)),
        }
    }

    /// The waits of all entries end: an operator asks, or the wall clock, by which it is known when an
    /// entry is due, is another one.
    pub(crate) fn waits_end(&mut self) {
        for failed in self.failed.values_mut() {
            failed.is_unfinished = false;
        }
        let failed = self.failed.values_mut().map(|failed| &mut failed.until);
        let changing = self.changing.values_mut();
        for until in failed.chain(changing.map(|changing| &mut changing.until)) {
            *until = None;
        }
    }

    /// What was found broken may be whole after all.
    pub(crate) fn may_be_whole(&mut self, is_of_it: impl Fn(&PathBuf) -> bool) {
        for (_, failed) in self.failed.iter_mut().filter(|(path, _)| is_of_it(path)) {
            failed.is_broken = false;
        }
    }

    /// The store has told how much space it has. Where that cannot be told there may be enough.
    pub(crate) fn has_space(&mut self, free: Option<u64>) {
        for failed in self.failed.values_mut() {
            let is_enough = |needs: &u64| free.is_none_or(|free| free >= *needs);
            failed.lacks = failed.lacks.filter(|needs| !is_enough(needs));
        }
    }

    /// An operator asks, or the store is there again and may be another one: all waits end.
    pub(crate) fn is_asked_for(&mut self) {
        for failed in self.failed.values_mut() {
            failed.lacks = None;
        }
        self.waits_end();
        self.begins_anew();
    }

    /// The wait of an entry ends: what it has brought is lost.
    fn wait_ends(&mut self, path: &Path) {
        if let Some(failed) = self.failed.get_mut(path) {
            failed.until = None;
            failed.is_unfinished = false;
            failed.is_broken = false;
            failed.lacks = None;
        }
    }

    /// The source has told whether a file is whole that was out of sight.
    pub(crate) fn comes_back(&mut self, entry: &Entry, whole: bool) {
        let failed = self.failed.get_mut(&entry.path);
        if let Some(failed) = failed.filter(|failed| failed.identity == entry.identity) {
            failed.is_unfinished = !whole && failed.until.is_some();
        }
    }

    /// The source tells that a file is whole.
    pub(crate) fn is_whole(&mut self, entry: &Entry) {
        if let Some(failed) = self.failed.get_mut(&entry.path) {
            failed.is_unfinished = false;
        }
    }

    /// Other settings: what failed with those of before has not failed with these.
    pub(crate) fn counts_anew(&mut self) {
        self.failed.clear();
        self.changing.clear();
    }

    /// All is listed.
    pub(crate) fn lists(&mut self, there: &BTreeSet<&PathBuf>) {
        self.changing.retain(|path, _| there.contains(path));
    }

    /// An operator asks: what was brought back too often may be brought back again.
    pub(crate) fn begins_anew(&mut self) {
        self.brought_back.clear();
    }

    /// The source tells something of an entry.
    pub(crate) fn sees(&mut self) {
        self.questions_allowed += 1;
    }

    /// An entry that was not there, or could not be read, is seen.
    pub(crate) fn is_new(&mut self, path: &Path) {
        self.compared.insert(path.to_owned());
    }

    /// The source tells that an entry was removed, or a directory with all that was in it.
    pub(crate) fn removed(&mut self, path: &Path) {
        self.sees();
        self.brought_back
            .retain(|other, _| !other.starts_with(path));
        self.changing.retain(|other, _| !other.starts_with(path));
    }

    /// An entry is to be brought back, since the store lacks these names of it, or their blobs. That it
    /// lacks others than before is not that what was brought back has gone again.
    pub(crate) fn brings_back(
        &mut self,
        path: &Path,
        names: BTreeSet<String>,
        identity: Option<Identity>,
        uptime: Duration,
    ) -> Result<(), Violation> {
        self.wait_ends(path);
        if self.compared.remove(path) {
            return Ok(());
        }
        let new = || BroughtBack {
            identity,
            names: BTreeSet::new(),
            times: 0,
            last: uptime,
        };
        let brought_back = self.brought_back.entry(path.to_owned()).or_insert_with(new);
        if brought_back.identity != identity || uptime >= brought_back.last + FOR_GOOD {
            *brought_back = new();
        }
        let is_again = !brought_back.names.is_disjoint(&names);
        brought_back.names.extend(names);
        brought_back.times += usize::from(is_again || brought_back.times == 0);
        brought_back.last = uptime;
        if brought_back.times > BROUGHT_BACK {
            let (path, times) = (path.display(), brought_back.times);
            return Err(Violation::new(format!(
                "8: {path} is brought back for the {times}th time in a row"
            )));
        }
        Ok(())
    }

    /// The store was not there to answer.
    pub(crate) fn unanswered(&mut self) {
        self.questions_allowed += 1;
    }

    /// The store is asked for its images.
    pub(crate) fn asks(&mut self, uptime: Duration) -> Result<(), Violation> {
        self.questions += 1;
        let by_time = usize::try_from(uptime.as_secs()).unwrap_or(usize::MAX);
        match self.questions > 3 + self.questions_allowed + by_time {
            true => {
                let (asked, seconds) = (self.questions, uptime.as_secs());
                let what = format!("8: the store is asked {asked} times in {seconds} s");
                Err(Violation::new(what))
            }
            false => Ok(()),
        }
    }
}
