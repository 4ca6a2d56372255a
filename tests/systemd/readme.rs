//! The command lines of README.md, as a reader types them. What needs a registry finds its outcome there already,
//! and the installation is that of the tier (`packages` installs the packages).

use crate::node::{BUSYBOX, Node, PAUSE};
use crate::support::{blocks, fixture};

/// What stands for root's shell: a machine without `sudo`, and without a registry.
const SHELL: &str = "sudo() { \"$@\"; }; skopeo() { test -e pause.tar; }; cd /root; ";

/// The blocks of this part of the README, as they are typed.
fn typed(part: &str) -> Vec<Vec<&'static str>> {
    let readme = include_str!("../../README.md");
    let heading = format!("\n## {part}\n");
    let (_, text) = readme.split_once(&heading).expect("the part");
    let text = text.split("\n## ").next().unwrap_or(text);
    blocks(text, "sh")
}

fn types(node: &Node, line: &str) -> String {
    node.ok(&["bash", "-euc", &format!("{SHELL}{line}")])
}

#[test]
fn the_three_ways_are_as_it_says() {
    let node = Node::boot();
    node.have_containerd_service();
    node.ok(&["systemctl", "enable", "--now", "containerd"]);
    node.put(&fixture("pause.tar").path, "/root/pause.tar");
    node.put(&fixture("skopeo-docker.tar.zst").path, "/root/app.tar");
    let ways = typed("Three ways to use it");
    let [air_gapped, attached, baked] = &ways[..] else {
        panic!("three blocks: {ways:?}");
    };

    for line in air_gapped {
        types(&node, line);
    }
    assert_eq!(
        node.property("containerd.service", "ActiveState"),
        "inactive"
    );
    assert!(node.images().iter().any(|name| name == PAUSE));
    for line in typed("Day by day").concat() {
        // Of the archive that is imported by hand.
        types(&node, &line.replace("example.com/app:1", BUSYBOX));
    }
    node.systemctl("stop");

    for line in baked {
        types(&node, line);
    }

    node.ok(&["systemctl", "start", "containerd"]);
    for line in attached {
        types(&node, line);
    }
    let listed = node.ok(&["ctr", "--namespace=k8s.io", "images", "list", "--quiet"]);
    assert!(listed.contains(PAUSE), "{listed}");
}
