//! `packaging/install` on a machine that runs.

use crate::machine::Machine;
use crate::node::UNIT;
use crate::support::reference;

#[test]
fn it_installs_enables_and_takes_away_again() {
    let source = env!("CARGO_MANIFEST_DIR");
    let machine = Machine::boot_with(&reference(), &[&format!("--bind-ro={source}:/mnt")]);
    machine.ok(&["rm", "-rf", "/etc/containerd", "/usr/bin/stowd"]);
    let binary = env!("CARGO_BIN_EXE_stowd").replacen(source, "/mnt", 1);
    let binary = format!("BINARY={binary}");
    let install = ["env", binary.as_str(), "/mnt/packaging/install"];
    machine.ok(&install);
    machine.ok(&["systemctl", "enable", "--now", UNIT]);
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
    machine.ok(&install);
    machine.ok(&["systemctl", "restart", UNIT]);
    let kept = std::fs::read_to_string(machine.path("/etc/stowd/config.toml"));
    assert_eq!(kept.unwrap(), "log-level = \"debug\"\n");

    let uninstall = ["/mnt/packaging/install", "--uninstall"];
    let refused = machine.run(&uninstall);
    assert!(!refused.status.success(), "{refused:?}");
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(why.contains("systemctl disable --now stowd"), "{why}");
    machine.ok(&["systemctl", "disable", "--now", UNIT]);
    machine.ok(&uninstall);
    for gone in [
        "bin/stowd",
        "lib/systemd/system/stowd.service",
        "share/doc/stowd",
    ] {
        let path = machine.path("/usr/local").join(gone);
        assert!(!path.exists(), "{}", path.display());
    }
    for kept in ["/etc/stowd/config.toml", "/var/lib/stowd/containerd"] {
        assert!(machine.path(kept).exists(), "{kept}");
    }
}
