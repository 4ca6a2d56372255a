//! Keeps containerd alive as a child.
//!
//! `Supervisor::start` makes what it needs of the configuration (`arguments`, `environment`,
//! `binary`, `directories`), deals with one that runs already (`leftover`), and forks it so that
//! it dies with stowd (`spawn`). `output` takes what it writes.

pub mod arguments;
pub mod binary;
pub mod directories;
pub mod environment;
pub mod leftover;
pub mod output;
mod spawn;

use std::ffi::OsString;
use std::fmt;
use std::fs::OpenOptions;
use std::future::Future;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;
use tokio::time::timeout;

use self::environment::Environment;
use self::output::{LogStream, Output};
use crate::config;
use crate::happened::{OutputEvent, ProcessEvent};
use crate::one_line::one_line;
use crate::reporter::report;

/// How long the last of the child's output may take to be passed on: a disk may be stuck.
const LAST_OUTPUT: Duration = Duration::from_secs(3);

/// Why containerd does not run.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// There is no program.
    #[error(transparent)]
    Binary(#[from] binary::BinaryError),
    /// Its configuration is missing or unreadable.
    #[error("containerd.config {}: cannot be read: {cause}", .path.display())]
    Config { path: PathBuf, cause: io::Error },
    /// Its address is taken.
    #[error(transparent)]
    Leftover(#[from] leftover::LeftoverError),
    /// Its directories cannot be made.
    #[error(transparent)]
    Directory(#[from] directories::DirectoryError),
    /// Its output cannot be taken.
    #[error(transparent)]
    Output(#[from] output::OutputError),
    /// It cannot be executed.
    #[error("{}: cannot be executed: {cause}{}", .binary.display(), hint(.cause))]
    Spawn {
        binary: PathBuf,
        /// What fork or exec said.
        cause: io::Error,
    },
}

/// The program was found before, so that what is missing here is its interpreter or loader.
fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => " (the interpreter or loader that it names is missing)",
        _ => "",
    }
}

/// containerd, running as a child.
///
/// It gets SIGKILL when this is dropped before `stop`, and when stowd ends, however it ends.
#[derive(Debug)]
pub struct Supervisor {
    child: Child,
    pid: Pid,
    output: Output,
    stop_timeout: Duration,
}

/// How the child ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// Its status, or the signal that ended it.
    pub status: ExitStatus,
    /// The last lines that it wrote, the oldest first; blank ones are left out.
    pub last_lines: Vec<String>,
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "containerd exited: {}", self.status)?;
        if self.last_lines.is_empty() {
            f.write_str("; it wrote nothing")
        } else {
            // They are shown in a status and on a terminal: control characters must not act there.
            write!(
                f,
                "; last lines: {}",
                one_line(&self.last_lines.join(" | "))
            )
        }
    }
}

/// What ended the child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means {
    /// It had exited before it was asked to.
    Nothing,
    /// SIGTERM.
    Asked,
    /// SIGKILL, after `stop-timeout`.
    TimedOut,
    /// SIGKILL at once, as asked.
    Forced,
}

/// How the child was stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopOutcome {
    /// What ended it.
    pub means: Means,
    pub exit: Exit,
}

impl Supervisor {
    /// Starts containerd. One that an earlier stowd left on the same address is stopped first.
    ///
    /// It need not serve yet when this returns. Must be called in a tokio runtime with its I/O driver. The
    /// child is killed when the runtime ends.
    ///
    /// It may take up to `stop-timeout` and may be dropped meanwhile. A child that has been forked by then
    /// gets SIGKILL; a containerd of an earlier stowd that got SIGTERM may still be stopping.
    ///
    /// # Errors
    /// Each names the key or the file to correct.
    pub async fn start(config: &config::ContainerdConfig) -> Result<Self, SupervisorError> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let program = binary::find(&config.binary, &path)?;
        if let Some(path) = &config.config {
            let opened = OpenOptions::new()
                .read(true)
                // Opening a FIFO without a writer must not block the start.
                .custom_flags(OFlags::NONBLOCK.bits() as i32)
                .open(path);
            opened.map_err(|cause| SupervisorError::Config {
                path: path.clone(),
                cause,
            })?;
        }
        let environment = Environment::from_own(std::env::vars_os());
        let arguments = arguments::arguments(config, environment.log_level.as_deref());
        let mut command_line: Vec<OsString> = vec![program.clone().into()];
        command_line.extend(arguments.iter().cloned());
        leftover::clear(&config.address, &command_line, config.stop_timeout).await?;
        directories::make(config)?;

        let pipe_failed = |cause| SupervisorError::Output(output::OutputError::Resources(cause));
        let (reader, writer) = io::pipe().map_err(pipe_failed)?;
        let output = Output::start(reader, &config.log, LogStream::detect())?;
        let mut command = Command::new(&program);
        command
            .args(&arguments)
            .env_clear()
            .envs(&environment.variables)
            .stdin(Stdio::null())
            .stdout(writer.try_clone().map_err(pipe_failed)?)
            .stderr(writer);
        let failed = |cause| SupervisorError::Spawn {
            binary: program.clone(),
            cause,
        };
        let child = spawn::spawn(command).await.map_err(failed)?;
        let pid = child
            .id()
            .and_then(|pid| Pid::from_raw(pid.cast_signed()))
            .ok_or_else(|| failed(io::Error::other("the child has no pid")))?;
        let (number, binary) = (pid.as_raw_pid(), program.display());
        let binary = binary.to_string();
        report(ProcessEvent::Started {
            pid: number.cast_unsigned(),
            binary,
        });
        Ok(Self {
            child,
            pid,
            output,
            stop_timeout: config.stop_timeout,
        })
    }

    /// The child's pid. Another process may have it once the child has exited.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_pid().cast_unsigned()
    }

    /// Waits for the child to exit and for its output to be passed on. May be dropped and called
    /// again; once the child has exited it returns the same at once.
    pub async fn exited(&mut self) -> Exit {
        let status = self.wait().await;
        // A grandchild may hold the pipe open, so that its end may never come.
        if timeout(LAST_OUTPUT, self.output.flush()).await.is_err() {
            report(OutputEvent::NotAwaited);
        }
        Exit {
            status,
            last_lines: self.output.last_lines(),
        }
    }

    /// Stops the child: SIGTERM, after `stop-timeout` SIGKILL, which comes at once when `force`
    /// completes. Returns when it has exited and its output is passed on. Its own children, the
    /// shims, are left alone.
    pub async fn stop(&mut self, force: impl Future<Output = ()>) -> StopOutcome {
        let pid = self.pid();
        let mut means = Means::Nothing;
        if self.signal(Signal::TERM) {
            report(ProcessEvent::Stopping(pid));
            let limit = self.stop_timeout;
            means = tokio::select! {
                biased;
                _ = self.wait() => Means::Asked,
                () = force => Means::Forced,
                () = tokio::time::sleep(limit) => Means::TimedOut,
            };
            match means {
                Means::TimedOut => report(ProcessEvent::Overdue { pid, limit }),
                Means::Forced => report(ProcessEvent::Killing(pid)),
                Means::Nothing | Means::Asked => {}
            }
            self.signal(Signal::KILL);
        }
        let exit = self.exited().await;
        let status = exit.status;
        let status = status.to_string();
        report(ProcessEvent::Stopped { pid, status });
        StopOutcome { means, exit }
    }

    /// Opens the log file anew, as after SIGHUP.
    pub(crate) fn reopen_log(&self) {
        self.output.reopen();
    }

    async fn wait(&mut self) -> ExitStatus {
        loop {
            match self.child.wait().await {
                Ok(status) => return status,
                Err(error) => {
                    // waitpid(2) does not fail for a child that no other code reaps.
                    report(ProcessEvent::NotWaitedFor(error.to_string()));
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }

    /// False: it has exited. The pid is the child's for as long as it is not waited for.
    fn signal(&mut self, signal: Signal) -> bool {
        matches!(self.child.try_wait(), Ok(None)) && kill_process(self.pid, signal).is_ok()
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            report(ProcessEvent::Abandoned(self.pid()));
        }
    }
}
