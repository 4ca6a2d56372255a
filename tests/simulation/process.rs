//! What one process holds in memory, and what it has under way.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use stowd::digest::Digest;
use stowd::image_store::{Image, StoreState};
use stowd::needed_blob::{BlobFaults, NeededBlob};
use stowd::plan::{Plan, ScrubStep};

use crate::directory::Source;
use crate::jobs::JobUnderWay;
use crate::store::Store;
use crate::unpacking::SnapshotWork;

/// Work that is under way.
#[derive(Debug)]
pub(crate) enum UnderWay {
    Job(Box<JobUnderWay>),
    /// What was there when the store looked; it may be old when the answer arrives.
    ListImages(Option<StoreLook>),
    /// The same, and what was wrong with these blobs then.
    CheckBlobs(Vec<NeededBlob>, Option<(StoreLook, BlobFaults)>),
    /// Names that are to lose their pin, those that have, and what went wrong.
    Unpin(VecDeque<String>, Vec<String>, Result<(), String>),
    TakeOver(Vec<String>),
    PutNames(Vec<Image>),
    ReadBaked,
    AskSpace,
    FindUnrecorded(BTreeSet<Digest>),
    Scrub(ScrubStep),
    Snapshots(SnapshotWork),
}

/// The images that were there when the store looked, and how much it had lost.
#[derive(Debug)]
pub(crate) struct StoreLook {
    pub(crate) images: Vec<Image>,
    pub(crate) losses: u64,
}

/// What one process holds in memory.
pub(crate) struct Process {
    pub(crate) plan: Plan,
    pub(crate) source: Source,
    pub(crate) under_way: Vec<UnderWay>,
    pub(crate) started: Duration,
    pub(crate) saved: u64,
    /// Blobs whose bytes it has found wrong.
    pub(crate) damaged: BTreeSet<Digest>,
    /// What the store had told when it started, and what was told since.
    store_before: StoreState,
    pub(crate) store_told: StoreState,
}

impl Process {
    pub(crate) fn new(plan: Plan, started: Duration, store: &Store) -> Self {
        Self {
            saved: plan.ledger().revision(),
            plan,
            source: Source::default(),
            under_way: Vec::new(),
            damaged: BTreeSet::new(),
            started,
            store_before: store.state(),
            store_told: StoreState::default(),
        }
    }

    pub(crate) fn is_busy(&self) -> bool {
        !self.under_way.is_empty() || !self.source.events.is_empty()
    }

    /// What the store has told since the process started, if that is news. It tells only what is newest.
    pub(crate) fn store_news(&self, store: &Store) -> Option<StoreState> {
        let (now, before) = (store.state(), &self.store_before);
        let state = StoreState {
            away: now.away,
            returns: now.returns - before.returns,
            losses: now.losses - before.losses,
        };
        (state != self.store_told).then_some(state)
    }
}
