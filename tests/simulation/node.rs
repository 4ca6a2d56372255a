//! A node: the real plan in a process that can be killed, with its ledger on a disk.

use std::path::Path;
use std::time::{Duration, SystemTime};

use stowd::ledger::Ledger;
use stowd::pin::DEFAULT_INSTANCE;
use stowd::plan::{Effect, Event, Now, Plan, SandboxImage};
use stowd::scrub::ScrubMemory;

use crate::baked;
use crate::compared;
use crate::config::Config;
use crate::directory::{Directory, ROOT};
use crate::history::list;
use crate::invariants::Violation;
use crate::jobs::JobUnderWay;
use crate::oracle::Oracle;
use crate::process::{Process, UnderWay};
use crate::store::{SECOND_INSTANCE, Store};
use crate::trace::brief;
use crate::unpacking::{self, SnapshotWork};

/// The image that the runtime makes every pod with.
pub(crate) const SANDBOX: &str = "r.example/x:1";

/// Everything that there is.
pub(crate) struct Node {
    pub(crate) directory: Directory,
    pub(crate) store: Store,
    pub(crate) process: Process,
    pub(crate) oracle: Oracle,
    /// What an operator has configured; a process takes it when it starts, and at a reload.
    pub(crate) config: Config,
    /// The ledger's file, and what it was before it was written last.
    pub(crate) disk: Vec<u8>,
    pub(crate) disk_before: Vec<u8>,
    /// The file of the baked set.
    pub(crate) baked: Vec<u8>,
    /// What is kept about the scrub.
    pub(crate) scrub: ScrubMemory,
    pub(crate) disk_fails: bool,
    /// True time since the beginning.
    pub(crate) time: Duration,
    pub(crate) wall: SystemTime,
    /// The process is killed when it has carried out so many effects more.
    pub(crate) kill_after: Option<usize>,
    /// How many jobs were begun in all.
    pub(crate) jobs: usize,
    /// Each name is put and unpinned in a step of its own.
    pub(crate) is_fine: bool,
    /// The plans are told what the store tells by itself.
    pub(crate) is_listening: bool,
    /// Another stowd, with another instance and another images directory, and the same store. What
    /// there is once, such as the store and the time, is with the one that things happen to.
    pub(crate) other: Option<Box<Node>>,
    /// A trace of what happened, for a failing history.
    pub(crate) trace: Option<Vec<String>>,
}

impl Node {
    pub(crate) fn new(is_traced: bool) -> Self {
        let mut node = Self::of(DEFAULT_INSTANCE);
        node.trace = is_traced.then(Vec::new);
        node.start();
        node
    }

    fn of(instance: &'static str) -> Self {
        let config = Config::new(0, instance);
        let plan = Plan::new(config.rules(), Ledger::default());
        let store = Store::default();
        Self {
            directory: Directory::default(),
            process: Process::new(plan, Duration::ZERO, &store),
            store,
            oracle: Oracle::new(config),
            config,
            disk: Vec::new(),
            disk_before: Vec::new(),
            baked: Vec::new(),
            scrub: ScrubMemory::default(),
            disk_fails: false,
            time: Duration::ZERO,
            wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
            kill_after: None,
            jobs: 0,
            is_fine: false,
            is_listening: false,
            other: None,
            trace: None,
        }
    }

    /// Things happen to the other stowd from now on, which is started if it was not.
    pub(crate) fn switch(&mut self) {
        let is_first = self.other.is_none();
        let other = self.other.take();
        let mut other = other.unwrap_or_else(|| Box::new(Self::of(SECOND_INSTANCE)));
        std::mem::swap(self, &mut other);
        std::mem::swap(&mut self.store, &mut other.store);
        std::mem::swap(&mut self.trace, &mut other.trace);
        (self.time, self.wall, self.jobs) = (other.time, other.wall, other.jobs);
        self.is_fine = other.is_fine;
        self.is_listening = other.is_listening;
        self.other = Some(other);
        if is_first {
            self.start();
        }
    }

    pub(crate) fn trace(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let time = self.time.as_secs_f64();
            trace.push(format!("{time:>9.1} {}", line()));
        }
    }

    pub(crate) fn uptime(&self) -> Duration {
        self.time - self.process.started
    }

    pub(crate) fn now(&self) -> Now {
        Now {
            uptime: self.uptime(),
            wall: self.wall,
        }
    }

    /// A process starts with what the disk has.
    pub(crate) fn start(&mut self) {
        let (mut ledger, dropped) = Ledger::from_json(&self.disk, Path::new(ROOT));
        ledger.bake(self.baked_set());
        self.trace(|| format!("-- starts, of the ledger is dropped: {dropped:?}"));
        self.oracle.restarted(&ledger, &self.directory, self.config);
        let is_whole = dropped.is_none() && !self.disk.is_empty();
        self.oracle.has_memory = is_whole || ledger.iter().next().is_some();
        let mut plan = Plan::new(self.config.rules(), ledger);
        let now = Now {
            uptime: Duration::ZERO,
            wall: self.wall,
        };
        plan.on(Event::Started, now);
        plan.on(self.sandbox_image(), now);
        plan.resume_scrub(self.scrub.clone());
        self.oracle.remembers(&self.scrub, &self.store);
        self.process = Process::new(plan, self.time, &self.store);
        self.kill_after = None;
        self.process.source.list(&self.directory, Duration::ZERO);
    }

    /// What the file of the baked set has.
    pub(crate) fn baked_set(&self) -> Ledger {
        Ledger::from_json(&self.baked, Path::new("/")).0
    }

    /// A run with `--keep` has loaded what is there, and has ended; a daemon starts.
    pub(crate) fn bake(&mut self) {
        if !self.process.plan.is_loaded() || self.disk_fails {
            return;
        }
        self.save();
        let (set, ..) = self.process.plan.ledger().to_bake();
        self.baked = set.to_json(Path::new("/"));
        self.kill();
    }

    pub(crate) fn change_baked(&mut self, change: impl FnOnce(&mut Ledger)) {
        let mut set = Ledger::default();
        set.bake(self.baked_set());
        change(&mut set);
        self.baked = set.baked().to_json(Path::new("/"));
    }

    /// What the runtime answers, at once.
    fn sandbox_image(&self) -> Event {
        let name = SANDBOX.to_owned();
        let is_there = self.store.now.images.contains_key(&name);
        Event::SandboxImage((!self.store.is_down).then_some(SandboxImage { name, is_there }))
    }

    /// The wall clock, by which it is known when an entry is due, is another one.
    pub(crate) fn waits_end(&mut self) {
        self.oracle.pace.waits_end();
        if let Some(other) = &mut self.other {
            other.oracle.pace.waits_end();
        }
    }

    /// What the process holds is lost.
    pub(crate) fn kill(&mut self) {
        self.trace(|| "-- killed".to_owned());
        self.start();
    }

    pub(crate) fn save(&mut self) {
        let ledger = self.process.plan.ledger();
        if self.process.saved != ledger.revision() && !self.disk_fails {
            self.process.saved = ledger.revision();
            let written = ledger.snapshot().to_json(Path::new(ROOT));
            self.disk_before = std::mem::replace(&mut self.disk, written);
        }
    }

    /// Tells the plan an event, and carries out what it wants done.
    pub(crate) fn tell(&mut self, event: Event) -> Result<(), Violation> {
        self.trace(|| format!("event  {}", brief(&event)));
        let was_loaded = self.process.plan.is_loaded();
        let now = self.now();
        let effects = self.process.plan.on(event, now);
        for effect in &effects {
            if let Effect::Tell(happened) = effect {
                self.oracle.told(happened, &self.store)?;
            }
        }
        self.oracle
            .brings_back(&effects, self.process.plan.ledger(), now.uptime)?;
        if self.process.plan.is_loaded() && !was_loaded {
            self.oracle
                .loaded(&self.process.plan, &self.directory, &self.store)?;
            compared::at_ready(self)?;
            unpacking::at_ready(self)?;
        }
        self.oracle.is_ready(&self.process.plan)?;
        for effect in effects {
            if let Some(left) = &mut self.kill_after {
                if *left == 0 {
                    self.kill();
                    return Ok(());
                }
                *left -= 1;
            }
            self.carry_out(effect)?;
        }
        Ok(())
    }

    fn carry_out(&mut self, effect: Effect) -> Result<(), Violation> {
        self.trace(|| format!("effect   {}", brief(&effect)));
        let uptime = self.uptime();
        match effect {
            Effect::Begin(entry, job, brings) => {
                self.jobs += 1;
                self.oracle
                    .begins(&entry, &job, &self.process, &self.store, uptime)?;
                let job = JobUnderWay::new(entry, job, brings, self);
                self.process.under_way.push(UnderWay::Job(Box::new(job)));
            }
            Effect::Abandon(path) => {
                for under_way in &mut self.process.under_way {
                    if let UnderWay::Job(job) = under_way
                        && job.entry.path == path
                    {
                        job.abandoned = true;
                    }
                }
            }
            Effect::Rescan => list(self),
            Effect::LookAgain(path) => {
                self.oracle.seen.looks_again(&path)?;
                self.process
                    .source
                    .look_again(&self.directory, &path, uptime);
            }
            Effect::ListImages => {
                self.oracle.asks_store();
                self.oracle.pace.asks(uptime)?;
                self.process.under_way.push(UnderWay::ListImages(None));
            }
            Effect::CheckBlobs(blobs) => {
                self.oracle.asks_store();
                self.oracle.pace.asks(uptime)?;
                self.process
                    .under_way
                    .push(UnderWay::CheckBlobs(blobs, None));
            }
            Effect::FindUnrecorded(known) => {
                self.process.under_way.push(UnderWay::FindUnrecorded(known));
            }
            Effect::Scrub(step) => {
                self.oracle.scrubs(&step, &self.process)?;
                self.process.under_way.push(UnderWay::Scrub(step));
            }
            Effect::Unpin(names) => {
                self.oracle.unpins(&names, &self.process.plan)?;
                let ledger = self.process.plan.ledger();
                self.oracle
                    .brings_none_of(&names, &self.directory, ledger)?;
                baked::unpins(self, &names)?;
                let unpin = UnderWay::Unpin(names.into(), Vec::new(), Ok(()));
                self.process.under_way.push(unpin);
            }
            Effect::TakeOver(names) => {
                self.oracle.takes_over(&names)?;
                self.process.under_way.push(UnderWay::TakeOver(names));
            }
            Effect::PutNames(images) => {
                self.process.under_way.push(UnderWay::PutNames(images));
            }
            Effect::ReadBaked => self.process.under_way.push(UnderWay::ReadBaked),
            Effect::Unbake(path) => self.change_baked(|set| set.unbake(&path)),
            Effect::AskSpace => self.process.under_way.push(UnderWay::AskSpace),
            effect @ (Effect::ListUnpacked | Effect::Unpack(..)) => {
                let work = UnderWay::Snapshots(SnapshotWork::of(effect));
                self.process.under_way.push(work);
            }
            Effect::AskSandboxImage => return self.tell(self.sandbox_image()),
            Effect::Tell(_) => {}
        }
        Ok(())
    }

    /// Whether there is anything to do before time passes.
    pub(crate) fn is_busy(&self) -> bool {
        self.process.is_busy() || self.has_store_news()
    }

    /// The same of the other stowd.
    pub(crate) fn is_other_busy(&self) -> bool {
        self.other.as_ref().is_some_and(|other| {
            let has_news = self.is_listening && other.process.store_news(&self.store).is_some();
            other.process.is_busy() || has_news
        })
    }

    /// Whether the store has told something of which the plan has not heard.
    pub(crate) fn has_store_news(&self) -> bool {
        self.is_listening && self.process.store_news(&self.store).is_some()
    }

    /// Tells the plan what the store has told.
    pub(crate) fn hear(&mut self) -> Result<(), Violation> {
        let news = self.process.store_news(&self.store);
        let Some(state) = news.filter(|_| self.is_listening) else {
            return Ok(());
        };
        let before = std::mem::replace(&mut self.process.store_told, state.clone());
        if state.returns > before.returns {
            // It may be another store.
            self.process.damaged.clear();
        }
        self.oracle.hears(&before, &state, &self.process.plan);
        self.tell(Event::Store(state))
    }

    /// Tells the plan the next event of the source.
    pub(crate) fn deliver(&mut self) -> Result<(), Violation> {
        match self.process.source.events.pop_front() {
            Some(event) => {
                self.oracle.sees(&event);
                self.tell(Event::Source(event))
            }
            None => Ok(()),
        }
    }
}
