//! Reads every blob of the images that stowd keeps, and looks for their names, pins and snapshots.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use crate::blocking::blocking;
use crate::config::Config;
use crate::digest::Digest;
use crate::image_store::{ImageStore, StoreError, UnpackError};
use crate::intake::unrecorded;
use crate::ledger::{Audit, ImportedImage, Ledger, Record};
use crate::ledger_file::{LedgerFile, Loaded};
use crate::naming::{Reference, ReferenceError};
use crate::needed_blob::{BlobDamage, NeededBlob};
use crate::pin::OPERATOR;
use crate::plan::Brings;
use crate::progress::Meter;
use crate::unpack::UnpackWhen;
use crate::unpacker;

/// So many bytes are read before the next step, or one blob.
const STEP: u64 = 64 << 20;

/// Why nothing can be verified.
#[derive(Debug, thiserror::Error)]
pub enum NotVerified {
    #[error(transparent)]
    Name(#[from] ReferenceError),
    #[error("{0}: no image of this name is kept by stowd")]
    NotKept(String),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Unpacked(#[from] UnpackError),
}

/// The images that stowd keeps, and what brought them.
pub struct Verification<S> {
    store: S,
    ledger: Ledger,
    /// Why something of the ledger is not known, a line each.
    pub warnings: Vec<String>,
    /// What is pinned and no entry is known to bring: by hand, or for the instance.
    unrecorded: Vec<ImportedImage>,
    /// The targets that are verified.
    wanted: HashSet<Digest>,
    /// Whether their snapshots are to be there.
    is_unpacked: bool,
}

/// What is damaged of one entry, or of what none is known to bring.
#[derive(Debug, Default)]
pub struct Damage {
    /// The archive or list that has brought it.
    pub entry: Option<PathBuf>,
    /// What is wrong with names, pins and blobs, a line each.
    pub content: Vec<String>,
    /// The images without all of their snapshots.
    pub not_unpacked: Vec<ImportedImage>,
}

impl Damage {
    /// All that is wrong, a line each.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let content = self.content.iter().cloned();
        content.chain(
            self.not_unpacked
                .iter()
                .map(|image| format!("{}: it is not unpacked", image.name_to_show())),
        )
    }
}

impl<S: ImageStore> Verification<S> {
    /// Looks for the images of the instance whose store this is, and for those that were imported by hand;
    /// with names, only for these.
    pub async fn of(store: S, config: &Config, names: &[String]) -> Result<Self, NotVerified> {
        let mut file = LedgerFile::new(&config.state_dir, &config.images.dir);
        let Loaded {
            ledger, warnings, ..
        } = blocking(move || file.look()).await;
        let recorded = ledger.iter().flat_map(|(_, record)| record.images());
        let recorded = recorded.map(|image| image.digest.clone()).collect();
        // After a ledger was lost these are all.
        let is_kept = |label: Option<&String>| {
            label.is_some_and(|owner| owner == OPERATOR) || store.owner().owns(label)
        };
        let unrecorded = unrecorded(&store, is_kept, &recorded).await?;
        let mut verification = Self {
            store,
            ledger,
            warnings: warnings.iter().map(ToString::to_string).collect(),
            unrecorded,
            wanted: HashSet::new(),
            is_unpacked: config.images.unpack != UnpackWhen::Never,
        };
        verification.wanted = verification.wanted(names)?;
        Ok(verification)
    }

    fn wanted(&self, names: &[String]) -> Result<HashSet<Digest>, NotVerified> {
        let all = || self.kept().map(|(_, image)| image);
        if names.is_empty() {
            return Ok(all().map(|image| image.digest.clone()).collect());
        }
        let mut wanted = HashSet::new();
        for name in names {
            let name = Reference::parse(name)?.canonical().to_string();
            let of_name = all().find(|image| image.names.contains(&name));
            let image = of_name.ok_or(NotVerified::NotKept(name))?;
            wanted.insert(image.digest.clone());
        }
        Ok(wanted)
    }

    /// All images that are kept, with the entries that have brought them.
    fn kept(&self) -> impl Iterator<Item = (Option<&Path>, &ImportedImage)> {
        let by_entry = self.ledger.iter().flat_map(|(path, record)| {
            let images = record.images();
            images.map(move |image| (Some(path), image))
        });
        by_entry.chain(self.unrecorded.iter().map(|image| (None, image)))
    }

    /// Those that are verified.
    fn images(&self) -> impl Iterator<Item = (Option<&Path>, &ImportedImage)> {
        let kept = self.kept();
        kept.filter(|(_, image)| self.wanted.contains(&image.digest))
    }

    /// How many images these are: one that several entries bring is one.
    pub fn image_count(&self) -> usize {
        self.wanted.len()
    }

    /// Their blobs, each once.
    pub fn blobs(&self) -> Vec<NeededBlob> {
        let blobs = self.images().flat_map(|(_, image)| &image.blobs);
        let blobs = blobs.collect::<BTreeSet<_>>();
        blobs.into_iter().cloned().collect()
    }

    /// Reads these blobs; `meter` counts their bytes. What is wrong with them is told by
    /// [`damage`](Self::damage).
    pub async fn read(&self, blobs: &[NeededBlob], meter: &Meter) -> Result<(), StoreError> {
        let mut left = blobs.iter().peekable();
        while left.peek().is_some() {
            let (mut step, mut bytes) = (Vec::new(), 0);
            while let Some(blob) = left.next_if(|blob| bytes == 0 || bytes + blob.size <= STEP) {
                bytes += blob.size;
                step.push(blob.clone());
            }
            self.store.hash_blobs(step, u64::MAX).await?;
            meter.add(bytes);
        }
        Ok(())
    }

    /// What is wrong now, as far as the blobs were read.
    pub async fn damage(&self) -> Result<Vec<Damage>, NotVerified> {
        let images = self.store.images().await?;
        let faults = self.store.faults(self.blobs()).await?;
        let audit = Audit::new(&self.ledger, &images, self.store.owner()).with_faults(&faults);
        let names = self.images().flat_map(|(_, image)| &image.names);
        let names = names.collect::<HashSet<_>>();
        let mut found = BTreeMap::<_, Damage>::new();
        for (path, _) in self.ledger.iter() {
            let lack = audit.lack_of(path);
            let missing = lack.names.iter().filter(|name| names.contains(name));
            let missing = missing
                .map(|name| format!("{name}: it is not there, not pinned, or names another image"));
            let damaged = lack.damage.iter().map(ToString::to_string);
            let content = missing.chain(damaged).collect();
            found.entry(Some(path)).or_default().content = content;
        }
        for image in &self.unrecorded {
            let damaged = image.blobs.iter().filter_map(|blob| {
                let damage = BlobDamage {
                    image: image.names.first().cloned().unwrap_or_default(),
                    blob: blob.clone(),
                    fault: *faults.get(&blob.digest)?,
                };
                Some(damage.to_string())
            });
            found.entry(None).or_default().content.extend(damaged);
        }
        for (path, image) in self.not_unpacked().await? {
            found
                .entry(path)
                .or_default()
                .not_unpacked
                .push(image.clone());
        }
        let found = found.into_iter().map(|(path, damage)| Damage {
            entry: path.map(Path::to_owned),
            ..damage
        });
        let is_damage = |damage: &Damage| damage.lines().next().is_some();
        Ok(found.filter(is_damage).collect())
    }

    /// What an entry has brought, and what it leaves to others.
    pub fn brings(&self, entry: &Path) -> Brings {
        let images = self.ledger.get(entry).into_iter().flat_map(Record::images);
        Brings {
            known: images.cloned().collect(),
            later: self.ledger.names_of_later(entry),
        }
    }

    async fn not_unpacked(&self) -> Result<Vec<(Option<&Path>, &ImportedImage)>, UnpackError> {
        if !self.is_unpacked {
            return Ok(Vec::new());
        }
        let unpacked = self.store.unpacked().await?;
        let (mut seen, mut found) = (HashSet::new(), Vec::new());
        for (path, image) in self.images() {
            if !seen.insert(&image.digest) {
                continue;
            }
            match unpacker::lacks_snapshots(&self.store, &image.digest, &unpacked).await {
                Ok(false) => {}
                Err(error) if error.is_store_away() => return Err(error),
                // A document that is damaged is told of as a blob.
                Err(UnpackError::Store(_)) => {}
                Ok(true) | Err(_) => found.push((path, image)),
            }
        }
        Ok(found)
    }
}
