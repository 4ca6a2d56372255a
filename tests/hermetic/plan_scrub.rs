//! Which blobs are read again, when, in which order, and what follows from what is found.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use stowd::digest::Digest;
use stowd::image_store::{Descriptor, Image, StoreState};
use stowd::ledger::{FailureClass, ImportedImage, Ledger};
use stowd::needed_blob::{BlobFault, BlobFaults, NeededBlob};
use stowd::pin::PinOwner;
use stowd::plan::{Effect, Event, Now, Plan, Rules, ScrubStep};
use stowd::scrub::ScrubMemory;
use stowd::source_event::{Listing, SourceEvent};

use crate::plan::{entry, failed, listed, path, rules, seconds, through};

const DAY: Duration = Duration::from_secs(86_400);
const WEEK: Duration = Duration::from_secs(7 * 86_400);

/// A plan, its store, and what it wants read.
struct Node {
    plan: Plan,
    now: Now,
    images: Vec<ImportedImage>,
    /// Images that are pinned and that no record tells of.
    unrecorded: Vec<ImportedImage>,
    /// What the store says of its blobs.
    faults: BlobFaults,
    /// It does not tell of images.
    is_silent: bool,
    /// The step that is under way.
    step: Option<ScrubStep>,
    told: Vec<String>,
    begun: Vec<String>,
}

fn scrubbing() -> Rules {
    Rules {
        scrub: WEEK,
        ..rules()
    }
}

/// The blob of this text.
fn blob(text: &str) -> NeededBlob {
    NeededBlob {
        digest: Digest::of(text.as_bytes()),
        size: text.len() as u64,
    }
}

/// The image `NAME` with these blobs.
fn image(name: &str, blobs: &[&str]) -> ImportedImage {
    ImportedImage {
        names: vec![format!("r.example/{name}:1")],
        digest: Digest::of(name.as_bytes()),
        blobs: blobs.iter().map(|text| blob(text)).collect(),
    }
}

impl Node {
    fn new(ledger: Ledger, memory: ScrubMemory, rules: Rules) -> Self {
        let mut plan = Plan::new(rules, ledger);
        plan.resume_scrub(memory);
        Self {
            plan,
            now: Now {
                uptime: Duration::ZERO,
                wall: UNIX_EPOCH + seconds(1_800_000_000),
            },
            images: Vec::new(),
            unrecorded: Vec::new(),
            faults: BlobFaults::new(),
            is_silent: false,
            step: None,
            told: Vec::new(),
            begun: Vec::new(),
        }
    }

    /// One that has imported `NAME.tar` with each of these images, a day after the other.
    fn with(images: &[ImportedImage]) -> Self {
        let mut node = Self::new(Ledger::default(), ScrubMemory::default(), scrubbing());
        node.on(listed(&[]));
        node.scrubs();
        for image in images {
            node.import(image.clone());
            node.now.uptime += DAY;
            node.now.wall += DAY;
        }
        node
    }

    fn import(&mut self, image: ImportedImage) {
        let (_, name) = image.names[0].split_once('/').unwrap();
        let name = format!("{}.tar", name.trim_end_matches(":1"));
        self.on(Event::Source(SourceEvent::Settled(entry(&name, 1))));
        assert_eq!(std::mem::take(&mut self.begun), [name.as_str()]);
        self.images.push(image.clone());
        self.on(Event::Ended(path(&name), through(vec![image])));
    }

    /// The same node after a restart: what it has kept is `memory`.
    fn restarted(self, memory: ScrubMemory) -> Self {
        let node = self.begun_again(memory);
        assert!(node.plan.is_loaded());
        node
    }

    fn begun_again(self, memory: ScrubMemory) -> Self {
        let json = self.plan.ledger().snapshot().to_json(Path::new("/i"));
        let (ledger, _) = Ledger::from_json(&json, Path::new("/i"));
        let entries = ledger.iter().map(|(path, _)| path.to_owned());
        let entries = entries.collect::<Vec<_>>();
        let mut node = Self::new(ledger, memory, scrubbing());
        node.now.wall = self.now.wall;
        node.images = self.images;
        node.unrecorded = self.unrecorded;
        let names = entries
            .iter()
            .map(|path| path.file_name().unwrap().to_str().unwrap());
        node.on(listed(&names.collect::<Vec<_>>()));
        node
    }

    fn on(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            for effect in self.plan.on(event, self.now) {
                match effect {
                    Effect::ListImages => events.push(Event::Images(Ok(self.stored()))),
                    Effect::CheckBlobs(_) => {
                        events.push(Event::Checked(Ok((self.stored(), self.faults.clone()))));
                    }
                    Effect::FindUnrecorded(known) => {
                        let images = self.unrecorded.clone();
                        assert!(images.iter().all(|image| !known.contains(&image.digest)));
                        assert!(
                            self.images
                                .iter()
                                .all(|image| known.contains(&image.digest))
                        );
                        let answer = (!self.is_silent).then_some(images);
                        events.push(Event::Unrecorded(answer));
                    }
                    Effect::Scrub(step) => {
                        assert!(self.step.replace(step).is_none(), "two at once");
                    }
                    Effect::Begin(entry, ..) => {
                        let name = entry.path.file_name().unwrap().to_str().unwrap();
                        self.begun.push(name.to_owned());
                    }
                    Effect::Tell(happened) => self.told.push(happened.to_string()),
                    _ => {}
                }
            }
        }
    }

    fn stored(&self) -> Vec<Image> {
        let images = self.images.iter().map(|image| Image {
            name: image.names[0].clone(),
            target: Descriptor {
                media_type: String::new(),
                digest: image.digest.clone(),
                size: 1,
            },
            labels: PinOwner::default().labels(),
        });
        images.collect()
    }

    fn pass(&mut self, time: Duration) {
        self.now.uptime += time;
        self.now.wall += time;
        self.on(Event::Tick);
    }

    /// The step that is under way ends with these faults. Returns what it has read.
    fn scrubs_to(&mut self, faults: BlobFaults) -> Vec<NeededBlob> {
        let step = self.step.take().expect("a step");
        self.faults.extend(faults.clone());
        self.faults.retain(|_, fault| *fault == BlobFault::Bytes);
        self.on(Event::Scrubbed(Some(faults)));
        step.blobs
    }

    fn scrubs(&mut self) -> Vec<NeededBlob> {
        self.scrubs_to(BlobFaults::new())
    }

    fn told(&self, beginning: &str) -> usize {
        let told = self.told.iter();
        told.filter(|line| line.starts_with(beginning)).count()
    }

    fn last(&self) -> &str {
        self.told.last().map_or("", String::as_str)
    }
}

fn wrong(text: &str, fault: BlobFault) -> BlobFaults {
    [(blob(text).digest, fault)].into()
}

fn sorted(texts: &[&str]) -> Vec<NeededBlob> {
    let blobs = texts.iter().map(|text| blob(text));
    Vec::from_iter(blobs.collect::<BTreeSet<_>>())
}

#[test]
fn all_blobs_are_read_once_an_interval_and_nothing_wakes_it_in_between() {
    let mut node = Node::with(&[image("a", &["1", "2"]), image("b", &["2", "3"])]);
    assert_eq!(node.step, None);
    for _ in 0..3 {
        while let Some(due) = node.plan.next_due(node.now) {
            let (wait, before) = (due - node.now.uptime, node.now.uptime);
            node.pass(wait);
            assert!(
                node.step.is_some() || wait < seconds(3),
                "{before:?}: {due:?}"
            );
            if node.step.is_some() {
                break;
            }
        }
        assert_eq!(node.scrubs(), sorted(&["1", "2", "3"]));
        assert_eq!(
            node.last(),
            "scrubbed 3 blobs, 3 B, 0 damaged (images.scrub)"
        );
        assert_eq!(node.plan.next_due(node.now), Some(node.now.uptime + WEEK));
    }
}

#[test]
fn without_an_interval_nothing_is_ever_due() {
    let mut node = Node::new(Ledger::default(), ScrubMemory::default(), rules());
    node.on(listed(&[]));
    node.import(image("a", &["1"]));
    node.pass(seconds(10));
    assert_eq!(node.plan.next_due(node.now), None);
    node.pass(100 * WEEK);
    assert_eq!(node.step, None);
}

#[test]
fn a_node_that_is_restarted_every_day_is_scrubbed_too() {
    let mut node = Node::with(&[image("a", &["1"])]);
    let mut memory = ScrubMemory {
        ended: Some(node.now.wall),
        ..ScrubMemory::default()
    };
    let mut days = Vec::new();
    for day in 0..20 {
        node = node.restarted(memory.clone());
        if let Some(step) = node.step.clone() {
            days.push(day);
            memory = step.ended(&BlobFaults::new());
            node.scrubs();
        }
        node.pass(DAY);
    }
    assert_eq!(days, [7, 14]);
}

#[test]
fn a_restart_goes_on_where_it_was() {
    let texts = (0..600).map(|number| number.to_string());
    let texts = texts.collect::<Vec<_>>();
    let all = texts.iter().map(String::as_str).collect::<Vec<_>>();
    let mut node = Node::with(&[image("a", &all)]);
    node.pass(WEEK);
    let kept = node.step.clone().unwrap().ended(&BlobFaults::new());
    let mut read = node.scrubs();
    assert_eq!(read.len(), 256);
    // The second step was under way.
    let mut node = node.restarted(kept.clone());
    assert_eq!(kept.ended, Some(node.now.wall - WEEK - DAY));
    for _ in 0..2 {
        read.extend(node.scrubs());
    }
    assert_eq!(read, sorted(&all));
    assert_eq!(
        node.last(),
        "scrubbed 344 blobs, 967 B, 0 damaged (images.scrub)"
    );
    assert_eq!(node.step, None);
}

#[test]
fn a_step_has_no_more_bytes_than_can_be_read_in_some_minutes() {
    let mut large = image("a", &["1", "2", "3"]);
    for blob in &mut large.blobs {
        blob.size = 600 << 20;
    }
    let mut node = Node::with(&[large]);
    node.pass(WEEK);
    assert_eq!(node.scrubs().len(), 2);
    assert_eq!(node.scrubs().len(), 1);
}

/// The times at which three images were brought, each a day after the other.
fn unclean(node: Node, since: SystemTime) -> Node {
    node.restarted(ScrubMemory {
        suspect_since: Some(since),
        ended: Some(node_now()),
        ..ScrubMemory::default()
    })
}

fn node_now() -> SystemTime {
    UNIX_EPOCH + seconds(1_800_000_000)
}

#[test]
fn after_an_unclean_stop_what_was_brought_since_is_read_the_oldest_first() {
    let images = [
        image("c", &["1", "2"]),
        image("b", &["3", "2"]),
        image("a", &["4", "3"]),
    ];
    let mut node = unclean(Node::with(&images), node_now() + DAY);
    let then = node.step.clone().unwrap().ended(&BlobFaults::new());
    assert_eq!(then.suspect_since, None);
    assert_eq!(then.ended, Some(node_now()), "that is another reading");
    assert_eq!(node.scrubs(), [blob("3"), blob("2"), blob("4")]);
    let told = "scrubbed 3 blobs, 3 B, 0 damaged (an unclean stop)";
    assert_eq!(node.last(), told);
    assert_eq!(node.step, None);
}

#[test]
fn a_restart_reads_on_after_what_is_read_of_an_unclean_stop() {
    let texts = (0..300).map(|number| number.to_string());
    let texts = texts.collect::<Vec<_>>();
    let all = texts.iter().map(String::as_str).collect::<Vec<_>>();
    let node = unclean(
        Node::with(&[image("a", &["x"]), image("b", &all)]),
        UNIX_EPOCH,
    );
    let then = node.step.clone().unwrap().ended(&BlobFaults::new());
    // Of the second one some are read already: it begins anew.
    assert_eq!(then.suspect_since, Some(node_now() + DAY));
    let mut node = node.restarted(then);
    assert_eq!(node.scrubs()[0], blob("0"));
    assert_eq!(node.scrubs().len(), 300 - 256);
    assert_eq!(
        node.last(),
        "scrubbed 300 blobs, 790 B, 0 damaged (an unclean stop)"
    );
}

#[test]
fn nothing_is_read_before_the_initial_load_is_over() {
    let node = Node::with(&[image("a", &["1"])]);
    let json = node.plan.ledger().snapshot().to_json(Path::new("/i"));
    let (ledger, _) = Ledger::from_json(&json, Path::new("/i"));
    let memory = ScrubMemory {
        suspect_since: Some(UNIX_EPOCH),
        ..ScrubMemory::default()
    };
    let mut again = Node::new(ledger, memory, scrubbing());
    again.images = node.images;
    again.on(listed(&["a.tar", "b.tar"]));
    assert_eq!((again.step.clone(), again.plan.is_loaded()), (None, false));
    again.on(Event::Ended(path("b.tar"), failed(FailureClass::Content)));
    assert!(again.step.is_some() && again.plan.is_loaded());
}

#[test]
fn nothing_is_begun_while_a_job_runs_or_the_store_is_away() {
    let mut node = Node::with(&[image("a", &["1"])]);
    node.on(Event::Source(SourceEvent::Settled(entry("b.tar", 1))));
    node.pass(WEEK);
    assert_eq!(node.step, None, "it imports");
    let away = StoreState {
        away: Some("away".to_owned()),
        ..StoreState::default()
    };
    node.on(Event::Store(away));
    node.images.push(image("b", &["2"]));
    node.on(Event::Ended(
        path("b.tar"),
        through(vec![image("b", &["2"])]),
    ));
    assert_eq!(node.step, None, "the store is away");
    assert_eq!(
        node.plan.next_due(node.now),
        None,
        "it wakes up for nothing"
    );
    let back = StoreState {
        returns: 1,
        ..StoreState::default()
    };
    node.on(Event::Store(back));
    assert_eq!(node.scrubs().len(), 2);
}

/// Its registry may be away for days.
#[test]
fn a_list_that_is_worked_on_holds_no_scrub_up() {
    let mut node = Node::with(&[image("a", &["1"])]);
    node.on(Event::Source(SourceEvent::Settled(entry("l.txt", 1))));
    assert_eq!(node.begun, ["l.txt"]);
    node.pass(WEEK);
    assert_eq!(node.scrubs(), [blob("1")]);
}

#[test]
fn a_step_that_fails_is_done_again_after_a_minute() {
    let mut node = Node::with(&[image("a", &["1"])]);
    node.pass(WEEK);
    node.step.take().unwrap();
    node.on(Event::Scrubbed(None));
    node.pass(seconds(59));
    assert_eq!(node.step, None);
    let due = node.plan.next_due(node.now);
    assert_eq!(due, Some(node.now.uptime + seconds(1)));
    node.pass(seconds(1));
    assert_eq!(node.scrubs(), [blob("1")]);
}

#[test]
fn a_reload_that_turns_it_off_ends_it() {
    let texts = (0..300).map(|number| number.to_string());
    let texts = texts.collect::<Vec<_>>();
    let all = texts.iter().map(String::as_str).collect::<Vec<_>>();
    let mut node = Node::with(&[image("a", &all)]);
    node.pass(WEEK);
    node.on(Event::Reloaded(rules()));
    node.scrubs();
    assert_eq!(node.step, None);
    node.on(Event::Reloaded(scrubbing()));
    assert_eq!(node.scrubs().len(), 300 - 256);
}

#[test]
fn what_is_wrong_is_brought_back_by_the_entry_that_brings_it() {
    let mut node = Node::with(&[image("a", &["1"]), image("b", &["2"])]);
    node.pass(WEEK);
    node.scrubs_to(wrong("2", BlobFault::Bytes));
    let told = "scrubbed 2 blobs, 2 B, 1 damaged (images.scrub)".to_owned();
    assert!(node.told.contains(&told), "{:?}", node.told);
    assert_eq!(node.begun, ["b.tar"]);
    let digest = blob("2").digest;
    let told = format!(
        "bringing back what is damaged of /i/b.tar: r.example/b:1: blob {digest}: its bytes are not those of \
         its digest"
    );
    assert_eq!(node.last(), told);
}

#[test]
fn what_cannot_be_read_is_told_and_left() {
    let mut node = Node::with(&[image("a", &["1"])]);
    node.pass(WEEK);
    node.scrubs_to(wrong("1", BlobFault::Unreadable));
    node.pass(seconds(1));
    assert_eq!(node.begun, [""; 0]);
    let digest = blob("1").digest;
    let told =
        format!("damaged, and left as it is: r.example/a:1: blob {digest}: it cannot be read");
    assert!(node.told.contains(&told), "{:?}", node.told);
}

/// The directory of an entry is away.
fn out_of_sight(node: &mut Node) {
    node.on(Event::Source(SourceEvent::Listed(Listing::default())));
}

/// Its new version is broken, and what the old one has brought is kept.
fn only_kept(node: &mut Node) {
    for _ in 0..2 {
        node.on(Event::Source(SourceEvent::Settled(entry("a.tar", 2))));
        node.on(Event::Ended(path("a.tar"), failed(FailureClass::Content)));
        node.pass(seconds(60));
    }
    node.begun.clear();
}

#[test]
fn what_no_entry_in_sight_brings_is_told_and_left() {
    for lost in [out_of_sight, only_kept] {
        let mut node = Node::with(&[image("a", &["1"])]);
        lost(&mut node);
        node.pass(WEEK);
        node.scrubs_to(wrong("1", BlobFault::Bytes));
        node.pass(seconds(1));
        assert_eq!(node.begun, [""; 0]);
        let digest = blob("1").digest;
        let told = format!(
            "damaged, and left as it is: r.example/a:1: blob {digest}: its bytes are not those of its digest; \
             no entry in sight brings it"
        );
        assert!(node.told.contains(&told), "{:?}", node.told);
    }
}

#[test]
fn what_is_left_damaged_is_told_once_of_each_image_and_counted() {
    let mut node = Node::with(&[image("a", &["1", "2"]), image("b", &["3"])]);
    out_of_sight(&mut node);
    let all = ["1", "2", "3"].map(|text| wrong(text, BlobFault::Bytes));
    let all = all.into_iter().flatten().collect::<BlobFaults>();
    let told = |node: &Node| node.told("damaged, and left as it is: ");
    for _ in 0..3 {
        node.pass(WEEK);
        node.scrubs_to(all.clone());
        assert_eq!((told(&node), node.plan.left_damaged()), (2, 3));
    }
    // One is right again, and then it is not.
    for (faults, lines, left) in [(wrong("3", BlobFault::Bytes), 2, 1), (all.clone(), 3, 3)] {
        node.faults = faults.clone();
        node.pass(WEEK);
        if node.step.clone().unwrap().blobs.is_empty() {
            // That the store has found some right is kept first.
            node.scrubs();
        }
        node.scrubs_to(faults);
        assert_eq!((told(&node), node.plan.left_damaged()), (lines, left));
    }
    // Both are in sight again, and are brought back.
    node.on(listed(&["a.tar", "b.tar"]));
    node.pass(seconds(1));
    node.faults.clear();
    for (name, image) in ["a.tar", "b.tar"].into_iter().zip(node.images.clone()) {
        assert!(node.begun.contains(&name.to_owned()), "{:?}", node.begun);
        node.on(Event::Ended(path(name), through(vec![image])));
    }
    node.pass(seconds(60));
    node.on(listed(&["a.tar", "b.tar"]));
    assert_eq!(node.plan.left_damaged(), 0);
}

#[test]
fn what_was_left_damaged_is_told_again_after_a_restart() {
    let mut node = Node::with(&[image("a", &["1"])]);
    out_of_sight(&mut node);
    let memory = remembered(&mut node, "1");
    let mut node = node.begun_again(memory);
    node.plan.next_due(node.now);
    out_of_sight(&mut node);
    node.scrubs_to(wrong("1", BlobFault::Bytes));
    assert!(node.plan.is_loaded());
    node.pass(seconds(2));
    assert_eq!(node.told("damaged, and left as it is: "), 1);
    assert_eq!(node.plan.left_damaged(), 1);
}

#[test]
fn what_is_pinned_and_in_no_record_is_read_the_last_told_and_left() {
    let mut node = Node::with(&[image("b", &["2"])]);
    node.unrecorded = vec![image("a", &["1", "2"])];
    let mut node = unclean(node, UNIX_EPOCH);
    assert_eq!(node.scrubs(), [blob("2"), blob("1")]);
    node.pass(WEEK);
    node.scrubs_to(wrong("1", BlobFault::Bytes));
    node.pass(seconds(1));
    assert_eq!(node.begun, [""; 0]);
    assert_eq!(
        node.told("damaged, and left as it is: r.example/a:1: blob "),
        1
    );
    assert_eq!(
        node.told("scrubbed 2 blobs, 2 B, 1 damaged (images.scrub)"),
        1
    );
}

#[test]
fn without_an_answer_of_the_store_nothing_is_read_for_a_minute() {
    let mut node = Node::with(&[image("a", &["1"])]);
    node.is_silent = true;
    node.pass(WEEK);
    node.is_silent = false;
    node.pass(seconds(59));
    assert_eq!(node.step, None);
    assert_eq!(
        node.plan.next_due(node.now),
        Some(node.now.uptime + seconds(1))
    );
    node.pass(seconds(1));
    assert_eq!(node.scrubs(), [blob("1")]);
}

#[test]
fn what_was_left_is_brought_back_when_its_entry_is_in_sight_again() {
    let mut node = Node::with(&[image("a", &["1"])]);
    out_of_sight(&mut node);
    node.pass(WEEK);
    node.scrubs_to(wrong("1", BlobFault::Bytes));
    node.pass(seconds(1));
    node.on(listed(&["a.tar"]));
    assert_eq!(node.begun, ["a.tar"]);
}

/// It was found, and the run ended before it was brought back.
fn remembered(node: &mut Node, text: &str) -> ScrubMemory {
    node.pass(WEEK);
    let step = node.step.clone().unwrap();
    node.scrubs_to(wrong(text, BlobFault::Bytes));
    step.ended(&wrong(text, BlobFault::Bytes))
}

#[test]
fn what_was_found_wrong_before_a_restart_is_brought_back_before_ready() {
    let mut node = Node::with(&[image("a", &["1"]), image("b", &["2"])]);
    let memory = remembered(&mut node, "2");
    assert_eq!(memory.damaged, [blob("2")].into());
    // The store knows nothing of it.
    node.faults.clear();
    let mut node = node.begun_again(memory);
    let step = node.step.clone().unwrap();
    assert!(step.is_awaited && !node.plan.is_loaded());
    // The store is away for a moment.
    node.step = None;
    node.on(Event::Scrubbed(None));
    assert_eq!(node.plan.next_due(node.now), Some(seconds(2)));
    node.pass(seconds(2));
    assert_eq!(node.scrubs_to(wrong("2", BlobFault::Bytes)), step.blobs);
    assert_eq!(
        (&node.begun[..], node.plan.is_loaded()),
        (&["b.tar".to_owned()][..], false)
    );
    assert_eq!(node.told("damaged, and left as it is"), 0);
    node.faults.clear();
    node.on(Event::Ended(
        path("b.tar"),
        through(vec![image("b", &["2"])]),
    ));
    assert!(node.plan.is_loaded());
    // That it is right again is kept when that is found.
    node.pass(seconds(60));
    node.on(listed(&["a.tar", "b.tar"]));
    let step = node.step.clone().unwrap();
    assert_eq!(step.blobs, []);
    assert_eq!(step.ended(&BlobFaults::new()).damaged, [].into());
    node.scrubs();
    assert_eq!(node.step, None);
}

#[test]
fn what_is_right_again_after_a_restart_is_read_once_and_forgotten() {
    let mut node = Node::with(&[image("a", &["1"])]);
    let memory = remembered(&mut node, "1");
    node.faults.clear();
    let mut node = node.begun_again(memory);
    let step = node.step.clone().unwrap();
    assert_eq!(node.scrubs(), [blob("1")]);
    assert!(node.plan.is_loaded() && node.begun.is_empty());
    assert_eq!(step.ended(&BlobFaults::new()).damaged, [].into());
}

/// The store has forgotten it, or is another one.
#[test]
fn what_is_remembered_is_read_again_before_a_store_that_returned_is_compared() {
    let mut node = Node::with(&[image("a", &["1"])]);
    remembered(&mut node, "1");
    node.on(Event::Ended(
        path("a.tar"),
        failed(FailureClass::Environment),
    ));
    node.faults.clear();
    let back = StoreState {
        returns: 1,
        ..StoreState::default()
    };
    node.begun.clear();
    node.on(Event::Store(back));
    assert!(node.step.clone().is_some_and(|step| step.is_awaited));
}

#[test]
fn a_clock_that_was_ahead_does_not_end_the_scrubs() {
    let mut node = Node::with(&[image("a", &["1"])]);
    node.now.wall -= 1000 * DAY;
    node.pass(seconds(1));
    assert_eq!(node.scrubs(), [], "the interval begins now");
    assert_eq!(node.plan.next_due(node.now), Some(node.now.uptime + WEEK));
    node.pass(WEEK);
    assert_eq!(node.scrubs(), [blob("1")]);
}

#[test]
fn nor_where_the_node_is_restarted_every_day_after_that() {
    let mut node = Node::with(&[image("a", &["1"])]);
    let mut memory = ScrubMemory {
        ended: Some(node.now.wall + 1000 * DAY),
        ..ScrubMemory::default()
    };
    let mut days = Vec::new();
    for day in 0..20 {
        node = node.restarted(memory.clone());
        if let Some(step) = node.step.clone() {
            memory = step.ended(&BlobFaults::new());
            days.push((day, node.scrubs().len()));
        }
        node.pass(DAY);
    }
    assert_eq!(days, [(0, 0), (7, 1), (14, 1)]);
}
