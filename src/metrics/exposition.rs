//! The text that Prometheus reads: its text format, version 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>).

use std::collections::HashSet;
use std::path::Path;
use std::time::UNIX_EPOCH;

use prometheus_client::encoding::prometheus_text::{CONTENT_TYPE, encode};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::counters::{CLASSES, Counters, kind_word};
use super::series::Series;
use super::vitals::Vitals;
use crate::entry::{Kind, Verdict};
use crate::ledger::FailureClass;
use crate::status::{EntryState, EntryStatus, ImageStatus, OnBoard, UnpackStage};

/// The content type of [`exposition`].
pub const EXPOSITION_TYPE: &str = CONTENT_TYPE;

const OUTCOMES: [(EntryState, &str); 7] = [
    (EntryState::Checking, "checking"),
    (EntryState::Settling, "settling"),
    (EntryState::Queued, "queued"),
    (EntryState::Working, "working"),
    (EntryState::Imported, "imported"),
    (EntryState::Failed, "failed"),
    (EntryState::OutOfSight, "out-of-sight"),
];

/// All metrics, with their help. What is not known yet has no series.
pub fn exposition(vitals: Vitals<'_>, counters: &Counters) -> String {
    let mut registry = Registry::with_prefix("stowd");
    let board = vitals.on_board;
    of_daemon(&mut registry, vitals);
    of_entries(&mut registry, &board.entries);
    of_images(&mut registry, board);
    of_traffic(&mut registry, board);
    counters.register(&mut registry);
    let mut text = String::new();
    // Writing to a String does not fail.
    let _ = encode(&mut text, &registry);
    text
}

fn of_daemon(registry: &mut Registry, vitals: Vitals<'_>) {
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    let build = Series::of([(version, ConstGauge::new(1_u64))]);
    registry.register("build_info", "1; the label has the version of stowd", build);
    gauge(
        registry,
        "ready",
        "1 while what READY promises holds: the initial load is over, and containerd answers",
        usize::from(vitals.readiness().is_ok()),
    );
    gauge(
        registry,
        "containerd_up",
        "1 while containerd answers",
        usize::from(vitals.is_containerd_up()),
    );
    if let Some(load) = vitals.load {
        seconds(
            registry,
            "initial_load",
            "How long it took from the start of stowd to READY",
            load.as_secs_f64(),
        );
    }
}

fn of_entries(registry: &mut Registry, entries: &[EntryStatus]) {
    let mut states = Vec::new();
    for kind in [Kind::Archive, Kind::List] {
        for (state, outcome) in OUTCOMES {
            let of_kind = entries.iter().filter(|entry| kind_of(entry) == kind);
            let count = of_kind.filter(|entry| entry.state == state).count();
            let labels = [("kind", kind_word(kind)), ("outcome", outcome)];
            states.push((labels, ConstGauge::new(count)));
        }
    }
    registry.register(
        "entries",
        "Archives and lists of the images directory, by how far they are",
        Series::of(states),
    );
    let failed = CLASSES.map(|class| {
        let is_of_class = |entry: &&EntryStatus| {
            // A file that cannot be looked at has no class of its own.
            let of_entry = entry.class.as_deref();
            let of_entry = of_entry.unwrap_or(FailureClass::Environment.word());
            entry.state == EntryState::Failed && of_entry == class.word()
        };
        let count = entries.iter().filter(is_of_class).count();
        ([("class", class.word())], ConstGauge::new(count))
    });
    registry.register(
        "failed_entries",
        "Entries of which something is not in containerd, by what is wrong",
        Series::of(failed),
    );
    let imported = entries
        .iter()
        .filter(|entry| entry.state == EntryState::Imported);
    let last = imported.filter_map(|entry| entry.finished).max();
    if let Some(last) = last.and_then(|last| last.duration_since(UNIX_EPOCH).ok()) {
        seconds(
            registry,
            "last_success_timestamp",
            "When an entry was imported last, in Unix time",
            last.as_secs_f64(),
        );
    }
}

fn of_images(registry: &mut Registry, board: &OnBoard) {
    let images = board.entries.iter().flat_map(|entry| &entry.images);
    gauge(
        registry,
        "images_kept",
        "Images that stowd keeps in containerd, as entries brought them",
        distinct(images.clone()),
    );
    if let Some(pinned) = board.pinned_images {
        gauge(
            registry,
            "images_pinned",
            "Those of them that the kubelet may not collect, as containerd has listed its images last",
            pinned,
        );
    }
    let is_not_unpacked = |image: &&ImageStatus| {
        let unpack = image.unpack.as_ref();
        unpack.is_some_and(|unpack| unpack.stage == UnpackStage::Failed)
    };
    gauge(
        registry,
        "images_not_unpacked",
        "Those of them that could not be unpacked",
        distinct(images.filter(is_not_unpacked)),
    );
    let is_unseen = |entry: &&EntryStatus| entry.state == EntryState::OutOfSight;
    let unseen = board.entries.iter().filter(is_unseen).count();
    gauge(
        registry,
        "sources_out_of_sight",
        "Entries whose directory is missing, unmounted or another one; 1 where nothing else is missing than \
         the images directory",
        unseen.max(usize::from(board.images_dir_missing)),
    );
}

/// How many images these are, counted as READY's line counts them.
fn distinct<'i>(images: impl Iterator<Item = &'i ImageStatus>) -> usize {
    let images = images.map(|image| (image.names.first(), &image.digest));
    images.collect::<HashSet<_>>().len()
}

fn of_traffic(registry: &mut Registry, board: &OnBoard) {
    let traffic = &board.traffic;
    for (name, help, bytes) in [
        (
            "read",
            "Bytes that were read from archives",
            traffic.read_bytes,
        ),
        (
            "stored",
            "Bytes of blobs that were written for containerd or sent to it",
            traffic.direct.bytes + traffic.sent.bytes,
        ),
        (
            "skipped",
            "Bytes of blobs that were not moved: containerd had them",
            traffic.present.bytes,
        ),
    ] {
        registry.register_with_unit(name, help, Unit::Bytes, ConstCounter::new(bytes));
    }
    let blobs = [
        ("direct", traffic.direct),
        ("sent", traffic.sent),
        ("present", traffic.present),
    ];
    let blobs = blobs.map(|(way, count)| ([("way", way)], ConstCounter::new(count.blobs)));
    registry.register(
        "blobs",
        "Blobs that imports wanted in containerd: written where it keeps them, sent to it, or there already",
        Series::of(blobs),
    );
}

fn gauge(registry: &mut Registry, name: &str, help: &str, value: usize) {
    registry.register(name, help, ConstGauge::new(value));
}

fn seconds(registry: &mut Registry, name: &str, help: &str, value: f64) {
    registry.register_with_unit(name, help, Unit::Seconds, ConstGauge::new(value));
}

/// An entry's kind, as its name says.
fn kind_of(entry: &EntryStatus) -> Kind {
    let name = Path::new(&entry.path).file_name().unwrap_or_default();
    match Verdict::on(name) {
        Verdict::Entry(kind) => kind,
        _ => Kind::Archive,
    }
}
