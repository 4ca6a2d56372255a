//! `stowd status`: what it shows of a node, against the files in `tests/fixtures/status`, at 80 columns, and
//! its exit status.

mod file;
mod scene;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;
use stowd::digest::Digest;
use stowd::needed_blob::BlobFault;
use stowd::pin::{OWNER_LABEL, RUNTIME_PIN};
use stowd::status::{
    DaemonPhase, EntryState, Leftover, Overshadowed, StatusDocument, Style, Unasked, UnpackStage,
    WorkDone, detail, overview,
};

use scene::{DIR, PAUSE, Scene, at, document, entry, unpack};

const NGINX: &str = "docker.io/library/nginx:1.27";
const POSTGRES: &str = "docker.io/library/postgres:17";
const COLUMNS: Style = Style {
    width: 80,
    is_coloured: false,
};

/// Its name, and what is other than well.
type Case = (&'static str, fn(&mut Scene));

/// What differs from a node on which all is well.
const CASES: &[Case] = &[
    ("well", |_| {}),
    ("failures", |scene| {
        let cut = "the tar archive ends early, at byte 5000, with no end marker: it was cut, or is \
                   still being written";
        scene.fail("cut.tar", cut, "content");
        let full = "no space: it needs 4.0 GiB, and 1.2 GiB are free";
        scene.fail("huge.tar", full, "no-space").next_try = Some(at(300));
        let lacking = "blob sha256:abc is neither in the archive nor in containerd";
        scene.fail("thin.tar", lacking, "missing-blob").attempts = 1;
        let image = &mut scene.entry("apps/web.tar").images[0];
        let mut failed = unpack(UnpackStage::Failed);
        failed.error = Some("Diff.Apply: unexpected EOF".to_owned());
        image.unpack = Some(failed);
        let config = Digest::of(format!("config of {NGINX}").as_bytes());
        scene.store().unpacked.as_mut().unwrap().remove(&config);
        scene.board.ignored = ["README.md", "notes", "x.zip"]
            .map(|name| format!("{DIR}/{name}"))
            .into();
    }),
    ("lacking", |scene| {
        let layer = Digest::of(format!("layer of {POSTGRES}").as_bytes());
        scene.store().faults.insert(layer, BlobFault::FileLength(7));
        scene
            .store()
            .images
            .retain(|image| !image.name.contains("nginx"));
        let (pin, _) = RUNTIME_PIN;
        scene
            .record("registry.k8s.io/coredns/coredns:v1.11.3")
            .labels
            .remove(pin);
        scene.record(PAUSE).target.digest = Digest::of(b"another");
    }),
    ("shadowed", |scene| {
        scene.bring("apps/web-2.tar", &[(NGINX, 73_000_000)]);
        let second = Digest::of(b"the second nginx");
        scene.entry("apps/web-2.tar").images[0].digest = second.clone();
        scene.entry("apps/web-2.tar").images[0].names.truncate(1);
        scene.record(NGINX).target.digest = second.clone();
        scene.board.shadowed = vec![Overshadowed {
            entry: format!("{DIR}/apps/web.tar"),
            digest: Digest::of(NGINX.as_bytes()),
            names: vec![NGINX.to_owned()],
            by: format!("{DIR}/apps/web-2.tar"),
            other: second,
        }];
        let record = scene.record(POSTGRES);
        record.target.digest = Digest::of(b"of another instance");
        record
            .labels
            .insert(OWNER_LABEL.to_owned(), "edge".to_owned());
    }),
    ("loading", |scene| {
        scene.phase = DaemonPhase::Loading;
        scene.board.loaded = false;
        scene.store().sandbox.as_mut().unwrap().is_there = false;
        scene.board.line = "importing 3/5: web.tar, 31.0 MiB of 68.7 MiB".to_owned();
        let working = scene.entry("apps/web.tar");
        working.images.clear();
        working.state = EntryState::Working;
        working.progress = Some(WorkDone {
            done: 32_505_856,
            total: 72_000_000,
        });
        let first = &mut scene.entry("core.tar.zst").images[0];
        first.unpack = Some(unpack(UnpackStage::Unpacking));
        scene.store().unpacked.as_mut().unwrap().clear();
        scene.entry("apps/db.tar").images[0].unpack = Some(unpack(UnpackStage::Waiting));
        scene.entry("core.tar.zst").images[1].unpack = Some(unpack(UnpackStage::NothingToUnpack));
        scene
            .board
            .entries
            .push(entry("late.tar", EntryState::Settling));
        scene
            .board
            .entries
            .push(entry("more.txt", EntryState::Queued));
    }),
    ("starting", |scene| {
        scene.phase = DaemonPhase::Starting;
        scene.answer = Err(Unasked::Silent(
            "/run/stowd/containerd.sock: Connection refused".to_owned(),
        ));
    }),
    ("out-of-sight", |scene| {
        for file in ["apps/db.tar", "apps/web.tar"] {
            scene.entry(file).state = EntryState::OutOfSight;
        }
        scene
            .board
            .entries
            .push(entry("usb/never-read.tar", EntryState::OutOfSight));
    }),
    ("baked", |scene| {
        for file in ["apps/db.tar", "apps/web.tar"] {
            scene.entry(file).state = EntryState::Baked;
        }
        let error =
            "of the baked set, and its file is gone: containerd lacks it; put the file back";
        scene.entry("apps/web.tar").error = Some(error.to_owned());
    }),
    ("away", |scene| {
        let error = "containerd is away: Version.Version: transport error: Connection refused";
        scene.board.containerd_away = Some(error.to_owned());
        scene.answer = Err(Unasked::Silent(
            "/run/containerd/containerd.sock: refused".to_owned(),
        ));
    }),
    ("returned", |scene| scene.board.loaded = false),
    ("snapshots-gone", |scene| {
        scene.store().unpacked = Some([].into());
    }),
    ("not-root", |scene| scene.answer = Err(Unasked::NotAllowed)),
    ("killed", |scene| scene.stop(Leftover::OfAKilled(1234))),
    ("stopped-with-containerd-away", |scene| {
        scene.stop(Leftover::Nothing);
        scene.answer = Err(Unasked::Silent(
            "/run/stowd/containerd.sock: No such file".to_owned(),
        ));
        scene.notes = vec!["/var/lib/stowd/ledger.json: cannot be read: I/O error".to_owned()];
    }),
    ("ended", |scene| {
        let error = "containerd ended with exit status: 3; last lines: out of luck";
        scene.stop(Leftover::Ended(error.to_owned()));
    }),
    ("another-boot", |scene| scene.stop(Leftover::OfAnotherBoot)),
    ("long-names", |scene| {
        let name = "registry.example.com:5000/a-team/with/a/rather/deep/path/to/an-application:2026.11.27-rc.1";
        scene.bring(
            "site-bundle-2026-11-27-with-everything.tar.zst",
            &[(name, 1_234_567_890)],
        );
        let file = "words\x1b[2J\nthat-a-terminal-must-not-take.tar";
        scene.fail(file, "not an archive: \x1b]0;title\x07", "content");
    }),
    ("sandbox-missing", |scene| {
        scene.board.entries.remove(0);
        scene.store().sandbox.as_mut().unwrap().is_there = false;
        scene.board.damaged = vec![format!("{NGINX}: blob {}", Digest::of(b"lost"))];
    }),
    ("empty", |scene| {
        scene.board.entries.clear();
        scene.board.images_dir_missing = true;
        scene.store().sandbox = None;
    }),
];

fn scene(change: fn(&mut Scene)) -> Scene {
    let mut scene = Scene::new();
    change(&mut scene);
    scene
}

#[test]
fn each_node_is_shown_as_its_file_says() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/status");
    let mut wrong = String::new();
    for (name, change) in CASES {
        let report = scene(*change).report();
        let status = report.condition().exit_status();
        let shown = format!("{}\nexit status {status}\n", overview(&report, COLUMNS));
        let expected = fs::read_to_string(fixtures.join(name)).unwrap_or_default();
        if shown != expected {
            wrong.push_str(&format!("-- {name} is\n{shown}"));
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    let known = CASES.iter().map(|(name, _)| (*name).to_owned());
    let mut known = known.chain(["detail".to_owned()]).collect::<Vec<_>>();
    let files = fs::read_dir(fixtures).unwrap();
    let files = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut files = files.collect::<Vec<_>>();
    known.sort();
    files.sort();
    assert_eq!(files, known);
}

#[test]
fn no_line_is_wider_than_the_terminal_and_none_breaks_it() {
    for (name, change) in CASES {
        for width in [60, 80, 200] {
            let style = Style { width, ..COLUMNS };
            let text = overview(&scene(*change).report(), style);
            for line in text.lines() {
                assert!(line.chars().count() <= width, "{name} at {width}: {line}");
            }
            let is_odd = |c: char| c.is_control() && c != '\n';
            assert!(!text.contains(is_odd), "{name}: {text:?}");
        }
    }
}

#[test]
fn colours_change_no_character() {
    for (name, change) in CASES {
        let report = scene(*change).report();
        let is_coloured = true;
        let coloured = overview(
            &report,
            Style {
                is_coloured,
                ..COLUMNS
            },
        );
        assert!(coloured.contains("\x1b[3"), "{name}");
        let mut plain = String::new();
        for (at, part) in coloured.split("\x1b[").enumerate() {
            let part = if at == 0 {
                part
            } else {
                part.split_once('m').unwrap().1
            };
            plain.push_str(part);
        }
        assert_eq!(plain, overview(&report, COLUMNS), "{name}");
    }
}

/// All that is known of an image, by each of its names, and of a file.
#[test]
fn one_image_or_file_is_found_by_its_names() {
    let report = scene(CASES[1].1).report();
    let digest = Digest::of(NGINX.as_bytes()).to_string();
    let by_digest = format!("nginx@{digest}");
    let shown = |name: &str| {
        let part = report.about(name).unwrap();
        detail(&report, &part, COLUMNS)
    };
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/status");
    let expected = fs::read_to_string(fixtures.join("detail")).unwrap_or_default();
    let both = format!("{}\n{}", shown("cut.tar"), shown("nginx:1.27"));
    assert_eq!(both, expected, "\n{both}");
    for name in [
        NGINX,
        &digest,
        &by_digest,
        "web.tar",
        "apps/web.tar",
        &format!("{DIR}/apps/web.tar"),
    ] {
        assert_eq!(shown(name), shown("nginx:1.27"), "{name}");
    }
    for name in ["nginx", "apps", "w.tar", ""] {
        assert!(report.about(name).is_none(), "{name}");
    }
    // What else is wrong is not wrong with it.
    for (name, status) in [("cut.tar", 1), (NGINX, 1), (POSTGRES, 0), (PAUSE, 0)] {
        let condition = report.about(name).unwrap().condition();
        assert_eq!(condition.exit_status(), status, "{name}");
    }
}

#[test]
fn programs_are_told_the_same() {
    for (name, change) in CASES {
        let report = scene(*change).report();
        let document = serde_json::from_str::<Value>(&report.json()).unwrap();
        assert_eq!(document["version"], 1);
        let status = report.condition().exit_status();
        assert_eq!(document["exitStatus"], status, "{name}");
        assert_eq!(document["condition"], report.condition().word(), "{name}");
    }
    let document = serde_json::from_str::<Value>(&scene(CASES[2].1).report().json()).unwrap();
    let entry = |file: &str| {
        let entries = document["entries"].as_array().unwrap();
        let path = format!("{DIR}/{file}");
        entries.iter().find(|entry| entry["path"] == path).unwrap()
    };
    let web = &entry("apps/web.tar")["images"][0];
    assert_eq!(web["state"], "gone");
    assert_eq!(
        (&web["whole"], &web["pinned"]),
        (&false.into(), &false.into())
    );
    let db = &entry("apps/db.tar")["images"][0];
    assert_eq!((&db["whole"], &db["pinned"]), (&false.into(), &true.into()));
    assert_eq!(
        (&db["bytes"], &db["sharedBytes"]),
        (&181_002_000.into(), &30_000_000.into())
    );
    assert_eq!(document["disk"]["sharedBytes"], 30_000_000);
    assert_eq!(document["daemon"]["pid"], 1234);
    assert_eq!(document["notRunning"], Value::Null);
}

/// The keys of a document, and of all objects in it.
fn keys(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                found.insert(key.clone());
                keys(value, found);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| keys(value, found)),
        _ => {}
    }
}

#[test]
fn every_field_is_documented() {
    let text = fs::read_to_string("docs/status.md").unwrap();
    let mut found = BTreeSet::new();
    for (_, change) in CASES {
        let mut scene = scene(*change);
        let on_board = scene.board.clone();
        let document = StatusDocument {
            on_board,
            ..document(scene.phase)
        };
        keys(&serde_json::to_value(document).unwrap(), &mut found);
        scene.notes.push(String::new());
        keys(
            &serde_json::from_str(&scene.report().json()).unwrap(),
            &mut found,
        );
    }
    assert!(found.len() > 50, "{found:?}");
    found.retain(|key| !text.contains(&format!("`{key}`")));
    assert_eq!(found, BTreeSet::new());
}
