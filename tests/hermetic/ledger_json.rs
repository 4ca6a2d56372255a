//! The ledger as a file: what comes back of one that was cut, flipped, or written by another hand.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use stowd::ledger::{Attempt, Dropped, Ledger, Record, images_dir_of};

use crate::ledger::{at, bad, good, version};

const DIR: &str = "/images";

/// A ledger with a record of every shape, under every kind of path.
fn ledger() -> Ledger {
    let mut ledger = Ledger::default();
    let inside = |name: &[u8]| Path::new(DIR).join(OsStr::from_bytes(name));
    ledger.record(
        inside(b"sub/a.tar"),
        good(1, &["r.example/a:1=x", "r.example/b:1=y"]),
    );
    ledger.record(inside(b"\xff 100%.tar"), good(2, &["c:1=x"]));
    ledger.record(inside(b"bad.tar"), good(3, &["d:1=x"]));
    ledger.record(inside(b"bad.tar"), bad(4, &["d:1=y"]));
    let unseen = Attempt {
        identity: None,
        ..bad(1, &[])
    };
    ledger.record("/elsewhere/\u{1f4e6}\"\n.tar".into(), unseen);
    ledger
}

fn json(ledger: &Ledger) -> Vec<u8> {
    ledger.snapshot().to_json(Path::new(DIR))
}

fn records(ledger: &Ledger) -> BTreeMap<PathBuf, Record> {
    let records = ledger.iter();
    records
        .map(|(path, record)| (path.to_owned(), record.clone()))
        .collect()
}

fn read(json: &[u8]) -> (BTreeMap<PathBuf, Record>, Option<Dropped>) {
    let (ledger, dropped) = Ledger::from_json(json, Path::new(DIR));
    (records(&ledger), dropped)
}

/// Panics unless every record is one of the originals. Returns how many there are.
fn assert_true(found: &BTreeMap<PathBuf, Record>, original: &BTreeMap<PathBuf, Record>) -> usize {
    for (path, record) in found {
        assert_eq!(original.get(path), Some(record), "{}", path.display());
    }
    found.len()
}

#[test]
fn everything_comes_back() {
    let original = ledger();
    let bytes = json(&original);
    assert_eq!(read(&bytes), (records(&original), None));
    let (again, _) = Ledger::from_json(&bytes, Path::new(DIR));
    assert_eq!(json(&again), bytes);
    assert_eq!(read(&json(&Ledger::default())), (BTreeMap::new(), None));
}

#[test]
fn the_form_is_the_documented_one() {
    let mut ledger = Ledger::default();
    ledger.record(Path::new(DIR).join("a.tar"), good(12, &["a:1=x"]));
    let text = String::from_utf8(json(&ledger)).unwrap();
    let lines = text.lines().collect::<Vec<_>>();
    assert_eq!(
        (lines[0], lines[2], lines.len()),
        (
            "{\"version\":1,\"images_dir\":\"/images\",\"entries\":[",
            "]}",
            3
        )
    );
    let begin = concat!(
        r#"{"path":"a.tar","outcome":"imported","identity":{"device":2049,"inode":1,"size":7,"#,
        r#""mtime":"1763712000123456789","ctime":"1763712000123456802"},"settings":"sha256:"#,
    );
    assert!(lines[1].starts_with(begin), "{}", lines[1]);
    let finished =
        r#""finished":"2025-11-21T08:00:00.123456789Z","attempts":1,"serial":1,"checksum""#;
    assert!(lines[1].contains(finished), "{}", lines[1]);
}

#[test]
fn another_directory_finds_the_same_entries() {
    let mut ledger = Ledger::default();
    ledger.record("/images/a.tar".into(), good(1, &[]));
    ledger.record("/images-old/a.tar".into(), good(2, &[]));
    let (moved, dropped) = Ledger::from_json(&json(&ledger), Path::new("/moved"));
    let paths = moved.iter().map(|(path, _)| path.to_owned());
    assert_eq!(dropped, None);
    let expected = ["/images-old/a.tar", "/moved/a.tar"].map(PathBuf::from);
    assert_eq!(paths.collect::<Vec<_>>(), expected);
}

#[test]
fn a_tool_may_write_it_in_another_form() {
    let original = ledger();
    let value: serde_json::Value = serde_json::from_slice(&json(&original)).unwrap();
    let pretty = serde_json::to_vec_pretty(&value).unwrap();
    assert_eq!(read(&pretty), (records(&original), None));
    assert_eq!(images_dir_of(&pretty).as_deref(), Some(Path::new(DIR)));
}

#[test]
fn it_says_of_which_directory_it_is_from_its_first_line_on() {
    let strange = Path::new(OsStr::from_bytes(b"/a \"\xff\" %\n"));
    let bytes = ledger().snapshot().to_json(strange);
    let first_line = bytes.iter().position(|byte| *byte == b'\n').unwrap();
    for cut in 0..=bytes.len() {
        let known = images_dir_of(&bytes[..cut]);
        assert_eq!(
            known.as_deref(),
            (cut >= first_line).then_some(strange),
            "{cut}"
        );
    }
    let older = r#"{"version":1,"entries":[]}"#;
    for text in [
        older,
        "",
        "{}",
        "[]",
        r#"{"images_dir":7}"#,
        r#"{"images_dir":"%"}"#,
    ] {
        assert_eq!(images_dir_of(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn times_that_no_clock_should_show_are_written() {
    let mut ledger = Ledger::default();
    for (path, finished) in [
        ("before", SystemTime::UNIX_EPOCH - Duration::from_secs(5)),
        (
            "after",
            SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40),
        ),
    ] {
        let attempt = Attempt {
            finished,
            ..bad(1, &[])
        };
        ledger.record(path.into(), attempt);
    }
    let mut strange = version(1);
    strange.mtime = i128::from(i64::MAX) * 1_000_000_000;
    strange.ctime = -1_500_000_000;
    let attempt = Attempt {
        identity: Some(strange),
        ..good(1, &[])
    };
    ledger.record("strange".into(), attempt);
    let (found, dropped) = read(&json(&ledger));
    assert_eq!((found.len(), dropped), (3, None));
    let strange_again = found[&Path::new(DIR).join("strange")].identity;
    assert_eq!(strange_again, Some(strange));
}

#[test]
fn cut_anywhere_it_gives_the_whole_lines_before() {
    let original = ledger();
    let (bytes, original) = (json(&original), records(&original));
    let mut most = 0;
    for cut in 0..bytes.len() {
        let (found, dropped) = read(&bytes[..cut]);
        let kept = assert_true(&found, &original);
        assert!(kept >= most, "less at {cut} than before");
        most = kept;
        // Without its last newline it is whole still.
        let whole = cut == 0 || cut == bytes.len() - 1;
        assert_eq!(dropped.is_none(), whole, "{cut}: {dropped:?}");
    }
    assert_eq!(most, original.len());
}

#[test]
fn flipped_anywhere_it_gives_true_records_or_none() {
    let original = ledger();
    let (bytes, original) = (json(&original), records(&original));
    let lines = bytes.split(|byte| *byte == b'\n').collect::<Vec<_>>();
    let header = lines[0].len();
    for at in 0..bytes.len() {
        for mask in [0x01, 0x04, 0x20, 0x80, 0xff] {
            let mut flipped = bytes.clone();
            flipped[at] ^= mask;
            let (found, dropped) = read(&flipped);
            let kept = assert_true(&found, &original);
            let lost = original.len() - kept;
            assert!(
                lost == 0 || dropped.is_some(),
                "{at} {mask:#x}: lost in silence"
            );
            // One byte costs its own line, or the two that it stands between.
            if at > header {
                assert!(lost <= 2, "{at} {mask:#x}: {lost} lost, {dropped:?}");
            }
        }
    }
}

/// The digits of identities, digests and serials, each made another digit.
#[test]
fn no_digit_can_be_changed() {
    let original = ledger();
    let (bytes, original) = (json(&original), records(&original));
    let mut tried = 0;
    for at in bytes.iter().position(|byte| *byte == b'\n').unwrap()..bytes.len() {
        if bytes[at].is_ascii_digit() {
            let mut changed = bytes.clone();
            changed[at] = b'0' + (bytes[at] - b'0' + 1) % 10;
            let (found, dropped) = read(&changed);
            assert_eq!(assert_true(&found, &original), original.len() - 1, "{at}");
            assert!(
                matches!(dropped, Some(Dropped::Records { dropped: 1, .. })),
                "{dropped:?}"
            );
            tried += 1;
        }
    }
    assert!(tried > 300, "{tried}");
}

#[test]
fn a_bad_record_does_not_lose_the_others() {
    let original = ledger();
    let text = String::from_utf8(json(&original)).unwrap();
    for (bad, cause) in [
        ("null", "invalid type: null"),
        ("[]", "invalid length 0"),
        ("{}", "missing field `path`"),
        (r#"{"path":null}"#, "invalid type: null"),
        ("7", "invalid type: integer"),
    ] {
        let with = text.replacen("[\n", &format!("[\n{bad},\n"), 1);
        let (found, dropped) = read(with.as_bytes());
        assert_eq!(found, records(&original), "{bad}");
        let Some(Dropped::Records {
            dropped: 1,
            total: 5,
            cause: found,
        }) = dropped
        else {
            panic!("{bad}: {dropped:?}");
        };
        assert!(found.contains(cause), "{bad}: {found}");
    }
    // Two faults are one warning, which names the first.
    let with = text.replacen("[\n", "[\nnull,\n7,\n", 1);
    let warning = read(with.as_bytes()).1.unwrap().to_string();
    let expected = "2 of its 6 records are not used, the first because invalid type: null";
    assert!(warning.starts_with(expected), "{warning}");
}

#[test]
fn a_record_without_its_checksum_is_no_record() {
    let text = String::from_utf8(json(&ledger())).unwrap();
    let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
    value["entries"][0]
        .as_object_mut()
        .unwrap()
        .remove("checksum");
    let (found, dropped) = read(&serde_json::to_vec(&value).unwrap());
    assert_eq!(found.len(), 3);
    let warning = dropped.unwrap().to_string();
    assert!(warning.contains("checksum does not match"), "{warning}");
}

/// What is written here is proven by its checksum, and makes no sense all the same: another stowd
/// of the same version must not have written it.
#[test]
fn proven_nonsense_is_dropped() {
    let digest = stowd::digest::Digest::of(b"");
    let sign = |record: &str| {
        let mut hasher = stowd::digest::Hasher::default();
        hasher.update(b"stowd ledger 1\n");
        hasher.update(record.as_bytes());
        let checksum = hasher.finish();
        let open = record.strip_suffix('}').unwrap();
        format!(r#"{{"version":1,"entries":[{open},"checksum":"{checksum}"}}]}}"#)
    };
    let record = |path: &str, outcome: &str, time: &str, more: &str, mtime: &str| {
        format!(
            r#"{{"path":"{path}","outcome":"{outcome}","identity":{{"device":1,"inode":1,"size":1,"mtime":"{mtime}","ctime":"1"}},"settings":"{digest}","images":[],"bytes":1,"duration_ns":1,"finished":"{time}","attempts":1{more},"serial":1}}"#
        )
    };
    let time = "2026-11-21T08:00:00.000000000Z";
    let good = sign(&record("a", "imported", time, "", "1"));
    assert_eq!(
        read(good.as_bytes()).1,
        None,
        "the test signs as stowd does"
    );
    let next = r#","next_try":"soon""#;
    for (bad, cause) in [
        (record("a%", "imported", time, "", "1"), "path"),
        (record("a", "failed", time, "", "1"), "outcome"),
        (record("a", "imported", "today", "", "1"), "finished"),
        (record("a", "imported", time, next, "1"), "next_try"),
        (record("a", "imported", time, "", "x"), "identity"),
        (
            record("a", "skipped", time, "", "1"),
            "unknown variant `skipped`",
        ),
    ] {
        let (found, dropped) = read(sign(&bad).as_bytes());
        assert!(found.is_empty(), "{bad}");
        let warning = dropped.unwrap().to_string();
        assert!(warning.contains(cause), "{warning}");
    }
}

#[test]
fn what_other_hands_wrote_is_named() {
    let k3s = r#"{"/var/lib/rancher/k3s/agent/images/a.tar":{"size":4096,"modTime":"2026-07-22T22:58:25Z"},
                  "/var/lib/rancher/k3s/agent/images/b.tar":{"size":1,"modTime":null,"images":["a:1"]},
                  "/x":null}"#;
    let deep = "[".repeat(100_000);
    let huge_number = r#"{"version":1e999,"entries":[]}"#;
    for (text, expected) in [
        ("", None),
        (" \n\t", None),
        ("{}", None),
        (r#"{"version":1,"entries":[]}"#, None),
        (k3s, Some("the cache of k3s")),
        ("null", Some("not a ledger")),
        ("[]", Some("not a ledger")),
        ("\"text\"", Some("not a ledger")),
        (r#"{"a":{"b":1}}"#, Some("not a ledger")),
        (r#"{"version":1}"#, Some("not a ledger")),
        (r#"{"version":1,"entries":null}"#, Some("not a ledger")),
        (r#"{"version":null,"entries":[]}"#, Some("not a ledger")),
        (r#"{"version":"1","entries":[]}"#, Some("not a ledger")),
        (r#"{"entries":[]}"#, Some("not a ledger")),
        (
            r#"{"version":2,"entries":[{}]}"#,
            Some("of version 2, and this stowd reads version 1"),
        ),
        (r#"{"version":0,"records":{}}"#, Some("of version 0")),
        (huge_number, Some("damaged (number out of range")),
        ("{\"a\":", Some("damaged (EOF while parsing")),
        ("\u{feff}{}", Some("damaged (expected value")),
        ("\0\0\0\0", Some("damaged (expected value")),
        (&deep, Some("damaged (recursion limit exceeded")),
    ] {
        let (found, dropped) = read(text.as_bytes());
        assert!(found.is_empty(), "{text}");
        let warning = dropped.map(|dropped| dropped.to_string());
        match (&warning, expected) {
            (None, None) => {}
            (Some(warning), Some(expected)) if warning.starts_with(expected) => {}
            _ => panic!("{:.80}: {warning:?}", text),
        }
    }
    let random = (0..4096u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8);
    let (found, dropped) = read(&random.collect::<Vec<_>>());
    assert!(found.is_empty() && dropped.is_some());
}

#[test]
fn a_line_of_another_version_is_not_saved_from_a_damaged_file() {
    let mut ledger = Ledger::default();
    ledger.record("/images/a.tar".into(), good(1, &[]));
    assert_eq!(ledger.iter().next().unwrap().1.finished, at(0));
    let text = String::from_utf8(json(&ledger)).unwrap();
    let line = text.lines().nth(1).unwrap();
    let (found, dropped) = read(format!("garbage\n{line}\n").as_bytes());
    assert_eq!(found.len(), 1);
    assert!(
        matches!(dropped, Some(Dropped::Damaged { kept: 1, .. })),
        "{dropped:?}"
    );
    let unsalted = {
        let mut value: serde_json::Value = serde_json::from_str(line).unwrap();
        let bare = line.split(",\"checksum\"").next().unwrap().to_owned() + "}";
        let checksum = stowd::digest::Digest::of(bare.as_bytes());
        value["checksum"] = checksum.to_string().into();
        serde_json::to_string(&value).unwrap()
    };
    let (found, _) = read(format!("garbage\n{unsalted}\n").as_bytes());
    assert!(found.is_empty());
}
