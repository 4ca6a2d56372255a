//! What the plan warns of when all is done: the sandbox image that is missing, and names that several
//! entries give.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use stowd::digest::Digest;
use stowd::image_list::Line;
use stowd::image_store::{Descriptor, Image, StoreState};
use stowd::ledger::{FailureClass, Fingerprint, ImportedImage, Keeps, Ledger};
use stowd::naming::Reference;
use stowd::pin::PinOwner;
use stowd::plan::{Effect, EntryResult, Event, JobEnd, Looked, Now, Plan, Rules, SandboxImage};
use stowd::platform::Wanted;
use stowd::source_event::SourceEvent;
use stowd::unpack::UnpackWhen;

use crate::plan::{entry, listed, path};

const PAUSE: &str = "registry.k8s.io/pause:3.10";

/// A plan whose store answers each question at once, and the lines that it tells from a warning on.
struct Node {
    plan: Plan,
    now: Now,
    /// Names in the store, with what they point to.
    store: Vec<(String, Digest)>,
    warned: Vec<String>,
    /// How often the store was asked.
    asked: usize,
}

/// An image of these bytes, under this name and by its digest.
fn image(name: &str, bytes: &str) -> ImportedImage {
    let digest = Digest::of(bytes.as_bytes());
    let (repository, _) = name.rsplit_once(':').unwrap();
    ImportedImage {
        names: vec![name.to_owned(), format!("{repository}@{digest}")],
        digest,
        blobs: Vec::new(),
    }
}

fn through(images: Vec<ImportedImage>) -> JobEnd {
    JobEnd::Through(EntryResult {
        images,
        problems: Vec::new(),
        class: FailureClass::Content,
        keeps: Keeps::All,
        not_before: Duration::ZERO,
        sample: None,
    })
}

impl Node {
    fn new(ledger: Ledger) -> Self {
        let rules = Rules {
            root: "/i".into(),
            owner: PinOwner::default(),
            fingerprint: Fingerprint::of(&Wanted::All, &[], "n"),
            parallel: 2,
            settle: Duration::from_secs(2),
            unpin_removed: true,
            scrub: Duration::ZERO,
            ready_timeout: Duration::from_secs(300),
            extra_registries: Vec::new(),
            unpack: UnpackWhen::Never,
            seed: 1,
        };
        Self {
            plan: Plan::new(rules, ledger),
            now: Now {
                uptime: Duration::ZERO,
                wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
            },
            store: Vec::new(),
            warned: Vec::new(),
            asked: 0,
        }
    }

    fn on(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            for effect in self.plan.on(event, self.now) {
                match effect {
                    Effect::ListImages => {
                        self.asked += 1;
                        events.push(Event::Images(Ok(self.images())));
                    }
                    Effect::Unpin(names) => {
                        // What is unpinned is collected.
                        self.store.retain(|(name, _)| !names.contains(name));
                        events.push(Event::Unpinned(names, Ok(())));
                    }
                    Effect::Tell(happened) => {
                        let line = happened.to_string();
                        if line.starts_with("shadowed ") || line.starts_with("sandbox ") {
                            self.warned.push(line);
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    fn images(&self) -> Vec<Image> {
        let images = self.store.iter().map(|(name, digest)| Image {
            name: name.clone(),
            target: Descriptor {
                media_type: String::new(),
                digest: digest.clone(),
                size: 1,
            },
            labels: PinOwner::default().labels(),
        });
        images.collect()
    }

    /// An entry is imported: it takes all of its names.
    fn imports(&mut self, name: &str, images: Vec<ImportedImage>) {
        for image in &images {
            for name in &image.names {
                self.store.retain(|(other, _)| other != name);
                self.store.push((name.clone(), image.digest.clone()));
            }
        }
        self.on(Event::Ended(path(name), through(images)));
    }

    fn pulls(&mut self, is_there: bool) {
        let name = PAUSE.to_owned();
        self.on(Event::SandboxImage(Some(SandboxImage { name, is_there })));
    }

    /// Passes the time until the plan wants nothing more.
    fn rest(&mut self) {
        while let Some(due) = self.plan.next_due(self.now) {
            self.now.uptime = due;
            self.on(Event::Tick);
        }
    }

    /// The beginnings of what was warned of since the last time.
    fn warned(&mut self) -> Vec<String> {
        self.rest();
        std::mem::take(&mut self.warned)
    }
}

fn assert_begins(lines: &[String], beginnings: &[&str]) {
    let fits = |(line, beginning): (&String, &&str)| line.starts_with(beginning);
    assert!(
        lines.len() == beginnings.len() && lines.iter().zip(beginnings).all(fits),
        "{lines:#?}"
    );
}

#[test]
fn a_sandbox_image_that_neither_the_store_nor_an_entry_has_is_told_once() {
    for (is_there, is_brought, is_missing) in [
        (false, false, true),
        (true, false, false),
        (false, true, false),
        (true, true, false),
    ] {
        let mut node = Node::new(Ledger::default());
        node.on(Event::Started);
        node.on(listed(&["a.tar"]));
        node.store
            .extend(is_there.then(|| (PAUSE.to_owned(), Digest::of(b"p"))));
        let name = if is_brought { PAUSE } else { "r.example/a:1" };
        node.imports("a.tar", vec![image(name, "p")]);
        assert!(!node.plan.is_loaded(), "the runtime has not answered");
        node.pulls(is_there);
        assert!(node.plan.is_loaded());
        let case = format!("there {is_there}, brought {is_brought}");
        assert_eq!(
            node.plan.missing_sandbox_image().is_some(),
            is_missing,
            "{case}"
        );
        assert_eq!(node.warned.len(), usize::from(is_missing), "{case}");
        node.on(listed(&["a.tar"]));
        node.rest();
        assert_eq!(node.warned().len(), usize::from(is_missing), "{case}");
    }
}

/// The store is another one after a restart, and the archive that has brought the image fails or does not.
#[test]
fn a_sandbox_image_that_a_failed_entry_has_brought_to_another_store_is_missing() {
    for is_missing in [true, false] {
        let mut before = Node::new(Ledger::default());
        before.on(listed(&["p.tar"]));
        before.imports("p.tar", vec![image(PAUSE, "p")]);
        let written = before.plan.ledger().snapshot().to_json("/i".as_ref());
        let (ledger, dropped) = Ledger::from_json(&written, "/i".as_ref());
        assert_eq!(dropped, None);
        let mut node = Node::new(ledger);
        node.on(Event::Started);
        node.pulls(false);
        node.on(listed(&["p.tar"]));
        match is_missing {
            true => {
                let class = FailureClass::NoSpace { needs: 10 };
                let failed = JobEnd::Failed(class, "no space left".to_owned());
                node.on(Event::Ended(path("p.tar"), failed));
            }
            false => node.imports("p.tar", vec![image(PAUSE, "p")]),
        }
        assert!(node.plan.is_loaded());
        let kept = node.plan.ledger().get(&path("p.tar")).unwrap().images();
        assert_eq!(kept.count(), 1, "its pin is not taken off");
        let missing = node.plan.missing_sandbox_image();
        assert_eq!(missing.is_some(), is_missing);
        assert_eq!(node.warned.len(), usize::from(is_missing));
    }
}

#[test]
fn without_a_runtime_nothing_is_said_and_nothing_waits() {
    let mut node = Node::new(Ledger::default());
    node.on(Event::Started);
    node.on(Event::SandboxImage(None));
    node.on(listed(&[]));
    assert!(node.plan.is_loaded());
    assert_eq!(node.plan.missing_sandbox_image(), None);
    assert_eq!(node.warned(), [""; 0]);
}

#[test]
fn a_sandbox_image_that_an_entry_brings_later_or_takes_away_is_told() {
    let mut node = Node::new(Ledger::default());
    node.on(listed(&[]));
    node.pulls(false);
    assert_begins(
        &node.warned(),
        &["sandbox image missing: registry.k8s.io/pause:3.10: "],
    );
    let asked = node.asked;
    assert_eq!(
        node.plan.next_due(node.now),
        None,
        "it wakes up for nothing"
    );
    assert_eq!(node.asked, asked);

    node.on(Event::Source(SourceEvent::Settled(entry("p.tar", 1))));
    node.imports("p.tar", vec![image(PAUSE, "p")]);
    assert_eq!(node.plan.missing_sandbox_image(), None);
    assert_begins(
        &node.warned(),
        &["sandbox image there: registry.k8s.io/pause:3.10"],
    );

    // Another entry, so that what the first one brought is unpinned, and collected.
    node.on(Event::Source(SourceEvent::Settled(entry("q.tar", 1))));
    node.imports("q.tar", vec![image("r.example/q:1", "q")]);
    node.on(Event::Source(SourceEvent::Removed(path("p.tar"))));
    node.rest();
    node.on(listed(&["q.tar"]));
    assert_begins(&node.warned(), &["sandbox image missing: "]);
    assert_eq!(node.plan.missing_sandbox_image(), Some(PAUSE));
}

#[test]
fn a_list_that_is_still_pulled_may_bring_the_sandbox_image() {
    let mut node = Node::new(Ledger::default());
    node.on(listed(&["a.txt"]));
    node.pulls(false);
    let absent = Line {
        number: 0,
        reference: Reference::parse(PAUSE).unwrap(),
    };
    node.on(Event::Ended(
        path("a.txt"),
        JobEnd::Absent(Arc::new(Looked {
            absent: vec![absent],
            is_understood: true,
            ..Looked::default()
        })),
    ));
    node.now.uptime += Duration::from_secs(301);
    node.on(Event::Tick);
    assert!(node.plan.is_loaded());
    assert_eq!(node.plan.missing_sandbox_image(), None);
    let failed = JobEnd::Failed(FailureClass::Environment, "no route".to_owned());
    node.on(Event::Ended(path("a.txt"), failed));
    assert_eq!(node.plan.missing_sandbox_image(), Some(PAUSE));
}

/// Three entries: `a.tar` and `b-9.tar` differ about `x`, `b-10.tar` is later than either.
fn shadowed() -> Node {
    let mut node = Node::new(Ledger::default());
    node.on(listed(&["a.tar", "b-9.tar", "b-10.tar"]));
    for (name, bytes) in [("a.tar", "1"), ("b-9.tar", "2"), ("b-10.tar", "3")] {
        node.imports(name, vec![image("r.example/x:1", bytes)]);
    }
    assert!(node.plan.is_loaded());
    node
}

fn shadowed_line(entry: &str, bytes: &str, by: &str, other: &str) -> String {
    let (digest, other) = (Digest::of(bytes.as_bytes()), Digest::of(other.as_bytes()));
    format!(
        "shadowed by a later entry: r.example/x:1 of /i/{entry} ({digest}): in /i/{by} it is {other}"
    )
}

#[test]
fn names_of_different_images_are_told_at_each_start_with_both_digests_and_files() {
    let mut node = shadowed();
    let both = [
        shadowed_line("a.tar", "1", "b-10.tar", "3"),
        shadowed_line("b-9.tar", "2", "b-10.tar", "3"),
    ];
    assert_eq!(node.warned(), both);
    node.on(listed(&["a.tar", "b-9.tar", "b-10.tar"]));
    assert_eq!(node.warned(), [""; 0], "told once a start");

    // The same node, started again.
    let (store, bytes) = (
        node.store,
        node.plan.ledger().snapshot().to_json("/i".as_ref()),
    );
    let ledger = Ledger::from_json(&bytes, "/i".as_ref()).0;
    let mut node = Node::new(ledger);
    node.store = store;
    node.on(listed(&["a.tar", "b-9.tar", "b-10.tar"]));
    assert!(node.plan.is_loaded());
    assert_eq!(node.warned, both);
}

#[test]
fn the_same_image_under_one_name_is_no_matter() {
    let mut node = Node::new(Ledger::default());
    node.on(listed(&["a.tar", "b.tar"]));
    node.imports("a.tar", vec![image("r.example/x:1", "1")]);
    node.imports("b.tar", vec![image("r.example/x:1", "1")]);
    assert!(node.plan.is_loaded());
    assert_eq!(node.warned(), [""; 0]);
}

#[test]
fn what_begins_later_is_told_once_and_again_when_it_begins_anew() {
    let mut node = shadowed();
    node.warned();
    let comes = |node: &mut Node, version| {
        node.on(Event::Source(SourceEvent::Settled(entry("c.tar", version))));
        node.imports("c.tar", vec![image("r.example/x:1", "4")]);
        // The owner takes the name back; so it is one that comes later.
        node.warned()
    };
    let all = [
        shadowed_line("a.tar", "1", "c.tar", "4"),
        shadowed_line("b-9.tar", "2", "c.tar", "4"),
        shadowed_line("b-10.tar", "3", "c.tar", "4"),
    ];
    let mut told = comes(&mut node, 1);
    told.sort_by_key(|line| all.iter().position(|other| other == line));
    assert_eq!(told, all);
    assert_eq!(comes(&mut node, 2), [""; 0]);

    node.on(Event::Source(SourceEvent::Removed(path("c.tar"))));
    node.imports("b-10.tar", vec![image("r.example/x:1", "3")]);
    let back = node.warned();
    assert_eq!(back.len(), 2, "{back:#?}");
    assert_eq!(comes(&mut node, 3).len(), 3);
}

#[test]
fn a_runtime_that_returns_is_asked_for_its_sandbox_image_again() {
    let mut node = Node::new(Ledger::default());
    node.on(Event::Started);
    node.on(listed(&[]));
    node.pulls(true);
    assert_eq!(node.plan.missing_sandbox_image(), None);
    let away = StoreState {
        away: Some("no answer".to_owned()),
        ..StoreState::default()
    };
    node.on(Event::Store(away));
    let returned = StoreState {
        returns: 1,
        ..StoreState::default()
    };
    node.on(Event::Store(returned));
    node.pulls(false);
    node.rest();
    assert_eq!(node.plan.missing_sandbox_image(), Some(PAUSE));
}
