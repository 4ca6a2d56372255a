//! A thread that compresses and removes rotated files, so that a rotation does not wait for it.
//!
//! It works from the directory's content, so that it also finishes what an earlier run left.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::SystemTime;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::backups::{GZIP, Naming, PART, Policy};
use crate::happened::OutputEvent;
use crate::reporter::report;

/// The channel to the thread, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Tidier {
    requests: mpsc::SyncSender<()>,
}

impl Tidier {
    /// Starts it, with one round at once.
    pub(super) fn start(directory: PathBuf, naming: Naming, policy: Policy) -> io::Result<Self> {
        let (requests, rounds) = mpsc::sync_channel(1);
        let tidier = Self { requests };
        tidier.request();
        thread::Builder::new()
            .name("containerd-gzip".to_owned())
            .spawn(move || {
                for () in rounds {
                    if let Err(error) = tidy(&directory, &naming, policy, sync_directory) {
                        report(OutputEvent::NotTidied {
                            directory: directory.clone(),
                            error: error.to_string(),
                        });
                    }
                }
            })?;
        Ok(tidier)
    }

    /// Asks for a round. Never waits: a round that is pending already is enough.
    pub(super) fn request(&self) {
        // Full: see above. Disconnected: the thread panicked, and the files stay as they are.
        let _ = self.requests.try_send(());
    }
}

/// Removes what the policy does not keep and compresses the rest. `sync` puts the names in the
/// directory onto the disk.
///
/// A file that was compressed is removed in the next round: the plan then finds its copy, and lists the
/// file among those to remove.
fn tidy(
    directory: &Path,
    naming: &Naming,
    policy: Policy,
    sync: impl Fn(&Path) -> io::Result<()>,
) -> io::Result<()> {
    loop {
        let names = fs::read_dir(directory)?.filter_map(|entry| Some(entry.ok()?.file_name()));
        let plan = naming.plan(names, policy, SystemTime::now());
        if !plan.remove.is_empty() {
            // Synced first: after a loss of power at least one of the two names must be there.
            sync(directory)?;
        }
        for name in plan.remove {
            match fs::remove_file(directory.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        let Some(name) = plan.compress else {
            return Ok(());
        };
        compress(&directory.join(name))?;
    }
}

/// After a loss of power a file may lack the name that a rename gave to it, unless its directory was
/// synced (fsync(2)).
fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Puts a compressed copy, which is on the disk, beside a file.
fn compress(file: &Path) -> io::Result<()> {
    let with = |suffix: &str| {
        let mut name = file.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let part = with(PART);
    let done = write_gzip(file, &part).and_then(|()| fs::rename(&part, with(GZIP)));
    if done.is_err() {
        // The partial file may take the very space that was missing.
        let _ = fs::remove_file(&part);
    }
    done
}

fn write_gzip(from: &Path, to: &Path) -> io::Result<()> {
    let mut from = File::open(from)?;
    let to = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(from.metadata()?.mode() & 0o777)
        .open(to)?;
    let mut encoder = GzEncoder::new(io::BufWriter::new(to), Compression::default());
    io::copy(&mut from, &mut encoder)?;
    let mut to = encoder.finish()?;
    to.flush()?;
    to.get_ref().sync_all()
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// A rotated file in a directory, and what becomes of it.
    fn rotated() -> (tempfile::TempDir, Naming, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let naming = Naming::of(&directory.path().join("containerd.log"));
        let file = directory.path().join(naming.name(SystemTime::now()));
        fs::write(&file, "lines\n").unwrap();
        (directory, naming, file)
    }

    const POLICY: Policy = Policy {
        max_backups: 3,
        max_age: std::time::Duration::ZERO,
        compress: true,
    };

    fn with_gzip(file: &Path) -> PathBuf {
        let name = file.file_name().unwrap().to_str().unwrap();
        file.with_file_name(format!("{name}{GZIP}"))
    }

    #[test]
    fn the_name_of_a_compressed_file_is_on_the_disk_before_the_other_goes() {
        let (directory, naming, file) = rotated();
        let seen = RefCell::new(Vec::new());
        let sync = |synced: &Path| {
            let both = (file.exists(), with_gzip(&file).exists());
            seen.borrow_mut().push((synced.to_owned(), both));
            sync_directory(synced)
        };
        tidy(directory.path(), &naming, POLICY, sync).unwrap();
        let expected = (directory.path().to_owned(), (true, true));
        assert_eq!(*seen.borrow(), [expected]);
        assert!(!file.exists() && with_gzip(&file).exists());
    }

    #[test]
    fn nothing_is_removed_where_the_directory_cannot_be_synced() {
        let (directory, naming, file) = rotated();
        let refused = |_: &Path| Err(io::Error::other("the disk is gone"));
        assert!(tidy(directory.path(), &naming, POLICY, refused).is_err());
        assert!(file.exists());
    }
}
