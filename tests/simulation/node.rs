//! A node: the real plan in a process that can be killed, with its ledger on a disk.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use stowd::digest::Digest;
use stowd::entry::Entry;
use stowd::image_list::Line;
use stowd::image_store::Image;
use stowd::ledger::{FailureClass, Fingerprint, ImportedImage, Keeps, Ledger};
use stowd::naming::Reference;
use stowd::needed_blob::{BlobFaults, NeededBlob};
use stowd::pin::PinOwner;
use stowd::plan::{Effect, EntryResult, Event, Job, JobEnd, Looked, Now, Plan, Rules};
use stowd::platform::Wanted;

use crate::content::{Content, IN_REGISTRY, SimImage};
use crate::directory::{Directory, ROOT, SETTLE, Source};
use crate::invariants::{Oracle, Violation};
use crate::store::{SPACE, Store};

/// Work that is under way.
#[derive(Debug)]
pub(crate) enum UnderWay {
    Job(Box<JobUnderWay>),
    /// What was there when the store looked; it may be old when the answer arrives.
    ListImages(Option<Vec<Image>>),
    /// The same, and what was wrong with these blobs then.
    CheckBlobs(Vec<NeededBlob>, Option<(Vec<Image>, BlobFaults)>),
    Unpin(Vec<String>),
    TakeOver(Vec<String>),
    AskSpace,
}

#[derive(Debug)]
pub(crate) struct JobUnderWay {
    entry: Entry,
    job: Job,
    content: Option<Content>,
    step: usize,
    brought: EntryResult,
    looked: Looked,
    abandoned: bool,
    /// What the store had lost when it began.
    losses: u64,
}

/// What one process holds in memory.
pub(crate) struct Process {
    pub(crate) plan: Plan,
    pub(crate) source: Source,
    pub(crate) under_way: Vec<UnderWay>,
    started: Duration,
    saved: u64,
    pub(crate) reloads: usize,
}

/// Everything that there is.
pub(crate) struct Node {
    pub(crate) directory: Directory,
    pub(crate) store: Store,
    pub(crate) process: Process,
    pub(crate) oracle: Oracle,
    /// The ledger's file.
    pub(crate) disk: Vec<u8>,
    /// True time since the beginning.
    pub(crate) time: Duration,
    pub(crate) wall: SystemTime,
    /// The process is killed when it has carried out so many effects more.
    pub(crate) kill_after: Option<usize>,
    /// How many jobs were begun in all.
    pub(crate) jobs: usize,
    /// A trace of what happened, for a failing history.
    pub(crate) trace: Option<Vec<String>>,
}

/// The one blob of an image.
fn needed(digest: &Digest) -> NeededBlob {
    NeededBlob {
        digest: digest.clone(),
        size: 1,
    }
}

pub(crate) fn rules() -> Rules {
    Rules {
        root: PathBuf::from(ROOT),
        owner: PinOwner::default(),
        fingerprint: Fingerprint::of(&Wanted::All, &[], "n"),
        parallel: 2,
        settle: SETTLE,
        unpin_removed: true,
        ready_timeout: Duration::from_secs(300),
        extra_registries: Vec::new(),
        seed: 1,
    }
}

impl Node {
    pub(crate) fn new(is_traced: bool) -> Self {
        let mut node = Self {
            directory: Directory::default(),
            store: Store::default(),
            process: Process {
                plan: Plan::new(rules(), Ledger::default()),
                source: Source::default(),
                under_way: Vec::new(),
                started: Duration::ZERO,
                saved: 0,
                reloads: 0,
            },
            oracle: Oracle::default(),
            disk: Vec::new(),
            time: Duration::ZERO,
            wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
            kill_after: None,
            jobs: 0,
            trace: is_traced.then(Vec::new),
        };
        node.start();
        node
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

    fn now(&self) -> Now {
        Now {
            uptime: self.uptime(),
            wall: self.wall,
        }
    }

    /// A process starts with what the disk has.
    pub(crate) fn start(&mut self) {
        let (ledger, dropped) = Ledger::from_json(&self.disk, Path::new(ROOT));
        assert!(dropped.is_none(), "the ledger's file: {dropped:?}");
        self.oracle.restarted(&ledger, &self.directory);
        let saved = ledger.revision();
        self.process = Process {
            plan: Plan::new(rules(), ledger),
            source: Source::default(),
            under_way: Vec::new(),
            started: self.time,
            saved,
            reloads: 0,
        };
        self.kill_after = None;
        self.process.source.list(&self.directory, Duration::ZERO);
        self.trace(|| "-- started".to_owned());
    }

    /// What the process holds is lost.
    pub(crate) fn kill(&mut self) {
        self.trace(|| "-- killed".to_owned());
        self.start();
    }

    pub(crate) fn save(&mut self) {
        let ledger = self.process.plan.ledger();
        if self.process.saved != ledger.revision() {
            self.process.saved = ledger.revision();
            self.disk = ledger.snapshot().to_json(Path::new(ROOT));
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
        if self.process.plan.is_loaded() && !was_loaded {
            self.oracle.loaded(&self.process.plan, &self.directory)?;
        }
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
            Effect::Begin(entry, job) => {
                self.jobs += 1;
                let plan = &self.process.plan;
                let mut under_way = self.process.under_way.iter();
                let is_unpinning = under_way.any(|other| matches!(other, UnderWay::Unpin(_)));
                self.oracle
                    .begins(&entry, &job, plan, is_unpinning, uptime)?;
                let is_busy = self.process.under_way.iter().any(|under_way| {
                    matches!(under_way, UnderWay::Job(job) if job.entry.path == entry.path)
                });
                if is_busy {
                    return Err(Violation::new("two jobs for one entry"));
                }
                let looked = match &job {
                    Job::Pull(looked) => Looked::clone(looked),
                    _ => Looked::default(),
                };
                let job = JobUnderWay {
                    entry,
                    job,
                    content: None,
                    step: 0,
                    brought: EntryResult {
                        images: Vec::new(),
                        problems: Vec::new(),
                        class: FailureClass::Content,
                        keeps: Keeps::All,
                        not_before: Duration::ZERO,
                    },
                    looked,
                    abandoned: false,
                    losses: self.store.losses,
                };
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
            Effect::LookAgain(path) => {
                self.process
                    .source
                    .look_again(&self.directory, &path, uptime);
            }
            Effect::ListImages => {
                self.process.under_way.push(UnderWay::ListImages(None));
            }
            Effect::CheckBlobs(blobs) => {
                self.process
                    .under_way
                    .push(UnderWay::CheckBlobs(blobs, None));
            }
            Effect::Unpin(names) => {
                self.oracle.unpins(&names, &self.process.plan)?;
                self.process.under_way.push(UnderWay::Unpin(names));
            }
            Effect::AskSpace => self.process.under_way.push(UnderWay::AskSpace),
            Effect::AskSandboxImage => unreachable!("no runtime is asked"),
            Effect::TakeOver(names) => self.process.under_way.push(UnderWay::TakeOver(names)),
            Effect::Tell(_) => {}
        }
        Ok(())
    }

    /// Takes the work at this place one step further.
    pub(crate) fn step(&mut self, place: usize) -> Result<(), Violation> {
        if self.process.under_way.is_empty() {
            return Ok(());
        }
        let place = place % self.process.under_way.len();
        let event = match &mut self.process.under_way[place] {
            UnderWay::ListImages(_) if self.store.is_down => Event::Images(Err("down".to_owned())),
            UnderWay::ListImages(images) => match images.take() {
                Some(images) => {
                    self.oracle.answered(&images);
                    Event::Images(Ok(images))
                }
                None => {
                    *images = Some(self.store.list());
                    return Ok(());
                }
            },
            UnderWay::CheckBlobs(..) if self.store.is_down => {
                Event::Checked(Err("down".to_owned()))
            }
            UnderWay::CheckBlobs(blobs, checked) => match checked.take() {
                Some(checked) => {
                    self.oracle.answered(&checked.0);
                    Event::Checked(Ok(checked))
                }
                None => {
                    *checked = Some((self.store.list(), self.store.faults(blobs)));
                    return Ok(());
                }
            },
            UnderWay::Unpin(names) if self.store.is_down => {
                names.clear();
                Event::Unpinned(Vec::new(), Err("down".to_owned()))
            }
            UnderWay::Unpin(names) => {
                let names = std::mem::take(names);
                for name in &names {
                    self.unpin(name)?;
                }
                Event::Unpinned(names, Ok(()))
            }
            UnderWay::AskSpace => Event::FreeSpace(self.store.free()),
            UnderWay::TakeOver(names) => {
                if !self.store.is_down {
                    self.store.take_over(names);
                }
                Event::Tick
            }
            UnderWay::Job(_) => {
                // Taken out, since it works on everything else.
                let UnderWay::Job(mut job) = self.process.under_way.swap_remove(place) else {
                    return Ok(());
                };
                match self.work(&mut job) {
                    None => {
                        self.process.under_way.push(UnderWay::Job(job));
                        return Ok(());
                    }
                    Some(end) => {
                        let path = job.entry.path.clone();
                        let is_pull = matches!(job.job, Job::Pull(_));
                        let uptime = self.uptime();
                        self.oracle
                            .stopped(&path, &end, is_pull, job.losses, uptime);
                        self.oracle.ended(&job.entry, &end, &self.directory);
                        return self.tell_end(&job.entry, end);
                    }
                }
            }
        };
        self.process.under_way.swap_remove(place);
        self.tell(event)
    }

    /// The record of a job is about the version that it has read.
    fn tell_end(&mut self, entry: &Entry, end: JobEnd) -> Result<(), Violation> {
        let is_outcome = matches!(end, JobEnd::Through(_) | JobEnd::Failed(..));
        let before = self.process.plan.ledger().serial();
        self.tell(Event::Ended(entry.path.clone(), end))?;
        let record = self.process.plan.ledger().get(&entry.path);
        let record = record.filter(|record| is_outcome && record.serial > before);
        if record.is_some_and(|record| record.outcome.error().is_none()) {
            self.oracle.recorded(&entry.path);
        }
        if record.is_some_and(|record| record.identity != Some(entry.identity)) {
            let path = entry.path.display();
            return Err(Violation::new(format!(
                "3: the record of {path} is about a version that was not read"
            )));
        }
        Ok(())
    }

    fn unpin(&mut self, name: &str) -> Result<(), Violation> {
        self.trace(|| format!("unpin  {name}"));
        if self.store.unpin(name) {
            self.oracle.unpinned(name, &self.directory)?;
        }
        Ok(())
    }

    fn work(&mut self, job: &mut JobUnderWay) -> Option<JobEnd> {
        job.step += 1;
        if self.store.is_down && job.step > 1 {
            return Some(JobEnd::StoreAway("down".to_owned()));
        }
        match job.job {
            Job::Import | Job::Verify => self.import(job),
            Job::Look => self.look(job),
            Job::Pull(_) => self.pull(job),
        }
    }

    /// Whether the path leads to the version that the job is for.
    fn is_still(&self, entry: &Entry) -> bool {
        let file = self.directory.seen(&entry.path);
        file.is_some_and(|file| file.identity == entry.identity)
    }

    fn open(&mut self, job: &mut JobUnderWay) -> Option<JobEnd> {
        let Some(file) = self.directory.seen(&job.entry.path) else {
            return Some(JobEnd::Changed);
        };
        if file.identity != job.entry.identity {
            return Some(JobEnd::Changed);
        }
        if !file.readable {
            let error = "input/output error".to_owned();
            return Some(JobEnd::Failed(FailureClass::Environment, error));
        }
        job.content = Some(file.content);
        None
    }

    /// As the importer: everything is read, then each image is placed, if the file is still the same.
    fn import(&mut self, job: &mut JobUnderWay) -> Option<JobEnd> {
        if job.step == 1 {
            return self.open(job);
        }
        let Some(Content::Archive {
            images,
            lacking,
            cut,
        }) = job.content
        else {
            return Some(JobEnd::Changed);
        };
        let end = |node: &Self, end: JobEnd| {
            let is_clean = matches!(&end, JobEnd::Through(b) if b.problems.is_empty());
            Some(match is_clean || node.is_still(&job.entry) {
                true => end,
                false => JobEnd::Changed,
            })
        };
        if cut {
            let error = "ends early".to_owned();
            return end(self, JobEnd::Failed(FailureClass::Content, error));
        }
        if job.step == 2 && !self.is_still(&job.entry) {
            return Some(JobEnd::Changed);
        }
        if job.job == Job::Verify {
            return end(self, JobEnd::Whole);
        }
        let all = images.iter().chain(lacking).collect::<Vec<_>>();
        let Some(image) = all.get(job.step - 2) else {
            return end(self, JobEnd::Through(job.brought.clone()));
        };
        let digest = image.digest();
        let is_missing = lacking.contains(image) && !self.store.blobs.contains(&digest);
        let (problem, class) = match (is_missing, self.store.is_full) {
            (true, _) => ("a blob is missing", FailureClass::MissingBlob),
            (_, true) => ("no space left", FailureClass::NoSpace { needs: SPACE }),
            _ => {
                self.store.blobs.insert(digest);
                let image = self.place(&job.entry, **image);
                job.brought.images.push(image);
                return None;
            }
        };
        job.brought.problems.push(problem.to_owned());
        job.brought.class = job.brought.class.max(class);
        None
    }

    fn place(&mut self, entry: &Entry, image: SimImage) -> ImportedImage {
        let digest = image.digest();
        for name in image.names() {
            self.trace(|| format!("put    {name}"));
            self.store.put(name.clone(), digest.clone());
            self.oracle.pinned(entry, name, &self.directory);
        }
        ImportedImage {
            names: image.names().to_vec(),
            blobs: vec![needed(&digest)],
            digest,
        }
    }

    fn look(&mut self, job: &mut JobUnderWay) -> Option<JobEnd> {
        if job.step == 1 {
            return self.open(job);
        }
        let Some(Content::List {
            names,
            bad_line,
            prose,
        }) = job.content
        else {
            return Some(JobEnd::Changed);
        };
        if prose {
            let error = "no list".to_owned();
            return Some(JobEnd::Failed(FailureClass::Content, error));
        }
        let number = job.step - 2;
        if let Some(name) = names.get(number) {
            let line = line(number, name);
            match self.store.images.get(&line.reference.to_string()).cloned() {
                Some(record) => {
                    let image = self.keep(&job.entry, &line, &record.digest);
                    job.looked.images.insert(number, image);
                }
                None => job.looked.absent.push(line),
            }
            return None;
        }
        if !self.is_still(&job.entry) {
            return Some(JobEnd::Changed);
        }
        job.looked.is_understood = !bad_line;
        if bad_line {
            job.looked.problems.insert(99, "no name".to_owned());
        }
        let looked = job.looked.clone();
        Some(match looked.absent.is_empty() {
            true => JobEnd::Through(looked.into()),
            false => JobEnd::Absent(Arc::new(looked)),
        })
    }

    fn pull(&mut self, job: &mut JobUnderWay) -> Option<JobEnd> {
        if job.abandoned {
            return Some(JobEnd::Changed);
        }
        if job.step == 1 {
            return self.open(job);
        }
        if job.looked.absent.is_empty() {
            return Some(match self.is_still(&job.entry) {
                true => JobEnd::Through(job.looked.clone().into()),
                false => JobEnd::Changed,
            });
        }
        let line = job.looked.absent.remove(0);
        let name = line.reference.to_string();
        if !self.store.images.contains_key(&name) && !self.store.registry_is_down {
            let mut known = IN_REGISTRY.into_iter();
            if let Some(image) = known.find(|image| image.tagged() == name) {
                self.store.pull(image);
            }
        }
        match self.store.images.get(&name).cloned() {
            Some(record) => {
                let image = self.keep(&job.entry, &line, &record.digest);
                job.looked.images.insert(line.number, image);
            }
            None => {
                job.looked.failed.insert(name);
                let error = "no registry".to_owned();
                job.looked.problems.insert(line.number, error);
                job.looked.class = FailureClass::Environment;
            }
        }
        None
    }

    /// Names and pins what a line names.
    fn keep(&mut self, entry: &Entry, line: &Line, digest: &Digest) -> ImportedImage {
        let tagged = line.reference.to_string();
        let repository = tagged.trim_end_matches(":1");
        let names = vec![tagged.clone(), format!("{repository}@{digest}")];
        for name in &names {
            self.trace(|| format!("put    {name}"));
            self.store.put(name.clone(), digest.clone());
            self.oracle.pinned(entry, name.clone(), &self.directory);
        }
        ImportedImage {
            names,
            digest: digest.clone(),
            blobs: vec![needed(digest)],
        }
    }

    /// Lets time pass, and tells the plan and the source when they are due.
    pub(crate) fn advance(&mut self, by: Duration) -> Result<(), Violation> {
        let end = self.time + by;
        for _ in 0..10_000 {
            let uptime = self.uptime();
            let due = [
                self.process.plan.next_due(self.now()),
                self.process.source.next_due(&self.directory),
            ];
            let due = due.into_iter().flatten().min();
            let Some(due) = due
                .map(|due| self.process.started + due)
                .filter(|due| *due <= end)
            else {
                self.wall += end - self.time;
                self.time = end;
                return Ok(());
            };
            let due = due.max(self.time);
            self.wall += due - self.time;
            self.time = due;
            self.process.source.tick(&self.directory, self.uptime());
            self.tell(Event::Tick)?;
            let is_stuck = self.uptime() == uptime
                && self
                    .process
                    .plan
                    .next_due(self.now())
                    .is_some_and(|due| due <= uptime);
            if is_stuck {
                return Err(Violation::new("the plan is due again at once"));
            }
        }
        Err(Violation::new("the plan is due without end"))
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

fn line(number: usize, name: &str) -> Line {
    thread_local! {
        static PARSED: std::cell::RefCell<BTreeMap<String, Reference>> = std::cell::RefCell::default();
    }
    let reference = PARSED.with_borrow_mut(|parsed| {
        let parse = || Reference::parse(&format!("{name}:1")).expect("a name");
        parsed.entry(name.to_owned()).or_insert_with(parse).clone()
    });
    Line { number, reference }
}

/// One line of a trace.
fn brief(value: &impl std::fmt::Debug) -> String {
    let mut text = format!("{value:?}");
    text.truncate(
        text.char_indices()
            .nth(300)
            .map_or(text.len(), |(end, _)| end),
    );
    text
}
