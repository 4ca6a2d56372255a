//! containerd as a supervised child. Scripts stand for containerd: `tests/fixtures/supervisor`.
#![allow(clippy::unwrap_used)]

mod child;
mod disk;
mod environment;
mod journal;
mod leftover;
mod lines;
mod refusals;
mod rotation;
mod stowd;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ::stowd::config;

use crate::process::is_running;

/// Long, as the machine may be busy: nothing waits for it in vain.
const DEADLINE: Duration = Duration::from_secs(60);

/// Probes until the probe is content; after the deadline it panics with the last thing seen.
fn eventually<T>(what: &str, mut probe: impl FnMut() -> Result<T, String>) -> T {
    let began = Instant::now();
    loop {
        match probe() {
            Ok(found) => return found,
            Err(seen) => assert!(began.elapsed() < DEADLINE, "{what}: last seen: {seen}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits for a file that another process writes, until it is not empty.
fn content_of(file: &Path) -> String {
    eventually("a file", || match std::fs::read_to_string(file) {
        Ok(content) if !content.is_empty() => Ok(content),
        seen => Err(format!("{}: {seen:?}", file.display())),
    })
}

fn pid_in(file: &Path) -> i32 {
    eventually("a pid", || {
        content_of(file).trim().parse().map_err(|e| format!("{e}"))
    })
}

fn await_death(pid: i32) {
    eventually("the process to end", || {
        (!is_running(pid))
            .then_some(())
            .ok_or(format!("{pid} lives"))
    });
}

fn kill(pid: i32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// A program of `tests/fixtures/supervisor`.
fn fixture(name: &str) -> PathBuf {
    [
        env!("CARGO_MANIFEST_DIR"),
        "tests/fixtures/supervisor",
        name,
    ]
    .iter()
    .collect()
}

/// A containerd that is `code` of the shell, with all that it has in `directory`. `$1` to `$6` are
/// its flags `--address`, `--root` and `--state`.
fn scripted(directory: &Path, code: &str) -> config::ContainerdConfig {
    config::ContainerdConfig {
        binary: fixture("script"),
        address: directory.join("run/containerd.sock"),
        root: directory.join("root"),
        state: directory.join("state"),
        extra_args: vec![code.to_owned()],
        ..config::ContainerdConfig::default()
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}
