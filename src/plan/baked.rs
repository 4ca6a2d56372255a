//! The baked set: what a run with `--keep` has loaded. An entry of it whose file is gone is kept with all that it
//! brought.
//!
//! What can be done without the file is done: a name or a pin that was lost is put back where the image is there
//! under another name, and snapshots are made again. What cannot is told, with the remedy, and the entry counts
//! as failed.
//!
//! The keeping of an entry ends when its path brings other images, and that of an image when `stowd remove`
//! takes it out of the set. That command changes the file of the set beside this process, so it is read again
//! before each question for the images. Where an entry with a file brings the same names it has them, and the
//! image that had them is kept by its digest: its file may be on a file system that is mounted late.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::happened::{Happened, first_of};
use crate::image_store::Image;
use crate::ledger::{Lack, Ledger};

use super::baked_read::BakedRead;
use super::brought_back::{Again, BroughtBack};
use super::event::{Effect, Now};
use super::life::Life;
use super::state::Plan;
use super::store_query::Want;
use super::unpack_state::Demand;

impl Plan {
    /// The file of an entry is gone. Says whether what it brought is kept, since the entry is of the baked set.
    pub(super) fn keep_baked(&mut self, path: &Path) -> bool {
        if !self.ledger.is_baked(path) {
            return false;
        }
        if !self.ledger.keep_baked(path) {
            self.unbake(path);
            return false;
        }
        self.restless.remove(path);
        if !matches!(self.entries.get(path), Some(Life::Baked)) {
            self.entries.set(path.to_owned(), Life::Baked);
            self.query.want(Want::Soon);
        }
        true
    }

    fn unbake(&mut self, path: &Path) {
        self.ledger.unbake(path);
        self.effects.push(Effect::Unbake(path.to_owned()));
    }

    /// An entry was imported: its keeping has ended if it has brought other images than those that were baked.
    pub(super) fn unbake_other(&mut self, path: &Path) {
        if self.ledger.brings_other_than_baked(path) {
            self.unbake(path);
        }
    }

    /// Whether the set has been read since the last question for the images. If not it is asked for.
    pub(super) fn is_baked_read(&mut self) -> bool {
        if self.baked_read == BakedRead::Stale && self.ledger.has_baked() {
            self.baked_read = BakedRead::Asked;
            self.effects.push(Effect::ReadBaked);
        }
        self.baked_read != BakedRead::Asked
    }

    /// The set is this by now; `None`: it could not be read, and is what it was.
    pub(super) fn baked_told(&mut self, baked: Option<Box<Ledger>>, now: Now) {
        self.baked_read = BakedRead::Fresh;
        let Some(baked) = baked else {
            return;
        };
        let known = self.baked_paths();
        self.ledger.bake(*baked);
        for path in known {
            if !self.keep_baked(&path) {
                self.forget(&path, now);
            }
        }
    }

    /// The entries of the set whose files are gone.
    fn baked_paths(&self) -> Vec<PathBuf> {
        let lives = self.entries.iter();
        let baked = lives.filter(|(_, life)| matches!(life, Life::Baked));
        baked.map(|(path, _)| path.to_owned()).collect()
    }

    /// The store has told what it has of an entry of the set whose file is gone.
    pub(super) fn baked_audited(
        &mut self,
        path: PathBuf,
        mut lack: Lack,
        images: &[Image],
        now: Now,
    ) {
        if lack.damage.is_empty() && !self.ledger.stands(&path) {
            self.ledger.confirm(&path);
            self.want_unpacked(&path, Demand::Standing);
        }
        let put_back = self.to_put_back(&path, &lack, images);
        let names = put_back.iter().map(|image| image.name.clone());
        let names = names.collect::<Vec<_>>();
        lack.names.retain(|name| !names.contains(name));
        if !names.is_empty() && self.may_put_back(&path, &names, now) {
            let path = path.clone();
            self.tell(Happened::Missing { path, names });
            self.effects.push(Effect::PutNames(put_back));
            self.query.want(Want::Soon);
        }
        if lack.is_empty() {
            return self.ledger.end_trouble(&path);
        }
        let lacking = first_of(&lack.images());
        let error = format!(
            "of the baked set, and its file is gone: containerd lacks {lacking}, or a blob of it; put the file \
             back, or release the images (stowd remove NAME)"
        );
        self.trouble(&path, error);
    }

    /// The names that an entry lacks, and whose image is there under another one.
    fn to_put_back(&self, path: &Path, lack: &Lack, images: &[Image]) -> Vec<Image> {
        let record = self.ledger.get(path).into_iter();
        let brought = record.flat_map(|record| &record.outcome.imported().images);
        let damaged = lack.damage.iter().map(|damage| &damage.image);
        let damaged = damaged.collect::<BTreeSet<_>>();
        let whole = brought.filter(|image| !image.names.iter().any(|name| damaged.contains(name)));
        let named = whole.flat_map(|image| {
            let there = images.iter();
            let mut there = there.filter(|there| there.target.digest == image.digest);
            let target = there.next().map(|there| there.target.clone());
            let names = image.names.iter().filter(|name| lack.names.contains(name));
            let names = target.map(|target| names.map(move |name| (name.clone(), target.clone())));
            names.into_iter().flatten()
        });
        let image = |(name, target)| Image {
            name,
            target,
            labels: self.rules.owner.labels(),
        };
        named.map(image).collect()
    }

    fn may_put_back(&mut self, path: &Path, names: &[String], now: Now) -> bool {
        let Some(identity) = self.ledger.get(path).and_then(|record| record.identity) else {
            return false;
        };
        let brought_back = self.brought_back.entry(path.to_owned());
        let brought_back = brought_back.or_insert(BroughtBack::new(identity, now.uptime));
        let again = brought_back.lacks(identity, names, now.uptime);
        if again == Again::GiveUp {
            self.tell(Happened::GivenUp {
                path: path.to_owned(),
                names: names.to_vec(),
            });
        }
        again == Again::BringBack
    }

    /// Tells what is kept without its files, when that has become more.
    pub(super) fn tell_baked(&mut self) {
        let entries = self.ledger.baked_entries();
        let before = std::mem::replace(&mut self.baked_told_of, entries);
        if entries > before {
            let images = self.ledger.baked_images();
            self.tell(Happened::Baked { entries, images });
        }
    }
}
