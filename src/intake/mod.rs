//! The actor that owns the queue and the ledger: entries go in, outcomes come out.
//!
//! ```text
//!   watch --notices--> seen     what there is to do: decided by the ledger's audit, put in the queue
//!                        |
//!                      queue -> importer or puller, several at once
//!                        |
//!                      ended    what came of it: the ledger's record, the next try
//!                        |
//!                      upkeep   what no entry brings is unpinned; the ledger saved
//! ```
//!
//! `patience` says how long lists may hold the drain, `pledges` keeps the pins of a list in work.
//!
//! Every decision is a pure module's; every effect is a verb's. It waits on: notices of the watch;
//! work that has ended (a listing, an import, a pull, upkeep); what a pull asks; the next entry that is due; the next write of
//! the ledger; new settings; the clock by which it shows that it turns; stop.

mod ended;
mod patience;
mod pledges;
mod seen;
mod upkeep;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Display;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::entry::{Entry, Identity, Kind, shown};
use crate::image_store::ImageStore;
use crate::images_dir::{Unwatchable, Watch, WatchOptions};
use crate::importer::{self, Rules};
use crate::ledger::{Fingerprint, Ledger};
use crate::ledger_file::LedgerFile;
use crate::platform::Wanted;
use crate::progress::{Meter, Progress, Trouble, Work};
use crate::puller::{Ask, Asks, PullRules, Puller};
use crate::queue::{Queue, Slots};

use ended::{Brought, Unread};
use patience::Patience;
use pledges::Pledges;
use seen::Listing;
use upkeep::{Upkeep, UpkeepDone};

/// How long an import waits for a store that went away in the middle of it.
const STORE_AWAY: Duration = Duration::from_secs(2);

/// Lists that are in work at once. They wait for registries more than they work; how many pulls they
/// make together is limited elsewhere.
const LISTS_AT_ONCE: usize = 256;

/// What the intake needs to know. All but `dir`, `state_dir`, `namespace`, `rescan` and `ready_timeout`
/// may change while it runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The images directory.
    pub dir: PathBuf,
    /// Where the ledger is kept.
    pub state_dir: PathBuf,
    /// The namespace that the store writes to.
    pub namespace: String,
    /// Quiet time after the last change of a file.
    pub settle: Duration,
    /// Entries imported at once; 0: as many as suit the machine.
    pub parallel: usize,
    /// Time between full rescans; zero: never.
    pub rescan: Duration,
    /// Unpin what no entry brings any more.
    pub unpin_removed: bool,
    /// Which platforms of an image are imported.
    pub wanted: Wanted,
    /// What lists are pulled with.
    pub pulls: PullRules,
    /// How long lists may hold the drain.
    pub ready_timeout: Duration,
}

impl Settings {
    fn fingerprint(&self) -> Fingerprint {
        let registries = &self.pulls.extra_registries;
        Fingerprint::of(&self.wanted, registries, &self.namespace)
    }

    /// Reading an archive keeps a core busy: by default as many as there are, and no more than a few.
    fn slots(&self) -> Slots {
        let cores = || std::thread::available_parallelism().map_or(2, usize::from);
        let archives = match self.parallel {
            0 => cores().clamp(2, 4),
            parallel => parallel,
        };
        Slots {
            archives,
            lists: LISTS_AT_ONCE,
        }
    }

    fn watch_options(&self) -> WatchOptions {
        WatchOptions::with_rescan(self.rescan)
    }
}

/// Why the intake has ended without being asked to.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// The images directory cannot be followed, not even by polling.
    #[error(transparent)]
    Unwatchable(#[from] Unwatchable),
    /// The thread that follows the images directory has ended.
    #[error("internal error: the images directory is not followed any more")]
    WatchEnded,
    /// A task panicked: a bug, after which nothing that the intake holds can be trusted.
    #[error("internal error: {0}")]
    Panicked(#[from] JoinError),
}

/// Owns the queue and the ledger.
pub struct Intake<S> {
    store: S,
    puller: Puller<S>,
    asks: mpsc::UnboundedReceiver<Ask>,
    settings: Settings,
    changes: watch::Receiver<Settings>,
    queue: Queue,
    ledger: Ledger,
    file: LedgerFile,
    running: BTreeMap<PathBuf, Running>,
    tasks: JoinSet<Done>,
    listing: Listing,
    upkeep: Upkeep,
    pledges: Pledges,
    patience: Patience,
    mentioned: HashSet<PathBuf>,
    /// Paths that are to be looked at again by themselves.
    looks: HashSet<PathBuf>,
    /// Since when entries are not left alone for long enough to be read.
    unsettled: HashMap<PathBuf, Instant>,
    /// The store is away: nothing is begun before.
    away_until: Option<Instant>,
    seed: u64,
    drained: bool,
    moved: u64,
    heartbeat: Option<Duration>,
    turns: u64,
    progress: watch::Sender<Progress>,
}

/// An entry that is in work.
struct Running {
    kind: Kind,
    identity: Identity,
    /// What it was begun with: other ones may have come since.
    settings: Fingerprint,
    /// The ledger's last serial number when it was begun.
    after: u64,
    meter: Meter,
    begun: Instant,
    /// Gives up a list of which a newer version waits, or that is gone: nobody knows when a registry
    /// answers. An archive is read to its end.
    stop: CancellationToken,
    /// Of a list: all of it that was in the store is pinned.
    is_pulling: bool,
}

/// Work that has ended.
enum Done {
    Listed(Box<seen::Listed>),
    Touched(seen::Touched),
    Looked(seen::Touched),
    Read {
        entry: Entry,
        result: Result<Brought, Unread>,
    },
    Upkeep(UpkeepDone),
}

impl<S: ImageStore> Intake<S> {
    /// An intake with nothing in it, and what it tells of its progress. The settings are those of
    /// `changes`, and every change of it, if to the same, asks for a rescan. It shows that it turns at every `heartbeat`.
    pub fn new(
        store: S,
        changes: watch::Receiver<Settings>,
        heartbeat: Option<Duration>,
    ) -> (Self, watch::Receiver<Progress>) {
        let settings = changes.borrow().clone();
        let (progress, told) = watch::channel(Progress::default());
        let (ask, asks) = mpsc::unbounded_channel();
        let intake = Self {
            puller: Puller::new(store.clone(), settings.pulls.clone(), Asks(ask)),
            asks,
            store,
            changes,
            queue: Queue::new(settings.slots()),
            ledger: Ledger::default(),
            file: LedgerFile::new(&settings.state_dir, &settings.dir),
            running: BTreeMap::new(),
            tasks: JoinSet::new(),
            listing: Listing::default(),
            upkeep: Upkeep::default(),
            pledges: Pledges::default(),
            patience: Patience::default(),
            mentioned: HashSet::new(),
            looks: HashSet::new(),
            unsettled: HashMap::new(),
            away_until: None,
            seed: RandomState::new().build_hasher().finish(),
            drained: false,
            moved: 0,
            heartbeat,
            turns: 0,
            progress,
            settings,
        };
        (intake, told)
    }

    /// Works until `stop`. Imports in work are abandoned then, which their leases make safe, and the
    /// ledger is saved.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), IntakeError> {
        self.load_ledger().await?;
        // Armed before the first listing, or a file that lands between the two is missed.
        let watch = self.start_watch().await?;
        self.list();
        loop {
            self.start_what_is_due(&watch);
            self.drained = self.drained || self.ends_drain(Instant::now());
            if self.queue.is_drained_of_archives() {
                self.pledges.let_pull();
            }
            self.keep_up();
            self.turns += 1;
            self.publish();
            let now = Instant::now();
            let away = self.away_until.filter(|until| *until > now);
            let due = self.queue.next_due(now).max(away);
            let upkeep = self.upkeep.due(now);
            let patience = self.patience_due();
            let save = self.file.due(&self.ledger, now);
            let turn = self.heartbeat.map(|heartbeat| now + heartbeat / 2);
            tokio::select! {
                notice = watch.next() => self.noticed(notice.ok_or(IntakeError::WatchEnded)?),
                Some(done) = self.tasks.join_next() => match done? {
                    Done::Listed(listed) => self.listed(*listed),
                    Done::Touched(touched) => {
                        self.touched(touched);
                        self.queue.listing_ended();
                    }
                    Done::Looked(touched) => {
                        self.looks.remove(touched.path());
                        self.touched(touched);
                    }
                    Done::Read { entry, result } => self.read(entry, result),
                    Done::Upkeep(done) => self.kept_up(done),
                },
                () = until(due) => {}
                () = until(save) => {}
                () = until(upkeep) => {}
                () = until(patience) => {}
                Some(ask) = self.asks.recv() => self.asked(ask),
                Ok(()) = self.changes.changed() => {
                    self.settings = self.changes.borrow_and_update().clone();
                    self.queue.set_slots(self.settings.slots());
                    self.puller.set_rules(self.settings.pulls.clone());
                    // Whoever mended a registry, or a login, does not wait for the next try.
                    self.queue.hurry_lists(Instant::now());
                    watch.rescan();
                }
                () = until(turn) => {}
                () = stop.cancelled() => break,
            }
        }
        self.end().await;
        Ok(())
    }

    async fn start_watch(&self) -> Result<Watch, IntakeError> {
        let (dir, options) = (self.settings.dir.clone(), self.settings.watch_options());
        let watch = tokio::task::spawn_blocking(move || Watch::start(&dir, options));
        Ok(watch.await??)
    }

    fn start_what_is_due(&mut self, watch: &Watch) {
        if self.away_until.is_some_and(|until| until > Instant::now()) {
            return;
        }
        // Images are pinned before their entry has a record: upkeep would take them for stale.
        while !self.upkeep.is_in_work()
            && let Some(entry) = self.queue.take(Instant::now())
        {
            if watch.is_being_written(&entry.path) && !seen::is_long_quiet(&entry) {
                self.queue.finished(&entry.path);
                self.wait_until_whole(entry);
                continue;
            }
            self.start(entry);
        }
    }

    fn start(&mut self, entry: Entry) {
        let running = Running {
            kind: entry.kind,
            identity: entry.identity,
            settings: self.settings.fingerprint(),
            after: self.ledger.serial(),
            meter: Meter::default(),
            begun: Instant::now(),
            stop: CancellationToken::new(),
            is_pulling: false,
        };
        let (meter, stop) = (running.meter.clone(), running.stop.clone());
        self.running.insert(entry.path.clone(), running);
        match entry.kind {
            Kind::Archive => {
                let (store, settings) = (self.store.clone(), self.settings.clone());
                self.tasks.spawn(async move {
                    let rules = Rules {
                        wanted: &settings.wanted,
                        extra_registries: &settings.pulls.extra_registries,
                    };
                    let report = importer::import(&store, &entry, rules, meter).await;
                    let result = report.map(Brought::from).map_err(Unread::from);
                    Done::Read { entry, result }
                });
            }
            Kind::List => {
                let puller = self.puller.clone();
                self.tasks.spawn(async move {
                    let report = puller.pull(&entry, &meter, &stop).await;
                    let result = report.map(Brought::from).map_err(Unread::from);
                    Done::Read { entry, result }
                });
            }
        }
    }

    fn publish(&self) {
        let working = |kind| {
            let working = self.running.iter();
            let working = working.filter(move |(_, running)| running.kind == kind);
            let working = working.map(|(path, running)| Work {
                name: name(path),
                size: running.identity.size,
                meter: running.meter.clone(),
            });
            working.collect()
        };
        let failed = self.ledger.first_failed();
        self.progress.send_replace(Progress {
            summary: self.ledger.summary(),
            open: self.queue.open(),
            working: working(Kind::Archive),
            pulling: working(Kind::List),
            settling: self.queue.first_settling().map(name),
            drained: self.drained,
            watching: shown(&self.settings.dir),
            trouble: failed.map(|(path, record)| Trouble {
                name: name(path),
                attempts: record.attempts,
                next_try: record.next_try,
            }),
            ended: self.moved,
            turns: self.turns,
        });
    }
}

fn name(path: &Path) -> String {
    shown(Path::new(path.file_name().unwrap_or_default()))
}

/// A number of bytes for people.
fn iec(bytes: u64) -> impl Display {
    ByteSize::b(bytes).display().iec()
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
