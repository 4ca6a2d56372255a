//! What has happened, in counts and histograms.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::lost_things::{LostThings, Things};
use super::series::Series;
use crate::entry::Kind;
use crate::happened::Happened;
use crate::ledger::FailureClass;

/// Seconds: from a list whose images are there to an archive of many gigabytes on a slow disk.
const SECONDS: [f64; 13] = [
    0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0,
];

pub(super) const CLASSES: [FailureClass; 4] = [
    FailureClass::Content,
    FailureClass::MissingBlob,
    FailureClass::NoSpace { needs: 0 },
    FailureClass::Environment,
];

/// The words for what can be lost.
const THINGS: [&str; 3] = ["name", "blob", "snapshots"];

/// The series begin at 0 when a daemon does. Clones share them.
#[derive(Debug, Clone)]
pub struct Counters {
    archives: Histogram,
    lists: Histogram,
    unpackings: Histogram,
    /// In the order of `CLASSES`.
    failures: [Counter; 4],
    /// In the order of `THINGS`.
    disappeared: [Counter; 3],
    repaired: [Counter; 3],
    lost: Arc<Mutex<LostThings>>,
}

impl Default for Counters {
    fn default() -> Self {
        let histogram = || Histogram::new(SECONDS);
        Self {
            archives: histogram(),
            lists: histogram(),
            unpackings: histogram(),
            failures: Default::default(),
            disappeared: Default::default(),
            repaired: Default::default(),
            lost: Arc::default(),
        }
    }
}

impl Counters {
    /// Counts what is told of entries, images and the store.
    pub fn count(&self, happened: &Happened) {
        match happened {
            Happened::Imported { kind, duration, .. } => {
                let imports = match kind {
                    Kind::Archive => &self.archives,
                    Kind::List => &self.lists,
                };
                imports.observe(duration.as_secs_f64());
            }
            Happened::Unpacked { duration, .. } => {
                self.unpackings.observe(duration.as_secs_f64());
            }
            Happened::Failed { class, .. } => {
                for (counter, of_class) in self.failures.iter().zip(CLASSES) {
                    if of_class.word() == class.word() {
                        counter.inc();
                    }
                }
            }
            _ => {}
        }
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        let (lost, back) = lost.follow(happened);
        add(&self.disappeared, lost);
        add(&self.repaired, back);
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let imports = [
            ([("kind", kind_word(Kind::Archive))], self.archives.clone()),
            ([("kind", kind_word(Kind::List))], self.lists.clone()),
        ];
        registry.register_with_unit(
            "import_duration",
            "How long the imports of archives, and the pulls of lists, took that brought something",
            Unit::Seconds,
            Series::of(imports),
        );
        registry.register_with_unit(
            "unpack_duration",
            "How long it took to unpack an image that was not unpacked",
            Unit::Seconds,
            self.unpackings.clone(),
        );
        let failures = CLASSES.iter().zip(&self.failures);
        let failures = failures.map(|(class, count)| ([("class", class.word())], count.clone()));
        registry.register(
            "failures",
            "Failures of entries as the log tells them: each when it is new or another one",
            Series::of(failures),
        );
        registry.register(
            "disappeared",
            "Names, blobs and snapshots of images on board that were found gone or damaged in containerd",
            of_things(&self.disappeared),
        );
        registry.register(
            "repaired",
            "Those of them that were brought back",
            of_things(&self.repaired),
        );
    }
}

pub(super) fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Archive => "archive",
        Kind::List => "list",
    }
}

fn add(counters: &[Counter; 3], things: Things) {
    let things = [things.names, things.blobs, things.snapshots];
    for (counter, count) in counters.iter().zip(things) {
        counter.inc_by(count as u64);
    }
}

fn of_things(counters: &[Counter; 3]) -> Series<1, Counter> {
    let counters = THINGS.iter().zip(counters);
    Series::of(counters.map(|(what, count)| ([("what", *what)], count.clone())))
}
