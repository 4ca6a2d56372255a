//! The metrics: what the exposition says, and that documents, dashboard and alerts speak of what there is.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, SystemTime};

use stowd::digest::Digest;
use stowd::entry::Kind;
use stowd::happened::Happened;
use stowd::image_store::{BlobCount, BlobWay};
use stowd::ledger::FailureClass;
use stowd::metrics::{Counters, Vitals, exposition};
use stowd::progress::Meter;
use stowd::status::{
    DaemonPhase, EntryState, EntryStatus, ImageStatus, ImageUnpack, OnBoard, Traffic, UnpackStage,
};
use tempfile::TempDir;

use crate::importer::{Draft, entry as on_disk, noise, run_with};
use crate::memory_store::MemoryStore;

fn text(phase: DaemonPhase, on_board: &OnBoard, counters: &Counters) -> String {
    let load = (phase == DaemonPhase::Ready).then_some(Duration::from_millis(2500));
    let vitals = Vitals {
        phase,
        on_board,
        load,
    };
    exposition(vitals, counters)
}

/// The names of the metrics, without what a histogram puts behind its own.
fn names(exposition: &str) -> BTreeSet<String> {
    let types = exposition.lines();
    let types = types.filter_map(|line| line.strip_prefix("# TYPE "));
    let names = types.filter_map(|line| line.split(' ').next());
    names.map(str::to_owned).collect()
}

fn entry(name: &str, state: EntryState, images: &[&str]) -> EntryStatus {
    let image = |name: &&str| ImageStatus {
        names: vec![(*name).to_owned()],
        digest: Digest::of(name.as_bytes()),
        kept: false,
        unpack: None,
        blobs: Vec::new(),
    };
    EntryStatus {
        path: format!("/i/{name}"),
        state,
        progress: None,
        bytes: None,
        finished: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1000)),
        seconds: None,
        attempts: 1,
        error: None,
        class: None,
        next_try: None,
        images: images.iter().map(image).collect(),
    }
}

/// A node with something of each kind.
fn board() -> OnBoard {
    let mut last = entry("b.tar", EntryState::Imported, &["x:1", "y:1"]);
    last.finished = Some(SystemTime::UNIX_EPOCH + Duration::from_millis(2_500_500));
    last.images[1].unpack = Some(ImageUnpack {
        stage: UnpackStage::Failed,
        error: None,
        next_try: None,
    });
    let failed = |name: &str, class: Option<&str>| EntryStatus {
        class: class.map(str::to_owned),
        finished: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(9000)),
        ..entry(name, EntryState::Failed, &[])
    };
    OnBoard {
        line: "ready: 3 images from 6 entries; watching /i".to_owned(),
        loaded: true,
        pinned_images: Some(2),
        traffic: Traffic {
            read_bytes: 1000,
            direct: BlobCount {
                blobs: 1,
                bytes: 700,
            },
            sent: BlobCount {
                blobs: 2,
                bytes: 50,
            },
            present: BlobCount {
                blobs: 3,
                bytes: 40,
            },
        },
        entries: vec![
            // Of two entries that bring one image it is kept once.
            entry("a.tar", EntryState::Imported, &["x:1"]),
            last,
            entry("c.TXT", EntryState::Imported, &[]),
            entry("d.tar", EntryState::OutOfSight, &["z:1"]),
            failed("e.tar", Some("content")),
            failed("f.txt", Some("environment")),
            // It cannot be looked at.
            failed("g.tar", None),
        ],
        ..OnBoard::default()
    }
}

fn failure(class: FailureClass) -> Happened {
    Happened::Failed {
        path: "/i/a.tar".into(),
        images: Vec::new(),
        class,
        error: "broken".to_owned(),
        attempts: 1,
        next_try: None,
    }
}

#[test]
fn what_is_on_board_and_what_has_happened_is_counted() {
    let counters = Counters::default();
    for happened in [
        Happened::Imported {
            path: "/i/a.tar".into(),
            kind: Kind::Archive,
            images: Vec::new(),
            bytes: 1,
            duration: Duration::from_secs(2),
        },
        Happened::Unpacked {
            image: "x:1".to_owned(),
            snapshots: 1,
            duration: Duration::from_millis(300),
        },
        failure(FailureClass::Content),
        failure(FailureClass::NoSpace { needs: 7 }),
        failure(FailureClass::NoSpace { needs: 8 }),
        Happened::Missing {
            path: "/i/a.tar".into(),
            names: vec!["x:1".to_owned(), "y:1".to_owned()],
        },
    ] {
        counters.count(&happened);
    }
    let text = text(DaemonPhase::Ready, &board(), &counters);
    for line in [
        concat!(
            "stowd_build_info{version=\"",
            env!("CARGO_PKG_VERSION"),
            "\"} 1"
        ),
        "stowd_ready 1",
        "stowd_containerd_up 1",
        "stowd_initial_load_seconds 2.5",
        "stowd_entries{kind=\"archive\",outcome=\"imported\"} 2",
        "stowd_entries{kind=\"archive\",outcome=\"failed\"} 2",
        "stowd_entries{kind=\"archive\",outcome=\"out-of-sight\"} 1",
        "stowd_entries{kind=\"archive\",outcome=\"queued\"} 0",
        "stowd_entries{kind=\"list\",outcome=\"imported\"} 1",
        "stowd_entries{kind=\"list\",outcome=\"failed\"} 1",
        "stowd_failed_entries{class=\"content\"} 1",
        "stowd_failed_entries{class=\"missing-blob\"} 0",
        "stowd_failed_entries{class=\"environment\"} 2",
        "stowd_last_success_timestamp_seconds 2500.5",
        "stowd_images_kept 3",
        "stowd_images_pinned 2",
        "stowd_images_not_unpacked 1",
        "stowd_sources_out_of_sight 1",
        "stowd_read_bytes_total 1000",
        "stowd_stored_bytes_total 750",
        "stowd_skipped_bytes_total 40",
        "stowd_blobs_total{way=\"direct\"} 1",
        "stowd_blobs_total{way=\"sent\"} 2",
        "stowd_blobs_total{way=\"present\"} 3",
        "stowd_import_duration_seconds_bucket{kind=\"archive\",le=\"1\"} 0",
        "stowd_import_duration_seconds_bucket{kind=\"archive\",le=\"2.5\"} 1",
        "stowd_import_duration_seconds_sum{kind=\"archive\"} 2",
        "stowd_import_duration_seconds_count{kind=\"list\"} 0",
        "stowd_unpack_duration_seconds_count 1",
        "stowd_failures_total{class=\"content\"} 1",
        "stowd_failures_total{class=\"no-space\"} 2",
        "stowd_failures_total{class=\"environment\"} 0",
        "stowd_disappeared_total{what=\"name\"} 2",
        "stowd_disappeared_total{what=\"blob\"} 0",
        "stowd_repaired_total{what=\"name\"} 0",
    ] {
        let is_it = |found: &str| found == line || found == format!("{line}.0");
        assert!(text.lines().any(is_it), "{line} in\n{text}");
    }
}

#[test]
fn before_ready_and_without_containerd_there_are_no_false_values() {
    let counters = Counters::default();
    let away = OnBoard {
        containerd_away: Some("gone".to_owned()),
        images_dir_missing: true,
        ..board()
    };
    for (phase, on_board, is_up) in [
        (DaemonPhase::Starting, OnBoard::default(), 0),
        (DaemonPhase::Loading, OnBoard::default(), 1),
        (DaemonPhase::Ready, away, 0),
        (DaemonPhase::Stopping, board(), 0),
    ] {
        let text = text(phase, &on_board, &counters);
        assert!(text.contains("\nstowd_ready 0\n"), "{phase:?}: {text}");
        let up = format!("\nstowd_containerd_up {is_up}\n");
        assert!(text.contains(&up), "{phase:?}: {text}");
        let loaded = text.contains("stowd_initial_load_seconds");
        assert_eq!(loaded, phase == DaemonPhase::Ready, "{phase:?}");
    }
    let unknown = names(&text(DaemonPhase::Starting, &OnBoard::default(), &counters));
    for name in [
        "stowd_last_success_timestamp_seconds",
        "stowd_images_pinned",
    ] {
        assert!(!unknown.contains(name), "{name} is not known yet");
    }
}

/// However many entries there are, and whatever they are called.
#[test]
fn the_number_of_series_does_not_grow() {
    let counters = Counters::default();
    let few = text(DaemonPhase::Ready, &board(), &counters);
    let mut many = board();
    for number in 0..1000 {
        let name = format!("{number}.tar");
        many.entries.push(EntryStatus {
            class: Some(format!("class {number}")),
            error: Some("a\n\"b\"".to_owned()),
            ..entry(&name, EntryState::Failed, &[&name])
        });
        counters.count(&Happened::Missing {
            path: format!("/i/{name}").into(),
            names: vec![name],
        });
    }
    let many = text(DaemonPhase::Ready, &many, &counters);
    assert_eq!(few.lines().count(), many.lines().count());
    assert!(!many.contains("999"), "{many}");
}

#[test]
fn blobs_count_by_their_ways_and_those_that_are_there_once_an_import() {
    let dir = TempDir::new().unwrap();
    let mut draft = Draft::new();
    let image = draft.image(noise(300_000, 1));
    draft.index(&[("busybox:1", &image.manifest)]);
    let layer = 300_000;
    for path in draft.written(dir.path()) {
        let store = MemoryStore::default();
        let tally = store.state().tally.clone();
        run_with(&store, &on_disk(&path), Meter::default(), &[]).unwrap();
        let sent = tally.of(BlobWay::Sent);
        assert_eq!(
            sent.blobs, 3,
            "{path:?}: a layer, its configuration, a manifest"
        );
        assert!((layer..layer + 2000).contains(&sent.bytes), "{sent:?}");
        let found = tally.of(BlobWay::Present).bytes;
        run_with(&store, &on_disk(&path), Meter::default(), &[]).unwrap();
        assert_eq!(tally.of(BlobWay::Sent), sent, "{path:?}: sent again");
        let present = tally.of(BlobWay::Present).bytes - found;
        assert!(present >= sent.bytes, "{path:?}: {present} of {sent:?}");
        assert_eq!(tally.of(BlobWay::Direct), BlobCount::default());
    }
}

/// What looks like the name of a metric in a text.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_lowercase() || c == '_'));
    let words = words.filter(|word| word.starts_with("stowd_"));
    let of_histogram = |word: &str| {
        let parts = ["_bucket", "_count", "_sum"];
        let cut = parts.iter().find_map(|part| word.strip_suffix(part));
        cut.unwrap_or(word).to_owned()
    };
    words.map(of_histogram).collect()
}

#[test]
fn the_document_names_each_metric_and_the_dashboard_and_the_alerts_no_other() {
    let all = names(&text(DaemonPhase::Ready, &board(), &Counters::default()));
    let read = |file: &str| fs::read_to_string(file).unwrap();
    assert_eq!(named(&read("docs/metrics.md")), all);
    let dashboard = read("packaging/monitoring/grafana-dashboard.json");
    serde_json::from_str::<serde_json::Value>(&dashboard).unwrap();
    assert_eq!(named(&dashboard), all);
    let alerts = named(&read("packaging/monitoring/stowd.rules.yml"));
    assert!(alerts.len() > 5 && alerts.is_subset(&all), "{alerts:?}");
}
