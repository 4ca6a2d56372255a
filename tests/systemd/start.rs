//! `systemctl start`: it returns when the load has drained, and only stowd says when that is.

use std::time::Duration;

use crate::machine::Machine;
use crate::node::{BUSYBOX, Node, PAUSE, SOON, UNIT, when};
use crate::slow_disk;
use crate::support::{Generation, fixture, on_each_generation_in_turn};

on_each_generation_in_turn!(it_returns_when_every_entry_has_an_outcome);

fn it_returns_when_every_entry_has_an_outcome(generation: &Generation) {
    let node = Node::boot_with(generation);
    let whole = ["large.tar.zst", "pause.tar", "skopeo-docker.tar.zst"];
    node.stow(&whole);
    let cut = std::fs::read(fixture("umoci.tar.gz").path).expect("an archive");
    let path = node.path("/var/lib/stowd/images/cut.tar.gz");
    std::fs::write(path, &cut[..cut.len() / 2]).expect("half an archive");

    node.systemctl("start");
    let images = node.images();
    let expected = whole.iter().flat_map(|file| fixture(file).names);
    let expected = expected.collect::<Vec<_>>();
    assert_eq!(expected.len(), 6);
    for name in &expected {
        assert!(images.contains(name), "{name} is not in {images:?}");
    }
    node.assert_shows(&[
        ("ActiveState", "active"),
        ("SubState", "running"),
        ("NRestarts", "0"),
    ]);
    let status = node.shows("StatusText");
    let expected = "ready: 6 images from 4 entries, 1 failed (";
    assert!(status.starts_with(expected), "{status}");

    let imported = node.said("imported");
    let mut failed = node.said("failed");
    // It is tried again every now and then.
    failed.retain(|entry| entry["STOWD_ATTEMPTS"] == "1");
    assert_eq!((imported.len(), failed.len()), (3, 1));
    let journal = node.journal(UNIT);
    let started = journal
        .iter()
        .find(|entry| entry["JOB_TYPE"] == "start" && entry["JOB_RESULT"] == "done")
        .expect("systemd's own line");
    for entry in imported.iter().chain(&failed) {
        assert!(when(entry) < when(started), "{entry} after {started}");
    }
    let active = node.time("ActiveEnterTimestampMonotonic");
    let ready = node.said("ready");
    assert_eq!(ready.len(), 1, "{ready:?}");
    // systemd heard of it after the last outcome.
    let outcomes = imported.iter().chain(&failed).map(when);
    assert!(outcomes.max().expect("four outcomes") < active);
    node.run_container("offline");
}

#[test]
fn what_is_ordered_after_it_finds_the_images_there() {
    let node = Node::boot();
    node.stow(&["large.tar.zst", "pause.tar"]);
    // The unit has Before=kubelet.service.
    node.write(
        "/etc/systemd/system/kubelet.service",
        "[Service]\nType=oneshot\nRemainAfterExit=yes\n\
         ExecStart=ctr --address=/run/stowd/containerd.sock --namespace=k8s.io images list --quiet\n",
    );
    node.write(
        "/etc/systemd/system/node.target",
        "[Unit]\nWants=kubelet.service stowd.service\nAfter=kubelet.service stowd.service\n",
    );
    node.ok(&["systemctl", "daemon-reload"]);
    node.ok(&["systemctl", "start", "node.target"]);
    let seen = node.journal("kubelet.service");
    let seen = seen
        .iter()
        .filter_map(|entry| entry["MESSAGE"].as_str())
        .collect::<Vec<_>>();
    for file in ["large.tar.zst", "pause.tar"] {
        for name in fixture(file).names {
            assert!(seen.contains(&name.as_str()), "{name} is not in {seen:?}");
        }
    }
}

#[test]
fn it_takes_longer_than_timeout_start_sec_as_long_as_bytes_move() {
    // So that the load takes longer than the ten seconds after which it is a line of the log.
    const LIMIT: Duration = Duration::from_secs(8);
    let node = Node::boot();
    node.stow(&["large.tar"]);
    let size = std::fs::metadata(fixture("large.tar").path)
        .expect("large.tar")
        .len();
    // Reading it once takes half as long again as the limit allows.
    let bytes_per_second = size / (LIMIT.as_secs() + LIMIT.as_secs() / 2);
    let slow = slow_disk::install(&node, bytes_per_second);
    node.drop_in(&format!(
        "{slow}\nTimeoutStartSec={}\n# It does not count before READY.\nWatchdogSec=3\nRestart=no",
        LIMIT.as_secs()
    ));

    let mut start = node.begin_start();
    let mut told = Vec::new();
    let status = node.eventually(SOON, "the start to end", || {
        let status = node.shows("StatusText");
        if told.last() != Some(&status) {
            told.push(status);
        }
        start.try_wait().expect("systemctl")
    });
    assert!(status.success(), "{status}; told: {told:#?}");
    node.assert_shows(&[("ActiveState", "active"), ("NRestarts", "0")]);
    let began = node.time("ExecMainStartTimestampMonotonic");
    let took = node.time("ActiveEnterTimestampMonotonic") - began;
    assert!(took > LIMIT, "not a slow start, it took {took:?}");

    // What an operator saw meanwhile.
    let importing = told
        .iter()
        .filter(|status| status.starts_with("importing 1/1: large.tar, "))
        .count();
    assert!(importing >= 3, "{told:#?}");
    let is_left = |status: &String| status.contains("/s, ") && status.ends_with(" s left");
    assert!(told.iter().any(is_left), "{told:#?}");
    let lines = node.said("loading: importing 1/1: large.tar, ");
    assert!(!lines.is_empty(), "{took:?}");
    assert!(lines.len() as u64 <= took.as_secs() / 10, "{took:?}");
    let number = |field: &str| lines[0][field].as_str().unwrap().parse::<u64>().unwrap();
    assert_eq!((number("STOWD_ENTRIES"), number("STOWD_OPEN")), (0, 1));
    assert_eq!(number("STOWD_SIZE"), size);
    assert!((1..size).contains(&number("STOWD_BYTES")));
    assert!(number("STOWD_BYTES_PER_SECOND") > 0);
    assert!(number("STOWD_SECONDS_LEFT") > 0);
    assert_eq!(
        told.last().map(String::as_str),
        Some(
            "ready: 4 images from 1 entry; watching /var/lib/stowd/images; \
             sandbox image missing: registry.stowd.test/pause:1"
        )
    );
}

#[test]
fn it_is_given_up_at_timeout_start_sec_when_nothing_moves() {
    let node = Node::boot();
    node.write(
        "/usr/local/bin/never-serves",
        "#!/bin/sh\nexec sleep 1000000\n",
    );
    node.ok(&["chmod", "755", "/usr/local/bin/never-serves"]);
    node.configure("60-test", "containerd.binary = \"never-serves\"\n");
    node.stow(&["pause.tar"]);
    node.drop_in("TimeoutStartSec=2\nRestart=no");

    let output = node.run(&["systemctl", "start", UNIT]);
    assert!(!output.status.success(), "{output:?}");
    node.assert_shows(&[
        ("ActiveState", "failed"),
        ("Result", "timeout"),
        // It ended in order when it was asked to.
        ("ExecMainStatus", "0"),
    ]);
    let began = node.time("ExecMainStartTimestampMonotonic");
    let ended = node.time("ExecMainExitTimestampMonotonic");
    let took = ended - began;
    assert!(
        (Duration::from_secs(2)..Duration::from_secs(20)).contains(&took),
        "{took:?}"
    );
    let stopped = node.said("containerd stopped");
    assert_eq!(stopped.len(), 1, "{stopped:?}");
}

/// Without `NotifyAccess=main` this containerd would make the unit active at once.
#[test]
fn containerds_own_ready_does_not_count() {
    let node = Node::boot();
    node.write(
        "/usr/local/bin/containerd-says-ready",
        "#!/bin/sh\n\
         NOTIFY_SOCKET=/run/systemd/notify systemd-notify --ready --status='not stowd'\n\
         touch /run/said\n\
         exec env NOTIFY_SOCKET=/run/systemd/notify containerd \"$@\"\n",
    );
    node.ok(&["chmod", "755", "/usr/local/bin/containerd-says-ready"]);
    // An entry that is never left alone for long enough holds the drain.
    node.configure(
        "60-test",
        "containerd.binary = \"containerd-says-ready\"\nimages.settle = \"1h\"\n",
    );
    node.stow(&["pause.tar"]);
    let mut start = node.begin_start();
    node.eventually(SOON, "stowd to wait for the entry", || {
        let waits = "waiting for pause.tar, 1 to do";
        (node.shows("StatusText") == waits).then_some(())
    });
    assert!(node.path("/run/said").exists());
    let journal = node.journal(UNIT);
    let refused = journal.iter().filter(|entry| {
        let message = entry["MESSAGE"].as_str().unwrap_or_default();
        message.contains("reception only permitted for main PID")
    });
    // The script's, and containerd's own.
    assert!(refused.count() >= 2, "{journal:#?}");
    node.assert_shows(&[("ActiveState", "activating"), ("SubState", "start")]);
    assert!(start.try_wait().expect("systemctl").is_none());

    node.systemctl("stop");
    start.wait().expect("systemctl");
    node.assert_shows(&[
        ("ActiveState", "inactive"),
        ("SubState", "dead"),
        ("Result", "success"),
        ("ExecMainStatus", "0"),
    ]);
}

/// A line feed ends what is told to systemd, and the next line would be told as well.
#[test]
fn the_name_of_a_file_does_not_count_as_ready() {
    let node = Node::boot();
    node.configure("60-test", "images.settle = \"1h\"\n");
    let path = "/var/lib/stowd/images/a\nREADY=1\nb.tar";
    node.put(&fixture("pause.tar").path, path);
    let mut start = node.begin_start();
    node.eventually(SOON, "stowd to wait for the entry", || {
        let status = node.shows("StatusText");
        let waits = status.starts_with("waiting for a") && status.contains("READY=1");
        waits.then_some(())
    });
    node.assert_shows(&[("ActiveState", "activating")]);
    assert!(start.try_wait().expect("systemctl").is_none());
    node.systemctl("stop");
    start.wait().expect("systemctl");
}

/// The defaults, and nothing that a test has set: as on a fresh machine.
#[test]
fn it_starts_as_it_is_installed() {
    let machine = Machine::boot();
    // The host's, if it has one.
    machine.ok(&["rm", "-rf", "/etc/containerd"]);
    let images = "/var/lib/stowd/images";
    machine.put(&fixture("pause.tar").path, &format!("{images}/pause.tar"));
    machine.ok(&["systemctl", "start", UNIT]);
    let status = machine.property(UNIT, "StatusText");
    // Each generation has a version of its own.
    let expected = "ready: 1 image from 1 entry; watching /var/lib/stowd/images; \
                    sandbox image missing: registry.k8s.io/pause:";
    assert!(status.starts_with(expected), "{status}");
    let address = "--address=/run/stowd/containerd.sock";
    let listed = machine.ok(&["ctr", address, "-n", "k8s.io", "images", "list", "-q"]);
    assert!(listed.lines().any(|name| name == PAUSE), "{listed}");
    assert!(!listed.contains(BUSYBOX), "{listed}");
}
