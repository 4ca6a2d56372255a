//! The state directory: made when missing, and one daemon's at a time.

mod runs;

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::happened::DaemonEvent;
use crate::reporter::report;

pub(crate) use runs::{MarkedRun, begin_run, boot_id, save_scrub};

/// The longest text that is looked for a pid: longer than any.
const PID_LENGTH: u64 = 20;

/// So long the lock of a stowd that is gone is waited for.
const OF_THE_DEAD: Duration = Duration::from_secs(2);

/// Held for as long as this daemon may use the state directory.
#[derive(Debug)]
pub struct Lock {
    _file: Option<File>,
}

/// Another daemon holds the state directory. The message names it and what to do.
#[derive(Debug, thiserror::Error)]
pub struct AlreadyRunning {
    dir: PathBuf,
    /// `None`: it has not written its pid yet, or could not.
    pid: Option<u32>,
}

impl fmt::Display for AlreadyRunning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dir = self.dir.display();
        let fix = "or give this one a state-dir of its own";
        match self.pid {
            Some(pid) => write!(
                f,
                "another stowd, pid {pid}, uses state-dir {dir}; stop it first (systemctl stop stowd, or \
                 kill {pid}), {fix}"
            ),
            None => write!(
                f,
                "another stowd uses state-dir {dir}; stop it first (systemctl stop stowd), {fix}"
            ),
        }
    }
}

/// Takes the state directory. Two daemons on one would import the same images twice and clear each
/// other's leases. A directory that cannot be written holds nothing that could clash: it is used
/// as it is, with a warning.
pub fn lock(dir: &Path) -> Result<Lock, AlreadyRunning> {
    let opened = fs::create_dir_all(dir).and_then(|()| open(&dir.join("lock")));
    let mut file = match opened {
        Ok(file) => file,
        Err(error) => {
            let (path, error) = (dir.to_owned(), error.to_string());
            report(DaemonEvent::StateDirNotWritten { path, error });
            return Ok(Lock { _file: None });
        }
    };
    match lock_of_the_living(&file) {
        Ok(()) => {
            // The pid is for the message of a second stowd alone. Without it the lock holds as well.
            let _ = write_pid(&mut file);
            Ok(Lock { _file: Some(file) })
        }
        Err(TryLockError::WouldBlock) => Err(AlreadyRunning {
            dir: dir.to_owned(),
            pid: read_pid(&file),
        }),
        Err(TryLockError::Error(error)) => {
            let (path, error) = (dir.to_owned(), error.to_string());
            report(DaemonEvent::StateDirNotLocked { path, error });
            Ok(Lock { _file: None })
        }
    }
}

/// Takes the lock. A child that a stowd was just starting when it was killed holds its lock for a moment more.
fn lock_of_the_living(file: &File) -> Result<(), TryLockError> {
    let began = Instant::now();
    loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if began.elapsed() < OF_THE_DEAD && is_gone(file) => {
                std::thread::sleep(OF_THE_DEAD / 100);
            }
            locked => return locked,
        }
    }
}

/// Whether the process that has written its pid has ended.
fn is_gone(file: &File) -> bool {
    let process = |pid| PathBuf::from(format!("/proc/{pid}"));
    read_pid(file).is_some_and(|pid| !process(pid).exists())
}

fn open(path: &Path) -> io::Result<File> {
    File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)
}

/// Writes the pid of this process in place of an earlier one, which goes first: a disk that is full
/// may take no byte, and a wrong pid is worse than none.
fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.write_all(format!("{}\n", std::process::id()).as_bytes())
}

fn read_pid(mut file: &File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(PID_LENGTH).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a child that is between fork and exec when its stowd is killed.
    #[test]
    fn the_lock_of_a_stowd_that_is_gone_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let mut held = open(&dir.path().join("lock")).unwrap();
        held.write_all(b"4194303999\n").unwrap();
        held.lock().unwrap();
        let ends = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            drop(held);
        });
        assert!(lock(dir.path()).is_ok());
        ends.join().unwrap();
    }

    #[test]
    fn a_second_lock_is_refused_by_the_pid_of_the_first_and_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path().join("state");
        fs::create_dir(&dir).unwrap();
        // What a longer pid of an earlier run has left.
        fs::write(dir.join("lock"), "4194303999\n").unwrap();
        let first = lock(&dir).unwrap();
        let pid = std::process::id();
        let refused = lock(&dir).unwrap_err().to_string();
        assert_eq!(
            refused,
            format!(
                "another stowd, pid {pid}, uses state-dir {}; stop it first (systemctl stop stowd, or kill \
                 {pid}), or give this one a state-dir of its own",
                dir.display()
            )
        );
        // One that has the lock and has not come to write its pid.
        fs::write(dir.join("lock"), "").unwrap();
        let refused = lock(&dir).unwrap_err().to_string();
        assert!(
            refused.starts_with("another stowd uses state-dir /"),
            "{refused}"
        );
        drop(first);
        assert!(lock(&dir).is_ok());
    }
}
