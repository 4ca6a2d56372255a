//! A containerd that already serves the address.

use std::ffi::OsString;
use std::fs;
use std::future::ready;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use stowd::config;
use stowd::supervisor::Supervisor;
use stowd::supervisor::arguments::arguments;
use stowd::supervisor::leftover::clear;
use tokio::time::timeout;

use super::stowd::Guard;
use super::{await_death, content_of, fixture, kill, pid_in, scripted};
use crate::process::is_running;

const PATIENCE: Duration = Duration::from_secs(60);

/// The configuration and the command line of a listener in `directory`.
fn listener(directory: &Path, last: &str) -> (config::ContainerdConfig, Vec<OsString>) {
    let mut config = scripted(directory, last);
    config.binary = fixture("listener");
    fs::create_dir(directory.join("run")).unwrap();
    fs::create_dir(directory.join("state")).unwrap();
    let mut command_line = vec![config.binary.clone().into()];
    command_line.extend(arguments(&config, None));
    (config, command_line)
}

/// Starts it so that its parent has ended, as after stowd's death. Gives its pid once it
/// listens.
fn orphan(config: &config::ContainerdConfig, command_line: &[OsString]) -> i32 {
    let status = Command::new("setsid")
        .arg("--fork")
        .args(command_line)
        .status();
    assert!(status.unwrap().success());
    pid_in(&config.state.join("pid"))
}

#[tokio::test]
async fn an_earlier_stowds_is_asked_to_stop() {
    let directory = tempfile::tempdir().unwrap();
    let (config, command_line) = listener(directory.path(), "obey");
    let pid = orphan(&config, &command_line);
    let began = Instant::now();
    clear(&config.address, &command_line, PATIENCE)
        .await
        .unwrap();
    assert!(!is_running(pid));
    assert!(began.elapsed() < PATIENCE, "SIGTERM was enough");
}

#[tokio::test]
async fn an_earlier_stowds_that_does_not_stop_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let (config, command_line) = listener(directory.path(), "ignore-term");
    let pid = orphan(&config, &command_line);
    let limit = Duration::from_millis(200);
    let began = Instant::now();
    clear(&config.address, &command_line, limit).await.unwrap();
    assert!(!is_running(pid));
    assert!(began.elapsed() >= limit);
}

#[tokio::test]
async fn stopping_it_can_be_broken_off_and_begun_again() {
    let directory = tempfile::tempdir().unwrap();
    let (mut config, command_line) = listener(directory.path(), "ignore-term");
    let pid = orphan(&config, &command_line);
    config.stop_timeout = PATIENCE;
    let moment = Duration::from_millis(100);
    let broken_off = timeout(moment, Supervisor::start(&config)).await;
    assert!(broken_off.is_err(), "it ended: {broken_off:?}");
    assert!(is_running(pid));
    config.stop_timeout = moment;
    let mut supervisor = Supervisor::start(&config).await.unwrap();
    assert!(!is_running(pid));
    supervisor.stop(ready(())).await;
}

#[tokio::test]
async fn one_with_other_arguments_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (config, command_line) = listener(directory.path(), "obey");
    let pid = orphan(&config, &command_line);
    let mut ours = command_line.clone();
    ours.push("--more".into());
    let error = clear(&config.address, &ours, PATIENCE).await.unwrap_err();
    let alive = is_running(pid);
    kill(pid, Signal::KILL);
    assert!(alive);
    let text = error.to_string();
    let address = config.address.display();
    let start = format!("containerd.address {address} is already served by pid {pid}: ");
    assert!(text.starts_with(&start), "{text}");
    assert!(
        text.contains(&format!("listener --address {address} --root ")),
        "{text}"
    );
    assert!(
        text.ends_with("; stop it, or set containerd.supervise = false to attach to it"),
        "{text}"
    );
    await_death(pid);
}

#[tokio::test]
async fn one_that_somebody_keeps_is_refused_whatever_its_arguments() {
    let directory = tempfile::tempdir().unwrap();
    let (config, command_line) = listener(directory.path(), "obey");
    // This process is its parent, as another stowd would be.
    let mut child = Guard(
        Command::new(&command_line[0])
            .args(&command_line[1..])
            .spawn()
            .unwrap(),
    );
    pid_in(&config.state.join("pid"));
    let error = clear(&config.address, &command_line, PATIENCE)
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("is already served by pid"),
        "{error}"
    );
    assert!(child.0.try_wait().unwrap().is_none());
}

#[tokio::test]
async fn somebody_else_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (config, command_line) = listener(directory.path(), "obey");
    let _listener = UnixListener::bind(&config.address).unwrap();
    let error = clear(&config.address, &command_line, PATIENCE)
        .await
        .unwrap_err();
    let me = format!("served by pid {}: ", std::process::id());
    assert!(error.to_string().contains(&me), "{error}");
}

#[test]
fn one_in_a_pid_namespace_that_is_not_seen_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (config, _) = listener(directory.path(), "obey");
    let _listener = UnixListener::bind(&config.address).unwrap();
    let stowd = super::stowd::command(directory.path(), "true");
    let mut inside = Command::new("unshare");
    inside
        .args(["--pid", "--fork", "--kill-child"])
        .arg(stowd.get_program());
    inside.args(stowd.get_args());
    inside.envs(stowd.get_envs().map(|(name, value)| (name, value.unwrap())));
    let mut inside = Guard::spawn(&mut inside);
    inside.0.wait().unwrap();
    let error = content_of(&directory.path().join("error"));
    assert!(
        error.contains("already served by a process that is not seen from here"),
        "{error}"
    );
}

#[tokio::test]
async fn a_socket_that_nobody_answers_is_no_hindrance() {
    let directory = tempfile::tempdir().unwrap();
    let (config, command_line) = listener(directory.path(), "obey");
    clear(&config.address, &command_line, PATIENCE)
        .await
        .unwrap();
    drop(UnixListener::bind(&config.address).unwrap());
    assert!(config.address.exists());
    clear(&config.address, &command_line, PATIENCE)
        .await
        .unwrap();
}

#[tokio::test]
async fn an_address_that_is_too_long_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let (_, command_line) = listener(directory.path(), "obey");
    let address = directory.path().join("x".repeat(120));
    let error = clear(&address, &command_line, PATIENCE).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("cannot tell whether it is served: path must be shorter"),
        "{error}"
    );
}
