//! `packaging/install` on a machine that runs.

use crate::node::{Node, UNIT};

#[test]
fn it_installs_updates_and_takes_away_again() {
    let source = env!("CARGO_MANIFEST_DIR");
    let machine = Node::boot_without_stowd(&[&format!("--bind-ro={source}:/mnt")]);
    let binary = env!("CARGO_BIN_EXE_stowd").replacen(source, "/mnt", 1);
    let binary = format!("BINARY={binary}");
    let install = ["env", binary.as_str(), "/mnt/packaging/install"];
    let explained = || {
        let catalog = machine.ok(&["journalctl", "--list-catalog"]);
        let lines = catalog.lines();
        lines.filter(|line| line.contains(" stowd: ")).count()
    };
    let said = machine.ok(&install);
    assert!(said.contains("stowd is installed, and disabled."), "{said}");
    assert!(explained() > 40, "the catalog is in force");
    assert!(
        machine
            .path("/usr/local/share/bash-completion/completions/stowd")
            .exists()
    );
    machine.stow(&["pause.tar", "skopeo-docker.tar.zst"]);
    machine.ok(&["systemctl", "enable", "--now", UNIT]);
    let guest = machine.run_container("guest");
    assert_eq!(machine.property(UNIT, "ActiveState"), "active");
    assert_eq!(
        machine.property(UNIT, "FragmentPath"),
        "/usr/local/lib/systemd/system/stowd.service"
    );
    let program = machine.property(UNIT, "ExecStart");
    assert!(program.contains("path=/usr/local/bin/stowd ;"), "{program}");
    let verified = machine.run(&["systemd-analyze", "verify", "--man=no", UNIT]);
    assert!(
        verified.status.success() && verified.stderr.is_empty(),
        "{verified:?}"
    );

    // An update while it runs, with a configuration that was changed.
    machine.write("/etc/stowd/config.toml", "log-level = \"debug\"\n");
    let stowd = machine.stowd();
    let said = machine.ok(&install);
    assert_eq!(
        said,
        "stowd runs the old version: systemctl restart stowd\n"
    );
    assert!(machine.runs(&stowd));
    machine.systemctl("restart");
    let kept = std::fs::read_to_string(machine.path("/etc/stowd/config.toml"));
    assert_eq!(kept.unwrap(), "log-level = \"debug\"\n");

    let refused = |cause: &str| {
        let output = machine.run(&["/mnt/packaging/install", "--purge"]);
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && why.contains("stowd: not purged: "),
            "{why}"
        );
        assert!(why.contains(cause), "{why}");
        why
    };
    refused("shims that live: ");
    machine.assert_survived("guest", &guest);

    let said = machine.ok(&["/mnt/packaging/install", "--uninstall"]);
    assert!(
        said.contains("Containers go on, without a containerd"),
        "{said}"
    );
    assert!(machine.runs(&guest));
    for gone in [
        "bin/stowd",
        "lib/systemd/system/stowd.service",
        "lib/systemd/catalog/stowd.catalog",
        "share/doc/stowd",
    ] {
        let path = machine.path("/usr/local").join(gone);
        assert!(!path.exists(), "{}", path.display());
    }
    assert_eq!(explained(), 0);
    for kept in ["/etc/stowd/config.toml", "/var/lib/stowd/containerd"] {
        assert!(machine.path(kept).exists(), "{kept}");
    }

    // A shim that is killed leaves what it has mounted.
    for process in ["containerd-shim", "busybox"] {
        machine.ok(&["pkill", "-KILL", process]);
    }
    let why = refused("mounted: ");
    let mounted = why.split("mounted: ").nth(1).unwrap();
    machine.ok(&["umount", mounted.split_whitespace().next().unwrap()]);
    let said = machine.ok(&["/mnt/packaging/install", "--purge"]);
    assert!(said.contains("/var/lib/stowd/images"), "{said}");
    for gone in ["/etc/stowd", "/run/stowd", "/var/lib/stowd/containerd"] {
        assert!(!machine.path(gone).exists(), "{gone}");
    }
    assert!(machine.path("/var/lib/stowd/images/pause.tar").exists());
}
