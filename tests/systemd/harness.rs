//! The machine itself: what the tests of this tier stand on.

use std::time::Duration;

use crate::machine::{Machine, timed_out};
use crate::support::{Generation, on_each_generation_in_turn};

on_each_generation_in_turn!(it_has_the_containerd_that_was_asked_for_and_files_that_are_put_there);

/// A service that says STATUS first and READY a second later.
const SLOW_NOTIFY_SERVICE: &str = "\
[Service]
Type=notify
NotifyAccess=all
ExecStart=/bin/sh -c 'systemd-notify --status=warming; sleep 1; systemd-notify --ready --status=warm; echo said; exec sleep infinity'
";

#[test]
fn it_boots_runs_services_and_powers_off() {
    let machine = Machine::boot();
    assert_eq!(
        machine
            .ok(&["systemctl", "is-system-running", "--wait"])
            .trim(),
        "running"
    );

    machine.write("/etc/systemd/system/slow.service", SLOW_NOTIFY_SERVICE);
    machine.ok(&["systemctl", "daemon-reload"]);
    machine.ok(&["systemctl", "start", "--no-block", "slow.service"]);
    machine.eventually(Duration::from_secs(10), "the first status", || {
        (machine.property("slow.service", "StatusText") == "warming").then_some(())
    });
    assert_eq!(
        machine.property("slow.service", "ActiveState"),
        "activating"
    );
    machine.eventually(Duration::from_secs(10), "READY", || {
        (machine.property("slow.service", "ActiveState") == "active").then_some(())
    });
    assert_eq!(machine.property("slow.service", "StatusText"), "warm");

    let journal = machine.journal("slow.service");
    assert!(
        journal
            .iter()
            .any(|entry| entry["MESSAGE"] == "said" && entry["_TRANSPORT"] == "stdout"),
        "{journal:?}"
    );
    assert!(
        machine.power_off(Duration::from_secs(30)),
        "it powers itself off"
    );
}

#[test]
fn a_process_inside_can_be_killed_from_outside() {
    let machine = Machine::boot();
    machine.ok(&["systemd-run", "--unit=victim", "sleep", "1000"]);
    let inside: u32 = machine
        .property("victim.service", "MainPID")
        .parse()
        .expect("an id");
    let host = machine
        .host_pid(inside)
        .expect("the process is seen from the host");
    assert_ne!(host, inside);
    let pid = rustix::process::Pid::from_raw(host as i32).expect("an id");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it can be killed");
    machine.eventually(Duration::from_secs(10), "systemd to notice", || {
        (machine.property("victim.service", "Result") == "signal").then_some(())
    });
}

#[test]
fn a_command_that_hangs_is_ended() {
    let machine = Machine::boot();
    let output = machine
        .command(Duration::from_secs(1), &["sleep", "1000"])
        .output()
        .expect("nsenter runs");
    assert!(timed_out(&output), "{output:?}");
}

#[test]
fn nothing_is_left_of_a_machine() {
    let machine = Machine::boot();
    let init = machine.path("/");
    let shared = machine.path("/var/lib/stowd/images");
    assert!(shared.is_dir());
    drop(machine);
    assert!(!init.exists(), "its init still runs");
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("mounts");
    assert!(!mounts.contains("/memory/root"), "{mounts}");
}

fn it_has_the_containerd_that_was_asked_for_and_files_that_are_put_there(generation: &Generation) {
    let machine = Machine::boot_with(generation, &[]);
    let version = machine.ok(&["containerd", "--version"]);
    let version = version.split_whitespace().nth(2).expect("a version");
    let version = version.trim_start_matches('v');
    assert!(
        version.starts_with(&format!("{}.", generation.name)),
        "{version}"
    );
    machine.ok(&["runc", "--version"]);

    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    machine.put(&file, "/var/lib/stowd/images/x.tar");
    let inside = machine.ok(&["cat", "/var/lib/stowd/images/x.tar"]);
    assert_eq!(inside, std::fs::read_to_string(file).expect("Cargo.toml"));
}
