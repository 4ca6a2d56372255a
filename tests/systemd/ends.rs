//! How stowd ends, or does not, and what systemd makes of it.

use crate::node::{Node, SOON, UNIT};
use crate::slow_disk;

#[test]
fn a_configuration_error_is_not_tried_again() {
    let node = Node::boot();
    node.drop_in("RestartSec=100ms");
    node.configure("60-test", "[images]\nsetle = \"2s\"\n");
    let output = node.run(&["systemctl", "start", UNIT]);
    assert!(!output.status.success(), "{output:?}");
    // With a restart to come it would be "activating" and "auto-restart".
    node.assert_shows(&[
        ("ActiveState", "failed"),
        ("SubState", "failed"),
        ("Result", "exit-code"),
        ("ExecMainStatus", "78"),
        ("NRestarts", "0"),
    ]);
    let said = node.said_by("stowd");
    assert_eq!(said.len(), 1, "{said:?}");
    let message = said[0]["MESSAGE"].as_str().unwrap();
    let status = node.shows("StatusText");
    assert!(status.starts_with("failed: configuration: "), "{status}");
    for part in ["/etc/stowd/config.d/60-test.toml", "images.setle"] {
        assert!(message.contains(part), "{message}");
        assert!(status.contains(part), "{status}");
    }

    // Any other error is.
    node.configure("60-test", "containerd.binary = \"/opt/nothing\"\n");
    let output = node.run(&["systemctl", "start", UNIT]);
    assert!(!output.status.success(), "{output:?}");
    node.eventually(SOON, "two restarts", || {
        let restarts = node.shows("NRestarts").parse::<u32>().expect("a number");
        (restarts >= 2).then_some(())
    });
    let stopped = node.said("stopped");
    let error = stopped[0]["STOWD_ERROR"].as_str().unwrap();
    assert!(error.contains("/opt/nothing"), "{error}");
    node.eventually(SOON, "the status", || {
        let status = node.shows("StatusText");
        (status.starts_with("failed: ") && status.contains("/opt/nothing")).then_some(())
    });

    // Until it is mended.
    node.configure("60-test", "");
    node.eventually(SOON, "READY", || {
        (node.shows("ActiveState") == "active").then_some(())
    });
}

#[test]
fn a_reload_opens_the_log_anew_and_ends_nothing() {
    let node = Node::boot();
    let log = "/var/log/stowd/containerd.log";
    node.configure("60-test", &format!("containerd.log.file = \"{log}\"\n"));
    node.systemctl("start");
    let (stowd, containerd) = (node.stowd(), node.containerd());
    assert!(node.said_by("containerd").is_empty());

    let old = "/var/log/stowd/old.log";
    node.ok(&["mv", log, old]);
    node.systemctl("reload");
    node.eventually(SOON, "the end of the reload", || {
        let is_over = !node.said("reloaded; changed: ").is_empty();
        (is_over && node.shows("ActiveState") == "active").then_some(())
    });
    node.assert_shows(&[("NRestarts", "0")]);
    assert_eq!((node.stowd(), node.containerd()), (stowd, containerd));
    // containerd writes as it ends.
    let read = |path| std::fs::read_to_string(node.path(path)).unwrap();
    let before = read(old);
    node.systemctl("stop");
    assert_eq!(read(old), before, "the old file is left alone");
    let written = read(log);
    assert!(written.contains("level="), "{written}");
}

#[test]
fn a_stop_in_the_middle_of_the_load_is_a_stop_in_order() {
    let node = Node::boot();
    node.stow(&["large.tar"]);
    let slow = slow_disk::install(&node, 2_000_000);
    node.drop_in(&slow);
    let mut start = node.begin_start();
    node.eventually(SOON, "bytes to move", || {
        let status = node.shows("StatusText");
        let moves =
            status.starts_with("importing 1/1: large.tar, ") && !status.contains(", 0 B of");
        moves.then_some(())
    });
    let containerd = node.containerd();
    node.systemctl("stop");
    start.wait().expect("systemctl");
    node.assert_shows(&[
        ("ActiveState", "inactive"),
        ("Result", "success"),
        ("ExecMainStatus", "0"),
    ]);
    assert!(!node.runs(&containerd));
    assert!(node.said("imported").is_empty() && node.said("failed").is_empty());
    assert_eq!(node.said("containerd stopped").len(), 1);

    // The next start does what this one did not.
    node.drop_in("");
    node.systemctl("start");
    node.assert_shows(&[(
        "StatusText",
        "ready: 4 images from 1 entry; watching /var/lib/stowd/images; \
         sandbox image missing: registry.stowd.test/pause:1",
    )]);
}

#[test]
fn a_machine_that_is_shut_down_does_not_wait_for_it() {
    let node = Node::boot();
    node.stow(&["pause.tar"]);
    node.systemctl("start");
    assert!(node.power_off(SOON), "it powers itself off");
}

#[test]
fn a_reload_of_a_wrong_configuration_fails_and_ends_nothing() {
    let node = Node::boot();
    node.stow(&["pause.tar"]);
    node.systemctl("start");
    let (stowd, containerd) = (node.stowd(), node.containerd());
    let ready = "ready: 1 image from 1 entry; watching /var/lib/stowd/images";
    node.assert_shows(&[("StatusText", ready)]);

    node.configure("60-test", "images.settle = \"soon\"\n");
    let output = node.run(&["systemctl", "reload", UNIT]);
    assert!(!output.status.success(), "{output:?}");
    let wrong = format!("{ready}; not reloaded: the configuration on disk is wrong");
    node.eventually(SOON, "the status", || {
        (node.shows("StatusText") == wrong).then_some(())
    });
    node.eventually(SOON, "the end of the reload", || {
        (node.shows("ActiveState") == "active").then_some(())
    });
    // What is wrong is in the journal, by both.
    assert_eq!(node.said("not reloaded: ").len(), 1);
    let checked = node.said("stowd: /etc/stowd/config.d/60-test.toml: images.settle: ");
    assert_eq!(checked.len(), 1);

    node.configure("60-test", "images.settle = \"50ms\"\n");
    node.systemctl("reload");
    node.eventually(SOON, "the status", || {
        let is_over = node.shows("StatusText") == ready && node.shows("ActiveState") == "active";
        is_over.then_some(())
    });
    node.assert_shows(&[("NRestarts", "0")]);
    assert_eq!(node.said("reloaded; changed: images.settle").len(), 1);
    assert_eq!((node.stowd(), node.containerd()), (stowd, containerd));
}
