//! The journal, or stderr: a stream whose reader may be slow, stuck or gone for a while. The child must
//! not block on it: lines wait here up to a limit, and are dropped beyond it.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::journal;
use crate::config::LineLevel;
use crate::happened::OutputEvent;
use crate::reporter::report;

/// Bytes of lines that may wait.
pub const MAX_WAITING: usize = 4 << 20;
/// Time between two tries to connect to a journal that is not there.
const RECONNECT: Duration = Duration::from_secs(1);
/// A pipe that is writable takes this much without blocking (pipe(7), `PIPE_BUF`). stderr is
/// shared with the process that started stowd, so it cannot be made non-blocking.
const STDERR_CHUNK: usize = 4096;
const JOURNAL_CHUNK: usize = 64 << 10;
/// The send buffer that systemd's own clients ask for.
const SEND_BUFFER: usize = 8 << 20;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogStream {
    /// stowd's stderr.
    Stderr,
    /// The journal, at this socket, under the identifier `containerd`.
    Journal(PathBuf),
}

impl LogStream {
    /// The journal when stowd itself logs there, else stderr.
    pub(crate) fn detect() -> Self {
        journal::socket().map_or(Self::Stderr, Self::Journal)
    }
}

pub(super) struct Stream {
    target: Target,
    least: LineLevel,
    /// Whole lines in the stream's form.
    waiting: VecDeque<Vec<u8>>,
    bytes: usize,
    /// How much of the first of them is sent.
    sent: usize,
    dropped: u64,
}

enum Target {
    /// Only its descriptor is used: a thread that is stuck in a write may hold the lock.
    Stderr(io::Stderr),
    Journal {
        socket: PathBuf,
        connection: Option<UnixStream>,
        next_try: Instant,
    },
}

impl Stream {
    /// Takes lines of the level `least` and greater ones.
    pub(super) fn new(destination: LogStream, least: LineLevel) -> Self {
        Self {
            target: match destination {
                LogStream::Stderr => Target::Stderr(io::stderr()),
                LogStream::Journal(socket) => Target::Journal {
                    socket,
                    connection: None,
                    next_try: Instant::now(),
                },
            },
            least,
            waiting: VecDeque::new(),
            bytes: 0,
            sent: 0,
            dropped: 0,
        }
    }

    /// Takes whole lines. What is not of the level is passed over.
    pub(super) fn write(&mut self, block: &[u8]) {
        let lines = block.split_inclusive(|byte| *byte == b'\n');
        for line in lines.filter(|line| journal::passes(line, self.least)) {
            let line = match self.target {
                Target::Stderr(_) => line.to_vec(),
                Target::Journal { .. } => journal::entry(line),
            };
            if self.bytes + line.len() > MAX_WAITING {
                self.dropped += 1;
            } else {
                self.bytes += line.len();
                self.waiting.push_back(line);
            }
        }
        self.send();
    }

    /// Sends what can be sent without blocking.
    pub(super) fn send(&mut self) {
        while !self.waiting.is_empty() {
            let chunk = self.chunk();
            match self.target.write(&chunk) {
                Ok(count) => self.forget(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // A line that was sent in part is sent again from its start.
                Err(_) => {
                    self.sent = 0;
                    return self.target.disconnect();
                }
            }
        }
        if self.dropped > 0 {
            report(OutputEvent::Dropped(self.dropped));
            self.dropped = 0;
        }
    }

    /// Sends for as long as lines wait, at most until `deadline`.
    pub(super) fn send_until(&mut self, deadline: Instant) {
        self.send();
        while !self.waiting.is_empty() {
            let now = Instant::now();
            if now >= deadline {
                return;
            }
            let nap = self.retry_in().unwrap_or(Duration::from_millis(100));
            let nap = timespec(nap.min(deadline - now));
            let mut fds: Vec<PollFd<'_>> = self.wanted().into_iter().collect();
            // An error of poll shows in the next write.
            let _ = rustix::event::poll(&mut fds, Some(&nap));
            self.send();
        }
    }

    /// What to poll for, when lines wait.
    pub(super) fn wanted(&self) -> Option<PollFd<'_>> {
        if self.waiting.is_empty() {
            return None;
        }
        let fd = self.target.fd()?;
        Some(PollFd::from_borrowed_fd(fd, PollFlags::OUT))
    }

    /// When to try again a stream that cannot be polled.
    pub(super) fn retry_in(&self) -> Option<Duration> {
        match &self.target {
            Target::Journal {
                connection: None,
                next_try,
                ..
            } if !self.waiting.is_empty() => {
                // At least 1 ms: poll's clock is coarser than this one.
                let left = next_try.saturating_duration_since(Instant::now());
                Some(left.max(Duration::from_millis(1)))
            }
            _ => None,
        }
    }

    fn chunk(&self) -> Vec<u8> {
        let limit = match self.target {
            Target::Stderr(_) => STDERR_CHUNK,
            Target::Journal { .. } => JOURNAL_CHUNK,
        };
        let mut chunk = Vec::new();
        let mut skip = self.sent;
        for line in &self.waiting {
            let room = limit - chunk.len();
            let line = &line[skip..];
            skip = 0;
            chunk.extend_from_slice(&line[..line.len().min(room)]);
            if chunk.len() == limit {
                break;
            }
        }
        chunk
    }

    fn forget(&mut self, count: usize) {
        self.sent += count;
        while let Some(line) = self.waiting.front()
            && self.sent >= line.len()
        {
            self.sent -= line.len();
            self.bytes -= line.len();
            self.waiting.pop_front();
        }
    }
}

impl Target {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Stderr(stderr) => Some(stderr.as_fd()),
            Self::Journal { connection, .. } => connection.as_ref().map(AsFd::as_fd),
        }
    }

    fn write(&mut self, chunk: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stderr(stderr) => {
                let mut fds = [PollFd::from_borrowed_fd(stderr.as_fd(), PollFlags::OUT)];
                if rustix::event::poll(&mut fds, Some(&timespec(Duration::ZERO)))? == 0 {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                // A stderr that is closed drops the lines: there is no other place to report it.
                Ok(rustix::io::write(&*stderr, chunk).unwrap_or(chunk.len()))
            }
            Self::Journal {
                socket,
                connection,
                next_try,
            } => {
                if connection.is_none() {
                    if Instant::now() < *next_try {
                        return Err(io::ErrorKind::WouldBlock.into());
                    }
                    *next_try = Instant::now() + RECONNECT;
                    *connection = Some(connect(socket)?);
                }
                match connection {
                    Some(connection) => connection.write(chunk),
                    None => Err(io::ErrorKind::WouldBlock.into()),
                }
            }
        }
    }

    fn disconnect(&mut self) {
        if let Self::Journal { connection, .. } = self {
            *connection = None;
        }
    }
}

/// Connects without std, whose connect blocks while the listener's queue is full.
fn connect(socket: &std::path::Path) -> io::Result<UnixStream> {
    let address = SocketAddrUnix::new(socket)?;
    let fd = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    rustix::net::connect(&fd, &address)?;
    // A smaller buffer works as well.
    let _ = rustix::net::sockopt::set_socket_send_buffer_size(&fd, SEND_BUFFER);
    let mut connection = UnixStream::from(fd);
    connection.write_all(journal::HEADER)?;
    Ok(connection)
}

/// For poll. A duration of this module always fits.
pub(super) fn timespec(duration: Duration) -> Timespec {
    Timespec::try_from(duration).unwrap_or(Timespec {
        tv_sec: i64::MAX,
        tv_nsec: 0,
    })
}
