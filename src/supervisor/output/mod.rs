//! The child's output: stdout and stderr through one pipe, to the journal or stderr, to a file,
//! or to both.
//!
//! A thread reads the pipe. It waits on the pipe, on orders of the handle, and on a stream that was not
//! ready for a line. It never blocks on the journal or on a terminal. A slow disk delays the child, as
//! it would without stowd.

mod backups;
mod file;
mod journal;
mod lines;
mod stream;
mod tidy;

use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags};
use rustix::fs::OFlags;
use tokio::sync::oneshot;

pub use self::backups::{Cleanup, Naming, Policy};
pub use self::file::FileError;
use self::file::LogFile;
pub use self::journal::{entry, passes, priority};
pub use self::lines::{LastLines, Lines, MAX_LINE};
pub use self::stream::{LogStream, MAX_WAITING};
use self::stream::{Stream, timespec};
use crate::config::ContainerdLog;
use crate::happened::OutputEvent;
use crate::reporter::report;

/// The capacity of the pipe: the most that a process may ask for by default (pipe(7),
/// `pipe-max-size`).
const PIPE: usize = 1 << 20;
/// Bytes read at once.
const CHUNK: usize = 64 << 10;
/// Reads between two looks at everything else: all that the pipe can hold.
const READS: usize = PIPE / CHUNK;
/// How long a stream may take for the last lines.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Why the output cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The configured file cannot be opened.
    #[error(transparent)]
    File(#[from] FileError),
    /// Too few descriptors or threads.
    #[error("cannot take containerd's output: {0}")]
    Resources(io::Error),
}

/// The handle of the thread that reads. When it is dropped the thread passes on what is in the
/// pipe and ends.
#[derive(Debug)]
pub struct Output {
    words: mpsc::Sender<Word>,
    wakeup: Arc<OwnedFd>,
    last: Arc<Mutex<LastLines>>,
}

#[derive(Debug)]
enum Word {
    Reopen,
    Flush(oneshot::Sender<()>),
    End,
}

impl Output {
    /// Starts to read the pipe. `stream` is where lines go when no file is configured, or besides
    /// the file with `tee`.
    ///
    /// # Errors
    /// When the file cannot be written, and when there are too few descriptors or threads.
    pub fn start(
        pipe: PipeReader,
        config: &ContainerdLog,
        stream: LogStream,
    ) -> Result<Self, OutputError> {
        let file = match &config.file {
            Some(path) => Some(LogFile::open(path, config)?),
            None => None,
        };
        let stream = (file.is_none() || config.tee).then(|| Stream::new(stream, config.level));
        let (words, received) = mpsc::channel();
        let wakeup = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|errno| OutputError::Resources(errno.into()))?;
        rustix::fs::fcntl_setfl(&pipe, OFlags::NONBLOCK)
            .map_err(|errno| OutputError::Resources(errno.into()))?;
        // An error leaves the default size, which works as well.
        let _ = rustix::pipe::fcntl_setpipe_size(&pipe, PIPE);
        let output = Self {
            words,
            wakeup: Arc::new(wakeup),
            last: Arc::default(),
        };
        let mut reader = OutputReader {
            pipe: Some(pipe),
            wakeup: Arc::clone(&output.wakeup),
            words: received,
            lines: Lines::default(),
            last: Arc::clone(&output.last),
            file,
            stream,
        };
        thread::Builder::new()
            .name("containerd-log".to_owned())
            .spawn(move || {
                survive(|panicked| {
                    if panicked {
                        reader.file = None;
                        reader.stream = None;
                    }
                    reader.run();
                });
            })
            .map_err(OutputError::Resources)?;
        Ok(output)
    }

    /// Opens the log file anew with the next line.
    pub fn reopen(&self) {
        self.say(Word::Reopen);
    }

    /// Waits until what is in the pipe now is passed on, a line without an end included.
    pub async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        self.say(Word::Flush(done));
        // On an error the thread has ended, which it does only after a last flush.
        let _ = flushed.await;
    }

    /// The last lines of the child that were not blank, the oldest first, shortened.
    pub fn last_lines(&self) -> Vec<String> {
        lock(&self.last).to_vec()
    }

    fn say(&self, word: Word) {
        // The thread ends only with the handle. A full counter wakes the thread as well.
        let _ = self.words.send(word);
        let _ = rustix::io::write(&*self.wakeup, &1_u64.to_ne_bytes());
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.say(Word::End);
    }
}

fn lock(last: &Mutex<LastLines>) -> MutexGuard<'_, LastLines> {
    last.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `work` until it returns, and once more after each panic, with `true`. The pipe must have a
/// reader: without one a Go program is killed by SIGPIPE, and with one that does not read it blocks.
fn survive(mut work: impl FnMut(bool)) {
    let mut panicked = false;
    while catch_unwind(AssertUnwindSafe(|| work(panicked))).is_err() {
        report(OutputEvent::ReaderPanicked);
        panicked = true;
    }
}

/// The state of the thread.
struct OutputReader {
    /// `None` once every writer has closed it.
    pipe: Option<PipeReader>,
    wakeup: Arc<OwnedFd>,
    words: mpsc::Receiver<Word>,
    lines: Lines,
    last: Arc<Mutex<LastLines>>,
    file: Option<LogFile>,
    stream: Option<Stream>,
}

impl OutputReader {
    fn run(&mut self) {
        loop {
            self.wait();
            self.read();
            while let Ok(word) = self.words.try_recv() {
                match word {
                    Word::Reopen => {
                        if let Some(file) = &mut self.file {
                            file.reopen();
                        }
                    }
                    Word::Flush(done) => {
                        self.flush();
                        // The task that asked may have given up.
                        let _ = done.send(());
                    }
                    Word::End => return self.flush(),
                }
            }
            if let Some(stream) = &mut self.stream {
                stream.send();
            }
        }
    }

    fn wait(&self) {
        let mut fds = vec![PollFd::from_borrowed_fd(self.wakeup.as_fd(), PollFlags::IN)];
        if let Some(pipe) = &self.pipe {
            fds.push(PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN));
        }
        let mut nap = None;
        if let Some(stream) = &self.stream {
            fds.extend(stream.wanted());
            nap = stream.retry_in().map(timespec);
        }
        // An interrupted poll costs one more turn.
        let _ = rustix::event::poll(&mut fds, nap.as_ref());
        let _ = rustix::io::read(&*self.wakeup, &mut [0; 8]);
    }

    /// Passes on what is in the pipe.
    fn read(&mut self) {
        let mut chunk = vec![0; CHUNK];
        for _ in 0..READS {
            let Some(pipe) = &mut self.pipe else {
                return;
            };
            match pipe.read(&mut chunk) {
                Ok(0) => {
                    self.pipe = None;
                    let rest = self.lines.rest();
                    self.pass(&rest);
                }
                Ok(count) => {
                    let lines = self.lines.push(&chunk[..count]);
                    self.pass(&lines);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The pipe is empty: there is no other error of a pipe.
                Err(_) => return,
            }
        }
    }

    fn pass(&mut self, lines: &[u8]) {
        if lines.is_empty() {
            return;
        }
        lock(&self.last).record(lines);
        if let Some(file) = &mut self.file {
            file.write(lines);
        }
        if let Some(stream) = &mut self.stream {
            stream.write(lines);
        }
    }

    fn flush(&mut self) {
        // Output that a grandchild still writes is not waited for.
        self.read();
        let rest = self.lines.rest();
        self.pass(&rest);
        if let Some(stream) = &mut self.stream {
            stream.send_until(Instant::now() + LAST_LINES);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::survive;

    #[test]
    fn work_that_panics_goes_on_and_is_told() {
        let mut seen = Vec::new();
        survive(|panicked| {
            seen.push(panicked);
            assert!(seen.len() > 2, "for the test");
        });
        assert_eq!(seen, [false, true, true]);
    }
}
