//! What jobs do, one step at a time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use stowd::digest::Digest;
use stowd::entry::Entry;
use stowd::image_list::Line;
use stowd::ledger::{FailureClass, ImportedImage, NamesOfLater};
use stowd::naming::Reference;
use stowd::plan::{Brings, EntryResult, Job, JobEnd, Looked};

use crate::config::Config;
use crate::content::{Content, IN_REGISTRY, names};
use crate::history::touched;
use crate::holds::nothing;
use crate::node::Node;
use crate::store::{SPACE, needed};

const MISSING: &str = "a blob is missing";

#[derive(Debug)]
pub(crate) struct JobUnderWay {
    pub(crate) entry: Entry,
    pub(crate) job: Job,
    /// With which configuration it began, with what the store had lost, and of which store.
    pub(crate) config: Config,
    pub(crate) losses: u64,
    generation: usize,
    pub(crate) abandoned: bool,
    content: Option<Content>,
    is_misread: bool,
    step: usize,
    /// Names that are put next, each in a step of its own.
    puts: VecDeque<(String, Digest)>,
    /// Names that later entries bring, as the plan says, and those of them that were left to them.
    later: NamesOfLater,
    pub(crate) left: BTreeSet<String>,
    /// Names that the store had pinned for later entries when it began, with their images.
    held: BTreeMap<String, (Digest, PathBuf)>,
    brought: EntryResult,
    looked: Looked,
}

impl JobUnderWay {
    pub(crate) fn new(entry: Entry, job: Job, brings: Brings, node: &Node) -> Self {
        let held = held_by_later(&entry.path, node);
        let looked = match &job {
            Job::Pull(looked) => Looked::clone(looked),
            _ => Looked::default(),
        };
        Self {
            entry,
            job,
            config: node.oracle.config,
            losses: node.store.losses,
            generation: node.store.generation,
            abandoned: false,
            content: None,
            is_misread: false,
            step: 0,
            puts: VecDeque::new(),
            later: brings.later,
            left: BTreeSet::new(),
            held,
            brought: nothing(),
            looked,
        }
    }
}

impl Node {
    /// Takes a job one step further, and says how it has ended if it has.
    pub(crate) fn work(&mut self, job: &mut JobUnderWay) -> Option<JobEnd> {
        // The file is opened before the store is asked for anything.
        let is_away = self.store.is_down || self.store.generation != job.generation;
        if is_away && job.step > 0 {
            return Some(JobEnd::StoreAway("down".to_owned()));
        }
        if let Some((name, digest)) = job.puts.pop_front() {
            self.put(job, name, digest);
            return None;
        }
        job.generation = self.store.generation;
        job.step += 1;
        match job.job {
            Job::Import | Job::Verify => self.import(job),
            Job::Compare(_) => self.compare(job),
            Job::Look => self.look(job),
            Job::Pull(_) => self.pull(job),
        }
    }

    /// What the end of a job says of its entry. A list that has brought images, and is none any more, has
    /// failed. An archive that is read once more, and lacks a blob, is whole as a file.
    pub(crate) fn meaning(&self, job: &JobUnderWay, end: &JobEnd) -> JobEnd {
        let record = self.process.plan.ledger().get(&job.entry.path);
        let has_brought = record.is_some_and(|record| record.images().next().is_some());
        match (end, &job.job) {
            (JobEnd::NoList(error), _) if has_brought => {
                JobEnd::Failed(FailureClass::Content, error.clone())
            }
            (JobEnd::Through(_), Job::Verify) => JobEnd::Whole,
            (end, _) => end.clone(),
        }
    }

    /// Whether the path leads to the version that the job is for.
    fn is_still(&self, entry: &Entry) -> bool {
        let file = self.directory.seen(&entry.path);
        file.is_some_and(|file| file.identity == entry.identity)
    }

    fn open(&mut self, job: &mut JobUnderWay) -> Option<JobEnd> {
        let Some(file) = self.directory.seen(&job.entry.path).cloned() else {
            return Some(JobEnd::Changed);
        };
        if file.identity != job.entry.identity {
            return Some(JobEnd::Changed);
        }
        if !file.can_be_read() {
            let error = "input/output error".to_owned();
            return Some(JobEnd::Failed(FailureClass::Environment, error));
        }
        job.content = Some(file.content);
        if let Some(file) = self.directory.files.get_mut(&job.entry.path) {
            job.is_misread = std::mem::take(&mut file.is_misread);
        }
        if file.changes {
            self.directory
                .change(&job.entry.path, file.content, file.open);
            touched(self, &job.entry.path);
        }
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
        if cut || job.is_misread {
            let error = "ends early".to_owned();
            return end(self, JobEnd::Failed(FailureClass::Content, error));
        }
        if job.step == 2 && !self.is_still(&job.entry) {
            return Some(JobEnd::Changed);
        }
        let mut all = images.iter().chain(lacking);
        let all_of_it = all.clone().count();
        if all_of_it > 0 && !all.clone().any(|image| job.config.wants(*image)) {
            let error = "none of the wanted platforms".to_owned();
            return end(self, JobEnd::Failed(FailureClass::Content, error));
        }
        if job.job == Job::Verify {
            let mut lacking = lacking.iter().filter(|image| job.config.wants(**image));
            let blobs = &self.store.now.blobs;
            if lacking.any(|image| !blobs.contains(&image.digest())) {
                job.brought.problems.push(MISSING.to_owned());
                job.brought.class = FailureClass::MissingBlob;
                return end(self, JobEnd::Through(job.brought.clone()));
            }
            return end(self, JobEnd::Through(nothing()));
        }
        let Some(image) = all.nth(job.step - 2) else {
            let is_whole = job.brought.problems.is_empty() && self.is_still(&job.entry);
            job.brought.sample = job.content.filter(|_| is_whole).map(sample);
            return end(self, JobEnd::Through(job.brought.clone()));
        };
        if !job.config.wants(*image) {
            return None;
        }
        let digest = image.digest();
        let is_missing = lacking.contains(image) && !self.store.now.blobs.contains(&digest);
        let (problem, class) = match (is_missing, self.store.is_full) {
            (true, _) => (MISSING, FailureClass::MissingBlob),
            (_, true) => ("no space left", FailureClass::NoSpace { needs: SPACE }),
            _ => {
                self.store.write(&digest, &mut self.process.damaged);
                self.oracle.written(&digest);
                let image = self.place(job, &image.tagged(), digest);
                job.brought.images.push(image);
                return None;
            }
        };
        job.brought.problems.push(problem.to_owned());
        job.brought.class = job.brought.class.max(class);
        None
    }

    /// Pieces of the file are read. What is read wrongly is found to be another one.
    fn compare(&mut self, job: &mut JobUnderWay) -> Option<JobEnd> {
        if job.step == 1 {
            return self.open(job);
        }
        if !self.is_still(&job.entry) {
            return Some(JobEnd::Changed);
        }
        let Job::Compare(expected) = &job.job else {
            return Some(JobEnd::Changed);
        };
        let found = job.content.filter(|_| !job.is_misread).map(sample);
        let is_copy = found.as_ref() == Some(expected);
        if !is_copy {
            self.oracle.is_no_copy(&job.entry);
        }
        Some(JobEnd::Compared(is_copy))
    }

    /// Names and pins an image.
    fn place(&mut self, job: &mut JobUnderWay, tagged: &str, digest: Digest) -> ImportedImage {
        let names = names(tagged, &digest, job.config.extra_registry());
        for name in &names {
            let there = self.store.now.images.get(name);
            let targets = job.later.get(name).zip(there);
            match targets
                .is_some_and(|(targets, record)| record.pinned && targets.contains(&record.digest))
            {
                true => _ = job.left.insert(name.clone()),
                false => job.puts.push_back((name.clone(), digest.clone())),
            }
        }
        if !self.is_fine {
            while let Some((name, digest)) = job.puts.pop_front() {
                self.put(job, name, digest);
            }
        }
        ImportedImage {
            names,
            blobs: vec![needed(&digest)],
            digest,
        }
    }

    fn put(&mut self, job: &JobUnderWay, name: String, digest: Digest) {
        self.trace(|| format!("put    {name}"));
        let is_lost = self.store.is_lost_since(&name, job.losses);
        let held = job.held.get(&name).filter(|_| job.job == Job::Import);
        if let Some((_, from)) = held.filter(|(held, _)| *held != digest && !is_lost) {
            self.oracle.takes(&name, from);
        }
        self.store.put(name.clone(), digest, self.config.instance);
        let version = (job.entry.identity, job.config.shape());
        self.oracle
            .pinned(&job.entry, version, name, &self.directory);
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
            return Some(JobEnd::NoList(error));
        }
        let number = job.step - 2;
        if let Some(name) = names.get(number) {
            let line = line(number, name);
            let name = line.reference.to_string();
            match self.store.whole(&name, &self.process.damaged).cloned() {
                Some(record) => {
                    let image = self.place(job, &name, record.digest);
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
        let damaged = &mut self.process.damaged;
        if self.store.whole(&name, damaged).is_none() && !self.store.registry_is_down {
            let mut known = IN_REGISTRY.into_iter();
            if let Some(image) = known.find(|image| image.tagged() == name) {
                self.store.pull(image, damaged);
                self.oracle.written(&image.digest());
            }
        }
        match self.store.whole(&name, &self.process.damaged).cloned() {
            Some(record) => {
                let image = self.place(job, &name, record.digest);
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
}

/// The names that the store has pinned for entries later in name order, with their images.
fn held_by_later(path: &Path, node: &Node) -> BTreeMap<String, (Digest, PathBuf)> {
    let records = node.process.plan.ledger().iter();
    let mut held = BTreeMap::new();
    let ledger = node.process.plan.ledger();
    for (path, record) in records.filter(|(other, _)| *other > path && ledger.has_file(other)) {
        for image in record.images() {
            let names = image.names.iter().filter(|name| {
                let there = node.store.now.images.get(*name);
                there.is_some_and(|there| there.pinned && there.digest == image.digest)
            });
            let image = (image.digest.clone(), path.to_owned());
            held.extend(names.map(|name| (name.clone(), image.clone())));
        }
    }
    held
}

fn sample(content: Content) -> Digest {
    Digest::of(format!("{content:?}").as_bytes())
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
