//! What the plan knows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::digest::Digest;
use crate::happened::Happened;
use crate::image_store::StoreState;
use crate::ledger::{Ledger, OverruledImage, Record};
use crate::source_event::DirectoryId;

use super::baked_read::BakedRead;
use super::brought_back::BroughtBack;
use super::entries::Entries;
use super::event::{Effect, Rules};
use super::initial_load::InitialLoad;
use super::pin_check::PinCheck;
use super::restless::Restless;
use super::sandbox_check::SandboxCheck;
use super::scrub_round::Scrub;
use super::snapshot_query::SnapshotQuery;
use super::store_query::StoreQuery;
use super::unpacks::Unpacks;

/// What is known, and what follows from it.
#[derive(Debug)]
pub struct Plan {
    pub(super) rules: Rules,
    pub(super) entries: Entries,
    pub(super) ledger: Ledger,
    /// The directories of the newest listing: they tell where an entry was seen.
    pub(super) directories: BTreeMap<PathBuf, DirectoryId>,
    pub(super) ignored: BTreeSet<PathBuf>,
    pub(super) restless: BTreeMap<PathBuf, Restless>,
    /// What has a record up to this serial number, and has failed, is due at once when its file is whole: a
    /// run before has tried it, or an operator has asked since.
    pub(super) due_at_once: u64,
    pub(super) brought_back: BTreeMap<PathBuf, BroughtBack>,
    pub(super) baked_read: BakedRead,
    /// So many entries of the baked set were told to be without their files.
    pub(super) baked_told_of: usize,
    /// Entries whose images the store has lost: when they are back that is news.
    pub(super) lost: BTreeSet<PathBuf>,
    /// Entries that were out of sight, or could not be read, when a job for them was interrupted.
    pub(super) interrupted: BTreeSet<PathBuf>,
    /// Names that another instance has pinned for other images: each was told.
    pub(super) left: BTreeSet<String>,
    /// That entries are out of sight was told.
    pub(super) is_sight_told: bool,
    /// Entries whose failure, as the ledger has it, was told.
    pub(super) told: BTreeSet<PathBuf>,
    /// The store was asked how much space it has.
    pub(super) is_space_asked: bool,
    /// Entries that have brought something new since those that lack a blob were tried.
    pub(super) news: BTreeSet<PathBuf>,
    pub(super) query: StoreQuery,
    pub(super) pins: PinCheck,
    /// How many images that entries bring were pinned at the last listing of the store.
    pub(super) pinned: Option<usize>,
    pub(super) scrub: Scrub,
    /// A run before has left a ledger, or an entry was seen.
    pub(super) has_memory: bool,
    pub(super) load: InitialLoad,
    pub(super) sandbox: SandboxCheck,
    /// The images that were told to be overruled.
    pub(super) overruled: BTreeSet<OverruledImage>,
    /// The revision of the ledger that told them.
    pub(super) overruled_of: Option<u64>,
    /// What the store has said by itself.
    pub(super) store: StoreState,
    /// A job found the store away: nothing is begun before this uptime.
    pub(super) away_until: Option<Duration>,
    pub(super) unpacks: Unpacks,
    /// The uptimes at which those under way were begun.
    pub(super) unpacks_begun: BTreeMap<Digest, Duration>,
    pub(super) snapshots: SnapshotQuery,
    /// What was told to be wrong with the store, when images were unpacked.
    pub(super) told_unpacks: BTreeSet<String>,
    pub(super) effects: Vec<Effect>,
}

impl Plan {
    /// A plan with what a run before has recorded.
    pub fn new(rules: Rules, ledger: Ledger) -> Self {
        let (has_memory, due_at_once) = (ledger.is_remembered(), ledger.serial());
        Self {
            rules,
            entries: Entries::default(),
            ledger,
            directories: BTreeMap::new(),
            ignored: BTreeSet::new(),
            restless: BTreeMap::new(),
            due_at_once,
            brought_back: BTreeMap::new(),
            baked_read: BakedRead::default(),
            baked_told_of: 0,
            lost: BTreeSet::new(),
            interrupted: BTreeSet::new(),
            left: BTreeSet::new(),
            is_sight_told: false,
            told: BTreeSet::new(),
            is_space_asked: false,
            news: BTreeSet::new(),
            query: StoreQuery::default(),
            pins: PinCheck::default(),
            pinned: None,
            scrub: Scrub::default(),
            has_memory,
            load: InitialLoad::default(),
            sandbox: SandboxCheck::default(),
            overruled: BTreeSet::new(),
            overruled_of: None,
            store: StoreState::default(),
            away_until: None,
            unpacks: Unpacks::default(),
            unpacks_begun: BTreeMap::new(),
            snapshots: SnapshotQuery::default(),
            told_unpacks: BTreeSet::new(),
            effects: Vec::new(),
        }
    }

    /// What has been done with each entry.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Whether every entry of the start has an outcome, or only lists have none and they have had
    /// their time. Once true it stays true, unless a store returns: then it is so of what is known then.
    pub fn is_loaded(&self) -> bool {
        self.load.is_over()
    }

    /// How many entries have no outcome.
    pub fn open(&self) -> usize {
        self.entries.open().all()
    }

    /// The bytes of the archives that are to be worked on as soon as they can be.
    pub(crate) fn waiting_bytes(&self) -> u64 {
        self.entries.waiting_bytes()
    }

    /// The first entry, by its path, that has no outcome and is not worked on.
    pub(crate) fn first_held(&self) -> Option<&Path> {
        self.entries.first_held()
    }

    /// Whether the newest listing has not the images directory, and nothing is said of it.
    pub(crate) fn is_dir_missing(&self) -> bool {
        let root = self.rules.root.as_path();
        !self.directories.contains_key(root) && self.entries.get(root).is_none()
    }

    pub fn out_of_sight(&self) -> usize {
        self.entries.out_of_sight().len()
    }

    /// How many files that are no entries were told.
    pub(crate) fn ignored(&self) -> usize {
        self.ignored.len()
    }

    /// How often the store had returned when it was last heard of.
    pub(crate) fn store_returns(&self) -> u64 {
        self.store.returns
    }

    /// Why the store does not answer, if it does not.
    pub(crate) fn why_store_is_away(&self) -> Option<&str> {
        self.store.away.as_deref()
    }

    /// The first failure, by its path, with the record of its attempt if there was one.
    pub(crate) fn first_failed(&self) -> Option<(&Path, Option<&Record>)> {
        self.ledger.first_failed()
    }

    /// Counts progress that no [`Meter`](crate::progress::Meter) counts: an archive that was seen to
    /// grow, and each minute of a wait for lists, because CRI does not tell how far a pull has come.
    pub fn unmetered_steps(&self) -> u64 {
        self.load.steps()
    }

    pub(super) fn tell(&mut self, happened: Happened) {
        self.effects.push(Effect::Tell(happened));
    }
}
