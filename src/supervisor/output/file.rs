//! The log file: appended to, rotated by size, and created again when another program has moved it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::OFlags;

use super::backups::{GZIP, Naming, Policy};
use super::tidy::Tidier;
use crate::config::ContainerdLog;
use crate::happened::OutputEvent;
use crate::reporter::report;

/// Time between two warnings about the same file; without it each line would bring one.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
#[error("containerd.log.file {}: cannot be written: {cause}", .path.display())]
pub struct FileError {
    pub path: PathBuf,
    pub cause: io::Error,
}

pub(super) struct LogFile {
    path: PathBuf,
    /// Bytes; 0: it is never rotated.
    max_size: u64,
    naming: Naming,
    tidier: Tidier,
    /// `None` after it could not be opened.
    open: Option<Open>,
    /// The time in the last rotated file's name. Names must increase even when the clock goes back.
    last_rotation: SystemTime,
    /// Lines that could not be written and are not reported yet.
    lost: u64,
    next_complaint: Instant,
    next_telling: Instant,
}

struct Open {
    file: File,
    device: u64,
    inode: u64,
}

impl LogFile {
    /// Opens the file, and its directory if it is missing. What is in it stays.
    pub(super) fn open(path: &Path, config: &ContainerdLog) -> Result<Self, FileError> {
        let failed = |cause| FileError {
            path: path.to_owned(),
            cause,
        };
        let open = Open::at(path).map_err(failed)?;
        // A symbolic link is resolved: renaming the link would keep no old lines.
        let path = path.canonicalize().map_err(failed)?;
        let directory = path.parent().unwrap_or(Path::new("/")).to_owned();
        let naming = Naming::of(&path);
        let last_rotation = fs::read_dir(&directory)
            .map_err(failed)?
            .filter_map(|entry| naming.time(&entry.ok()?.file_name()))
            .max();
        let policy = Policy {
            max_backups: config.max_backups,
            max_age: config.max_age,
            compress: config.compress,
        };
        Ok(Self {
            max_size: config.max_size.as_u64(),
            tidier: Tidier::start(directory, naming.clone(), policy).map_err(failed)?,
            naming,
            open: Some(open),
            last_rotation: last_rotation.unwrap_or(SystemTime::UNIX_EPOCH),
            lost: 0,
            next_complaint: Instant::now(),
            next_telling: Instant::now(),
            path,
        })
    }

    /// Opens the file anew with the next line.
    pub(super) fn reopen(&mut self) {
        self.open = None;
    }

    /// Appends whole lines; rotates between two of them where the file would grow too large.
    pub(super) fn write(&mut self, mut block: &[u8]) {
        let mut max_size = self.max_size;
        let lost_before = self.lost;
        while !block.is_empty() {
            let size = match self.find() {
                Ok(size) => size,
                Err(error) => return self.lose(block, &error),
            };
            let fits = fitting(block, size, max_size);
            if fits == 0 {
                if let Err(error) = self.rotate() {
                    self.complain(&error, |file, error| OutputEvent::FileNotRotated {
                        file,
                        error,
                    });
                    // A file that is too large is better than lost lines.
                    max_size = 0;
                }
                continue;
            }
            let (now, later) = block.split_at(fits);
            let (written, result) = self.append(now);
            if let Err(error) = result {
                self.lose(&now[written..], &error);
            }
            block = later;
        }
        if self.lost == lost_before {
            self.tell_loss();
        }
    }

    fn lose(&mut self, lines: &[u8], error: &io::Error) {
        self.lost += lines.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.complain(error, |file, error| OutputEvent::FileNotWritten {
            file,
            error,
        });
    }

    fn complain(&mut self, error: &io::Error, event: impl FnOnce(PathBuf, String) -> OutputEvent) {
        let now = Instant::now();
        if now >= self.next_complaint {
            self.next_complaint = now + COMPLAIN_EVERY;
            report(event(self.path.clone(), error.to_string()));
        }
    }

    /// Limits the warnings: on a disk that is nearly full, every other line can be written.
    fn tell_loss(&mut self) {
        let now = Instant::now();
        if self.lost > 0 && now >= self.next_telling {
            self.next_telling = now + COMPLAIN_EVERY;
            let (file, lines) = (self.path.clone(), self.lost);
            report(OutputEvent::FileWrittenAgain { file, lines });
            self.lost = 0;
        }
    }

    /// The size of the file that has the name now; another than the one that is open, or none,
    /// when it was moved away or removed.
    fn find(&mut self) -> io::Result<u64> {
        match (&self.open, fs::metadata(&self.path)) {
            (Some(open), Ok(there)) if open.is(&there) => return Ok(there.size()),
            _ => self.open = None,
        }
        let open = Open::at(&self.path)?;
        let size = open.file.metadata()?.size();
        self.open = Some(open);
        Ok(size)
    }

    /// How many bytes of whole lines were written, and why not all.
    fn append(&mut self, lines: &[u8]) -> (usize, io::Result<()>) {
        let Some(Open { file, .. }) = &mut self.open else {
            return (0, Err(io::ErrorKind::NotFound.into()));
        };
        let mut written = 0;
        let error = loop {
            match file.write(&lines[written..]) {
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break error,
            }
            if written == lines.len() {
                return (written, Ok(()));
            }
        };
        // A line that was written in part is cut off again.
        let whole = end_of_lines(&lines[..written]);
        if whole < written
            && let Ok(there) = file.metadata()
            && let Some(size) = there.size().checked_sub((written - whole) as u64)
        {
            // Where that fails, one line stays incomplete.
            let _ = file.set_len(size);
        }
        (whole, Err(error))
    }

    fn rotate(&mut self) -> io::Result<()> {
        let backup = self.backup();
        fs::rename(&self.path, &backup)?;
        match Open::at(&self.path) {
            Ok(open) => {
                self.open = Some(open);
                self.tidier.request();
                Ok(())
            }
            Err(error) => {
                fs::rename(&backup, &self.path)?;
                Err(error)
            }
        }
    }

    /// A path that is not taken.
    fn backup(&mut self) -> PathBuf {
        let earliest = self.last_rotation + Duration::from_millis(1);
        let mut time = SystemTime::now().max(earliest);
        loop {
            let name = self.naming.name(time);
            let mut compressed = name.clone();
            compressed.push(GZIP);
            let backup = self.path.with_file_name(name);
            if !backup.exists() && !self.path.with_file_name(compressed).exists() {
                self.last_rotation = time;
                return backup;
            }
            time += Duration::from_millis(1);
        }
    }
}

impl Open {
    fn at(path: &Path) -> io::Result<Self> {
        let open = || {
            OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o640)
                // Opening a FIFO without a reader must not block the start.
                .custom_flags(OFlags::NONBLOCK.bits() as i32)
                .open(path)
        };
        let file = match (open(), path.parent()) {
            (Err(error), Some(directory)) if error.kind() == io::ErrorKind::NotFound => {
                fs::DirBuilder::new()
                    .recursive(true)
                    .mode(0o755)
                    .create(directory)?;
                open()?
            }
            (result, _) => result?,
        };
        let there = file.metadata()?;
        if !there.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        Ok(Self {
            file,
            device: there.dev(),
            inode: there.ino(),
        })
    }

    fn is(&self, there: &fs::Metadata) -> bool {
        (self.device, self.inode) == (there.dev(), there.ino())
    }
}

/// How many bytes of whole lines may be appended to a file of `size` bytes; 0: it is to be rotated
/// first. An empty file takes any line.
fn fitting(lines: &[u8], size: u64, max_size: u64) -> usize {
    let room = usize::try_from(max_size.saturating_sub(size)).unwrap_or(usize::MAX);
    if max_size == 0 || lines.len() <= room {
        return lines.len();
    }
    match end_of_lines(&lines[..room]) {
        0 if size == 0 => {
            let first = lines.iter().position(|byte| *byte == b'\n');
            first.map_or(lines.len(), |end| end + 1)
        }
        whole => whole,
    }
}

/// The end of the last complete line.
fn end_of_lines(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |end| end + 1)
}

#[cfg(test)]
mod tests {
    use super::fitting;

    #[test]
    fn only_whole_lines_fit_and_an_empty_file_takes_any_line() {
        assert_eq!(fitting(b"ab\ncd\n", 0, 6), 6);
        assert_eq!(fitting(b"ab\ncd\n", 0, 5), 3);
        assert_eq!(fitting(b"ab\ncd\n", 4, 6), 0);
        assert_eq!(fitting(b"ab\ncd\n", 0, 1), 3);
        assert_eq!(fitting(b"ab\ncd\n", 9, 6), 0);
        assert_eq!(fitting(b"ab\ncd\n", 9, 0), 6);
    }
}
