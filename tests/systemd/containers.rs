//! A running container, through everything that befalls stowd.

use crate::node::{Node, Process, SOON};
use crate::support::{Generation, on_each_generation_in_turn};

on_each_generation_in_turn!(it_survives_a_restart);

/// A node that is ready, with a container that runs.
fn with_a_guest(node: Node) -> (Node, Process) {
    node.stow(&["pause.tar", "skopeo-docker.tar.zst"]);
    node.drop_in("RestartSec=100ms");
    node.systemctl("start");
    let guest = node.run_container("guest");
    (node, guest)
}

fn it_survives_a_restart(generation: &Generation) {
    let (node, guest) = with_a_guest(Node::boot_with(generation));
    let (stowd, containerd) = (node.stowd(), node.containerd());
    node.systemctl("restart");
    assert!(!node.runs(&stowd) && !node.runs(&containerd));
    node.assert_shows(&[
        ("ActiveState", "active"),
        (
            "StatusText",
            "ready: 2 images from 2 entries; watching /var/lib/stowd/images",
        ),
    ]);
    node.assert_survived("guest", &guest);
}

#[test]
fn it_survives_a_stop() {
    let (node, guest) = with_a_guest(Node::boot());
    let (stowd, containerd) = (node.stowd(), node.containerd());
    node.systemctl("stop");
    node.assert_shows(&[
        ("ActiveState", "inactive"),
        ("SubState", "dead"),
        ("Result", "success"),
        // CLD_EXITED
        ("ExecMainCode", "1"),
        ("ExecMainStatus", "0"),
        ("NRestarts", "0"),
    ]);
    assert!(!node.runs(&stowd) && !node.runs(&containerd));
    // The brackets keep the search from finding itself.
    let shim = node.ok(&["pgrep", "--full", "[c]ontainerd-shim.* -id guest"]);
    assert_eq!(shim.lines().count(), 1, "{shim}");
    assert!(node.runs(&guest));

    node.systemctl("start");
    node.assert_survived("guest", &guest);
}

#[test]
fn it_survives_the_death_of_stowd() {
    let (node, guest) = with_a_guest(Node::boot());
    let (stowd, containerd) = (node.stowd(), node.containerd());
    node.kill("KILL", &stowd);
    node.eventually(SOON, "containerd to die with stowd", || {
        (!node.runs(&containerd)).then_some(())
    });
    node.wait_restarted(1);
    node.assert_shows(&[(
        "StatusText",
        "ready: 2 images from 2 entries; watching /var/lib/stowd/images",
    )]);
    assert_ne!(node.containerd(), containerd);
    node.assert_survived("guest", &guest);
}

#[test]
fn it_survives_the_death_of_containerd() {
    let (node, guest) = with_a_guest(Node::boot());
    let (stowd, containerd) = (node.stowd(), node.containerd());
    node.kill("KILL", &containerd);
    node.wait_restarted(1);
    assert!(!node.runs(&stowd), "it ends with containerd");
    let said = node.said("stopped");
    assert_eq!(said.len(), 1, "{said:?}");
    let error = said[0]["STOWD_ERROR"].as_str().unwrap();
    assert!(error.contains("containerd exited: signal: 9"), "{error}");
    assert_eq!(said[0]["PRIORITY"], "3");
    // So much so that systemd would not take it all for a status.
    let journal = node.ok(&["journalctl", "--boot", "--identifier=systemd"]);
    assert!(!journal.contains("exceeded maximum size"), "{journal}");
    node.assert_shows(&[(
        "StatusText",
        "ready: 2 images from 2 entries; watching /var/lib/stowd/images",
    )]);
    assert_ne!(node.containerd(), containerd);
    node.assert_survived("guest", &guest);
}
