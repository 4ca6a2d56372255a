//! The packages that `tests/run` has `packaging/package` make, in an older and a newer version: what they
//! do to a machine when they are installed, upgraded, removed and purged.

use std::path::Path;
use std::process::Output;

use crate::node::{Node, Process, SOON, UNIT};
use crate::slow_disk;

/// Of an upgrade under a daemon that runs.
const RESTART: &str = "stowd runs the old version: systemctl restart stowd";
/// What is changed of the configuration.
const EDIT: &str = "s/^#log-level = .*/log-level = \"debug\"/";

/// A machine that has the packages at hand and none of them installed.
fn machine() -> Node {
    let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/packages/tests");
    assert!(
        packages.is_dir(),
        "{}: tests/run makes the packages",
        packages.display()
    );
    Node::boot_without_stowd(&[&format!("--bind-ro={}:/mnt", packages.display())])
}

/// A package of this version, by the end of its name.
fn package(node: &Node, version: &str, end: &str) -> String {
    let files = std::fs::read_dir(node.path("/mnt")).expect("the packages");
    let mut names = files.map(|file| file.expect("a file").file_name());
    let found = names.find_map(|name| {
        let name = name.into_string().ok()?;
        (name.contains(version) && name.ends_with(end)).then_some(name)
    });
    format!("/mnt/{}", found.expect("a package of that version"))
}

/// As an operator installs a file, from a machine without a network.
fn apt(node: &Node, verb: &str, what: &str) -> Output {
    node.run(&[
        "apt-get",
        "--quiet",
        "--yes",
        "--no-install-recommends",
        verb,
        what,
    ])
}

/// Both streams of a command that must succeed.
fn said(output: Output) -> String {
    let text = words(&output);
    assert!(output.status.success(), "{text}");
    text
}

fn words(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    String::from_utf8_lossy(out).into_owned() + &String::from_utf8_lossy(err)
}

fn is_enabled(node: &Node) -> bool {
    node.run(&["systemctl", "is-enabled", UNIT])
        .status
        .success()
}

/// stowd is installed, neither enabled nor started, and tells how to go on.
fn assert_installed_disabled(node: &Node, said: &str) {
    assert!(said.contains("stowd is installed, and disabled."), "{said}");
    assert!(!said.contains(RESTART), "{said}");
    assert!(!is_enabled(node));
    node.assert_shows(&[("ActiveState", "inactive"), ("LoadState", "loaded")]);
    let example = "/usr/share/doc/stowd/drop-ins/system-containerd.conf";
    assert!(said.contains(example) && node.path(example).exists());
    let config = node.ok(&["stowd", "check"]);
    assert!(config.contains("log-level = \"info\""), "{config}");
    assert!(node.path("/var/lib/stowd/images").is_dir());
}

/// A container of stowd's containerd, and an edited configuration.
fn start_with_a_container(node: &Node) -> Process {
    node.ok(&["sed", "--in-place", EDIT, "/etc/stowd/config.toml"]);
    node.stow(&["pause.tar", "skopeo-docker.tar.zst"]);
    node.ok(&["systemctl", "enable", "--now", UNIT]);
    node.run_container("guest")
}

fn assert_configuration_is_kept(node: &Node, file: &str) {
    let text = std::fs::read_to_string(node.path(file)).expect("the configuration");
    assert!(text.contains("\nlog-level = \"debug\"\n"), "{file}: {text}");
}

/// The package is gone, and the container has not noticed.
fn assert_removed_alone(node: &Node, guest: &Process, said: &str) {
    for gone in [
        "/usr/bin/stowd",
        "/usr/lib/systemd/system/stowd.service",
        "/usr/share/man/man8/stowd.8.gz",
        "/etc/systemd/system/multi-user.target.wants/stowd.service",
    ] {
        let path = node.path(gone);
        assert!(path.symlink_metadata().is_err(), "{gone}");
    }
    assert!(node.runs(guest));
    let shim = shim(node);
    assert!(
        said.contains("Containers go on, without a containerd"),
        "{said}"
    );
    assert!(said.split_whitespace().any(|word| word == shim), "{said}");
    for kept in [
        "containerd/io.containerd.content.v1.content",
        "images/pause.tar",
    ] {
        assert!(node.path("/var/lib/stowd").join(kept).exists(), "{kept}");
    }
}

/// The pid of the container's shim.
fn shim(node: &Node) -> String {
    // The brackets keep the search from finding itself.
    let shim = node.ok(&["pgrep", "--full", "[c]ontainerd-shim.* -id guest"]);
    shim.trim().to_owned()
}

#[test]
fn a_deb_is_installed_upgraded_removed_and_purged() {
    let node = machine();
    let (older, newer) = (
        package(&node, "0.0.1", ".deb"),
        package(&node, "0.0.2", ".deb"),
    );
    let installed = said(apt(&node, "install", &older));
    assert_installed_disabled(&node, &installed);
    let guest = start_with_a_container(&node);
    let (stowd, containerd) = (node.stowd(), node.containerd());

    let upgraded = said(apt(&node, "install", &newer));
    assert!(upgraded.contains(RESTART), "{upgraded}");
    assert!(!upgraded.contains("loading"), "{upgraded}");
    assert!(node.runs(&stowd) && node.runs(&containerd));
    node.assert_shows(&[("ActiveState", "active"), ("NeedDaemonReload", "no")]);
    assert!(is_enabled(&node));
    assert_configuration_is_kept(&node, "/etc/stowd/config.toml");
    node.systemctl("restart");
    node.assert_survived("guest", &guest);

    let removed = said(apt(&node, "remove", "stowd"));
    assert_removed_alone(&node, &guest, &removed);
    assert_configuration_is_kept(&node, "/etc/stowd/config.toml");

    let refused = apt(&node, "purge", "stowd");
    assert!(!refused.status.success(), "{refused:?}");
    let why = words(&refused);
    for part in ["stowd: not purged: ", "crictl", "Reboot", &shim(&node)] {
        assert!(why.contains(part), "{part}: {why}");
    }
    assert!(node.runs(&guest));
    assert!(node.path("/var/lib/stowd/containerd").exists());

    // The other way that it tells.
    let installed = said(apt(&node, "install", &newer));
    assert!(installed.contains("disabled"), "{installed}");
    node.systemctl("start");
    node.assert_survived("guest", &guest);
    node.ctr(&["tasks", "kill", "--signal", "SIGKILL", "guest"]);
    node.eventually(SOON, "the end of the container", || {
        let stopped = node.ctr(&["tasks", "list"]).contains("STOPPED");
        stopped.then_some(())
    });
    node.ctr(&["tasks", "rm", "guest"]);
    node.ctr(&["containers", "rm", "guest"]);
    let purged = said(apt(&node, "purge", "stowd"));
    assert!(purged.contains("/var/lib/stowd/images"), "{purged}");
    for gone in ["/etc/stowd", "/run/stowd", "/usr/share/doc/stowd"] {
        assert!(!node.path(gone).exists(), "{gone}");
    }
    let left = node.ok(&["ls", "--almost-all", "/var/lib/stowd"]);
    assert_eq!(left, "images\n");
    let status = node.run(&["dpkg-query", "--show", "stowd"]);
    assert!(!status.status.success(), "{status:?}");
}

#[test]
fn needrestart_leaves_stowd_alone() {
    let node = machine();
    said(apt(&node, "install", &package(&node, "0.0.1", ".deb")));
    // It reads its files so, and looks a service up so.
    let look = "my %nrconf; eval do { local(@ARGV, $/) = shift; <> }; die $@ if $@; \
        /stowd/ and 'stowd.service' =~ /$_/ and print $nrconf{override_rc}{$_} for keys %{$nrconf{override_rc}}";
    let file = "/etc/needrestart/conf.d/stowd.conf";
    assert_eq!(node.ok(&["perl", "-e", look, file]), "0");
}

#[test]
fn an_upgrade_in_the_middle_of_a_load_restarts_nothing() {
    let node = machine();
    said(apt(&node, "install", &package(&node, "0.0.1", ".deb")));
    node.stow(&["large.tar"]);
    // Minutes, of which the upgrade takes seconds.
    node.drop_in(&slow_disk::install(&node, 300_000));
    let mut start = node.begin_start();
    let is_loading = || {
        let status = node.shows("StatusText");
        status
            .starts_with("importing 1/1: large.tar, ")
            .then_some(())
    };
    node.eventually(SOON, "the load", is_loading);
    let stowd = node.stowd();
    let upgraded = said(apt(&node, "install", &package(&node, "0.0.2", ".deb")));
    assert!(upgraded.contains(RESTART), "{upgraded}");
    assert!(upgraded.contains("It is loading images"), "{upgraded}");
    assert_eq!(node.stowd(), stowd);
    node.assert_shows(&[("ActiveState", "activating"), ("NRestarts", "0")]);
    assert_eq!(is_loading(), Some(()));
    node.systemctl("stop");
    start.wait().expect("systemctl");
}

#[test]
fn an_rpm_is_installed_upgraded_and_removed() {
    let node = machine();
    // rpm knows nothing of what Debian has.
    let rpm = |verb: &str, what: &str| said(node.run(&["rpm", verb, "--nodeps", what]));
    let installed = rpm("--install", &package(&node, "0.0.1", ".rpm"));
    assert_installed_disabled(&node, &installed);
    let guest = start_with_a_container(&node);
    let stowd = node.stowd();

    let upgraded = rpm("--upgrade", &package(&node, "0.0.2", ".rpm"));
    assert!(upgraded.contains(RESTART), "{upgraded}");
    assert!(node.runs(&stowd) && is_enabled(&node));
    assert_configuration_is_kept(&node, "/etc/stowd/config.toml");
    node.systemctl("restart");
    node.assert_survived("guest", &guest);

    let removed = rpm("--erase", "stowd");
    assert_removed_alone(&node, &guest, &removed);
    assert_configuration_is_kept(&node, "/etc/stowd/config.toml.rpmsave");
}
