//! What the plan is told, and what it has done: the values that go in and come out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::digest::Digest;
use crate::entry::{Entry, Kind};
use crate::happened::Happened;
use crate::image_list::Line;
use crate::image_store::{Image, StoreState};
use crate::ledger::{FailureClass, Fingerprint, ImportedImage, Keeps, Ledger, NamesOfLater};
use crate::needed_blob::{BlobFaults, NeededBlob};
use crate::one_line::first_few;
use crate::pin::PinOwner;
use crate::scrub::ScrubMemory;
use crate::source_event::SourceEvent;
use crate::unpack::UnpackWhen;

/// The time at which an event is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Since the start; it never goes back.
    pub uptime: Duration,
    /// By the wall clock, which may be set.
    pub wall: SystemTime,
}

#[derive(Debug)]
pub enum Event {
    /// Work begins.
    Started,
    /// The images directory says something.
    Source(SourceEvent),
    /// What the store says by itself has changed to this.
    Store(StoreState),
    /// The answer to [`Effect::ListImages`].
    Images(Result<Vec<Image>, String>),
    /// The answer to [`Effect::CheckBlobs`]: the images, and what is wrong with the blobs.
    Checked(Result<(Vec<Image>, BlobFaults), String>),
    /// A job has ended; the path is that of its entry.
    Ended(PathBuf, JobEnd),
    /// The answer to [`Effect::AskSpace`]: how many bytes are free in the store, if that can be told.
    FreeSpace(Option<u64>),
    /// The answer to [`Effect::Unpin`]: the names that have lost their pin, and what went wrong.
    Unpinned(Vec<String>, Result<(), String>),
    /// The answer to [`Effect::AskSandboxImage`]; `None` where it cannot be told.
    SandboxImage(Option<SandboxImage>),
    /// The answer to [`Effect::FindUnrecorded`]; `None` where the store has not told.
    Unrecorded(Option<Vec<ImportedImage>>),
    /// The answer to [`Effect::Scrub`]: the blobs that are not right; `None` where they were not read.
    Scrubbed(Option<BlobFaults>),
    /// The answer to [`Effect::ListUnpacked`]: the configurations of the images that have their snapshots.
    UnpackedListed(Result<BTreeSet<Digest>, String>),
    /// The answer to [`Effect::Unpack`], with the target of the image.
    UnpackEnded(Digest, UnpackEnd),
    /// The answer to [`Effect::ReadBaked`]: the baked set; `None` where it could not be read.
    Baked(Option<Box<Ledger>>),
    /// An operator asked for a reload; the rules may be the same.
    Reloaded(Rules),
    /// Time has passed.
    Tick,
}

/// The image that the runtime makes every pod with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxImage {
    /// As the store writes it.
    pub name: String,
    /// Whether the store has it.
    pub is_there: bool,
}

/// What the plan wants done. Effects are carried out in order.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Begin a job for an entry; [`Event::Ended`] follows. There is one job for an entry at a time.
    Begin(Entry, Job, Brings),
    /// Give up the job of this entry soon; its end still follows.
    Abandon(PathBuf),
    /// Have the source list everything.
    Rescan,
    /// Have the source look at this path again.
    LookAgain(PathBuf),
    /// Have the store list its images; [`Event::Images`] follows.
    ListImages,
    /// The same, and have these blobs looked at; [`Event::Checked`] follows.
    CheckBlobs(Vec<NeededBlob>),
    /// Ask how much space the store has; [`Event::FreeSpace`] follows.
    AskSpace,
    /// Ask the runtime for its sandbox image; [`Event::SandboxImage`] follows.
    AskSandboxImage,
    /// Find the images that are pinned for the owner and are none of these; [`Event::Unrecorded`] follows.
    FindUnrecorded(BTreeSet<Digest>),
    /// Read blobs, and keep what is known then; [`Event::Scrubbed`] follows.
    Scrub(ScrubStep),
    /// Take stowd's pins off these images; [`Event::Unpinned`] follows.
    Unpin(Vec<String>),
    /// Put the owner's name on the pins of these images. What fails is found at the next listing of the
    /// store.
    TakeOver(Vec<String>),
    /// Put these names, of images that the store has; of the baked set, whose files are gone. What fails is found
    /// at the next listing of the store.
    PutNames(Vec<Image>),
    /// Read the baked set; [`Event::Baked`] follows.
    ReadBaked,
    /// An entry is not of the baked set any more.
    Unbake(PathBuf),
    /// Ask which images have their snapshots; [`Event::UnpackedListed`] follows.
    ListUnpacked,
    /// Unpack the image of this target, which people know by this name; [`Event::UnpackEnded`] follows.
    Unpack(Digest, String),
    Tell(Happened),
}

/// What is known of what an entry brings, when a job for it begins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Brings {
    /// Every image that it has brought and holds.
    pub known: Vec<ImportedImage>,
    /// Names that entries later in name order bring. An archive that names images like that as well does not
    /// take them, where the store has them pinned for an image of such an entry.
    pub later: NamesOfLater,
}

/// How an unpacking has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnpackEnd {
    /// The image has all its snapshots, of which so many are new.
    Unpacked {
        made: usize,
    },
    /// The host runs nothing of it.
    NothingToUnpack,
    /// The store is away, which says nothing about the image.
    StoreAway(String),
    /// The store has no such blob.
    Lacks(NeededBlob, String),
    Failed(FailureClass, String),
}

/// Blobs to read, and what is known when they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScrubStep {
    pub blobs: Vec<NeededBlob>,
    /// READY waits for it: it is read as fast as it can be.
    pub is_awaited: bool,
    /// What is known when they have been read, but for what is wrong with them.
    pub(super) then: ScrubMemory,
}

impl ScrubStep {
    pub(super) fn new(blobs: Vec<NeededBlob>, then: ScrubMemory) -> Self {
        Self {
            blobs,
            is_awaited: false,
            then,
        }
    }

    /// What is to be kept for the next run when the blobs have been read, and have these faults.
    pub fn ended(&self, faults: &BlobFaults) -> ScrubMemory {
        let mut memory = self.then.clone();
        memory.read(&self.blobs, faults);
        memory
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Job {
    /// An archive is imported.
    Import,
    /// An archive that was found broken is read once more, and nothing is written.
    Verify,
    /// The file has the length and the mtime of the archive that was imported, and another inode: it is asked
    /// whether it has this sample, too. Then it is a copy.
    Compare(Digest),
    /// The images of a list that the store has are named and pinned.
    Look,
    /// The images that the store lacked at the look are pulled, named and pinned.
    Pull(Arc<Looked>),
}

impl Job {
    pub(super) fn kind(&self) -> JobKind {
        match self {
            Self::Import | Self::Verify | Self::Compare(_) => JobKind::Import,
            Self::Look => JobKind::Look,
            Self::Pull(_) => JobKind::Pull,
        }
    }

    /// What is begun when it was interrupted.
    pub(super) fn anew(self) -> Self {
        match self {
            Self::Pull(_) => Self::Look,
            other => other,
        }
    }

    /// What an entry begins with.
    pub fn first(kind: Kind) -> Self {
        match kind {
            Kind::Archive => Self::Import,
            Kind::List => Self::Look,
        }
    }
}

/// Jobs that do not wait for each other's slots: a registry that does not answer must not delay an
/// archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum JobKind {
    Import,
    Look,
    Pull,
}

impl JobKind {
    pub(super) const ALL: [Self; 3] = [Self::Import, Self::Look, Self::Pull];
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobEnd {
    /// The entry was gone through.
    Through(EntryResult),
    /// The list names images that the store lacks.
    Absent(Arc<Looked>),
    /// The list is none, and brings nothing; the text says what it is.
    NoList(String),
    /// Nothing is wrong with the file of an archive that was found broken before. The plan says so of what
    /// was gone through.
    Whole,
    /// Whether the file has the sample that was asked for.
    Compared(bool),
    /// The file is not, or no longer, the version that the job was for.
    Changed,
    /// The store is away, which says nothing about the entry.
    StoreAway(String),
    /// Nothing of the entry was gone through.
    Failed(FailureClass, String),
}

/// What came of an entry that was gone through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryResult {
    /// Its images that are in the store, named and pinned.
    pub images: Vec<ImportedImage>,
    /// Why others are not; empty when all are.
    pub problems: Vec<String>,
    /// Of problems: the class that is tried again the soonest.
    pub class: FailureClass,
    /// Of problems: what the entry goes on holding of what it brought before.
    pub keeps: Keeps,
    /// Of problems: how long a registry asked to be left alone.
    pub not_before: Duration,
    /// Of an archive without problems: the sample of its file.
    pub sample: Option<Digest>,
}

/// What is known of the lines of a list; they go by their numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Looked {
    /// The images that the store has, named and pinned.
    pub images: BTreeMap<usize, ImportedImage>,
    pub problems: BTreeMap<usize, String>,
    /// The names of the lines that failed.
    pub failed: BTreeSet<String>,
    /// The class of the problem that is tried again the soonest.
    pub class: FailureClass,
    /// How long a registry asked to be left alone.
    pub not_before: Duration,
    /// The lines whose images the store lacks.
    pub absent: Vec<Line>,
    /// Whether every line was understood. If not, what it would have brought is not known.
    pub is_understood: bool,
}

impl From<Looked> for EntryResult {
    fn from(looked: Looked) -> Self {
        let mut problems = looked.problems.into_values().collect();
        first_few(&mut problems);
        Self {
            images: looked.images.into_values().collect(),
            problems,
            class: looked.class,
            keeps: match looked.is_understood {
                true => Keeps::Named(looked.failed),
                false => Keeps::All,
            },
            not_before: looked.not_before,
            sample: None,
        }
    }
}

/// What the plan needs to know of the configuration. All but `root` and `owner` may change
/// while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    pub root: PathBuf,
    pub owner: PinOwner,
    /// What shapes what an entry brings.
    pub fingerprint: Fingerprint,
    /// Archives imported at once, lists looked at, and images unpacked.
    pub parallel: usize,
    /// The rest before pins are looked after: a rename is a file that goes and then one that comes.
    pub settle: Duration,
    /// Whether what no entry brings any more is unpinned.
    pub unpin_removed: bool,
    /// How long lists may hold READY.
    pub ready_timeout: Duration,
    /// Images are also named as if they came from these.
    pub extra_registries: Vec<String>,
    /// Time between two readings of all blobs; zero: never.
    pub scrub: Duration,
    /// When images are unpacked.
    pub unpack: UnpackWhen,
    /// Spreads the retries of this process from those of others.
    pub seed: u64,
}
