//! The child's life: that it dies with stowd and only with stowd, and how it is stopped.

use std::future::{pending, ready};
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use stowd::supervisor::{Means, Supervisor};
use tokio::time::timeout;

use super::stowd::{Guard, command};
use super::{DEADLINE, await_death, content_of, eventually, kill, pid_in, runtime, scripted};
use crate::process::is_running;

/// Says that it is up, and leaves when asked to.
const OBEYS: &str = r#"exec perl -e '$SIG{TERM} = sub { print "bye\n"; exit 0 };
    open(F, ">", "$ARGV[0]/up"); print F "up"; close(F); sleep 1 while 1' "$6""#;
/// Says that it is up, and stays.
const IGNORES: &str = r#"exec perl -e '$SIG{TERM} = "IGNORE";
    open(F, ">", "$ARGV[0]/up"); print F "up"; close(F); sleep 1 while 1' "$6""#;

#[test]
fn it_dies_when_stowd_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let mut stowd = Guard::spawn(&mut command(directory.path(), IGNORES));
    content_of(&directory.path().join("state/up"));
    let pid = pid_in(&directory.path().join("pid"));
    assert!(is_running(pid));
    stowd.0.kill().unwrap();
    stowd.0.wait().unwrap();
    await_death(pid);
}

#[test]
fn it_outlives_the_thread_that_asked_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let config = scripted(directory.path(), OBEYS);
    let runtime = runtime();
    // A thread that ends, as those of a runtime's blocking pool do.
    let mut supervisor = std::thread::scope(|scope| {
        let starter = scope.spawn(|| runtime.block_on(Supervisor::start(&config)).unwrap());
        starter.join().unwrap()
    });
    content_of(&config.state.join("up"));
    assert!(is_running(supervisor.pid().cast_signed()));
    // It was not on its way out either: it still obeys.
    let stopped = runtime.block_on(supervisor.stop(pending()));
    assert_eq!(
        (stopped.means, stopped.exit.status.code()),
        (Means::Asked, Some(0))
    );
}

#[tokio::test]
async fn it_is_asked_to_stop() {
    let directory = tempfile::tempdir().unwrap();
    let config = scripted(directory.path(), OBEYS);
    let mut supervisor = Supervisor::start(&config).await.unwrap();
    content_of(&config.state.join("up"));
    let stopped = supervisor.stop(pending()).await;
    assert_eq!(stopped.means, Means::Asked);
    assert_eq!(stopped.exit.status.code(), Some(0));
    assert_eq!(stopped.exit.last_lines, ["bye"]);
}

#[tokio::test]
async fn it_is_killed_when_it_does_not_stop_in_time() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = scripted(directory.path(), IGNORES);
    config.stop_timeout = Duration::from_millis(300);
    let mut supervisor = Supervisor::start(&config).await.unwrap();
    content_of(&config.state.join("up"));
    let began = Instant::now();
    let stopped = supervisor.stop(pending()).await;
    assert_eq!(stopped.means, Means::TimedOut);
    assert_eq!(stopped.exit.status.signal(), Some(Signal::KILL.as_raw()));
    assert!(began.elapsed() >= config.stop_timeout);
}

#[tokio::test]
async fn a_forced_stop_kills_it_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = scripted(directory.path(), IGNORES);
    config.stop_timeout = 10 * DEADLINE;
    let mut supervisor = Supervisor::start(&config).await.unwrap();
    content_of(&config.state.join("up"));
    let began = Instant::now();
    let stopped = supervisor.stop(ready(())).await;
    assert_eq!(stopped.means, Means::Forced);
    assert_eq!(stopped.exit.status.signal(), Some(Signal::KILL.as_raw()));
    assert!(began.elapsed() < DEADLINE);
}

#[tokio::test]
async fn its_exit_is_told_with_its_last_lines() {
    let directory = tempfile::tempdir().unwrap();
    let config = scripted(
        directory.path(),
        "seq 100; echo; echo oops >&2; printf 'no end'; exit 3",
    );
    let mut supervisor = Supervisor::start(&config).await.unwrap();
    let exit = supervisor.exited().await;
    assert_eq!(exit.status.code(), Some(3));
    let mut expected: Vec<String> = (83..=100).map(|n| n.to_string()).collect();
    expected.extend(["oops".to_owned(), "no end".to_owned()]);
    assert_eq!(exit.last_lines, expected);
    let text = exit.to_string();
    assert!(
        text.starts_with("containerd exited: exit status: 3; last lines: 83 | 84 | "),
        "{text}"
    );
    assert!(text.ends_with(" | oops | no end"), "{text}");

    // Again the same, and there is nothing to stop.
    assert_eq!(supervisor.exited().await, exit);
    let stopped = supervisor.stop(pending()).await;
    assert_eq!((stopped.means, stopped.exit), (Means::Nothing, exit));
}

#[tokio::test]
async fn its_last_lines_are_text_and_nothing_more() {
    let directory = tempfile::tempdir().unwrap();
    let config = scripted(directory.path(), r"printf 'a\rREADY=1\033[2J\n'; exit 1");
    let exit = Supervisor::start(&config).await.unwrap().exited().await;
    assert_eq!(
        exit.to_string(),
        r"containerd exited: exit status: 1; last lines: a\rREADY=1\u{1b}[2J"
    );
}

#[tokio::test]
async fn an_exit_without_a_word_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let config = scripted(directory.path(), "kill -9 $$");
    let exit = Supervisor::start(&config).await.unwrap().exited().await;
    assert_eq!(
        exit.to_string(),
        "containerd exited: signal: 9 (SIGKILL); it wrote nothing"
    );
}

#[tokio::test]
async fn a_grandchild_that_holds_the_pipe_holds_nobody_up() {
    let directory = tempfile::tempdir().unwrap();
    let config = scripted(
        directory.path(),
        "sleep 600 & echo $! > \"$4/grandchild\"; echo last; exit 1",
    );
    let mut supervisor = Supervisor::start(&config).await.unwrap();
    let exit = tokio::time::timeout(DEADLINE, supervisor.exited()).await;
    let grandchild = pid_in(&config.root.join("grandchild"));
    assert!(is_running(grandchild), "shims are left alone");
    kill(grandchild, Signal::KILL);
    assert_eq!(exit.unwrap().last_lines, ["last"]);
}

#[tokio::test]
async fn waiting_for_it_can_be_broken_off() {
    let directory = tempfile::tempdir().unwrap();
    let config = scripted(directory.path(), OBEYS);
    let mut supervisor = Supervisor::start(&config).await.unwrap();
    content_of(&config.state.join("up"));
    for _ in 0..3 {
        let waited = tokio::time::timeout(Duration::from_millis(5), supervisor.exited()).await;
        assert!(waited.is_err());
    }
    kill(supervisor.pid().cast_signed(), Signal::TERM);
    assert_eq!(supervisor.exited().await.status.code(), Some(0));
}

/// In the one moment in which it is: while the thread that forks is about it.
#[tokio::test]
async fn starting_it_can_be_broken_off() {
    let directory = tempfile::tempdir().unwrap();
    let config = scripted(directory.path(), IGNORES);
    let at_once = timeout(Duration::ZERO, Supervisor::start(&config)).await;
    // The thread forks one after the other: with the next one up, the first was forked.
    let second = tempfile::tempdir().unwrap();
    let mut next = Supervisor::start(&scripted(second.path(), "exit 0"))
        .await
        .unwrap();
    next.exited().await;
    drop(at_once);
    let mark = config.state.into_os_string().into_encoded_bytes();
    eventually("the child to be killed", || match commands_with(&mark) {
        0 => Ok(()),
        alive => Err(format!("{alive} alive")),
    });
}

/// How many processes have this in their command line.
fn commands_with(mark: &[u8]) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|process| std::fs::read(process.path().join("cmdline")).ok())
        .filter(|line| line.windows(mark.len()).any(|window| window == mark))
        .count()
}

#[tokio::test]
async fn it_does_not_outlive_its_handle() {
    let directory = tempfile::tempdir().unwrap();
    let config = scripted(directory.path(), IGNORES);
    let supervisor = Supervisor::start(&config).await.unwrap();
    content_of(&config.state.join("up"));
    let pid = supervisor.pid().cast_signed();
    drop(supervisor);
    await_death(pid);
}

#[test]
fn it_does_not_outlive_the_runtime() {
    let directory = tempfile::tempdir().unwrap();
    let config = scripted(directory.path(), IGNORES);
    let runtime = runtime();
    let mut supervisor = runtime.block_on(Supervisor::start(&config)).unwrap();
    content_of(&config.state.join("up"));
    let pid = supervisor.pid().cast_signed();
    runtime.spawn(async move { supervisor.exited().await });
    drop(runtime);
    await_death(pid);
}

#[tokio::test]
async fn it_starts_from_a_clean_slate_in_a_group_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let config = scripted(
        directory.path(),
        "grep -E '^Sig(Blk|Ign)' /proc/self/status; readlink /proc/$$/fd/0;
         readlink /proc/$$/fd/* | grep -cFx \"$(readlink /proc/$$/fd/1)\"; cut -d' ' -f1,5 /proc/$$/stat",
    );
    let mut supervisor = Supervisor::start(&config).await.unwrap();
    let pid = supervisor.pid();
    let exit = supervisor.exited().await;
    let lines: Vec<&str> = exit.last_lines.iter().map(String::as_str).collect();
    assert_eq!(lines[0], "SigBlk:\t0000000000000000");
    // Rust ignores SIGPIPE, Go and the shell expect the default. What this process was started
    // with is not touched.
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    let own = own
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:\t"))
        .unwrap();
    let sigpipe = 1 << (Signal::PIPE.as_raw() - 1);
    let expected = u64::from_str_radix(own, 16).unwrap() & !sigpipe;
    assert_eq!(lines[1], format!("SigIgn:\t{expected:016x}"));
    assert_eq!(lines[2], "/dev/null");
    // stdout and stderr, and no other hold on the pipe.
    assert_eq!(lines[3], "2");
    // So that Ctrl-C on a terminal reaches stowd alone.
    assert_eq!(lines[4], format!("{pid} {pid}"));
}
