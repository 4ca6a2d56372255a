//! One stowd for each instance and containerd: a second one is refused, wherever it runs.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{
    Daemon, Generation, OF_AN_INSTANCE, Setup, Store, Stowd, children, fixture, is_stopped,
    on_each_generation_in_turn, on_the_reference_in_turn,
};

on_each_generation_in_turn!(
    a_second_one_is_refused_wherever_it_runs,
    after_a_restart_of_containerd_the_first_has_it_again,
);
on_the_reference_in_turn!(
    one_that_runs_its_own_containerd_is_named,
    one_that_is_stopped_has_the_instance,
    one_that_has_ended_has_it_no_more,
    of_two_that_start_at_once_one_serves,
    one_that_another_has_taken_it_from_ends,
);

const SOON: Duration = Duration::from_secs(120);
/// Far less than any time that is waited for, on a machine that is busy with something else.
const AT_ONCE: Duration = Duration::from_secs(4);

const MOUNTS: &[&str] = &["unshare", "--mount"];
const PIDS: &[&str] = &["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];

fn daemon(generation: &Generation) -> Daemon {
    let mut daemon = Daemon::start(generation);
    daemon.wait();
    daemon
}

/// A stowd with a state directory of its own that attaches to this containerd.
fn setup(daemon: &Daemon, wrapper: &[&str]) -> Setup {
    let mut setup = Setup::new(daemon.generation());
    setup.attach(&daemon.address());
    setup.wrapper = wrapper.iter().map(|&word| word.to_owned()).collect();
    setup.stow(&fixture("umoci.tar").path);
    setup
}

fn started(daemon: &Daemon, wrapper: &[&str]) -> Stowd {
    let mut stowd = setup(daemon, wrapper).start();
    stowd.wait_ready(SOON);
    stowd
}

fn state_dir(stowd: &Stowd) -> PathBuf {
    stowd.setup().dir().join("lib")
}

/// The process itself, where a wrapper has forked it.
fn inner(stowd: &Stowd) -> Pid {
    let child = children(stowd.pid()).first().copied();
    let pid = child.unwrap_or(stowd.pid());
    Pid::from_raw(pid as i32).unwrap()
}

/// It ends with an error that names the first one, as `pid`, and has not been READY.
fn assert_refused(second: &mut Stowd, first: &Stowd, pid: u32) {
    assert_eq!(second.wait(SOON).code(), Some(1));
    assert_eq!(second.notify.ready_at(), None);
    let lines = second.lines("another stowd");
    let line = lines.first().cloned().unwrap_or_default();
    let state_dir = state_dir(first);
    for part in [
        format!(" pid {pid} "),
        format!(" state-dir {}, ", state_dir.display()),
        "has instance default of this containerd; stop it first".to_owned(),
        "or give this one an instance of its own".to_owned(),
    ] {
        assert!(line.contains(&part), "{part:?} is not in {line:?}");
    }
    assert_eq!(second.lines(" imported /"), Vec::<String>::new());
    let last = second.notify.statuses().pop().unwrap();
    assert!(last.starts_with("failed: another stowd"), "{last}");
}

fn of_instances(daemon: &Daemon) -> Vec<String> {
    let leases = daemon.ctr(&["--namespace", "k8s.io", "leases", "list", "--quiet"]);
    let active = daemon.ctr(&["--namespace", "k8s.io", "content", "active"]);
    let lines = leases.lines().chain(active.lines());
    let mut lines = lines.map(str::to_owned).collect::<Vec<_>>();
    lines.retain(|line| line.contains(OF_AN_INSTANCE));
    lines
}

fn a_second_one_is_refused_wherever_it_runs(generation: &Generation) {
    let daemon = daemon(generation);
    let mut first = started(&daemon, &[]);
    let lease = daemon.ctr(&["--namespace", "k8s.io", "leases", "list"]);
    for part in [
        "io.stowd.instance=default".to_owned(),
        format!("io.stowd.state-dir={}", state_dir(&first).display()),
        format!(".{}.", first.pid()),
    ] {
        assert!(lease.contains(&part), "{part:?} is not in {lease}");
    }
    assert!(!lease.contains("gc.expire"), "{lease}");
    // What nothing keeps is gone then.
    Store::at(&daemon.address()).collect_garbage();
    for wrapper in [&[], MOUNTS, PIDS] {
        let mut second = setup(&daemon, wrapper).start();
        assert_refused(&mut second, &first, first.pid());
    }
    let mut other = setup(&daemon, &[]);
    let edge = ("STOWD_INSTANCE".to_owned(), "edge".to_owned());
    other.environment.push(edge);
    let mut other = other.start();
    other.wait_ready(SOON);
    assert_eq!(of_instances(&daemon).len(), 4, "a lease and an ingest each");
    assert_eq!(other.stop(), Some(0));
    assert_eq!(first.stop(), Some(0));
    assert_eq!(of_instances(&daemon), Vec::<String>::new());
}

/// The second would run a containerd itself, and cannot.
fn one_that_runs_its_own_containerd_is_named(generation: &Generation) {
    let mut first = Setup::new(generation).start();
    first.wait_ready(SOON);
    for supervise in [true, false] {
        let mut second = Setup::new(generation);
        second.containerd = format!("supervise = {supervise}\n");
        let address = first.address().display().to_string();
        let address = ("STOWD_CONTAINERD__ADDRESS".to_owned(), address);
        second.environment.push(address);
        let mut second = second.start();
        assert_refused(&mut second, &first, first.pid());
    }
    assert_eq!(first.stop(), Some(0));
}

fn one_that_is_stopped_has_the_instance(generation: &Generation) {
    let daemon = daemon(generation);
    for (wrapper, own_pid) in [(&[][..], None), (PIDS, Some(1))] {
        let first = started(&daemon, wrapper);
        let inside = inner(&first);
        kill_process(inside, Signal::STOP).unwrap();
        let pid = inside.as_raw_nonzero().get() as u32;
        let began = Instant::now();
        while !is_stopped(pid) {
            assert!(began.elapsed() < SOON, "it does not stop");
        }
        for wrapper in [&[], PIDS] {
            let mut second = setup(&daemon, wrapper).start();
            assert_refused(&mut second, &first, own_pid.unwrap_or(pid));
        }
    }
}

fn one_that_has_ended_has_it_no_more(generation: &Generation) {
    let daemon = daemon(generation);
    for wrapper in [&[][..], PIDS] {
        for next in [&[][..], PIDS] {
            let mut killed = started(&daemon, wrapper);
            kill_process(inner(&killed), Signal::KILL).unwrap();
            killed.wait(SOON);
            assert_eq!(of_instances(&daemon).len(), 2, "a lease and an ingest");
            let mut stopped = setup(&daemon, next).start();
            let began = Instant::now();
            stopped.wait_ready(SOON);
            assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
            assert_eq!(of_instances(&daemon).len(), 2, "a lease and an ingest");
            kill_process(inner(&stopped), Signal::TERM).unwrap();
            assert_eq!(stopped.wait(SOON).code(), Some(0));
            assert_eq!(of_instances(&daemon), Vec::<String>::new());
        }
    }
}

fn of_two_that_start_at_once_one_serves(generation: &Generation) {
    let daemon = daemon(generation);
    let mut two = [setup(&daemon, &[]).start(), setup(&daemon, &[]).start()];
    for round in 0..20 {
        let began = Instant::now();
        let winner = loop {
            let ready = two.each_ref().map(|one| one.notify.ready_at().is_some());
            assert_ne!(ready, [true, true], "round {round}");
            let refused = two
                .each_ref()
                .map(|one| !one.lines("has instance").is_empty());
            match (ready, refused) {
                ([true, false], [_, true]) => break 0,
                ([false, true], [true, _]) => break 1,
                _ => assert!(
                    began.elapsed() < SOON,
                    "round {round}: {ready:?} {refused:?}"
                ),
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let [first, second] = &mut two;
        let (first, second) = if winner == 0 {
            (first, second)
        } else {
            (second, first)
        };
        assert_refused(second, first, first.pid());
        // Every other time the next ones find what a killed one has left.
        if round % 2 == 0 {
            first.kill();
        } else {
            assert_eq!(first.stop(), Some(0));
        }
        for one in &mut two {
            std::fs::remove_file(one.setup().dir().join("log")).unwrap();
            one.restart();
        }
    }
}

fn leases_of_instances(address: &Path, generation: &Generation) -> Vec<String> {
    let list = ["leases", "list", "--quiet"];
    let leases = crate::support::ctr(generation, address, &list);
    let leases = leases.lines().filter(|id| id.starts_with(OF_AN_INSTANCE));
    leases.map(str::to_owned).collect()
}

fn after_a_restart_of_containerd_the_first_has_it_again(generation: &Generation) {
    let mut daemon = daemon(generation);
    let mut first = started(&daemon, &[]);
    let before = leases_of_instances(&daemon.address(), generation);
    daemon.restart();
    daemon.wait();
    let address = daemon.address();
    first.wait_until(SOON, "it has the instance again", |_| {
        let now = leases_of_instances(&address, generation);
        now.len() == 1 && now != before
    });
    let mut second = setup(&daemon, PIDS).start();
    assert_refused(&mut second, &first, first.pid());
    assert_eq!(first.stop(), Some(0));
}

/// A containerd that is restarted while a stowd is stopped has no lock of it. In its own pid namespace it
/// would be seen to run.
fn one_that_another_has_taken_it_from_ends(generation: &Generation) {
    let mut daemon = daemon(generation);
    let mut first = started(&daemon, PIDS);
    let inside = inner(&first);
    kill_process(inside, Signal::STOP).unwrap();
    daemon.restart();
    daemon.wait();
    let mut second = started(&daemon, &[]);
    kill_process(inside, Signal::CONT).unwrap();
    assert_eq!(first.wait(SOON).code(), Some(1));
    let lines = first.lines("another stowd");
    let line = lines.first().cloned().unwrap_or_default();
    assert!(line.contains(&format!(" pid {} ", second.pid())), "{line}");
    assert_eq!(second.stop(), Some(0));
}
