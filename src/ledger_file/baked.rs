//! The baked set on disk: `ledger-baked.json` in the state directory, in the form of a ledger, with whole paths.
//! It is of no images directory: what was baked from one directory is kept also where another one is followed.
//!
//! By its name a stowd that does not know it takes it for the ledger of another images directory, and unpins
//! nothing of it.
//!
//! A run with `--keep` writes it, a daemon takes out of it what has another version by now, and `stowd remove`
//! what an operator names. Each reads and writes it under a lock.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::read::{LoadWarning, read};
use super::replace::{WriteError, replace};
use crate::ledger::Ledger;

pub(super) const BAKED: &str = "ledger-baked.json";
const LOCK: &str = "ledger-baked.lock";

/// What the paths of the set are relative to.
const ROOT: &str = "/";

/// The file of the baked set.
#[derive(Debug, Clone)]
pub struct BakedFile {
    path: PathBuf,
    lock: PathBuf,
}

/// Why the set was not written, or changed.
#[derive(Debug, thiserror::Error)]
pub enum NotBaked {
    #[error("the baked set cannot be read: {0}")]
    Read(#[from] LoadWarning),
    #[error("{}: {cause}", path.display())]
    Lock { path: PathBuf, cause: io::Error },
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// What a set has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BakedTally {
    pub entries: usize,
    /// Different images.
    pub images: usize,
}

impl BakedFile {
    /// In this state directory.
    pub fn new(state_dir: &Path) -> Self {
        Self {
            path: state_dir.join(BAKED),
            lock: state_dir.join(LOCK),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The set: what can be read of it, and why not all of it can. Blocks.
    pub fn read(&self) -> (Ledger, Option<LoadWarning>) {
        read(&self.path, Path::new(ROOT))
    }

    /// Adds what a ledger says was imported; an entry that was baked before has what it brings now. Blocks.
    ///
    /// # Errors
    /// Something cannot be read or written: the set is what it was.
    pub fn bake(&self, mut ledger: Ledger) -> Result<BakedTally, NotBaked> {
        let _held = self.lock()?;
        let (set, warning) = self.read();
        if let Some(warning) = warning {
            return Err(warning.into());
        }
        ledger.bake(set);
        let (set, entries, images) = ledger.to_bake();
        replace(&self.path, &set.to_json(Path::new(ROOT)))?;
        Ok(BakedTally { entries, images })
    }

    /// An entry is not of the set any more. Blocks.
    ///
    /// # Errors
    /// As those of [`bake`](Self::bake).
    pub fn unbake(&self, path: &Path) -> Result<(), NotBaked> {
        self.change(|set| set.unbake(path))
    }

    /// These names of images are not of the set any more. An entry without images stays, so that a daemon that
    /// has it in its ledger knows that nothing of it is kept. Blocks.
    ///
    /// # Errors
    /// As those of [`bake`](Self::bake).
    pub fn release(&self, names: &BTreeSet<String>) -> Result<(), NotBaked> {
        self.change(|set| set.release(names))
    }

    fn change(&self, change: impl FnOnce(&mut Ledger)) -> Result<(), NotBaked> {
        let _held = self.lock()?;
        let (read, warning) = self.read();
        if let Some(warning) = warning {
            return Err(warning.into());
        }
        let mut set = Ledger::default();
        set.bake(read);
        change(&mut set);
        Ok(replace(&self.path, &set.baked().to_json(Path::new(ROOT)))?)
    }

    /// Held until it is dropped.
    fn lock(&self) -> Result<File, NotBaked> {
        let opened = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&self.lock);
        let locked = opened.and_then(|file| file.lock().map(|()| file));
        locked.map_err(|cause| NotBaked::Lock {
            path: self.lock.clone(),
            cause,
        })
    }
}
