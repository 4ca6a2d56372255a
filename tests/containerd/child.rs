//! containerd as stowd's child: what it is given, and who survives whom.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{
    Generation, Setup, Stowd, fixture, is_running, on_each_generation_in_turn, reference,
};

on_each_generation_in_turn!(
    it_dies_with_stowd_even_when_stowd_is_killed,
    both_signals_end_both_in_time,
);

const SOON: Duration = Duration::from_secs(60);

fn script(path: &Path, text: &str) {
    std::fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Puts a script in containerd's place, which ends by becoming it.
fn wrap(setup: &mut Setup, before: &str) -> PathBuf {
    let wrapper = setup.dir().join("wrapper");
    let real = setup.generation().containerd();
    script(
        &wrapper,
        &format!("{before}\nexec {} \"$@\"", real.display()),
    );
    setup.binary = wrapper.clone();
    wrapper
}

fn ends(pid: u32) {
    let began = Instant::now();
    while is_running(pid) {
        assert!(began.elapsed() < SOON, "process {pid} lives on");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn its_environment_is_stowds_less_what_is_meant_for_stowd() {
    let generation = &reference();
    let mut setup = Setup::new(generation);
    let dump = setup.dir().join("environment");
    let arguments = setup.dir().join("arguments");
    let before = format!(
        "cat /proc/$$/environ > {}; printf '%s\\n' \"$@\" > {}",
        dump.display(),
        arguments.display()
    );
    wrap(&mut setup, &before);
    setup.containerd = "extra-args = [\"--log-level\", \"error\"]\n".to_owned();
    let mut give = |name: &str, value: &str| setup.environment.push((name.into(), value.into()));
    give("HTTPS_PROXY", "http://everyone");
    give("NO_PROXY", "plain");
    give("CONTAINERD_NO_PROXY", "for containerd");
    give("CONTAINERD_ONLY", "1");
    give("CONTAINERD_", "nameless");
    give("CONTAINERD_NOTIFY_SOCKET", "/run/smuggled");
    give("CONTAINERD_STOWD_X", "smuggled");
    give("CONTAINERD_LOG_LEVEL", "warn");
    give("WATCHDOG_USEC", "9000000");
    give("LISTEN_FDS", "0");
    give("LISTEN_PID", "1");
    give("LISTEN_FDNAMES", "x");
    give("INVOCATION_ID", "0123");
    give("STOWD_LOG_LEVEL", "debug");
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);

    let environment = std::fs::read(&dump).unwrap();
    let items = environment
        .split(|byte| *byte == 0)
        .map(|item| String::from_utf8_lossy(item));
    let items = items.map(|item| item.into_owned()).collect::<Vec<_>>();
    let values = |name: &str| {
        let prefix = format!("{name}=");
        let of = items.iter().filter_map(|item| item.strip_prefix(&prefix));
        of.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(values("HTTPS_PROXY"), ["http://everyone"]);
    assert_eq!(
        values("NO_PROXY"),
        ["for containerd"],
        "the override wins, and is there once"
    );
    assert_eq!(values("ONLY"), ["1"]);
    assert_eq!(values("PATH").len(), 1);
    let gone = [
        "NOTIFY_SOCKET",
        "WATCHDOG_USEC",
        "WATCHDOG_PID",
        "LISTEN_FDS",
        "LISTEN_PID",
        "LISTEN_FDNAMES",
        "INVOCATION_ID",
        "JOURNAL_STREAM",
        "STOWD_LOG_LEVEL",
        "STOWD_X",
        "LOG_LEVEL",
        "",
    ];
    for name in gone {
        assert_eq!(values(name), Vec::<String>::new(), "{name}");
    }
    assert!(
        !items.iter().any(|item| item.starts_with("CONTAINERD_")),
        "{items:?}"
    );

    let given = std::fs::read_to_string(&arguments).unwrap();
    let given = given.lines().collect::<Vec<_>>();
    let of = |flag: &str| {
        let at = given
            .iter()
            .position(|word| *word == flag)
            .unwrap_or_else(|| panic!("{flag}: {given:?}"));
        given[at + 1].to_owned()
    };
    let dir = stowd.setup().dir().display().to_string();
    assert_eq!(of("--config"), format!("{dir}/containerd.toml"));
    assert_eq!(of("--address"), format!("{dir}/c.sock"));
    assert_eq!(of("--root"), format!("{dir}/root"));
    assert_eq!(of("--state"), format!("{dir}/state"));
    assert_eq!(of("--log-level"), "warn");
    assert_eq!(
        given[given.len() - 2..],
        ["--log-level", "error"],
        "extra-args come last"
    );
}

fn it_dies_with_stowd_even_when_stowd_is_killed(generation: &Generation) {
    let mut stowd = Setup::new(generation).start();
    stowd.wait_ready(SOON);
    let child = stowd.containerd_pid().unwrap();
    assert!(is_running(child));
    stowd.kill();
    ends(child);
}

#[test]
fn it_outlives_the_threads_that_come_and_go_in_stowd() {
    let generation = &reference();
    let setup = Setup::new(generation);
    setup
        .stow(&fixture("large.tar").path)
        .stow(&fixture("large.tar.zst").path);
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    let child = stowd.containerd_pid().unwrap();
    let threads = |stowd: &Stowd| {
        std::fs::read_dir(format!("/proc/{}/task", stowd.pid())).map_or(0, Iterator::count)
    };
    // The threads that read the archives end when they have been idle for ten seconds.
    let busy = threads(&stowd);
    stowd.wait_until(SOON, "threads end", |stowd| threads(stowd) < busy);
    assert!(is_running(child));
    assert_eq!(stowd.containerd_pid(), Some(child));
    assert_eq!(stowd.stop(), Some(0));
    ends(child);
}

fn both_signals_end_both_in_time(generation: &Generation) {
    for signal in [Signal::TERM, Signal::INT] {
        let mut stowd = Setup::new(generation).start();
        stowd.wait_ready(SOON);
        let child = stowd.containerd_pid().unwrap();
        let began = Instant::now();
        stowd.signal(signal);
        assert_eq!(stowd.wait(SOON).code(), Some(0));
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "{:?}",
            began.elapsed()
        );
        assert!(!is_running(child));
        let told = stowd.notify.messages();
        assert!(told.contains(&"STOPPING=1".to_owned()), "{told:?}");
    }
}

#[test]
fn a_child_that_ignores_sigterm_is_killed_and_a_second_signal_does_not_wait() {
    let generation = &reference();
    for second in [false, true] {
        let mut setup = Setup::new(generation);
        let timeout = if second { "10m" } else { "1s" };
        setup.containerd = format!("stop-timeout = \"{timeout}\"\n");
        let mut stowd = setup.start();
        stowd.wait_ready(SOON);
        let child = stowd.containerd_pid().unwrap();
        // A stopped process takes note of no signal but SIGKILL.
        let pid = rustix::process::Pid::from_raw(child as i32).unwrap();
        rustix::process::kill_process(pid, Signal::STOP).unwrap();
        stowd.signal(Signal::TERM);
        if second {
            stowd.wait_until(SOON, "STOPPING", |stowd| {
                stowd.notify.messages().contains(&"STOPPING=1".to_owned())
            });
            assert!(is_running(child));
            stowd.signal(Signal::TERM);
        }
        assert_eq!(stowd.wait(SOON).code(), Some(0));
        ends(child);
    }
}

#[test]
fn its_end_ends_stowd_with_an_error_and_its_last_lines() {
    let generation = &reference();
    // After READY, by a signal.
    let mut stowd = Setup::new(generation).start();
    stowd.wait_ready(SOON);
    let child = stowd.containerd_pid().unwrap();
    let pid = rustix::process::Pid::from_raw(child as i32).unwrap();
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
    assert_eq!(stowd.wait(SOON).code(), Some(1));
    let lines = stowd.lines("containerd exited");
    assert!(
        lines.iter().any(|line| line.contains("signal: 9")),
        "{lines:?}"
    );

    // Before it serves, by itself.
    let mut setup = Setup::new(generation);
    setup.binary = setup.dir().join("broken");
    script(
        &setup.binary,
        "echo some words before; echo the last words >&2; exit 3",
    );
    let mut stowd = setup.start();
    assert_eq!(stowd.wait(SOON).code(), Some(1));
    assert!(stowd.notify.ready_at().is_none());
    let lines = stowd.lines("containerd exited");
    assert!(
        lines
            .iter()
            .any(|line| line.contains("exit status: 3") && line.contains("the last words")),
        "{lines:?}"
    );
}

#[test]
fn when_it_dies_in_the_middle_of_the_load_nobody_is_told_ready() {
    let generation = &reference();
    let setup = Setup::new(generation);
    setup.stow(&fixture("large.tar.bz2").path);
    let mut stowd = setup.start();
    stowd.wait_until(SOON, "the import is under way", Stowd::is_importing);
    let child = rustix::process::Pid::from_raw(stowd.containerd_pid().unwrap() as i32).unwrap();
    rustix::process::kill_process(child, Signal::KILL).unwrap();
    assert_eq!(stowd.wait(SOON).code(), Some(1));
    assert!(stowd.notify.ready_at().is_none());

    // Nothing of that is in the way of the next start.
    stowd.restart();
    stowd.wait_ready(SOON);
    let check = stowd.ctr(&["images", "check"]);
    for name in fixture("large.tar.bz2").names {
        let line = check
            .lines()
            .find(|line| line.starts_with(&name))
            .unwrap_or_default();
        assert!(line.contains("complete"), "{check}");
    }
    assert_eq!(stowd.store().leases(), Vec::<String>::new());
    assert_eq!(stowd.store().ingests(), Vec::<String>::new());
}

#[test]
fn its_log_goes_to_a_file_that_is_rotated() {
    let generation = &reference();
    let mut setup = Setup::new(generation);
    setup.containerd = format!(
        "[containerd.log]\nfile = \"{}/containerd.log\"\nmax-size = \"2KiB\"\nmax-backups = 100\n",
        setup.dir().display()
    );
    let dir = setup.dir().to_owned();
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    assert_eq!(stowd.stop(), Some(0));
    let logs = || {
        dir.read_dir()
            .unwrap()
            .map(|item| item.unwrap().file_name().into_string().unwrap())
    };
    let rotated = logs()
        .filter(|name| name.starts_with("containerd-") && name.ends_with(".gz"))
        .count();
    assert!(rotated > 0, "{:?}", logs().collect::<Vec<_>>());
    assert!(
        !stowd.log().contains("starting containerd\" revision"),
        "it also went to stderr"
    );
}

#[test]
fn a_second_stowd_on_the_same_state_is_refused() {
    let generation = &reference();
    let mut first = Setup::new(generation).start();
    first.wait_ready(SOON);
    let config = first.setup().dir().join("stowd.toml");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_stowd"))
        .arg("--config")
        .arg(config)
        .arg("run")
        .env_remove("JOURNAL_STREAM")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let complaint = String::from_utf8_lossy(&output.stderr);
    let names_it = format!("another stowd, pid {}, uses state-dir", first.pid());
    assert!(complaint.contains(&names_it), "{complaint}");
    assert!(is_running(first.containerd_pid().unwrap()));
}
