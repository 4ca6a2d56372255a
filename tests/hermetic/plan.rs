//! The plan's rules, one by one: an event goes in, effects come out.

mod baked;
mod copied;
mod retries;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use stowd::digest::Digest;
use stowd::entry::{Entry, Identity, Kind};
use stowd::happened::Happened;
use stowd::image_list::Line;
use stowd::image_store::{Descriptor, Image, Labels, StoreState};
use stowd::ledger::{FailureClass, Fingerprint, ImportedImage, Keeps, Ledger, NamesOfLater};
use stowd::naming::{Names, Reference};
use stowd::needed_blob::{BlobFault, NeededBlob};
use stowd::pin::{BEFORE_INSTANCES, DEFAULT_PIN, OWNER_LABEL, PinOwner, RUNTIME_PIN};
use stowd::plan::{Effect, EntryResult, Event, Job, JobEnd, Looked, Now, Plan, Rules};
use stowd::platform::Wanted;
use stowd::source_event::{DirectoryId, Listed, Listing, SourceEvent, Unreadable};
use stowd::unpack::UnpackWhen;

const SETTLE: Duration = Duration::from_secs(2);

/// A plan, and the time.
pub(crate) struct Stage {
    pub(crate) plan: Plan,
    pub(crate) now: Now,
    /// What was told.
    pub(crate) told: Vec<String>,
    /// The names that the last job was to leave to later entries.
    later: NamesOfLater,
}

pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn rules() -> Rules {
    Rules {
        root: "/i".into(),
        owner: PinOwner::default(),
        fingerprint: Fingerprint::of(&Wanted::All, &[], "n"),
        parallel: 2,
        settle: SETTLE,
        unpin_removed: true,
        scrub: Duration::ZERO,
        ready_timeout: seconds(300),
        extra_registries: Vec::new(),
        unpack: UnpackWhen::Never,
        seed: 1,
    }
}

pub(crate) fn path(name: &str) -> PathBuf {
    Path::new("/i").join(name)
}

/// The `version`-th version of an entry.
pub(crate) fn entry(name: &str, version: u64) -> Entry {
    Entry {
        path: path(name),
        kind: match name.ends_with(".txt") {
            true => Kind::List,
            false => Kind::Archive,
        },
        identity: Identity {
            device: 1,
            inode: 1,
            size: 7,
            mtime: 0,
            ctime: version.into(),
        },
    }
}

fn root(file_system: u64) -> (PathBuf, DirectoryId) {
    let id = DirectoryId {
        file_system,
        inode: 1,
    };
    ("/i".into(), id)
}

/// A directory in the images directory.
fn directory(name: &str, file_system: u64) -> (PathBuf, DirectoryId) {
    let id = DirectoryId {
        file_system,
        inode: 9,
    };
    (path(name), id)
}

/// A listing of whole entries, each in its first version.
fn listing(names: &[&str]) -> Listing {
    let entries = names.iter().map(|name| Listed {
        entry: entry(name, 1),
        whole: true,
    });
    Listing {
        entries: entries.collect(),
        directories: [root(1)].into(),
        ..Listing::default()
    }
}

pub(crate) fn listed(names: &[&str]) -> Event {
    Event::Source(SourceEvent::Listed(listing(names)))
}

pub(crate) fn image(name: &str) -> ImportedImage {
    let digest = Digest::of(name.as_bytes());
    ImportedImage {
        names: vec![
            format!("r.example/{name}:1"),
            format!("r.example/{name}@{digest}"),
        ],
        digest,
        blobs: Vec::new(),
    }
}

pub(crate) fn brought(names: &[&str]) -> JobEnd {
    through(names.iter().map(|name| image(name)).collect())
}

pub(crate) fn through(images: Vec<ImportedImage>) -> JobEnd {
    JobEnd::Through(EntryResult {
        images,
        problems: Vec::new(),
        class: FailureClass::Content,
        keeps: Keeps::All,
        not_before: Duration::ZERO,
        sample: None,
    })
}

pub(crate) fn failed(class: FailureClass) -> JobEnd {
    JobEnd::Failed(class, "broken".to_owned())
}

/// A store with these images, pinned by stowd.
pub(crate) fn store(names: &[&str]) -> Event {
    Event::Images(Ok(stored(names)))
}

fn stored(names: &[&str]) -> Vec<Image> {
    let images = names.iter().flat_map(|name| {
        let image = image(name);
        let digest = image.digest;
        image.names.into_iter().map(move |name| Image {
            name,
            target: Descriptor {
                media_type: String::new(),
                digest: digest.clone(),
                size: 1,
            },
            labels: [DEFAULT_PIN, RUNTIME_PIN]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into_iter()
                .collect::<Labels>(),
        })
    });
    images.collect()
}

pub(crate) fn absent(names: &[&str]) -> JobEnd {
    let lines = names.iter().enumerate().map(|(number, name)| Line {
        number,
        reference: Reference::parse(&format!("r.example/{name}:1")).unwrap(),
    });
    JobEnd::Absent(Arc::new(Looked {
        absent: lines.collect(),
        is_understood: true,
        ..Looked::default()
    }))
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self::with(Ledger::default())
    }

    fn with(ledger: Ledger) -> Self {
        Self::by(rules(), ledger)
    }

    /// A plan with these rules and what a run before has recorded.
    pub(crate) fn by(rules: Rules, ledger: Ledger) -> Self {
        Self {
            plan: Plan::new(rules, ledger),
            now: Now {
                uptime: Duration::ZERO,
                wall: SystemTime::UNIX_EPOCH + seconds(1_800_000_000),
            },
            told: Vec::new(),
            later: NamesOfLater::new(),
        }
    }

    /// A plan that has imported each of these archives, `a.tar` with the image `a`.
    pub(crate) fn loaded(names: &[&str]) -> Self {
        let mut stage = Self::new();
        stage.on(listed(names));
        stage.on(store(&[]));
        for name in names {
            let (image, _) = name.split_once('.').unwrap();
            stage.ends(name, brought(&[image]));
        }
        assert!(stage.plan.is_loaded());
        stage
    }

    /// What is to be done now, in a few words each.
    pub(crate) fn on(&mut self, event: Event) -> Vec<String> {
        let effects = self.plan.on(event, self.now);
        let mut words = Vec::new();
        for effect in effects {
            match effect {
                Effect::Begin(entry, job, brings) => {
                    self.later = brings.later;
                    let job = match job {
                        Job::Import => "import",
                        Job::Verify => "verify",
                        Job::Compare(_) => "compare",
                        Job::Look => "look at",
                        Job::Pull(_) => "pull",
                    };
                    words.push(format!("{job} {}", name(&entry.path)));
                }
                Effect::Abandon(path) => words.push(format!("abandon {}", name(&path))),
                Effect::Rescan => words.push("rescan".to_owned()),
                Effect::LookAgain(path) => words.push(format!("look again at {}", name(&path))),
                Effect::ListImages => words.push("list images".to_owned()),
                Effect::AskSpace => words.push("ask for space".to_owned()),
                Effect::AskSandboxImage => words.push("ask for the sandbox image".to_owned()),
                Effect::CheckBlobs(blobs) => words.push(format!("check {} blobs", blobs.len())),
                Effect::FindUnrecorded(_) => words.push("find unrecorded images".to_owned()),
                Effect::Scrub(step) => words.push(format!("read {} blobs", step.blobs.len())),
                Effect::Unpin(names) => words.push(format!("unpin {}", names[0])),
                Effect::TakeOver(names) => words.push(format!("take over {}", names.join(", "))),
                Effect::PutNames(images) => {
                    let names = images.iter().map(|image| image.name.as_str());
                    words.push(format!("put {}", names.collect::<Vec<_>>().join(", ")));
                }
                Effect::ReadBaked => words.push("read the baked set".to_owned()),
                Effect::Unbake(path) => words.push(format!("unbake {}", name(&path))),
                Effect::ListUnpacked => words.push("list snapshots".to_owned()),
                Effect::Unpack(_, name) => words.push(format!("unpack {name}")),
                Effect::Tell(happened) => self.told.push(happened.to_string()),
            }
        }
        words
    }

    pub(crate) fn source(&mut self, event: SourceEvent) -> Vec<String> {
        self.on(Event::Source(event))
    }

    pub(crate) fn ends(&mut self, name: &str, end: JobEnd) -> Vec<String> {
        self.on(Event::Ended(path(name), end))
    }

    pub(crate) fn pass(&mut self, time: Duration) -> Vec<String> {
        self.now.uptime += time;
        self.now.wall += time;
        self.on(Event::Tick)
    }

    /// Passes to when the plan is due next, if it is.
    pub(crate) fn pass_to_due(&mut self) -> Option<Vec<String>> {
        let due = self.plan.next_due(self.now)?;
        Some(self.pass(due.saturating_sub(self.now.uptime)))
    }

    pub(crate) fn told(&self, beginning: &str) -> usize {
        let told = self.told.iter();
        told.filter(|line| line.starts_with(beginning)).count()
    }
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

pub(crate) const NOTHING: [&str; 0] = [];

#[test]
fn nothing_is_begun_or_ready_before_the_store_has_told_its_images() {
    let mut stage = Stage::new();
    assert_eq!(stage.on(Event::Tick), NOTHING);
    assert!(!stage.plan.is_loaded());
    assert_eq!(stage.on(listed(&["a.tar"])), ["list images"]);
    assert!(!stage.plan.is_loaded());
    assert_eq!(stage.on(store(&[])), ["import a.tar"]);
    assert!(!stage.plan.is_loaded());
    stage.ends("a.tar", brought(&["a"]));
    assert!(stage.plan.is_loaded());
    assert_eq!(stage.told("imported /i/a.tar: r.example/a:1"), 1);
}

/// An archive with the image `x` and its one blob was imported by a run before this.
fn with_blob() -> (Stage, NeededBlob) {
    let digest = Digest::of(b"blob");
    let blob = NeededBlob { digest, size: 4 };
    let mut before = Stage::new();
    before.on(listed(&["a.tar"]));
    before.on(store(&[]));
    before.ends("a.tar", through_with(&blob));
    let json = before.plan.ledger().snapshot().to_json(Path::new("/i"));
    let (ledger, dropped) = Ledger::from_json(&json, Path::new("/i"));
    assert_eq!(dropped, None);
    (Stage::with(ledger), blob)
}

fn through_with(blob: &NeededBlob) -> JobEnd {
    let JobEnd::Through(mut result) = brought(&["x"]) else {
        unreachable!()
    };
    result.images[0].blobs = vec![blob.clone()];
    JobEnd::Through(result)
}

/// The store with the image `x`, and what is wrong with its blob.
fn checked(blob: &NeededBlob, fault: Option<BlobFault>) -> Event {
    let Event::Images(Ok(images)) = store(&["x"]) else {
        unreachable!()
    };
    let faults = fault.map(|fault| (blob.digest.clone(), fault));
    Event::Checked(Ok((images, faults.into_iter().collect())))
}

#[test]
fn an_unchanged_entry_is_skipped_only_when_its_blobs_are_whole() {
    let (mut stage, blob) = with_blob();
    assert_eq!(stage.on(listed(&["a.tar"])), ["check 1 blobs"]);
    assert!(!stage.plan.is_loaded());
    assert_eq!(stage.on(checked(&blob, None)), NOTHING);
    assert!(stage.plan.is_loaded());
    assert_eq!(stage.told("skipped "), 1);

    for fault in [
        BlobFault::NoRecord,
        BlobFault::RecordLength(3),
        BlobFault::NoFile,
        BlobFault::FileLength(0),
    ] {
        let (mut stage, blob) = with_blob();
        stage.on(listed(&["a.tar"]));
        assert_eq!(stage.on(checked(&blob, Some(fault))), ["import a.tar"]);
        assert!(!stage.plan.is_loaded(), "{fault:?}");
        let told = stage.told("bringing back what is damaged of /i/a.tar: r.example/x:1: blob ");
        assert_eq!((told, stage.told("bringing back what is missing")), (1, 0));
        stage.ends("a.tar", through_with(&blob));
        assert!(stage.plan.is_loaded());
    }
}

#[test]
fn a_store_that_does_not_answer_is_asked_for_the_blobs_again() {
    let (mut stage, blob) = with_blob();
    stage.on(listed(&["a.tar"]));
    assert_eq!(stage.on(Event::Checked(Err("away".to_owned()))), NOTHING);
    assert_eq!(stage.pass_to_due().unwrap(), ["check 1 blobs"]);
    stage.on(checked(&blob, None));
    assert!(stage.plan.is_loaded());
}

#[test]
fn blobs_are_looked_at_once_a_minute_and_damage_after_ready_is_brought_back() {
    let (mut stage, blob) = with_blob();
    stage.on(listed(&["a.tar"]));
    stage.on(checked(&blob, None));
    assert_eq!(stage.pass(seconds(2)), ["list images"], "for the pins");
    assert_eq!(stage.on(store(&["x"])), NOTHING);
    stage.pass(seconds(57));
    assert_eq!(stage.on(listed(&["a.tar"])), ["list images"]);
    assert_eq!(stage.on(store(&["x"])), NOTHING);
    stage.pass(seconds(1));
    assert_eq!(stage.on(listed(&["a.tar"])), ["check 1 blobs"]);
    let damaged = checked(&blob, Some(BlobFault::NoFile));
    assert_eq!(stage.on(damaged), ["import a.tar"]);
}

/// Within the minute as well: it may be another store.
#[test]
fn a_store_that_returns_has_its_blobs_looked_at() {
    let (mut stage, blob) = with_blob();
    stage.on(listed(&["a.tar"]));
    stage.on(checked(&blob, None));
    let away = StoreState {
        away: Some("no answer".to_owned()),
        ..StoreState::default()
    };
    assert_eq!(stage.on(Event::Store(away)), NOTHING);
    let returned = StoreState {
        returns: 1,
        ..StoreState::default()
    };
    assert_eq!(stage.on(Event::Store(returned)), ["check 1 blobs"]);
}

#[test]
fn a_store_that_does_not_answer_is_asked_again_and_holds_ready() {
    let mut stage = Stage::new();
    stage.on(listed(&[]));
    assert_eq!(stage.on(Event::Images(Err("away".to_owned()))), NOTHING);
    assert!(!stage.plan.is_loaded());
    assert_eq!(stage.pass_to_due().unwrap(), ["list images"]);
    stage.on(store(&[]));
    assert!(stage.plan.is_loaded());
}

#[test]
fn archives_begin_in_name_order_as_slots_come_free() {
    let mut stage = Stage::new();
    stage.on(listed(&["c.tar", "b-10.tar", "a.tar", "b-9.tar"]));
    assert_eq!(stage.on(store(&[])), ["import a.tar", "import b-9.tar"]);
    let b = stage.ends("b-9.tar", brought(&["b"]));
    assert_eq!(b, ["import b-10.tar"]);
    let a = stage.ends("a.tar", brought(&["a"]));
    assert_eq!(a, ["import c.tar"]);
}

#[test]
fn an_entry_that_settles_holds_ready_and_passes_others_first() {
    let mut stage = Stage::new();
    let mut found = listing(&["a.tar", "b.tar"]);
    found.entries[0].whole = false;
    stage.source(SourceEvent::Listed(found));
    assert_eq!(
        stage.on(store(&[])),
        ["look again at a.tar", "import b.tar"]
    );
    stage.ends("b.tar", brought(&["b"]));
    assert!(!stage.plan.is_loaded());
    let whole = SourceEvent::Settled(entry("a.tar", 1));
    assert_eq!(stage.source(whole), ["import a.tar"]);
}

#[test]
fn a_file_that_is_written_for_too_long_holds_nothing_and_is_imported_when_it_is_whole() {
    let mut stage = Stage::new();
    let mut found = listing(&["a.tar"]);
    found.entries[0].whole = false;
    stage.source(SourceEvent::Listed(found));
    stage.on(store(&[]));
    stage.source(SourceEvent::StillWritten(entry("a.tar", 1)));
    assert!(stage.plan.is_loaded());
    assert_eq!(stage.told("failed /i/a.tar: is still being written"), 1);
    let growing = SourceEvent::Settling(entry("a.tar", 2));
    assert_eq!(stage.source(growing), NOTHING);
    assert_eq!(stage.plan.open(), 0);
    let whole = SourceEvent::Settled(entry("a.tar", 2));
    assert_eq!(stage.source(whole), ["import a.tar"]);
}

/// A version that is still written has been read by no job: it takes nothing from the versions before.
#[test]
fn a_file_that_is_still_written_goes_on_holding_what_each_version_brought() {
    let mut stage = Stage::loaded(&["a.tar"]);
    stage.source(SourceEvent::Settled(entry("a.tar", 2)));
    let JobEnd::Through(mut brought) = brought(&["b"]) else {
        unreachable!()
    };
    brought.problems.push("a blob is missing".to_owned());
    stage.ends("a.tar", JobEnd::Through(brought));
    stage.source(SourceEvent::Settling(entry("a.tar", 3)));
    stage.source(SourceEvent::StillWritten(entry("a.tar", 3)));
    let record = stage.plan.ledger().get(&path("a.tar")).unwrap();
    let held = record.images().cloned().collect::<Vec<_>>();
    assert_eq!(held, [image("b"), image("a")]);
    assert_eq!(record.identity, Some(entry("a.tar", 2).identity));
}

/// `a.tar`, not whole, and nothing else.
fn unfinished_listing() -> Listing {
    let mut found = listing(&["a.tar"]);
    found.entries[0].whole = false;
    found
}

#[test]
fn a_listing_that_finds_a_file_whole_counts_while_the_store_is_asked() {
    let mut stage = Stage::new();
    stage.source(SourceEvent::Listed(unfinished_listing()));
    // It replaces the event that the file has settled.
    stage.on(listed(&["a.tar"]));
    assert_eq!(stage.on(store(&[])), ["import a.tar"]);
    assert_eq!(stage.pass(seconds(1)), ["list images"]);
}

#[test]
fn a_file_that_is_still_written_after_it_changed_under_a_job_holds_nothing() {
    let mut stage = Stage::new();
    stage.on(listed(&["a.tar"]));
    stage.on(store(&[]));
    let end = stage.ends("a.tar", JobEnd::Changed);
    assert_eq!(end, ["look again at a.tar"]);
    assert!(!stage.plan.is_loaded());
    stage.source(SourceEvent::StillWritten(entry("a.tar", 2)));
    assert!(stage.plan.is_loaded());
}

#[test]
fn what_was_said_of_a_newer_version_during_a_job_is_asked_for_again() {
    for (event, words) in [
        (
            SourceEvent::StillWritten(entry("a.tar", 2)),
            "still written",
        ),
        (
            SourceEvent::Unreadable(Unreadable {
                path: path("a.tar"),
                error: "cannot be read".to_owned(),
            }),
            "not readable",
        ),
    ] {
        let mut stage = Stage::new();
        stage.on(listed(&["a.tar"]));
        stage.on(store(&[]));
        let growing = SourceEvent::Settling(entry("a.tar", 2));
        assert_eq!(stage.source(growing), ["abandon a.tar"], "{words}");
        assert_eq!(stage.source(event.clone()), NOTHING, "{words}");
        let end = stage.ends("a.tar", JobEnd::Changed);
        assert_eq!(end, ["look again at a.tar"], "{words}");
        assert!(!stage.plan.is_loaded(), "{words}");
        stage.source(event);
        assert!(stage.plan.is_loaded(), "{words}");
    }
}

#[test]
fn an_answer_says_nothing_of_an_entry_that_was_imported_after_the_question() {
    let mut stage = Stage::new();
    stage.on(listed(&["a.tar"]));
    stage.on(store(&[]));
    // The question of this listing is answered last.
    stage.source(SourceEvent::Listed(Listing::default()));
    stage.ends("a.tar", brought(&["a"]));
    stage.on(listed(&["a.tar"]));
    assert_eq!(stage.on(store(&[])), NOTHING);
    assert_eq!(stage.pass(seconds(1)), ["list images"]);
    assert_eq!(stage.on(store(&["a"])), NOTHING);
    assert!(stage.plan.is_loaded());
}

#[test]
fn a_file_that_is_still_written_when_its_directory_comes_back_is_not_tried() {
    let mut stage = Stage::new();
    stage.source(SourceEvent::Listed(unfinished_listing()));
    stage.on(store(&[]));
    stage.source(SourceEvent::StillWritten(entry("a.tar", 1)));
    stage.source(SourceEvent::Listed(Listing::default()));
    stage.source(SourceEvent::Listed(unfinished_listing()));
    assert_eq!(stage.pass(seconds(1)), ["list images"]);
    stage.on(store(&[]));
    assert_eq!(stage.pass(seconds(60)), NOTHING);
    let whole = SourceEvent::Settled(entry("a.tar", 1));
    assert_eq!(stage.source(whole), ["import a.tar"]);
}

/// The directory was away, and the file was opened and closed without a change.
#[test]
fn a_failed_file_that_was_only_touched_while_it_was_out_of_sight_waits_for_its_next_try() {
    let touched_while_away = |stage: &mut Stage| {
        let words = stage.source(SourceEvent::Listed(Listing::default()));
        assert_eq!(stage.answered(words, &[]), NOTHING);
        let mut words = stage.source(SourceEvent::Listed(unfinished_listing()));
        words.extend(stage.pass(seconds(1)));
        assert_eq!(stage.answered(words, &[]), ["look again at a.tar"]);
        assert_eq!(stage.plan.ledger().summary().failed, 0, "it settles");
    };
    let whole = || SourceEvent::Settled(entry("a.tar", 1));
    let mut stage = Stage::new();
    stage.on(listed(&["a.tar"]));
    stage.on(store(&[]));
    stage.ends("a.tar", failed(FailureClass::Content));
    touched_while_away(&mut stage);
    assert_eq!(stage.source(whole()), NOTHING);
    assert_eq!(stage.plan.ledger().summary().failed, 1);
    assert_eq!(stage.plan.open(), 0);
    // At a start, and when an operator asks, it is due at once.
    let mut later = stage.restarted();
    touched_while_away(&mut later);
    assert_eq!(later.source(whole()), ["verify a.tar"]);
    touched_while_away(&mut stage);
    stage.on(Event::Reloaded(rules()));
    assert_eq!(stage.source(whole()), ["verify a.tar"]);
}

#[test]
fn an_unchanged_entry_is_skipped_and_what_is_missing_is_brought_back() {
    let stage = Stage::loaded(&["a.tar", "b.tar"]);
    let json = stage.plan.ledger().snapshot().to_json(Path::new("/i"));
    let (ledger, dropped) = Ledger::from_json(&json, Path::new("/i"));
    assert_eq!(dropped, None);
    let mut stage = Stage::with(ledger);
    stage.on(listed(&["a.tar", "b.tar"]));
    assert_eq!(stage.on(store(&["a"])), ["import b.tar"]);
    assert_eq!(stage.told("skipped /i/a.tar: unchanged"), 1);
    assert_eq!(stage.told("bringing back what is missing of /i/b.tar"), 1);
}

#[test]
fn the_last_in_name_order_gets_a_name_back_and_the_first_does_not() {
    let mut stage = Stage::new();
    let other = |name: &str| {
        let mut image = image(name);
        image.digest = Digest::of(b"another image");
        through(vec![image])
    };
    stage.on(listed(&["a.tar", "b.tar"]));
    stage.on(store(&[]));
    stage.ends("b.tar", brought(&["x"]));
    // The first has ended last, and taken the name.
    assert_eq!(stage.ends("a.tar", other("x")), ["list images"]);
    assert!(!stage.plan.is_loaded(), "the name is not where it is to be");
    let Event::Images(Ok(mut images)) = store(&["x"]) else {
        unreachable!()
    };
    for image in &mut images {
        image.target.digest = Digest::of(b"another image");
    }
    let taken = Event::Images(Ok(images));
    assert_eq!(stage.on(taken), ["import b.tar"]);
    assert_eq!(stage.ends("b.tar", brought(&["x"])), ["list images"]);
    assert_eq!(stage.on(store(&["x"])), NOTHING);
    assert!(stage.plan.is_loaded());
}

/// Nor is it taken and given back: an archive may have gigabytes to decompress for that.
#[test]
fn an_archive_leaves_the_names_of_later_entries_alone() {
    let mut stage = Stage::loaded(&["a.tar", "b.tar"]);
    for (name, later) in [
        (
            "a.tar",
            vec![("r.example/b:1".to_owned(), [image("b").digest].into())],
        ),
        ("b.tar", vec![]),
    ] {
        let begun = stage.source(SourceEvent::Settled(entry(name, 2)));
        assert_eq!(begun, [format!("import {name}")]);
        assert_eq!(Vec::from_iter(stage.later.clone()), later, "{name}");
    }
}

#[test]
fn names_that_entries_of_the_start_share_are_right_at_ready_whatever_comes_later() {
    let mut stage = Stage::new();
    stage.on(listed(&["a.tar", "b.tar"]));
    stage.on(store(&[]));
    let ended = stage.ends("b.tar", brought_x(false, None));
    assert_eq!(ended, NOTHING);
    stage.source(SourceEvent::Settled(entry("c.tar", 1)));
    // The first has ended last, and taken the name. The one that has come is imported still.
    assert_eq!(stage.ends("a.tar", brought_x(true, None)), ["list images"]);
    assert!(!stage.plan.is_loaded());
    assert_eq!(stage.on(Event::Images(Ok(other_x()))), ["import b.tar"]);
    stage.ends("b.tar", brought_x(false, None));
    stage.on(store(&["x"]));
    assert!(stage.plan.is_loaded());
}

#[test]
fn a_failure_holds_ready_no_longer_and_its_class_says_when_it_is_tried_again() {
    for (class, again) in [
        (FailureClass::Content, Some(1)),
        (FailureClass::Environment, None),
        (FailureClass::MissingBlob, Some(0)),
    ] {
        let mut stage = Stage::new();
        stage.on(listed(&["a.tar"]));
        stage.on(store(&[]));
        stage.ends("a.tar", failed(class));
        assert!(stage.plan.is_loaded(), "{class:?}");
        let mut tries = 0;
        for _ in 0..40 {
            let Some(effects) = stage.pass_to_due() else {
                break;
            };
            if effects == ["list images"] {
                stage.on(store(&[]));
            }
            if effects == ["import a.tar"] || effects == ["verify a.tar"] {
                tries += 1;
                let words = stage.ends("a.tar", failed(class));
                assert_eq!(stage.answered(words, &[]), NOTHING, "{class:?}");
            }
        }
        match again {
            Some(again) => assert_eq!(tries, again, "{class:?}"),
            None => assert!(tries > 10, "{class:?}: {tries}"),
        }
    }
}

#[test]
fn a_missing_blob_is_tried_when_another_entry_has_brought_something_new() {
    let mut stage = Stage::new();
    stage.on(listed(&["a.tar", "b.tar"]));
    stage.on(store(&[]));
    stage.ends("a.tar", failed(FailureClass::MissingBlob));
    let effects = stage.ends("b.tar", brought(&["b"]));
    assert_eq!(effects, ["import a.tar"]);
    assert_eq!(
        stage.ends("a.tar", failed(FailureClass::MissingBlob)),
        NOTHING
    );
}

#[test]
fn a_reload_tries_what_has_failed() {
    let mut stage = Stage::new();
    stage.on(listed(&["a.tar"]));
    stage.on(store(&[]));
    stage.ends("a.tar", failed(FailureClass::Content));
    while let Some(effects) = stage.pass_to_due() {
        if effects == ["verify a.tar"] {
            stage.ends("a.tar", failed(FailureClass::Content));
        } else if effects == ["list images"] {
            stage.on(store(&[]));
        }
    }
    let words = stage.on(Event::Reloaded(rules()));
    assert_eq!(words, ["rescan", "import a.tar"]);
}

#[test]
fn a_file_that_changes_while_it_is_read_is_read_again_and_its_result_is_not_recorded() {
    let mut stage = Stage::new();
    stage.on(listed(&["a.tar"]));
    stage.on(store(&[]));
    assert_eq!(
        stage.ends("a.tar", JobEnd::Changed),
        ["look again at a.tar"]
    );
    assert!(stage.plan.ledger().get(&path("a.tar")).is_none());
    assert!(!stage.plan.is_loaded());
    stage.source(SourceEvent::Settling(entry("a.tar", 2)));
    let whole = SourceEvent::Settled(entry("a.tar", 2));
    assert_eq!(stage.source(whole), ["import a.tar"]);
}

#[test]
fn a_newer_version_waits_for_the_end_of_the_job_and_is_imported_then() {
    let mut stage = Stage::new();
    stage.on(listed(&["a.tar"]));
    stage.on(store(&[]));
    let whole = SourceEvent::Settled(entry("a.tar", 2));
    assert_eq!(stage.source(whole), ["abandon a.tar"]);
    assert_eq!(stage.ends("a.tar", JobEnd::Changed), ["import a.tar"]);
}

#[test]
fn a_store_that_is_away_is_left_alone_for_a_while_and_told_once() {
    let mut stage = Stage::new();
    stage.on(listed(&["a.tar", "b.tar"]));
    stage.on(store(&[]));
    for name in ["a.tar", "b.tar"] {
        assert_eq!(
            stage.ends(name, JobEnd::StoreAway("gone".to_owned())),
            NOTHING
        );
    }
    assert_eq!(stage.told("containerd is away"), 1);
    assert_eq!(stage.plan.open(), 2);
    let effects = stage.pass_to_due().unwrap();
    assert_eq!(effects, ["import a.tar", "import b.tar"]);
}

#[test]
fn a_list_is_looked_at_beside_archives_and_pulled_after_them() {
    let mut stage = Stage::new();
    stage.on(listed(&["a.tar", "b.txt"]));
    assert_eq!(stage.on(store(&[])), ["import a.tar", "look at b.txt"]);
    assert_eq!(stage.ends("b.txt", absent(&["x"])), NOTHING);
    assert_eq!(stage.ends("a.tar", brought(&["a"])), ["pull b.txt"]);
    assert!(!stage.plan.is_loaded());
    stage.ends("b.txt", brought(&["x"]));
    assert!(stage.plan.is_loaded());
}

#[test]
fn lists_hold_ready_for_their_time_and_archives_for_theirs() {
    let mut stage = Stage::new();
    stage.on(listed(&["a.tar", "b.txt"]));
    stage.on(store(&[]));
    stage.ends("b.txt", absent(&["x"]));
    stage.pass(seconds(1000));
    assert!(!stage.plan.is_loaded(), "an archive is not finished");
    stage.ends("a.tar", brought(&["a"]));
    let signs = stage.plan.unmetered_steps();
    stage.pass(seconds(299));
    assert!(!stage.plan.is_loaded());
    assert!(stage.plan.unmetered_steps() > signs);
    stage.pass(seconds(1));
    assert!(stage.plan.is_loaded());
    assert_eq!(stage.told("not waiting any longer for lists: /i/b.txt"), 1);
}

#[test]
fn what_was_removed_is_unpinned_when_nothing_is_in_work() {
    let mut stage = Stage::loaded(&["a.tar", "b.tar"]);
    stage.source(SourceEvent::Removed(path("a.tar")));
    assert_eq!(stage.told("gone: /i/a.tar"), 1);
    let whole = SourceEvent::Settled(entry("b.tar", 2));
    assert_eq!(stage.source(whole), ["import b.tar"]);
    assert_eq!(stage.pass(SETTLE), NOTHING, "an import pins");
    let effects = stage.ends("b.tar", brought(&["b"]));
    assert_eq!(effects, ["list images"]);
    // Nothing is begun until the pins are off.
    let effects = stage.source(SourceEvent::Settled(entry("c.tar", 1)));
    assert_eq!(effects, NOTHING);
    stage.on(store(&["a", "b"]));
    stage.ends("c.tar", brought(&["c"]));
    let mut unpinned = Vec::new();
    while let Some(effects) = stage.pass_to_due() {
        if effects == ["list images"] {
            unpinned.extend(stage.on(store(&["a", "b", "c"])));
        }
    }
    assert_eq!(unpinned, ["unpin r.example/a:1"]);
    assert_eq!(
        stage.source(SourceEvent::Settled(entry("d.tar", 1))),
        NOTHING
    );
    let names = image("a").names;
    assert_eq!(stage.on(Event::Unpinned(names, Ok(()))), ["import d.tar"]);
    assert_eq!(stage.told("unpinned r.example/a:1"), 1);
}

/// The label of the owner says so for these images, in place of stowd's.
fn owned_by(owner: &str, names: &[&str]) -> Event {
    let mut images = stored(names);
    for image in &mut images {
        let labels = &mut image.labels;
        labels.insert(OWNER_LABEL.to_owned(), owner.to_owned());
    }
    Event::Images(Ok(images))
}

#[test]
fn pins_of_another_instance_are_left_alone_and_those_from_before_are_taken_over() {
    for (owner, taken) in [("edge", false), (BEFORE_INSTANCES, true)] {
        let mut stage = Stage::loaded(&["c.tar"]);
        assert_eq!(stage.pass(SETTLE), ["list images"]);
        let (Event::Images(Ok(mut images)), Event::Images(Ok(others))) =
            (store(&["c"]), owned_by(owner, &["b"]))
        else {
            unreachable!()
        };
        images.extend(others);
        let effects = stage.on(Event::Images(Ok(images)));
        let names = image("b").names;
        let expected = match taken {
            true => vec![
                format!("take over {}", names.join(", ")),
                format!("unpin {}", names[0]),
            ],
            false => vec![],
        };
        assert_eq!(effects, expected, "{owner}");
    }
    let mut stage = Stage::loaded(&["a.tar"]);
    stage.pass(SETTLE);
    let names = image("a").names.join(", ");
    let effects = stage.on(owned_by(BEFORE_INSTANCES, &["a"]));
    assert_eq!(effects, [format!("take over {names}")]);
    stage.on(listed(&["a.tar"]));
    assert_eq!(stage.on(owned_by("edge", &["a"])), NOTHING, "it is pinned");
}

/// Each would bring its own image back whenever the other one has: the pin says whose the name is.
#[test]
fn a_name_that_another_instance_has_pinned_for_another_image_is_left_to_it() {
    let mut stage = Stage::new();
    stage.on(listed(&["a.tar", "b.tar"]));
    stage.on(store(&[]));
    stage.ends("a.tar", brought(&["a"]));
    stage.ends("b.tar", brought_x(false, None));
    let of_both = |owner: &str| {
        let (mut images, mut x) = (stored(&["a"]), other_x());
        for image in &mut x {
            image
                .labels
                .insert(OWNER_LABEL.to_owned(), owner.to_owned());
        }
        images.extend(x);
        Event::Images(Ok(images))
    };
    for _ in 0..3 {
        stage.on(listed(&["a.tar", "b.tar"]));
        stage.pass(seconds(60));
        assert_eq!(stage.on(of_both("edge")), NOTHING);
    }
    let warning = "left to instance edge, which has pinned other images under these names of /i/b.tar: \
                   r.example/x:1";
    assert_eq!(stage.told(warning), 1);
    // It has unpinned them, or they are its own now: they are brought back.
    for (store, what) in [(of_both("default"), "own"), (store(&["a"]), "gone")] {
        stage.on(listed(&["a.tar", "b.tar"]));
        stage.pass(seconds(60));
        assert_eq!(stage.on(store), ["import b.tar"], "{what}");
        stage.ends("b.tar", brought_x(false, None));
    }
    stage.on(listed(&["a.tar", "b.tar"]));
    stage.pass(seconds(60));
    assert_eq!(stage.on(of_both("edge")), NOTHING);
    assert_eq!(stage.told(warning), 2, "it is news again");
}

#[test]
fn a_list_that_is_pulled_keeps_what_it_has_pinned_and_may_pin() {
    let mut stage = Stage::new();
    stage.on(listed(&["b.txt"]));
    stage.on(store(&[]));
    let effects = stage.ends("b.txt", absent(&["x"]));
    assert_eq!(effects, ["pull b.txt"]);
    let mut questions = 0;
    for _ in 0..20 {
        let Some(effects) = stage.pass_to_due() else {
            break;
        };
        if effects == ["list images"] {
            questions += 1;
            let unpinned = stage.on(store(&["x", "y"]));
            assert_eq!(unpinned, ["unpin r.example/y:1"]);
            stage.on(Event::Unpinned(image("y").names, Ok(())));
        }
    }
    assert!(questions > 0 && stage.plan.is_loaded());
}

/// Docker Hub has two hosts, and a directory for what has none.
#[test]
fn a_list_that_is_pulled_keeps_the_names_in_extra_registries_however_these_are_written() {
    for registry in ["mirror.example", "docker.io/", "index.docker.io/m"] {
        let mut stage = Stage::new();
        let extra_registries = vec![registry.to_owned()];
        let rules = Rules {
            extra_registries: extra_registries.clone(),
            ..rules()
        };
        stage.on(Event::Reloaded(rules));
        stage.on(listed(&["b.txt"]));
        stage.on(store(&[]));
        stage.ends("b.txt", absent(&["x"]));
        let called = Reference::parse("r.example/x:1").unwrap();
        let digest = image("x").digest;
        let (names, _) = Names::of(&[called], Some(&digest), &extra_registries);
        assert_eq!(names.extra.len(), 2, "{registry}");
        let Event::Images(Ok(pinned)) = store(&["x"]) else {
            unreachable!()
        };
        let pinned = names.iter().map(|name| Image {
            name: name.to_string(),
            ..pinned[0].clone()
        });
        let pinned = pinned.collect::<Vec<_>>();
        let mut asked = 0;
        for _ in 0..20 {
            let Some(effects) = stage.pass_to_due() else {
                break;
            };
            if effects == ["list images"] {
                asked += 1;
                assert_eq!(stage.on(Event::Images(Ok(pinned.clone()))), NOTHING);
            }
        }
        assert!(asked > 0, "the pins were checked");
    }
}

#[test]
fn what_is_out_of_sight_stays_pinned_is_told_once_and_comes_back() {
    let missing = || Event::Source(SourceEvent::Listed(Listing::default()));
    let replaced = || {
        Event::Source(SourceEvent::Listed(Listing {
            directories: [root(2)].into(),
            ..Listing::default()
        }))
    };
    let unreadable = || {
        Event::Source(SourceEvent::Listed(Listing {
            unreadable: vec![Unreadable {
                path: "/i".into(),
                error: "cannot be listed: Permission denied".to_owned(),
            }],
            ..Listing::default()
        }))
    };
    for away in [&missing as &dyn Fn() -> Event, &replaced, &unreadable] {
        let mut stage = Stage::loaded(&["a.tar"]);
        for _ in 0..2 {
            stage.on(away());
            stage.on(store(&["a"]));
            while let Some(effects) = stage.pass_to_due() {
                if effects == ["list images"] {
                    assert_eq!(stage.on(store(&["a"])), NOTHING);
                }
            }
        }
        assert_eq!(stage.told("out of sight: 1 entry"), 1, "{:?}", stage.told);
        assert_eq!(stage.plan.out_of_sight(), 1);
        stage.on(listed(&["a.tar"]));
        assert_eq!(stage.on(store(&["a"])), NOTHING);
        assert_eq!(stage.told("in sight again"), 1);
        assert_eq!(stage.plan.out_of_sight(), 0);
        // And a file that is not there any more, in the same directory, was removed.
        stage.on(listed(&[]));
        assert_eq!(stage.told("gone: /i/a.tar"), 1);
    }
}

#[test]
fn a_mount_that_comes_late_after_a_start_unpins_nothing() {
    let stage = Stage::loaded(&["a.tar"]);
    let json = stage.plan.ledger().snapshot().to_json(Path::new("/i"));
    let (ledger, _) = Ledger::from_json(&json, Path::new("/i"));
    let mut stage = Stage::with(ledger);
    let empty = Listing {
        directories: [root(2)].into(),
        ..Listing::default()
    };
    stage.source(SourceEvent::Listed(empty));
    stage.on(store(&["a"]));
    assert!(stage.plan.is_loaded());
    while let Some(effects) = stage.pass_to_due() {
        if effects == ["list images"] {
            assert_eq!(stage.on(store(&["a"])), NOTHING);
        }
    }
    stage.on(listed(&["a.tar"]));
    assert_eq!(stage.pass(seconds(1)), ["list images"]);
    assert_eq!(stage.on(store(&["a"])), NOTHING);
    assert_eq!(stage.told("skipped /i/a.tar"), 1);
}

/// An older stowd knew it by the number of its device, which another one may have now.
#[test]
fn a_file_system_with_another_number_is_known_by_a_file_that_is_what_it_was() {
    let device = entry("a.tar", 1).identity.device;
    let at = |file_system, versions: &[(&str, u64)]| {
        let entries = versions.iter().map(|(name, version)| Listed {
            entry: entry(name, *version),
            whole: true,
        });
        SourceEvent::Listed(Listing {
            entries: entries.collect(),
            directories: [root(file_system)].into(),
            ..Listing::default()
        })
    };
    let both: &[_] = &[("a.tar", 1), ("b.tar", 1)];
    let (is_away, is_here) = (Listing::default(), 1 << 40);
    for (was, there, left) in [
        (device, both[..1].to_vec(), 0),
        (device, vec![("a.tar", 2)], 1),
        (device, Vec::new(), 2),
        // A link led to it.
        (device + 1, both[..1].to_vec(), 1),
    ] {
        for is_late in [false, true] {
            let mut before = Stage::loaded(&["a.tar", "b.tar"]);
            before.source(at(was, both));
            let json = before.plan.ledger().snapshot().to_json(Path::new("/i"));
            let (ledger, _) = Ledger::from_json(&json, Path::new("/i"));
            let mut stage = Stage::with(ledger);
            if is_late {
                stage.source(SourceEvent::Listed(is_away.clone()));
            }
            stage.source(at(is_here, &there));
            assert_eq!(stage.plan.out_of_sight(), left, "{was} {there:?} {is_late}");
            let gone = usize::from(left == 0);
            assert_eq!(stage.told("gone: /i/b.tar"), gone, "{was} {there:?}");
        }
    }
}

#[test]
fn what_is_ignored_is_mentioned_once_and_forgotten_when_it_has_gone() {
    let mut stage = Stage::loaded(&[]);
    let with = |ignored: &[&str]| {
        let mut listing = listing(&[]);
        listing.ignored = ignored.iter().map(|name| path(name).into()).collect();
        Event::Source(SourceEvent::Listed(listing))
    };
    for ignored in [&["README"][..], &["README"], &[], &["README"]] {
        stage.on(with(ignored));
        stage.on(store(&[]));
    }
    assert_eq!(
        stage.told("ignored: not an archive and not a list: /i/README"),
        2
    );
    stage.source(SourceEvent::Removed(path("README")));
    stage.source(SourceEvent::Ignored(path("README").into()));
    assert_eq!(stage.told("ignored: "), 3);
}

#[test]
fn an_entry_that_cannot_be_looked_at_has_failed_and_says_so_once() {
    let mut stage = Stage::loaded(&["a.tar"]);
    let unreadable = |error: &str| {
        SourceEvent::Unreadable(Unreadable {
            path: path("a.tar"),
            error: error.to_owned(),
        })
    };
    for error in [
        "cannot be read: denied",
        "cannot be read: denied",
        "cannot be read: i/o",
    ] {
        stage.source(unreadable(error));
    }
    assert_eq!(stage.told("failed /i/a.tar: cannot be read"), 2);
    assert_eq!(stage.plan.ledger().summary().failed, 1);
    let kept = stage.plan.ledger().get(&path("a.tar")).unwrap();
    let kept = kept.images().cloned().collect::<Vec<_>>();
    assert_eq!(kept, [image("a")]);
}

#[test]
fn a_file_that_changes_at_each_reading_holds_ready_for_two_minutes_and_no_longer() {
    let mut stage = Stage::new();
    stage.on(listed(&["a.tar"]));
    stage.on(store(&[]));
    let mut version = 1;
    while !stage.plan.is_loaded() {
        assert!(stage.now.uptime < seconds(200), "it is not waited for");
        version += 1;
        stage.now.uptime += seconds(5);
        // The change is heard of while the job runs, or only after it.
        if version % 2 == 0 {
            stage.source(SourceEvent::Settling(entry("a.tar", version)));
        }
        stage.ends("a.tar", JobEnd::Changed);
        if !stage.plan.is_loaded() {
            stage.source(SourceEvent::Settled(entry("a.tar", version)));
        }
    }
    assert!(stage.now.uptime > seconds(100));
    assert_eq!(stage.told("failed /i/a.tar: has changed each time"), 1);
    // From now on it is read when it is due, and not whenever it settles.
    let mut readings = 0;
    let begun = stage.now.uptime;
    while stage.now.uptime < begun + seconds(3600) {
        version += 1;
        let words = stage.source(SourceEvent::Settling(entry("a.tar", version)));
        assert_eq!(words, NOTHING);
        stage.now.uptime += SETTLE;
        stage.now.wall += SETTLE;
        let words = stage.source(SourceEvent::Settled(entry("a.tar", version)));
        if words == ["import a.tar"] {
            readings += 1;
            stage.ends("a.tar", JobEnd::Changed);
        }
    }
    assert!((8..=16).contains(&readings), "{readings} in an hour");
    // Nothing is unpinned meanwhile, and that is told once.
    assert_eq!(stage.told("unpinning nothing"), 1);
    let mut words = Vec::new();
    while words != ["import a.tar"] {
        words = stage.pass_to_due().unwrap();
    }
    stage.ends("a.tar", brought(&["a"]));
    assert_eq!(stage.told("imported /i/a.tar"), 1);
}

/// A broken archive of which the image `a` is whole.
fn half() -> JobEnd {
    match brought(&["a"]) {
        JobEnd::Through(brought) => JobEnd::Through(EntryResult {
            problems: vec!["no name".to_owned()],
            ..brought
        }),
        other => other,
    }
}

fn returned() -> Event {
    Event::Store(StoreState {
        returns: 1,
        ..StoreState::default()
    })
}

#[test]
fn ready_waits_for_what_a_broken_archive_has_lost_while_others_are_imported() {
    let mut stage = Stage::new();
    stage.on(listed(&["a.tar", "b.tar"]));
    stage.on(store(&[]));
    stage.ends("a.tar", half());
    while !stage
        .pass_to_due()
        .unwrap()
        .contains(&"verify a.tar".to_owned())
    {}
    stage.ends("a.tar", half());
    // Another store, with nothing in it.
    stage.on(returned());
    let begun = stage.on(store(&[]));
    assert!(begun.contains(&"import a.tar".to_owned()), "{begun:?}");
    stage.ends("b.tar", brought(&["b"]));
    stage.on(store(&["b"]));
    assert!(!stage.plan.is_loaded());
    stage.ends("a.tar", half());
    stage.on(store(&["a", "b"]));
    assert!(stage.plan.is_loaded());
}

#[test]
fn ready_waits_again_for_what_was_being_brought_back_when_the_store_returned() {
    let mut stage = Stage::loaded(&["a.tar"]);
    let losses = StoreState {
        losses: 1,
        ..StoreState::default()
    };
    stage.on(Event::Store(losses));
    stage.pass(seconds(1));
    assert_eq!(stage.on(store(&[])), ["import a.tar"]);
    stage.on(returned());
    stage.on(store(&[]));
    assert!(!stage.plan.is_loaded());
    stage.ends("a.tar", brought(&["a"]));
    stage.on(store(&["a"]));
    assert!(stage.plan.is_loaded());
}

#[test]
fn ready_waits_for_what_a_broken_archive_has_lost() {
    let mut stage = Stage::new();
    stage.on(listed(&["a.tar"]));
    stage.on(store(&[]));
    stage.ends("a.tar", half());
    while let Some(effects) = stage.pass_to_due() {
        match effects.first().map(String::as_str) {
            Some("import a.tar") => _ = stage.ends("a.tar", half()),
            Some("list images") => _ = stage.on(store(&["a"])),
            _ => {}
        }
    }
    let json = stage.plan.ledger().snapshot().to_json(Path::new("/i"));
    let (ledger, _) = Ledger::from_json(&json, Path::new("/i"));
    let mut stage = Stage::with(ledger);
    stage.on(listed(&["a.tar"]));
    assert_eq!(stage.on(store(&[])), ["import a.tar"]);
    assert!(!stage.plan.is_loaded());
    stage.ends("a.tar", half());
    assert!(stage.plan.is_loaded());
}

#[test]
fn what_is_told_while_a_job_runs_is_asked_for_again_when_it_has_ended() {
    let mut stage = Stage::new();
    stage.on(listed(&["a.tar"]));
    stage.on(store(&[]));
    stage.source(SourceEvent::Settling(entry("a.tar", 2)));
    stage.source(SourceEvent::StillWritten(entry("a.tar", 2)));
    assert_eq!(
        stage.ends("a.tar", JobEnd::Changed),
        ["look again at a.tar"]
    );
    stage.source(SourceEvent::StillWritten(entry("a.tar", 2)));
    assert!(stage.plan.is_loaded());
}

#[test]
fn other_rules_have_a_list_looked_at_again_and_a_failure_tried_again() {
    let other = || Rules {
        fingerprint: Fingerprint::of(&Wanted::All, &["mirror.example".to_owned()], "n"),
        ..rules()
    };
    let mut stage = Stage::new();
    stage.on(listed(&["a.tar", "b.txt"]));
    stage.on(store(&[]));
    stage.ends("b.txt", absent(&["x"]));
    let words = stage.on(Event::Reloaded(other()));
    assert_eq!(words, ["rescan", "look at b.txt"]);
    let again = stage.ends("a.tar", failed(FailureClass::MissingBlob));
    assert_eq!(again, ["import a.tar"], "it was begun with other rules");
}

#[test]
fn a_failure_of_the_surroundings_is_no_first_reading_of_a_broken_file() {
    let mut stage = Stage::new();
    stage.on(listed(&["a.tar"]));
    stage.on(store(&[]));
    let mut ends = [FailureClass::Content, FailureClass::Content].into_iter();
    stage.ends("a.tar", failed(FailureClass::Environment));
    let mut tries = 1;
    while let Some(effects) = stage.pass_to_due() {
        match effects.first().map(String::as_str) {
            Some("import a.tar" | "verify a.tar") => {
                tries += 1;
                let end = failed(ends.next().expect("no more tries"));
                let words = stage.ends("a.tar", end);
                assert_eq!(stage.answered(words, &[]), NOTHING);
            }
            Some("list images") => _ = stage.on(store(&[])),
            _ => {}
        }
    }
    assert_eq!(tries, 3);
}

#[test]
fn a_name_that_cannot_be_had_is_not_brought_back_for_ever() {
    let mut stage = Stage::loaded(&["a.tar"]);
    let mut imports = 0;
    for _ in 0..100 {
        let Some(effects) = stage.pass_to_due() else {
            break;
        };
        if effects == ["list images"] && stage.on(store(&[])) == ["import a.tar"] {
            imports += 1;
            stage.ends("a.tar", brought(&["a"]));
        }
    }
    assert_eq!(imports, 5);
    assert_eq!(stage.told("given up /i/a.tar: "), 1);
    stage.pass(seconds(600));
    stage.on(listed(&["a.tar"]));
    assert_eq!(stage.on(store(&[])), ["import a.tar"]);
}

#[test]
fn what_goes_out_of_sight_while_it_is_imported_is_told_when_that_has_ended() {
    let mut stage = Stage::new();
    stage.on(listed(&["a.tar"]));
    stage.on(store(&[]));
    stage.on(Event::Source(SourceEvent::Listed(Listing::default())));
    stage.ends("a.tar", brought(&["a"]));
    assert_eq!(stage.told("out of sight: 1 entry"), 1);
    stage.source(SourceEvent::Settled(entry("a.tar", 2)));
    assert_eq!(stage.told("in sight again"), 1);
}

#[test]
fn a_look_that_fails_lets_nothing_go() {
    let mut stage = Stage::loaded(&["a.tar"]);
    stage.source(SourceEvent::Settled(entry("a.tar", 2)));
    let JobEnd::Through(half) = brought(&["c"]) else {
        unreachable!()
    };
    let problems = vec!["a blob is missing".to_owned()];
    stage.ends("a.tar", JobEnd::Through(EntryResult { problems, ..half }));
    stage.source(SourceEvent::Unreadable(Unreadable {
        path: path("a.tar"),
        error: "cannot be read: Stale file handle".to_owned(),
    }));
    let record = stage.plan.ledger().get(&path("a.tar")).unwrap();
    let held = record.images().cloned().collect::<BTreeSet<_>>();
    assert_eq!(held, [image("a"), image("c")].into());
    // The source tells when it can be read.
    while let Some(words) = stage.pass_to_due() {
        assert_eq!(stage.answered(words, &["a", "c"]), NOTHING);
    }
}

impl Stage {
    /// What a run after this one begins with.
    pub(crate) fn restarted(&self) -> Self {
        let json = self.plan.ledger().snapshot().to_json(Path::new("/i"));
        Self::with(Ledger::from_json(&json, Path::new("/i")).0)
    }

    /// What is unpinned of a store that has these images, by these effects and within some minutes.
    fn unpinned(&mut self, words: Vec<String>, has: &[&str]) -> Vec<String> {
        let mut all = self.answered(words, has);
        for _ in 0..5 {
            let words = self.pass(seconds(60));
            all.extend(self.answered(words, has));
        }
        all.retain(|word| word.starts_with("unpin "));
        all
    }

    /// These effects, with each question for the images answered.
    pub(crate) fn answered(&mut self, mut words: Vec<String>, has: &[&str]) -> Vec<String> {
        while words.contains(&"list images".to_owned()) {
            words.retain(|word| word != "list images");
            words.extend(self.on(store(has)));
        }
        words
    }
}

/// The image `x`, or another one that has its names.
fn brought_x(is_other: bool, problem: Option<FailureClass>) -> JobEnd {
    let mut x = image("x");
    if is_other {
        x.digest = Digest::of(b"another image");
    }
    JobEnd::Through(EntryResult {
        images: vec![x],
        problems: problem.iter().map(|_| "a problem".to_owned()).collect(),
        class: problem.unwrap_or_default(),
        keeps: Keeps::All,
        not_before: Duration::ZERO,
        sample: None,
    })
}

/// A store with the other image under the names of `x`.
fn other_x() -> Vec<Image> {
    let mut images = stored(&["x"]);
    for image in &mut images {
        image.target.digest = Digest::of(b"another image");
    }
    images
}

fn unreadable(name: &str) -> Unreadable {
    Unreadable {
        path: path(name),
        error: "cannot be read: EIO".to_owned(),
    }
}

#[test]
fn files_that_come_later_do_not_hold_ready() {
    let mut stage = Stage::new();
    stage.on(listed(&["a.tar"]));
    stage.on(store(&[]));
    stage.source(SourceEvent::Settled(entry("later.tar", 1)));
    stage.source(SourceEvent::Settling(entry("later.txt", 1)));
    assert!(!stage.plan.is_loaded());
    stage.ends("a.tar", brought(&["a"]));
    assert!(stage.plan.is_loaded());
    assert_eq!(stage.plan.open(), 2);
}

#[test]
fn what_a_new_store_lacks_is_news_when_it_is_brought_back() {
    let mut stage = Stage::loaded(&["a.tar", "b.tar"]).restarted();
    stage.on(listed(&["a.tar", "b.tar"]));
    assert_eq!(stage.on(store(&[])), ["import a.tar", "import b.tar"]);
    stage.ends("a.tar", failed(FailureClass::MissingBlob));
    assert_eq!(stage.ends("b.tar", brought(&["b"])), ["import a.tar"]);
}

#[test]
fn ready_waits_for_what_another_entry_has_made_possible() {
    let mut stage = Stage::new();
    stage.on(listed(&["a.tar", "b.tar"]));
    stage.on(store(&[]));
    stage.ends("a.tar", failed(FailureClass::MissingBlob));
    stage.ends("b.tar", brought(&["b"]));
    assert!(!stage.plan.is_loaded());
    stage.ends("a.tar", failed(FailureClass::MissingBlob));
    assert!(stage.plan.is_loaded());
}

#[test]
fn an_entry_that_fails_gives_back_the_names_of_others_before_ready() {
    let mut stage = Stage::new();
    stage.on(listed(&["a.tar", "b.tar"]));
    stage.on(store(&[]));
    stage.ends("b.tar", brought_x(false, None));
    let taken = brought_x(true, Some(FailureClass::Environment));
    assert_eq!(stage.ends("a.tar", taken), ["list images"]);
    assert!(!stage.plan.is_loaded(), "x:1 is the image of a.tar");
}

#[test]
fn a_name_stays_with_an_entry_that_cannot_be_read() {
    let mut stage = Stage::new();
    stage.on(listed(&["a.tar", "b.tar"]));
    stage.on(store(&[]));
    stage.ends("a.tar", brought_x(true, None));
    stage.ends("b.tar", brought_x(false, None));
    assert_eq!(stage.on(store(&["x"])), NOTHING);
    stage.source(SourceEvent::Unreadable(unreadable("b.tar")));
    let mut found = listing(&["a.tar"]);
    found.unreadable.push(unreadable("b.tar"));
    stage.source(SourceEvent::Listed(found));
    assert_eq!(stage.on(store(&["x"])), NOTHING);
}

/// Its directory cannot be listed, then the file cannot be read, then its file system is gone.
#[test]
fn what_is_out_of_sight_and_cannot_be_read_is_not_removed() {
    let mut stage = Stage::new();
    let on = |file_system, inode| {
        let id = DirectoryId { file_system, inode };
        (path("usb"), id)
    };
    let mut found = listing(&["usb/a.tar"]);
    found.directories.extend([on(2, 1)]);
    stage.source(SourceEvent::Listed(found));
    stage.on(store(&[]));
    stage.ends("usb/a.tar", brought(&["a"]));
    let mut broken = listing(&[]);
    broken.unreadable.push(unreadable("usb"));
    stage.source(SourceEvent::Listed(broken));
    stage.on(store(&["a"]));
    stage.source(SourceEvent::Unreadable(unreadable("usb/a.tar")));
    let mut bare = listing(&[]);
    bare.directories.extend([on(1, 50)]);
    let words = stage.source(SourceEvent::Listed(bare));
    assert_eq!(stage.answered(words, &["a"]), NOTHING);
    let words = stage.pass(SETTLE);
    assert_eq!(stage.answered(words, &["a"]), NOTHING);
}

#[test]
fn what_comes_back_unreadable_during_the_job_of_the_old_file_is_looked_at() {
    let mut stage = Stage::new();
    stage.on(listed(&["a.tar"]));
    stage.on(store(&[]));
    stage.source(SourceEvent::Removed(path("a.tar")));
    stage.source(SourceEvent::Unreadable(unreadable("a.tar")));
    let words = stage.ends("a.tar", JobEnd::Changed);
    assert_eq!(words, ["look again at a.tar"]);
    stage.source(SourceEvent::Unreadable(unreadable("a.tar")));
    assert_eq!(stage.told("failed /i/a.tar: cannot be read"), 1);
}

#[test]
fn a_long_complaint_is_told_once() {
    let mut stage = Stage::loaded(&["a.tar"]);
    for _ in 0..10 {
        stage.source(SourceEvent::Unreadable(Unreadable {
            error: "x".repeat(2100),
            ..unreadable("a.tar")
        }));
    }
    assert_eq!(stage.told("failed /i/a.tar"), 1);
}

#[test]
fn a_look_with_rules_that_are_not_those_any_more_is_done_again() {
    let mut stage = Stage::new();
    stage.on(listed(&["l.txt"]));
    assert_eq!(stage.on(store(&[])), ["look at l.txt"]);
    let extra_registries = vec!["mirror".to_owned()];
    stage.on(Event::Reloaded(Rules {
        fingerprint: Fingerprint::of(&Wanted::All, &extra_registries, "n"),
        extra_registries,
        ..rules()
    }));
    assert_eq!(stage.ends("l.txt", absent(&["x"])), ["look at l.txt"]);
}

#[test]
fn each_thing_that_happened_has_one_line() {
    let hostile = PathBuf::from("/i/a\nb.tar");
    let all = [
        Happened::Gone(hostile.clone()),
        Happened::Ignored(hostile.clone().into()),
        Happened::Changed(hostile.clone()),
        Happened::Skipped(hostile.clone()),
        Happened::OutOfSight {
            first: hostile.clone(),
            entries: 2,
        },
        Happened::ListsOvertime {
            lists: vec![hostile],
            limit: seconds(60),
        },
    ];
    let lines = all.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    assert_eq!(lines.len(), all.len());
    assert!(lines.iter().all(|line| !line.contains('\n')), "{lines:?}");
}

/// A directory that is made and removed in a loop has the images directory listed as often.
#[test]
fn listings_that_do_not_end_hold_nothing_and_ask_the_store_once_a_second() {
    let mut stage = Stage::new();
    stage.on(listed(&["a.tar", "b.txt"]));
    stage.on(store(&[]));
    let (mut questions, mut words) = (0, Vec::new());
    for turn in 0..100 {
        words.extend(stage.on(listed(&["a.tar", "b.txt"])));
        words.extend(stage.pass(Duration::from_millis(20)));
        if turn == 10 {
            words.extend(stage.ends("a.tar", brought(&["a"])));
            words.extend(stage.ends("b.txt", absent(&["b"])));
        }
        if turn == 20 {
            words.extend(stage.ends("b.txt", brought(&["b"])));
            assert!(stage.plan.is_loaded());
        }
        if words.contains(&"list images".to_owned()) {
            questions += 1;
            words.extend(stage.on(store(&["a", "b", "c"])));
            words.retain(|word| word != "list images");
        }
    }
    assert!((1..=3).contains(&questions), "{questions}");
    assert!(words.contains(&"pull b.txt".to_owned()), "{words:?}");
    // Pins are checked all the same.
    for _ in 0..200 {
        words.extend(stage.on(listed(&["a.tar", "b.txt"])));
        words.extend(stage.pass(Duration::from_millis(20)));
        if words.last().is_some_and(|word| word == "list images") {
            words.extend(stage.on(store(&["a", "b", "c"])));
        }
    }
    let unpinned = words.iter().filter(|word| word.starts_with("unpin "));
    assert!(unpinned.count() > 0, "{words:?}");
}

/// The file is what it was: a moment of EIO when it is looked at says nothing about what was read.
#[test]
fn a_file_that_can_be_read_again_and_has_not_changed_is_not_read_again() {
    let mut stage = Stage::loaded(&["a.tar"]);
    for back in [
        SourceEvent::Settled(entry("a.tar", 1)),
        SourceEvent::Settling(entry("a.tar", 1)),
        SourceEvent::Listed(listing(&["a.tar"])),
    ] {
        stage.source(SourceEvent::Unreadable(unreadable("a.tar")));
        assert_eq!(stage.plan.ledger().summary().failed, 1);
        let words = stage.source(back);
        assert_eq!(stage.answered(words, &["a"]), NOTHING);
        while let Some(words) = stage.pass_to_due() {
            assert_eq!(stage.answered(words, &["a"]), NOTHING);
        }
        let summary = stage.plan.ledger().summary();
        assert_eq!((summary.entries, summary.failed, summary.images), (1, 0, 1));
        assert_eq!(stage.plan.open(), 0);
    }
    let record = stage.plan.ledger().get(&path("a.tar")).unwrap();
    assert_eq!(record.outcome.error(), None);
    // Nor after a restart that finds it unreadable.
    let mut stage = stage.restarted();
    let mut found = listing(&[]);
    found.unreadable.push(unreadable("a.tar"));
    stage.source(SourceEvent::Listed(found));
    stage.on(store(&["a"]));
    assert!(stage.plan.is_loaded());
    stage.source(SourceEvent::Settled(entry("a.tar", 1)));
    assert_eq!(stage.on(store(&["a"])), NOTHING);
    assert_eq!(stage.told("skipped /i/a.tar"), 1);
}

#[test]
fn a_broken_file_that_can_be_read_again_is_not_read_a_third_time() {
    let mut stage = Stage::new();
    stage.on(listed(&["a.tar"]));
    stage.on(store(&[]));
    stage.ends("a.tar", failed(FailureClass::Content));
    let mut words = Vec::new();
    while words != ["verify a.tar"] {
        words = stage.pass_to_due().unwrap();
        words = stage.answered(words, &[]);
    }
    stage.ends("a.tar", failed(FailureClass::Content));
    stage.source(SourceEvent::Unreadable(unreadable("a.tar")));
    let words = stage.source(SourceEvent::Settled(entry("a.tar", 1)));
    assert_eq!(stage.answered(words, &[]), NOTHING);
    while let Some(words) = stage.pass_to_due() {
        assert_eq!(stage.answered(words, &[]), NOTHING);
    }
    let record = stage.plan.ledger().get(&path("a.tar")).unwrap();
    assert_eq!(record.attempts, 2);
}

/// It may be what another archive was renamed to, whose images the node runs.
#[test]
fn nothing_is_unpinned_while_it_is_not_known_what_an_entry_brings() {
    let mut found = listing(&[]);
    found.unreadable.push(unreadable("b.tar"));
    let cases = [("failed", listing(&["b.tar"])), ("unreadable", found)];
    for (name, found) in cases {
        let mut stage = Stage::loaded(&["a.tar"]).restarted();
        stage.source(SourceEvent::Listed(found));
        let mut words = stage.on(store(&["a"]));
        for _ in 0..5 {
            if words == ["import b.tar"] {
                words = stage.ends("b.tar", failed(FailureClass::Environment));
            }
            words = stage.answered(words, &["a"]);
            assert!(!words.iter().any(|word| word.starts_with("unpin")));
            words.extend(stage.pass(seconds(60)));
        }
        assert!(stage.plan.is_loaded(), "{name}");
        assert_eq!(stage.told("gone: /i/a.tar"), 1, "{name}");
        assert_eq!(stage.told("unpinning nothing"), 1, "{name}");
        let mut words = stage.source(SourceEvent::Removed(path("b.tar")));
        words.extend(stage.ends("b.tar", failed(FailureClass::Environment)));
        words.extend(stage.pass(seconds(60)));
        assert_eq!(stage.answered(words, &["a"]), ["unpin r.example/a:1"]);
    }
}

/// A run before has imported it, and its ledger is lost. The disk fails, and then its mount is gone.
#[test]
fn what_failed_of_the_medium_before_it_went_out_of_sight_keeps_its_pins() {
    let mut stage = Stage::new();
    let mut found = listing(&["z.tar", "sub/a.tar"]);
    found.directories.extend([directory("sub", 5)]);
    stage.source(SourceEvent::Listed(found.clone()));
    stage.on(store(&["a"]));
    stage.ends("z.tar", brought(&["z"]));
    stage.ends("sub/a.tar", failed(FailureClass::Environment));
    assert!(stage.plan.is_loaded());
    let mut away = listing(&["z.tar"]);
    away.directories.extend([directory("sub", 1)]);
    for mut stage in [stage.restarted(), stage] {
        let words = stage.source(SourceEvent::Listed(away.clone()));
        assert_eq!(stage.unpinned(words, &["a", "z"]), NOTHING);
        assert_eq!(stage.plan.out_of_sight(), 1);
        assert_eq!(stage.told("unpinning nothing"), 1);
        // It is back, and brings something else.
        let mut words = stage.source(SourceEvent::Listed(found.clone()));
        words.extend(stage.pass(seconds(60)));
        assert_eq!(stage.answered(words, &["a", "z"]), ["import a.tar"]);
        let words = stage.ends("sub/a.tar", brought(&["b"]));
        let words = stage.unpinned(words, &["a", "b", "z"]);
        assert_eq!(words, ["unpin r.example/a:1"]);
    }
}

/// The ledger is lost, and the directory has files that the node runs.
#[test]
fn nothing_is_unpinned_while_a_directory_cannot_be_read() {
    let mut stage = Stage::new();
    let mut found = listing(&["z.tar"]);
    found.unreadable.push(unreadable("sub"));
    stage.source(SourceEvent::Listed(found));
    stage.on(store(&["a"]));
    let words = stage.ends("z.tar", brought(&["z"]));
    assert!(stage.plan.is_loaded());
    assert_eq!(stage.unpinned(words, &["a", "z"]), NOTHING);
    assert_eq!(stage.told("unpinning nothing"), 1);
    let mut found = listing(&["z.tar"]);
    found.directories.extend([directory("sub", 1)]);
    let words = stage.source(SourceEvent::Listed(found));
    let words = stage.unpinned(words, &["a", "z"]);
    assert_eq!(words, ["unpin r.example/a:1"]);
}

/// What it says may be pinned for entries of another images directory.
#[test]
fn nothing_is_unpinned_while_a_ledger_of_another_directory_cannot_be_read() {
    for is_read in [false, true] {
        let mut ledger = Ledger::default();
        if !is_read {
            ledger.lack_elsewhere("/s/ledger.json".into());
        }
        let mut stage = Stage::with(ledger);
        stage.on(listed(&["b.tar"]));
        stage.on(store(&["a"]));
        let words = stage.ends("b.tar", brought(&["b"]));
        let unpinned = stage.unpinned(words, &["a", "b"]);
        assert_eq!(unpinned.is_empty(), !is_read, "{unpinned:?}");
        let held = "unpinning nothing until it is known what this brings: /s/ledger.json";
        assert_eq!(stage.told(held), usize::from(!is_read));
    }
}

#[test]
fn an_error_of_the_medium_between_two_readings_of_a_broken_file_is_not_a_third_chance() {
    let mut stage = Stage::new();
    stage.on(listed(&["a.tar"]));
    let mut words = stage.on(store(&[]));
    let ends = [FailureClass::Content, FailureClass::Environment];
    let mut ends = ends.into_iter().cycle().map(failed);
    let mut tries = 0;
    for _ in 0..20 {
        if words == ["import a.tar"] || words == ["verify a.tar"] {
            tries += 1;
            words = stage.ends("a.tar", ends.next().unwrap());
        }
        words = stage.answered(words, &[]);
        words.extend(stage.pass_to_due().unwrap_or_default());
    }
    assert_eq!(tries, 3, "broken, the medium, broken");
}

/// Neither the ledger nor the images directory tells what the pins are for.
#[test]
fn without_a_ledger_nothing_is_unpinned_while_the_images_directory_is_away_or_empty() {
    let missing = Listing::default();
    let empty = listing(&[]);
    for (found, what) in [(missing, "missing"), (empty, "empty")] {
        let mut stage = Stage::new();
        stage.source(SourceEvent::Listed(found));
        stage.on(store(&["a"]));
        for _ in 0..5 {
            let words = stage.pass(seconds(60));
            assert_eq!(stage.answered(words, &["a"]), NOTHING, "{what}");
        }
        assert!(stage.plan.is_loaded(), "{what}");
        assert_eq!(stage.told("unpinning nothing"), 1, "{what}");
        // The mount is there.
        let mut words = stage.source(SourceEvent::Listed(listing(&["b.tar"])));
        words.extend(stage.pass(seconds(1)));
        assert_eq!(stage.answered(words, &["a"]), ["import b.tar"], "{what}");
        let mut words = stage.ends("b.tar", brought(&["b"]));
        words.extend(stage.pass(seconds(60)));
        let words = stage.answered(words, &["a", "b"]);
        assert_eq!(words, ["unpin r.example/a:1"], "{what}");
    }
}

#[test]
fn a_reload_that_turns_unpinning_off_counts_for_a_check_that_is_under_way() {
    let mut stage = Stage::loaded(&["a.tar"]);
    stage.source(SourceEvent::Removed(path("a.tar")));
    let mut words = Vec::new();
    while words != ["list images"] {
        words = stage.pass_to_due().unwrap();
    }
    let off = Rules {
        unpin_removed: false,
        ..rules()
    };
    stage.on(Event::Reloaded(off));
    assert_eq!(stage.on(store(&["a"])), NOTHING);
    assert_eq!(stage.pass(seconds(60)), NOTHING);
    let words = stage.on(Event::Reloaded(rules()));
    assert_eq!(
        stage.answered(words, &["a"]),
        ["rescan", "unpin r.example/a:1"]
    );
}

/// The version before brought the same: for an entry that lacks a blob it is news all the same.
#[test]
fn what_a_new_store_lacks_is_news_when_another_version_brings_it_again() {
    let mut stage = Stage::new();
    stage.on(listed(&["a.tar", "b.tar"]));
    stage.on(store(&[]));
    stage.ends("a.tar", brought(&["a"]));
    // It began before that had come.
    let words = stage.ends("b.tar", failed(FailureClass::MissingBlob));
    assert_eq!(words, ["import b.tar"]);
    stage.ends("b.tar", failed(FailureClass::MissingBlob));
    let mut found = listing(&["a.tar", "b.tar"]);
    found.entries[0].entry = entry("a.tar", 2);
    let mut words = stage.source(SourceEvent::Listed(found));
    words.extend(stage.pass(seconds(1)));
    assert_eq!(stage.answered(words, &[]), ["import a.tar"]);
    let words = stage.ends("a.tar", brought(&["a"]));
    assert!(words.contains(&"import b.tar".to_owned()), "{words:?}");
}

/// A blob was lost, and not the name: the store's images do not tell.
#[test]
fn what_another_version_of_an_entry_brings_again_is_news() {
    let mut stage = Stage::loaded(&["a.tar"]);
    stage.source(SourceEvent::Settled(entry("b.tar", 1)));
    stage.ends("b.tar", failed(FailureClass::MissingBlob));
    stage.source(SourceEvent::Settled(entry("a.tar", 2)));
    assert_eq!(stage.ends("a.tar", brought(&["a"])), ["import b.tar"]);
    let words = stage.ends("b.tar", failed(FailureClass::MissingBlob));
    assert_eq!(words, NOTHING);
}

#[test]
fn what_an_interrupted_import_has_pinned_stays_when_its_file_cannot_be_read_once_more() {
    for class in [FailureClass::Environment, FailureClass::Content] {
        let mut stage = Stage::loaded(&["a.tar"]);
        stage.on(store(&["a"]));
        stage.source(SourceEvent::Settled(entry("a.tar", 2)));
        // It has named and pinned `b` when containerd goes away.
        stage.ends("a.tar", JobEnd::StoreAway("away".to_owned()));
        assert_eq!(stage.pass(seconds(2)), ["import a.tar"]);
        stage.ends("a.tar", failed(class));
        let in_four_seconds = |stage: &mut Stage| {
            let mut all = Vec::new();
            for _ in 0..4 {
                all.extend(stage.pass(seconds(1)));
                all.extend(stage.on(store(&["a", "b"])));
            }
            all
        };
        let all = in_four_seconds(&mut stage);
        assert!(!all.iter().any(|word| word.starts_with("unpin")), "{all:?}");
        if class == FailureClass::Content {
            stage.pass(seconds(60));
            stage.ends("a.tar", failed(class));
            let all = in_four_seconds(&mut stage);
            let is_unpinned = all.contains(&"unpin r.example/b:1".to_owned());
            assert!(is_unpinned, "it was found broken twice: {all:?}");
        }
    }
}

#[test]
fn pins_are_checked_against_a_list_that_was_asked_for_after_the_last_job() {
    let mut stage = Stage::loaded(&["a.tar"]);
    for _ in 0..4 {
        stage.on(store(&["a"]));
        stage.pass(seconds(1));
    }
    stage.source(SourceEvent::Settled(entry("b.tar", 1)));
    // The store is asked for the listing; it is slow.
    let mut found = listing(&["a.tar", "b.tar"]);
    found.entries[0].whole = true;
    assert_eq!(stage.source(SourceEvent::Listed(found)), ["list images"]);
    // Meanwhile b.tar has pinned b, and is removed.
    stage.source(SourceEvent::Removed(path("b.tar")));
    stage.ends("b.tar", brought(&["b"]));
    let mut all = stage.pass(seconds(3));
    // The answer from before.
    all.extend(stage.on(store(&["a"])));
    for _ in 0..1000 {
        all.extend(stage.pass(seconds(10)));
        all.extend(stage.on(store(&["a", "b"])));
    }
    assert!(all.iter().any(|word| word.starts_with("unpin")), "{all:?}");
}

#[test]
fn each_outage_is_told() {
    let mut stage = Stage::loaded(&["a.tar"]);
    stage.on(store(&["a"]));
    for version in [2, 3] {
        stage.source(SourceEvent::Settled(entry("a.tar", version)));
        stage.ends("a.tar", JobEnd::StoreAway("away".to_owned()));
        assert_eq!(stage.pass(seconds(2)), ["import a.tar"]);
        stage.ends("a.tar", failed(FailureClass::Content));
        stage.pass(seconds(1));
        stage.on(store(&["a"]));
    }
    let told = stage
        .told
        .iter()
        .filter(|line| line.contains("away"))
        .count();
    assert_eq!(told, 2, "{:?}", stage.told);
}

/// The name is that of the removed file when the job of the other one ends, and no record says so.
#[test]
fn a_name_that_a_removed_entry_has_taken_from_a_running_job_is_given_back() {
    let mut stage = Stage::new();
    stage.on(listed(&["a.tar", "b.tar"]));
    stage.on(store(&[]));
    stage.ends("a.tar", brought_x(true, None));
    stage.source(SourceEvent::Removed(path("a.tar")));
    let words = stage.ends("b.tar", brought_x(false, None));
    assert_eq!(words, ["list images"]);
}

/// No record says which names those jobs have taken, and where an entry cannot be read the pins are not
/// checked: nothing else would have the names looked at.
#[test]
fn a_name_that_a_job_without_an_outcome_has_taken_is_given_back() {
    type Overtakes = fn(&mut Stage);
    let nothing: Overtakes = |_| {};
    let removed: Overtakes = |stage| {
        stage.source(SourceEvent::Removed(path("a.tar")));
        stage.on(store(&["x"]));
    };
    let away = JobEnd::StoreAway("away".to_owned());
    let cases: [(&str, Overtakes, JobEnd); 4] = [
        ("it has changed", nothing, JobEnd::Changed),
        ("it was removed", removed, brought_x(true, None)),
        ("it was removed, and is given up", removed, JobEnd::Changed),
        ("it was removed, and the store is away", removed, away),
    ];
    for (what, overtakes, end) in cases {
        let mut stage = Stage::new();
        let mut found = listing(&["a.tar", "b.tar"]);
        found.unreadable.push(unreadable("c.tar"));
        stage.source(SourceEvent::Listed(found));
        stage.on(store(&[]));
        stage.ends("b.tar", brought_x(false, None));
        overtakes(&mut stage);
        let mut words = stage.ends("a.tar", end);
        let mut has = other_x();
        if what == "it has changed" {
            words.extend(stage.source(SourceEvent::Settled(entry("a.tar", 2))));
            words.extend(stage.ends("a.tar", brought(&["a"])));
            has.extend(stored(&["a"]));
        }
        assert!(
            words.contains(&"list images".to_owned()),
            "{what}: {words:?}"
        );
        let mut words = stage.on(Event::Images(Ok(has)));
        words.extend(stage.pass(SETTLE));
        assert_eq!(words, ["import b.tar"], "{what}");
    }
}

/// What comes back is news once for each time that it is brought back, and that has a limit.
#[test]
fn entries_that_lack_a_blob_do_not_wake_each_other_without_end() {
    let mut stage = Stage::new();
    let names = ["a.tar", "b.tar", "c.tar"];
    let half = || {
        let JobEnd::Through(half) = brought(&["x"]) else {
            unreachable!()
        };
        JobEnd::Through(EntryResult {
            problems: vec!["a blob is missing".to_owned()],
            class: FailureClass::MissingBlob,
            ..half
        })
    };
    stage.on(listed(&names));
    let mut words = stage.on(store(&[]));
    let mut imports = 0;
    // A client deletes the image as soon as it is there.
    while let Some(word) = words.pop() {
        match word.strip_prefix("import ") {
            Some(name) => {
                imports += 1;
                assert!(imports < 100, "without end");
                words.extend(stage.ends(name, half()));
            }
            None if word == "list images" => words.extend(stage.on(store(&[]))),
            None => {}
        }
        if words.is_empty() {
            words.extend(stage.pass_to_due().unwrap_or_default());
        }
    }
    assert!(imports > 6, "{imports}");
}

/// `a-b` and `a.tar` come between `a` and `a/x.tar`, byte by byte.
#[test]
fn a_directory_that_is_removed_takes_along_what_is_below_it_and_nothing_else() {
    let mut stage = Stage::loaded(&["a/x.tar", "a/y.tar", "a.tar", "a-b/x.tar"]);
    stage.source(SourceEvent::Removed(path("a")));
    let told = ["a/x.tar", "a/y.tar"].map(|name| format!("gone: {}", path(name).display()));
    assert_eq!(stage.told("gone"), told.len());
    for gone in told {
        assert_eq!(stage.told(&gone), 1, "{gone}");
    }
}

#[test]
fn what_is_whole_of_an_archive_is_told_beside_its_failure_once() {
    let mut stage = Stage::new();
    stage.on(listed(&["a.tar"]));
    stage.on(store(&[]));
    let half = |names: &[&str]| {
        let JobEnd::Through(whole) = brought(names) else {
            unreachable!()
        };
        let problems = vec!["bad".to_owned()];
        JobEnd::Through(EntryResult { problems, ..whole })
    };
    stage.ends("a.tar", half(&["x"]));
    assert_eq!(stage.told("imported /i/a.tar: r.example/x:1"), 1);
    assert_eq!(stage.told("failed /i/a.tar: bad"), 1);
    // The second try brings the same.
    stage.pass(Duration::from_secs(3600));
    stage.ends("a.tar", half(&["x"]));
    assert_eq!(stage.told("imported /i/a.tar"), 1);
    // Nothing of this one is whole.
    stage.source(SourceEvent::Settled(entry("b.tar", 1)));
    stage.ends("b.tar", half(&[]));
    assert_eq!(stage.told("imported /i/b.tar"), 0);
}

#[test]
fn a_text_that_is_no_list_is_one_line_and_no_failure() {
    let mut stage = Stage::new();
    stage.on(listed(&["README.txt"]));
    stage.on(store(&[]));
    let prose = JobEnd::NoList("3 of its 3 lines name no image".to_owned());
    stage.ends("README.txt", prose);
    assert!(stage.plan.is_loaded());
    assert_eq!(stage.plan.ledger().summary().failed, 0);
    let line = "ignored: no list of images: /i/README.txt: 3 of its 3 lines name no image";
    assert_eq!(stage.told(line), 1);
    assert_eq!(stage.told("imported "), 0);
    // It is not read again before it changes.
    let same = SourceEvent::Settled(entry("README.txt", 1));
    assert_eq!(stage.source(same), NOTHING);
    let changed = SourceEvent::Settled(entry("README.txt", 2));
    assert_eq!(stage.source(changed), ["look at README.txt"]);
}

/// A proxy may have answered for the server that has the list.
#[test]
fn a_list_that_is_none_any_more_has_failed_and_keeps_what_it_has_brought() {
    let mut stage = Stage::new();
    stage.on(listed(&["core.txt"]));
    stage.on(store(&["a"]));
    stage.ends("core.txt", brought(&["a"]));
    stage.source(SourceEvent::Settled(entry("core.txt", 2)));
    stage.ends(
        "core.txt",
        JobEnd::NoList("40 of its 41 lines name no image".to_owned()),
    );
    let words = stage.pass(seconds(60));
    assert_eq!(stage.unpinned(words, &["a"]), NOTHING);
    assert_eq!(stage.told("failed /i/core.txt: 40 of its 41 lines"), 1);
}
