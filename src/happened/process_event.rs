//! What happens to the process of containerd.

use std::fmt;
use std::time::Duration;

#[derive(Debug, Clone, PartialEq)]
pub enum ProcessEvent {
    /// One that an earlier stowd left serves the address; its pid.
    LeftoverFound(u32),
    /// That one has ended; its pid.
    LeftoverStopped(u32),
    /// The child runs; it need not serve yet.
    Started { pid: u32, binary: String },
    /// `containerd.supervise` is false: the containerd at this address is used.
    Attached(String),
    /// It does not serve yet.
    Awaited {
        /// For how long it has been waited for.
        seconds: u64,
        /// What is missing.
        missing: String,
    },
    /// The child gets SIGTERM; its pid.
    Stopping(u32),
    /// It gets SIGKILL: it has not ended in time.
    Overdue {
        pid: u32,
        /// `containerd.stop-timeout`.
        limit: Duration,
    },
    /// The child gets SIGKILL: stowd is to end at once; its pid.
    Killing(u32),
    /// The child gets SIGKILL: stowd ends without having stopped it; its pid.
    Abandoned(u32),
    /// The system does not tell whether the child has ended.
    NotWaitedFor(String),
    /// The child has ended as it was asked to, in time or not.
    Stopped { pid: u32, status: String },
}

impl fmt::Display for ProcessEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LeftoverFound(pid) => write!(
                f,
                "containerd of an earlier stowd found; stopping it, pid {pid}"
            ),
            Self::LeftoverStopped(pid) => {
                write!(f, "containerd of an earlier stowd stopped, pid {pid}")
            }
            Self::Started { pid, binary } => write!(f, "containerd started: {binary}, pid {pid}"),
            Self::Attached(address) => write!(f, "attaching to containerd: {address}"),
            Self::Awaited { seconds, missing } => {
                write!(f, "waiting for containerd, {seconds} s: {missing}")
            }
            Self::Stopping(_) => f.write_str("stopping containerd"),
            Self::Overdue { limit, .. } => {
                write!(f, "containerd did not stop within {limit:?}; killing it")
            }
            Self::Killing(_) => f.write_str("killing containerd: no time to stop it in order"),
            Self::Abandoned(_) => f.write_str("containerd is killed: it was not stopped in order"),
            Self::NotWaitedFor(error) => {
                write!(f, "cannot wait for containerd; trying again: {error}")
            }
            Self::Stopped { status, .. } => write!(f, "containerd stopped: {status}"),
        }
    }
}
