//! The ledger against the store: which entries need work, decided when the store has told its images.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::entry::Entry;
use crate::happened::Happened;
use crate::image_store::Image;
use crate::ledger::{Audit, Decision, FailureClass, Lack};
use crate::needed_blob::BlobFaults;
use crate::retry;
use crate::source_event::Listed;

use super::baked_read::BakedRead;
use super::brought_back::{Again, BroughtBack};
use super::event::{Effect, Job, Now};
use super::life::{Life, Queued, Until};
use super::state::Plan;
use super::store_query::Want;
use super::unpack_state::Demand;

impl Plan {
    /// Wants the audit that had to wait for the end of all archives. Of those that READY waits for there is one
    /// before it, and another one when the rest has ended, too.
    pub(super) fn audit_at_rest(&mut self) {
        let is_loaded = self.load.is_under_way() && self.entries.loading().archives == 0;
        let is_wanted = if self.entries.open().archives == 0 {
            self.query.take(Want::ArchivesEnded) | self.query.take(Want::LateArchivesEnded)
        } else if is_loaded && self.query.take(Want::ArchivesEnded) {
            self.query.want(Want::LateArchivesEnded);
            true
        } else {
            false
        };
        if is_wanted {
            self.query.want(Want::Doubt);
        }
    }

    /// Asks for the images when an audit is wanted, or the pins are to be checked.
    pub(super) fn ask_the_store(&mut self, now: Now) {
        if self.scrub.is_recalling() {
            return;
        }
        let serial = self.ledger.serial();
        let is_urgent = self.pins.is_asking();
        if !self.query.is_to_be_asked(now.uptime, is_urgent) || !self.is_baked_read() {
            return;
        }
        self.query.ask(now.uptime, serial);
        self.baked_read = BakedRead::Stale;
        let blobs = match self.is_blob_check_due(now) {
            true => self.ledger.needed_blobs(),
            false => Vec::new(),
        };
        self.scrub.asks(&blobs);
        self.effects.push(match blobs.is_empty() {
            true => Effect::ListImages,
            false => Effect::CheckBlobs(blobs),
        });
    }

    /// Whether the blobs are to be looked at with the next question for the images: always when an
    /// entry waits for the answer whose record may hold, else not too often.
    fn is_blob_check_due(&self, now: Now) -> bool {
        let is_awaited =
            |life: &Life| matches!(life, Life::Checking(listed) if self.is_recorded(&listed.entry));
        let mut lives = self.entries.iter().map(|(_, life)| life);
        self.query.are_blobs_due(now.uptime) || lives.any(is_awaited)
    }

    /// The store has told its images, and that its blobs have these faults where they were looked at.
    pub(super) fn store_listed(
        &mut self,
        listed: Result<(Vec<Image>, Option<BlobFaults>), String>,
        now: Now,
    ) {
        let Some(asked_at) = self.query.answered() else {
            return;
        };
        match listed {
            Ok((images, faults)) => {
                self.take_over_pins(&images);
                self.count_pinned(&images);
                if let Some(faults) = &faults {
                    self.query.blobs_told(now.uptime);
                    self.scrub.answered(faults);
                    self.audit_snapshots();
                }
                self.audit(&images, &faults.unwrap_or_default(), asked_at, now);
                self.check_stale(&images, now);
                self.look_for_sandbox_image(&images);
                self.tell_overruled();
            }
            Err(error) => {
                self.tell(Happened::StoreNotListed(error));
                self.query.failed(now.uptime);
                self.pins.put_off(now.uptime + self.rules.settle);
            }
        }
    }

    /// Decides about every entry that awaits it, and about every one that is done: the store may
    /// have lost what it brought. Records that are newer than the question are right by themselves.
    fn audit(&mut self, images: &[Image], faults: &BlobFaults, asked_at: u64, now: Now) {
        let audit = Audit::new(&self.ledger, images, &self.rules.owner).with_faults(faults);
        let (mut decided, mut broken, mut baked) = (Vec::new(), Vec::new(), Vec::new());
        for (path, life) in self.entries.iter() {
            if self
                .ledger
                .get(path)
                .is_some_and(|record| record.serial > asked_at)
            {
                // An entry that is checked was seen after the question, which is asked again for it.
                continue;
            }
            let listed = match life {
                Life::Waiting(entry, Until::Change | Until::OtherEntry | Until::Uptime(_)) => {
                    let lack = audit.lack_of(path);
                    if !lack.is_empty() {
                        let is_lost = audit.has_lost(&lack);
                        broken.push((entry.clone(), lack, is_lost));
                    }
                    continue;
                }
                Life::Baked => {
                    baked.push((path.to_owned(), audit.lack_of(path)));
                    continue;
                }
                Life::Checking(listed) => listed.clone(),
                Life::Done(entry) => Listed {
                    entry: entry.clone(),
                    whole: true,
                },
                _ => continue,
            };
            let identity = &listed.entry.identity;
            let decision = match audit.decide(path, identity, &self.rules.fingerprint) {
                // What of a broken entry is whole is to be there before READY.
                Decision::Failed => match audit.lack_of(path) {
                    lack if lack.is_empty() => Decision::Failed,
                    lack => Decision::Missing(lack),
                },
                decision => decision,
            };
            // Also of another version, or with other rules: it may bring the same again.
            let is_lost = match &decision {
                Decision::Missing(lack) => audit.has_lost(lack),
                Decision::Changed(_) => audit.has_lost(&audit.lack_of(path)),
                Decision::Unchanged | Decision::Failed => false,
            };
            if decision != Decision::Unchanged || !matches!(life, Life::Done(_)) {
                decided.push((listed, decision, is_lost));
            }
        }
        let left = audit.left();
        let left = left.map(|(path, name, by)| (path.to_owned(), name.to_owned(), by.to_owned()));
        self.tell_left(left.collect());
        for (listed, decision, is_lost) in decided {
            let may = match &decision {
                Decision::Missing(lack) => self.may_bring_back(&listed.entry, lack, now),
                _ => true,
            };
            if may {
                let path = &listed.entry.path;
                self.lost.extend(is_lost.then(|| path.clone()));
                self.act(listed, decision, now);
            }
        }
        for (path, lack) in baked {
            self.baked_audited(path, lack, images, now);
        }
        for (entry, lack, is_lost) in broken {
            if self.may_bring_back(&entry, &lack, now) {
                let path = entry.path.clone();
                self.lost.extend(is_lost.then(|| path.clone()));
                self.tell_lack(path, lack);
                // READY waits for what of it was whole.
                self.queue(Queued::first(entry, self.load.is_over()));
            }
        }
    }

    /// Tells which names of entries are left to other instances, each once.
    fn tell_left(&mut self, left: Vec<(PathBuf, String, String)>) {
        let before = std::mem::take(&mut self.left);
        let mut untold = BTreeMap::<_, Vec<_>>::new();
        for (path, name, instance) in left {
            if !before.contains(&name) {
                let names = untold.entry((path, instance)).or_default();
                names.push(name.clone());
            }
            self.left.insert(name);
        }
        for ((path, instance), names) in untold {
            self.tell(Happened::LeftToInstance {
                path,
                instance,
                names,
            });
        }
    }

    /// Whether what the store lacks of an entry is brought back once more.
    fn may_bring_back(&mut self, entry: &Entry, lack: &Lack, now: Now) -> bool {
        let Entry { path, identity, .. } = entry;
        if matches!(self.entries.get(path), Some(Life::Checking(_))) {
            return true;
        }
        let brought_back = self.brought_back.entry(path.clone());
        let brought_back = brought_back.or_insert(BroughtBack::new(*identity, now.uptime));
        let again = brought_back.lacks(*identity, &lack.items(), now.uptime);
        if again == Again::GiveUp {
            self.tell(Happened::GivenUp {
                path: path.clone(),
                names: lack.images(),
            });
        }
        again == Again::BringBack
    }

    fn act(&mut self, listed: Listed, decision: Decision, now: Now) {
        let Listed { entry, whole } = listed;
        let path = entry.path.clone();
        let mut job = Job::first(entry.kind);
        match decision {
            Decision::Unchanged => {
                if !self.ledger.stands(&path) {
                    self.tell(Happened::Skipped(path.clone()));
                    self.ledger.confirm(&path);
                    // A run that was killed may not have come to it.
                    self.unbake_other(&path);
                    self.want_unpacked(&path, Demand::Standing);
                }
                return self.entries.set(path, Life::Done(entry));
            }
            Decision::Failed => {
                let until = self.until(&path, now);
                // An entry that a run before has failed to import is tried at once, unless only a
                // change of its file can help. One that is not whole is not tried before it is.
                if until == Until::Change || (whole && self.ledger.stands(&path)) {
                    self.ledger.confirm(&path);
                    self.want_unpacked(&path, Demand::Standing);
                    return self.entries.set(path, Life::Waiting(entry, until));
                }
                job = self.job_of_retry(&entry);
            }
            Decision::Missing(lack) => self.tell_lack(path, lack),
            Decision::Changed(change) => match self.sample_to_compare(&entry) {
                Some(sample) => job = Job::Compare(sample),
                None => self.tell_changed(&entry, change),
            },
        }
        if whole {
            self.queue(Queued {
                job,
                ..Queued::first(entry, false)
            });
        } else {
            self.ledger.reopen(&entry.path);
            // The source may have said before that it is still written, and says it once.
            self.effects.push(Effect::LookAgain(entry.path.clone()));
            self.entries.set(entry.path.clone(), Life::Settling(entry));
        }
    }

    /// What this version of an entry waits for, if it has failed: for its next try, or for space.
    pub(super) fn delay(&self, entry: &Entry, now: Now) -> Option<Until> {
        let record = self.ledger.get(&entry.path)?;
        let has_failed = record.outcome.error().is_some() && record.serial > self.due_at_once;
        let is_of_it = has_failed && self.is_recorded(entry);
        let until = is_of_it.then(|| self.until(&entry.path, now))?;
        match until {
            Until::Uptime(due) => (due > now.uptime).then_some(until),
            // However long ago it was due: the store is asked first.
            Until::Space { .. } => Some(until),
            _ => None,
        }
    }

    fn tell_lack(&mut self, path: PathBuf, lack: Lack) {
        let Lack { names, damage } = lack;
        if !names.is_empty() {
            let path = path.clone();
            self.tell(Happened::Missing { path, names });
        }
        if !damage.is_empty() {
            self.tell(Happened::Damaged { path, damage });
        }
    }

    /// What an entry that has failed waits for, as its record says.
    pub(super) fn next_try(&self, path: &Path, now: Now) -> Until {
        let Some(record) = self.ledger.get(path) else {
            return Until::Change;
        };
        match (record.next_try, record.class) {
            (Some(next), _) => Until::Uptime(now.uptime + retry::left(next, now.wall)),
            (None, Some(FailureClass::MissingBlob)) => Until::OtherEntry,
            // The source has told of the file by now.
            (None, Some(FailureClass::Environment)) => Until::Uptime(now.uptime),
            (None, _) => Until::Change,
        }
    }
}
