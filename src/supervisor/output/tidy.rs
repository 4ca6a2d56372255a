//! A thread that compresses and removes rotated files, so that whoever rotates need not wait.
//!
//! It goes by what is in the directory, so what an earlier run left undone is done.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::SystemTime;

use flate2::Compression;
use flate2::write::GzEncoder;
use tracing::warn;

use super::backups::{GZIP, Naming, PART, Policy};

/// The way to the thread, which ends when this is dropped.
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
                    if let Err(error) = tidy(&directory, &naming, policy) {
                        let directory = directory.display();
                        warn!(%directory, %error, "containerd's rotated logs not tidied: {directory}: {error}");
                    }
                }
            })?;
        Ok(tidier)
    }

    /// Asks for a round. Never waits: one that is asked for already will do.
    pub(super) fn request(&self) {
        // Full: see above. Disconnected: the thread panicked, and the files stay as they are.
        let _ = self.requests.try_send(());
    }
}

/// Removes what the policy does not keep and compresses the rest.
fn tidy(directory: &Path, naming: &Naming, policy: Policy) -> io::Result<()> {
    loop {
        let names = fs::read_dir(directory)?.filter_map(|entry| Some(entry.ok()?.file_name()));
        let plan = naming.plan(names, policy, SystemTime::now());
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

/// Replaces a file by a compressed one, which is on disk before the other goes.
fn compress(file: &Path) -> io::Result<()> {
    let with = |suffix: &str| {
        let mut name = file.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let part = with(PART);
    let done = match write_gzip(file, &part) {
        Ok(()) => fs::rename(&part, with(GZIP)),
        Err(error) => Err(error),
    };
    match done {
        Ok(()) => fs::remove_file(file),
        Err(error) => {
            // It takes room that may be what was missing.
            let _ = fs::remove_file(&part);
            Err(error)
        }
    }
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
