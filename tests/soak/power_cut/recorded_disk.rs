//! A disk that remembers in which order it was written to and when it was flushed, so that it can be
//! had as a cut of its power would have left it, at any moment and as often as one wants.
//!
//! The file system under test lies on a loop device over a file that the test serves. The loop device
//! hands on each write, and each flush of the device's cache as an fsync(2), and reports neither as done
//! before the server has answered.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::served_file::{Served, serve};
use crate::dice::Dice;
use crate::support::shell;

/// What a disk keeps whole when its power is cut, at least.
const SECTORS: usize = 4096;

/// What was done to the disk.
enum Step {
    Write { offset: u64, bytes: Vec<u8> },
    Zero { offset: u64, length: u64 },
    Flush,
}

/// Clones are one disk.
#[derive(Clone)]
pub(super) struct RecordedDisk {
    /// What it was before the first step.
    blank: PathBuf,
    steps: Arc<Mutex<Vec<Step>>>,
}

/// A moment at which the power is cut.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    /// How many steps the disk has seen.
    pub(super) at: usize,
    /// Of each 1024 sectors that were written since the last flush so many are kept.
    pub(super) keeps: u64,
}

/// A cut that loses nothing of what the disk has reported as written.
pub(super) const KEEPS_ALL: u64 = 1024;

struct Server {
    now: File,
    size: u64,
    disk: RecordedDisk,
}

impl RecordedDisk {
    /// Serves a copy of the file `blank` at `path`.
    pub(super) fn serve(blank: &Path, path: &Path) -> Self {
        let copy = path.with_extension("now");
        copy_sparse(blank, &copy);
        let now = File::options().read(true).write(true).open(&copy);
        let now = now.expect("the copy");
        let disk = Self {
            blank: blank.to_owned(),
            steps: Arc::default(),
        };
        let server = Server {
            size: now.metadata().expect("its length").len(),
            now,
            disk: disk.clone(),
        };
        File::create(path).expect("a file to mount on");
        serve(path, server);
        // It is open, which is enough.
        fs::remove_file(copy).expect("the copy");
        disk
    }

    fn steps(&self) -> MutexGuard<'_, Vec<Step>> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many steps it has seen so far.
    pub(super) fn length(&self) -> usize {
        self.steps().len()
    }

    /// The numbers of the steps that were flushes, up to `end`.
    pub(super) fn flushes(&self, end: usize) -> Vec<usize> {
        let steps = self.steps();
        let flushes = steps[..end].iter().enumerate();
        let flushes = flushes.filter(|(_, step)| matches!(step, Step::Flush));
        flushes.map(|(number, _)| number).collect()
    }

    /// Makes a new file `to` what the disk is after the cut. What was flushed is there. Of what was
    /// written since, a disk may have kept any part, in any order: each few sectors of it are kept, or
    /// not, by `dice`.
    pub(super) fn put_together(&self, cut: Cut, dice: &mut Dice, to: &Path) {
        let _ = fs::remove_file(to);
        copy_sparse(&self.blank, to);
        let file = File::options().write(true).open(to).expect("the copy");
        let flushed = self.flushes(cut.at).last().copied().unwrap_or(0);
        for (number, step) in self.steps()[..cut.at].iter().enumerate() {
            let mut is_kept = || number < flushed || dice.below(KEEPS_ALL) < cut.keeps;
            match step {
                Step::Write { offset, bytes } => {
                    for (offset, bytes) in (*offset..).step_by(SECTORS).zip(bytes.chunks(SECTORS)) {
                        if is_kept() {
                            file.write_all_at(bytes, offset).expect("room for the disk");
                        }
                    }
                }
                Step::Zero { offset, length } => {
                    if is_kept() {
                        zero(&file, *offset, *length);
                    }
                }
                Step::Flush => {}
            }
        }
    }
}

impl Served for Server {
    fn size(&self) -> u64 {
        self.size
    }

    fn read(&mut self, offset: u64, length: usize) -> Vec<u8> {
        let left = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(length);
        let mut bytes = vec![0; length.min(left)];
        self.now
            .read_exact_at(&mut bytes, offset)
            .expect("its bytes");
        bytes
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) {
        self.now
            .write_all_at(bytes, offset)
            .expect("room for the disk");
        let bytes = bytes.to_vec();
        self.disk.steps().push(Step::Write { offset, bytes });
    }

    fn zero(&mut self, offset: u64, length: u64) {
        zero(&self.now, offset, length);
        self.disk.steps().push(Step::Zero { offset, length });
    }

    fn flush(&mut self) {
        self.disk.steps().push(Step::Flush);
    }
}

fn zero(file: &File, offset: u64, length: u64) {
    use rustix::fs::{FallocateFlags, fallocate};
    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    fallocate(file, hole, offset, length).expect("a hole");
}

fn copy_sparse(from: &Path, to: &Path) {
    shell("cp --sparse=always \"$1\" \"$2\"", &[from, to]);
}
