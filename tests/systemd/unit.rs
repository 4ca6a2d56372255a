//! The unit file, as the installer installs it.

use crate::machine::Machine;

#[test]
fn systemd_finds_nothing_wrong_with_it_nor_with_its_drop_ins() {
    let machine = Machine::boot();
    let verify = |when: &str| {
        let output = machine.run(&["systemd-analyze", "verify", "--man=no", "stowd.service"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && said.is_empty(), "{when}: {said}");
    };
    verify("alone");
    for name in ["pull-proxy.conf", "weights.conf"] {
        let drop_in = format!("/etc/systemd/system/stowd.service.d/{name}");
        machine.ok(&[
            "install",
            "--mode=644",
            "-D",
            &format!("/usr/share/doc/stowd/drop-ins/{name}"),
            &drop_in,
        ]);
        verify(name);
    }
}

#[test]
fn what_it_promises_to_containers_is_what_systemd_understood() {
    let machine = Machine::boot();
    for (name, value) in [
        ("Type", "notify"),
        ("NotifyAccess", "main"),
        ("KillMode", "process"),
        ("Delegate", "yes"),
        ("Restart", "always"),
        ("RestartPreventExitStatus", "78"),
        ("StartLimitIntervalUSec", "0"),
        ("TimeoutStopUSec", "1min"),
        ("TimeoutStartUSec", "3min"),
        ("TasksMax", "infinity"),
        // systemd's own default: containers inherit it.
        ("LimitNOFILE", "524288"),
        ("LimitNOFILESoft", "1024"),
        ("OOMScoreAdjust", "-999"),
        // What a container would inherit.
        ("PrivateTmp", "no"),
        ("PrivateMounts", "no"),
        ("ProtectSystem", "no"),
        ("NoNewPrivileges", "no"),
        ("MountFlags", ""),
        ("RuntimeDirectory", ""),
    ] {
        assert_eq!(machine.property("stowd.service", name), value, "{name}");
    }
    assert!(
        machine
            .property("stowd.service", "ExecStart")
            .contains("path=/usr/bin/stowd ;")
    );
}
