//! What `journalctl -u stowd` has: the lines of stowd and of containerd, told apart, with fields.

use std::collections::BTreeSet;

use serde_json::Value;
use stowd::happened::stable_messages;

use crate::node::{Node, UNIT};
use crate::support::fixture;

const DIR: &str = "/var/lib/stowd/images";

#[test]
fn a_line_of_stowds_has_its_fields() {
    let node = Node::boot();
    node.stow(&["skopeo-docker.tar.zst"]);
    node.write(&format!("{DIR}/broken.tar"), "not an archive");
    node.write(&format!("{DIR}/notes.md"), "not an entry");
    node.systemctl("start");
    let containerd = node.containerd().pid.to_string();
    let stowd = node.stowd().pid.to_string();

    let archive = format!("{DIR}/skopeo-docker.tar.zst");
    let bytes = std::fs::metadata(fixture("skopeo-docker.tar.zst").path).unwrap();
    let bytes = bytes.len().to_string();
    let broken = format!("{DIR}/broken.tar");
    let notes = format!("{DIR}/notes.md");
    for (message, priority, fields) in [
        (
            "containerd started",
            "6",
            vec![("STOWD_PID", containerd.as_str())],
        ),
        (
            "ignored: not an archive and not a list",
            "6",
            vec![("STOWD_PATH", notes.as_str())],
        ),
        (
            "imported ",
            "6",
            vec![
                ("STOWD_ENTRY", archive.as_str()),
                ("STOWD_IMAGES", "1"),
                ("STOWD_BYTES", bytes.as_str()),
                ("STOWD_NAMES", crate::node::BUSYBOX),
            ],
        ),
        (
            "failed ",
            "3",
            vec![("STOWD_ENTRY", broken.as_str()), ("STOWD_IMAGES", "0")],
        ),
        (
            "ready: ",
            "6",
            vec![
                ("STOWD_IMAGES", "1"),
                ("STOWD_ENTRIES", "2"),
                ("STOWD_FAILED", "1"),
            ],
        ),
    ] {
        let said = node.said(message);
        assert_eq!(said.len(), 1, "{message}: {said:#?}");
        let common = [
            ("PRIORITY", priority),
            ("SYSLOG_IDENTIFIER", "stowd"),
            ("_SYSTEMD_UNIT", UNIT),
            ("_PID", stowd.as_str()),
            ("_TRANSPORT", "journal"),
        ];
        for (name, value) in common.iter().chain(&fields) {
            assert_eq!(said[0][name], *value, "{message}: {name}");
        }
        let mut stable = stable_messages();
        let stable = stable.find(|stable| stable.begins.trim() == message.trim());
        assert_eq!(said[0]["MESSAGE_ID"], stable.unwrap().id, "{message}");
    }
    let seconds = node.said("imported")[0]["STOWD_SECONDS"].clone();
    let seconds: f64 = seconds.as_str().unwrap().parse().unwrap();
    assert!(seconds > 0.0 && seconds < 60.0, "{seconds}");
    let error = node.said("failed")[0]["STOWD_ERROR"].clone();
    assert!(error.as_str().is_some_and(|error| !error.is_empty()));
    let found = node.said("found");
    let found = found.iter().map(|entry| &entry["STOWD_ENTRY"]);
    assert_eq!(found.collect::<Vec<_>>(), [&broken, &archive]);

    // The questions that an operator asks.
    let asked = |words: &[&str]| -> Vec<Value> {
        let command = ["journalctl", "--boot", "--output=json", "--unit", UNIT];
        let lines = node.ok(&[&command, words].concat());
        let entries = lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap());
        entries.collect()
    };
    let of_broken = asked(&[&format!("STOWD_ENTRY={broken}")]);
    let messages = of_broken
        .iter()
        .map(|entry| entry["MESSAGE"].as_str().unwrap_or_default());
    let messages = messages.collect::<Vec<_>>();
    assert!(messages[0].starts_with("found /"), "{messages:?}");
    assert!(
        messages
            .last()
            .is_some_and(|last| last.starts_with("failed /")),
        "{messages:?}"
    );
    let mut errors = asked(&["--identifier=stowd", "--priority=err"]);
    // It is tried again every now and then.
    errors.retain(|entry| entry["STOWD_ATTEMPTS"] == "1");
    assert_eq!(errors.len(), 1, "{errors:#?}");
    // What tells of something wrong is explained, with its fields.
    let id = errors[0]["MESSAGE_ID"].as_str().unwrap();
    // As the installer, or a package, does on a machine that runs.
    node.ok(&["journalctl", "--update-catalog"]);
    let explained = node.ok(&["journalctl", "-x", &format!("MESSAGE_ID={id}")]);
    for line in [
        format!("Subject: failed {broken}"),
        "Defined-By: stowd".to_owned(),
        format!("Images of {broken} are not in containerd; the message"),
    ] {
        assert!(explained.contains(&line), "{line:?} of {explained}");
    }
    let ids = node.ok(&["journalctl", "--list-catalog"]);
    let wrong = stable_messages().filter(|message| message.explanation.is_some());
    for message in wrong {
        let is_there = |line: &str| line.starts_with(message.id) && line.contains(" stowd: ");
        assert!(ids.lines().any(is_there), "{message:?}");
    }
}

/// The `level=` of each of containerd's lines, none of which has another priority.
fn levels(node: &Node) -> BTreeSet<String> {
    let mut levels = BTreeSet::new();
    for line in node.said_by("containerd") {
        let message = line["MESSAGE"].as_str().expect("text");
        assert_eq!(line["_SYSTEMD_UNIT"], UNIT, "{line}");
        let level = message
            .split(' ')
            .find_map(|word| word.strip_prefix("level="));
        let priority = match level {
            Some("debug" | "trace") => "7",
            Some("warning") => "4",
            Some("error") => "3",
            _ => "6",
        };
        assert_eq!(line["PRIORITY"], priority, "{message}");
        levels.extend(level.map(str::to_owned));
    }
    levels
}

#[test]
fn a_line_of_containerds_has_its_own_identifier_and_its_priority() {
    let node = Node::boot();
    node.stow(&["pause.tar"]);
    node.systemctl("start");
    // It says of itself that there is no CNI: 1.x as an error, 2.3 as a warning.
    let troubles = levels(&node);
    assert!(!troubles.is_empty(), "it warns of something");
    for level in ["trace", "debug", "info"] {
        assert!(!troubles.contains(level), "{troubles:?}");
    }
    node.configure("60-log", "[containerd.log]\nlevel = \"debug\"\n");
    node.systemctl("restart");
    let all = levels(&node);
    for level in ["debug", "info"] {
        assert!(all.contains(level), "{all:?}");
    }
    // Neither has the other's lines.
    for line in node.said_by("stowd") {
        assert_eq!(line["_TRANSPORT"], "journal", "{line}");
        assert!(!line["MESSAGE"].as_str().unwrap().contains("level="));
    }
    let identifiers = node.journal(UNIT);
    let identifiers = identifiers
        .iter()
        .filter_map(|entry| entry["SYSLOG_IDENTIFIER"].as_str())
        // systemd's, between fork and exec: here there may be no modprobe.
        .filter(|identifier| !identifier.starts_with('('))
        .collect::<BTreeSet<_>>();
    assert_eq!(
        identifiers,
        BTreeSet::from(["containerd", "stowd", "systemd"])
    );
}
