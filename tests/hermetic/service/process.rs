//! A process that runs the daemon, and what is seen of it from outside: its exit status, what the
//! service manager hears on a real socket, and the log.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use stowd::commands;
use stowd::config::{self, ConfigFile, Inputs};
use stowd::service::Mode;
use stowd::status::StatusDocument;
use stowd::status_file;
use tempfile::TempDir;

use super::stage::{READY, SILENT, Stage};
use crate::notify::allow_descriptors;

const SCENARIO: &str = "STOWD_TEST_SCENARIO";
const DIRECTORY: &str = "STOWD_TEST_DIRECTORY";
const ONCE: &str = "STOWD_TEST_ONCE";
const DESCRIPTORS: &str = "STOWD_TEST_DESCRIPTORS";

/// Runs `stowd run` in a scenario, in the process that [`outcome`] starts.
#[test]
#[ignore = "a part of the other tests of this module"]
fn daemon() {
    let Ok(name) = std::env::var(SCENARIO) else {
        return;
    };
    let mode = match std::env::var_os(ONCE) {
        Some(_) => Mode::Once,
        None => Mode::Daemon,
    };
    let mut stage = Stage::new(std::env::var_os(DIRECTORY).unwrap().into());
    super::arrange(&name, &mut stage);
    let inputs = Inputs {
        file: ConfigFile::Named(stage.config_file()),
        environment: Vec::new(),
        flags: Vec::new(),
    };
    let loaded = config::load(&inputs).unwrap();
    let edges = stage.edges();
    if let Ok(most) = std::env::var(DESCRIPTORS) {
        allow_descriptors(most.parse().unwrap());
    }
    let ended = commands::run::run(loaded, inputs, mode, false, &edges);
    let ended = ended.unwrap_or_else(|error| {
        eprintln!("stowd: {error}");
        ExitCode::FAILURE
    });
    std::process::exit(i32::from(ended != ExitCode::SUCCESS));
}

/// What came of a scenario.
#[derive(Debug)]
pub(super) struct Outcome {
    /// `None` where a signal ended it.
    pub(super) status: Option<i32>,
    /// Every line of every datagram.
    pub(super) heard: Vec<String>,
    pub(super) log: String,
    /// The status file that it has left.
    pub(super) left: Option<StatusDocument>,
}

impl Outcome {
    pub(super) fn is_ready(&self) -> bool {
        self.heard.iter().any(|line| line == "READY=1")
    }

    /// The last STATUS.
    pub(super) fn last_status(&self) -> Option<&str> {
        let mut lines = self.heard.iter().rev();
        lines.find_map(|line| line.strip_prefix("STATUS="))
    }

    /// Nothing says READY after STOPPING.
    pub(super) fn assert_in_order(&self, scenario: &str) {
        let mut lines = self.heard.iter();
        let _ = lines.find(|line| *line == "STOPPING=1");
        assert!(lines.all(|line| line != "READY=1"), "{scenario}: {self:#?}");
    }
}

/// Runs a scenario, with at most so many descriptors where there is a limit.
pub(super) fn outcome(scenario: &str, mode: Mode, descriptors: Option<u64>) -> Outcome {
    let dir = TempDir::new().unwrap();
    let socket = dir.path().join("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager
        .set_read_timeout(Some(Duration::from_millis(20)))
        .unwrap();
    let mut command = Command::new("timeout");
    // A process that hangs is ended, and the test fails.
    command
        .args(["--signal=KILL", "60"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "service::process::daemon"])
        .args(["--ignored", "--nocapture"])
        .env("NOTIFY_SOCKET", &socket)
        .env(SCENARIO, scenario)
        .env(DIRECTORY, dir.path())
        .env_remove("RUST_LOG")
        .env_remove("JOURNAL_STREAM")
        .stdin(Stdio::null());
    if mode == Mode::Once {
        command.env(ONCE, "1");
    }
    if let Some(most) = descriptors {
        command.env(DESCRIPTORS, most.to_string());
    }
    let has_ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let listener = scope.spawn(|| listen(&manager, dir.path(), &has_ended));
        let output = command.output();
        has_ended.store(true, Ordering::Relaxed);
        let output = output.unwrap();
        Outcome {
            status: output.status.code(),
            heard: listener.join().unwrap(),
            log: String::from_utf8_lossy(&output.stderr).into_owned(),
            left: status_file::read(&dir.path().join("state/status.json")).unwrap_or(None),
        }
    })
}

/// Takes datagrams until none is left after the end. A file says that READY was among them.
fn listen(manager: &UnixDatagram, dir: &Path, has_ended: &AtomicBool) -> Vec<String> {
    let mut heard = Vec::new();
    let mut datagram = [0; 8192];
    loop {
        let was_over = has_ended.load(Ordering::Relaxed);
        match manager.recv(&mut datagram) {
            Ok(length) => {
                let text = String::from_utf8_lossy(&datagram[..length]);
                heard.extend(text.lines().map(str::to_owned));
                for (beginning, file) in [
                    ("READY=1", READY),
                    ("STATUS=waiting for containerd: ", SILENT),
                ] {
                    if text.lines().any(|line| line.starts_with(beginning)) {
                        std::fs::write(dir.join(file), "").unwrap();
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && !was_over => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return heard,
            Err(error) => panic!("{error}"),
        }
    }
}
