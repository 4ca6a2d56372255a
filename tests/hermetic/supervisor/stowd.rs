//! A process that stands for stowd: this test binary again, told to run one test, which supervises
//! a script. What stowd's own death does can only be seen from outside.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use stowd::config::ContainerdLog;
use stowd::supervisor::Supervisor;

use super::{runtime, scripted};

const DIRECTORY: &str = "TEST_SUPERVISOR_DIRECTORY";
const SCRIPT: &str = "TEST_SUPERVISOR_SCRIPT";
const LOG_FILE: &str = "TEST_SUPERVISOR_LOG_FILE";

/// The command that runs `supervising` in a process of its own. The script's pid will be in
/// `directory/pid`, stowd's own log in `directory/log`, what the script's exit looks like in
/// `directory/exit`.
pub(super) fn command(directory: &Path, script: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "supervisor::stowd::supervising", "--ignored"])
        .arg("--nocapture")
        .env(DIRECTORY, directory)
        .env(SCRIPT, script)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

pub(super) fn with_log_file(command: &mut Command, file: &Path) {
    command.env(LOG_FILE, file);
}

/// Kills and reaps, also when the test fails.
pub(super) struct Guard(pub(super) Child);

impl Guard {
    pub(super) fn spawn(command: &mut Command) -> Self {
        Self(command.spawn().unwrap())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "other tests run it as a process"]
fn supervising() {
    let directory = PathBuf::from(std::env::var_os(DIRECTORY).unwrap());
    let mut config = scripted(&directory, &std::env::var(SCRIPT).unwrap());
    config.stop_timeout = Duration::from_secs(1);
    config.log = ContainerdLog {
        file: std::env::var_os(LOG_FILE).map(Into::into),
        ..ContainerdLog::default()
    };
    let log = std::fs::File::create(directory.join("log")).unwrap();
    tracing_subscriber::fmt()
        .with_writer(log)
        .with_ansi(false)
        .init();
    let leave = |name: &str, content: String| {
        let new = directory.join("new");
        std::fs::write(&new, content).unwrap();
        std::fs::rename(new, directory.join(name)).unwrap();
    };
    runtime().block_on(async {
        match Supervisor::start(&config).await {
            Ok(mut supervisor) => {
                leave("pid", supervisor.pid().to_string());
                leave("exit", supervisor.exited().await.to_string());
            }
            Err(error) => leave("error", error.to_string()),
        }
    });
}
