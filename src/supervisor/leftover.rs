//! A containerd that already serves the address: one that an earlier stowd left is stopped, another is
//! refused.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep};

use crate::happened::ProcessEvent;
use crate::one_line::one_line;
use crate::reporter::report;

/// Time between two looks at a process that is to end.
const LOOK: Duration = Duration::from_millis(20);
/// How long a process that is just dying may still seem to serve: the kernel closes its socket a
/// little after it has taken its command line away.
const DYING: Duration = Duration::from_secs(5);

/// Why containerd cannot be started at its address.
#[derive(Debug, thiserror::Error)]
pub enum LeftoverError {
    /// A process that no stowd has left serves it.
    #[error(
        "containerd.address {} is already served by {server}; stop it, or set containerd.supervise = false to attach to it",
        .address.display()
    )]
    Served {
        address: PathBuf,
        /// The process, for people: its pid and its command line.
        server: String,
    },
    /// It is unknown whether a process serves it.
    #[error("containerd.address {}: cannot tell whether it is served: {cause}", .address.display())]
    Unknown {
        address: PathBuf,
        /// How the connection failed.
        cause: io::Error,
    },
    /// An earlier stowd's, and it cannot be stopped.
    #[error("cannot stop the containerd of an earlier stowd, pid {pid}: {cause}")]
    Unstoppable {
        pid: i32,
        /// What the kernel said.
        cause: io::Error,
    },
}

/// Makes sure that no process serves `address`. `command` is the command line that is to be started
/// there: an orphan that has the same one is an earlier stowd's child. It gets SIGTERM, and
/// SIGKILL after `stop_timeout`. A socket without a listener is left for containerd to replace.
///
/// May be dropped: where the orphan has not stopped by the next call, that call stops it.
///
/// # Errors
/// When another process serves the address, and when that is unknown or cannot be changed.
pub async fn clear(
    address: &Path,
    command: &[OsString],
    stop_timeout: Duration,
) -> Result<(), LeftoverError> {
    let deadline = Instant::now() + DYING;
    loop {
        let Some(peer) = connect(address).await? else {
            return Ok(());
        };
        let Some(pid) = peer else {
            return Err(served(
                address,
                "a process that is not seen from here".to_owned(),
            ));
        };
        let server = format!("pid {}", pid.as_raw_pid());
        match Process::inspect(pid) {
            Some(process) if process.is_orphan_of(command) => {
                return stop(pid, &process.handle, stop_timeout)
                    .await
                    .map_err(|cause| LeftoverError::Unstoppable {
                        pid: pid.as_raw_pid(),
                        cause,
                    });
            }
            Some(process) => {
                let server = format!("{server}: {}", process.command_line());
                return Err(served(address, server));
            }
            None if Instant::now() < deadline => sleep(LOOK).await,
            None => return Err(served(address, server)),
        }
    }
}

/// A process that serves a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// For people: its pid and its command line.
    pub process: String,
    /// Whether it is the child of a stowd.
    pub is_of_stowd: bool,
}

/// The process that serves `address`, if there is one.
pub async fn server_of(address: &Path) -> Result<Option<Server>, LeftoverError> {
    let Some(peer) = connect(address).await? else {
        return Ok(None);
    };
    let process = peer.and_then(Process::inspect);
    Ok(Some(Server {
        process: match (peer, &process) {
            (Some(pid), Some(process)) => {
                format!("pid {}: {}", pid.as_raw_pid(), process.command_line())
            }
            (Some(pid), None) => format!("pid {}", pid.as_raw_pid()),
            (None, _) => "a process that is not seen from here".to_owned(),
        },
        is_of_stowd: process.is_some_and(|process| process.is_child_of_stowd()),
    }))
}

fn served(address: &Path, server: String) -> LeftoverError {
    LeftoverError::Served {
        address: address.to_owned(),
        server,
    }
}

/// The process that listens on the socket, if there is one. Its pid is unknown when it is in a pid
/// namespace that cannot be seen from here.
async fn connect(address: &Path) -> Result<Option<Option<Pid>>, LeftoverError> {
    let unknown = |cause| LeftoverError::Unknown {
        address: address.to_owned(),
        cause,
    };
    match UnixStream::connect(address).await {
        Ok(stream) => {
            let peer = stream.peer_cred().map_err(unknown)?;
            Ok(Some(peer.pid().and_then(Pid::from_raw)))
        }
        Err(error) => match error.kind() {
            // `NotADirectory`: making the directories fails with a better error.
            io::ErrorKind::NotFound
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::NotADirectory => Ok(None),
            _ => Err(unknown(error)),
        },
    }
}

/// What is known of a living process.
struct Process {
    /// A pidfd: it never refers to a later process with the same pid.
    handle: OwnedFd,
    command: Vec<OsString>,
    parent: i32,
    session: i32,
    /// `None`: it cannot be seen.
    parents_session: Option<i32>,
}

impl Process {
    /// `None` when it is gone or a zombie, which has no command line any more.
    fn inspect(pid: Pid) -> Option<Self> {
        let handle = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        let proc = PathBuf::from(format!("/proc/{}", pid.as_raw_pid()));
        let command = split_arguments(&std::fs::read(proc.join("cmdline")).ok()?);
        let (parent, session) = parent_and_session(&std::fs::read(proc.join("stat")).ok()?)?;
        let parents_session = std::fs::read(format!("/proc/{parent}/stat"))
            .ok()
            .and_then(|stat| parent_and_session(&stat))
            .map(|(_, session)| session);
        (!command.is_empty() && !has_exited(&handle)).then_some(Self {
            handle,
            command,
            parent,
            session,
            parents_session,
        })
    }

    fn is_child_of_stowd(&self) -> bool {
        let name = std::fs::read(format!("/proc/{}/comm", self.parent));
        name.is_ok_and(|name| name.trim_ascii_end() == b"stowd")
    }

    /// Whether this ran as `command` under a stowd that is gone.
    ///
    /// A child shares its parent's session unless it leaves it, and stowd's child does not; init
    /// and other reapers of orphans have a session of their own. So a process that was
    /// started by hand with the same arguments, or that another stowd keeps, is not an orphan.
    fn is_orphan_of(&self, command: &[OsString]) -> bool {
        // A script has its interpreter in front.
        self.command.ends_with(command)
            && self
                .parents_session
                .is_some_and(|parents| parents != self.session)
    }

    fn command_line(&self) -> String {
        let words: Vec<_> = self.command.iter().map(|w| w.to_string_lossy()).collect();
        one_line(&words.join(" "))
    }
}

/// The form of `/proc/PID/cmdline` (proc(5)): each argument is ended by a NUL.
fn split_arguments(cmdline: &[u8]) -> Vec<OsString> {
    let Some(cmdline) = cmdline.strip_suffix(b"\0") else {
        return Vec::new();
    };
    cmdline
        .split(|byte| *byte == 0)
        .map(|argument| OsStr::from_bytes(argument).to_owned())
        .collect()
}

/// The fields 4 and 6 of `/proc/PID/stat` (proc(5)). Field 2, the name in parentheses, may itself
/// have blanks and parentheses.
fn parent_and_session(stat: &[u8]) -> Option<(i32, i32)> {
    let end_of_name = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(stat.get(end_of_name + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace().skip(1);
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    Some((parent, session))
}

async fn stop(pid: Pid, handle: &OwnedFd, timeout: Duration) -> io::Result<()> {
    let pid = pid.as_raw_pid().cast_unsigned();
    report(ProcessEvent::LeftoverFound(pid));
    signal(handle, Signal::TERM)?;
    let deadline = Instant::now() + timeout;
    while !has_exited(handle) {
        if Instant::now() >= deadline {
            let limit = timeout;
            report(ProcessEvent::Overdue { pid, limit });
            signal(handle, Signal::KILL)?;
            while !has_exited(handle) {
                sleep(LOOK).await;
            }
        }
        sleep(LOOK).await;
    }
    report(ProcessEvent::LeftoverStopped(pid));
    Ok(())
}

fn signal(handle: &OwnedFd, signal: Signal) -> io::Result<()> {
    match pidfd_send_signal(handle, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// A pidfd turns readable when its process has ended (pidfd_open(2)).
fn has_exited(handle: &OwnedFd) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(handle.as_fd(), PollFlags::IN)];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    matches!(rustix::event::poll(&mut fds, Some(&now)), Ok(n) if n > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields_of_stat() {
        assert_eq!(
            parent_and_session(b"42 (a) S 9 (b) S 7 41 40 0 -1"),
            Some((7, 40))
        );
        assert_eq!(parent_and_session(b"42 (cut) S 7"), None);
        assert_eq!(parent_and_session(b""), None);
    }

    #[test]
    fn an_orphan_is_one_by_its_arguments_and_its_session() {
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        let is_orphan = |command: &str, parents_session| {
            let process = Process {
                handle: std::fs::File::open("/dev/null").unwrap().into(),
                command: words(command),
                parent: 1,
                session: 40,
                parents_session,
            };
            process.is_orphan_of(&words("/bin/c --address /a"))
        };
        assert!(is_orphan("/bin/c --address /a", Some(1)));
        assert!(is_orphan("/bin/sh /bin/c --address /a", Some(0)));
        assert!(!is_orphan("/bin/c --address /a --more", Some(1)));
        assert!(!is_orphan("/bin/c", Some(1)));
        // Its parent lives, or cannot be seen.
        assert!(!is_orphan("/bin/c --address /a", Some(40)));
        assert!(!is_orphan("/bin/c --address /a", None));
    }

    #[test]
    fn an_empty_argument_is_an_argument() {
        assert_eq!(split_arguments(b"a\0\0b\0"), ["a", "", "b"]);
        assert!(split_arguments(b"").is_empty());
    }
}
