//! What of an image in the store the host runs: of an index the manifest that containerd would choose.

use std::collections::HashSet;

use crate::digest::Digest;
use crate::image_store::{ImageStore, StoreError, UnpackError};
use crate::oci::limits::DOCUMENT_MAX;
use crate::oci::{ImageConfig, Index, Manifest, media_type, parse};
use crate::platform::{Platform, Wanted};
use crate::unpack::RootFileSystem;

/// So many indexes lie in each other, at most; real images have two.
const LEVELS: usize = 4;

/// The most manifests that are looked at for one image, and the most documents that are read for it.
const MANIFESTS_MAX: usize = 1000;

/// Looks for what the host runs.
pub(super) struct HostImage<'a, S> {
    store: &'a S,
    /// The manifests, with the platforms that they are for.
    offered: Vec<(Platform, Digest)>,
    /// The documents that were read, or are to be.
    seen: HashSet<Digest>,
}

impl<S: ImageStore> HostImage<'_, S> {
    /// The root file system that the host makes of a target. `None` where nothing of it is for the
    /// host, or that is not in the store, or is no image to run.
    pub(super) async fn find(
        store: &S,
        target: &Digest,
        host: &Platform,
    ) -> Result<Option<RootFileSystem>, UnpackError> {
        let Some(document) = read(store, target).await? else {
            return Ok(None);
        };
        if let Ok(manifest) = parse::<Manifest>(&document) {
            // containerd takes a manifest that says nothing of a platform for the host's.
            return match configuration(store, &manifest).await? {
                Some((config, platform)) if platform.as_ref().is_none_or(|it| runs(host, it)) => {
                    Ok(RootFileSystem::of(&document, &config)?)
                }
                _ => Ok(None),
            };
        }
        let mut image = HostImage {
            store,
            offered: Vec::new(),
            seen: HashSet::from([target.clone()]),
        };
        image.walk(&document).await?;
        let platforms = image.offered.iter().map(|(platform, _)| platform.clone());
        let platforms = platforms.collect::<Vec<_>>();
        let chosen = Wanted::Each(vec![host.clone()]).choose(&platforms);
        let Some((_, chosen)) = chosen.first().and_then(|best| image.offered.get(*best)) else {
            return Ok(None);
        };
        let Some(document) = read(store, chosen).await? else {
            return Ok(None);
        };
        let Ok(manifest) = parse::<Manifest>(&document) else {
            return Ok(None);
        };
        match configuration(store, &manifest).await? {
            Some((config, _)) => Ok(RootFileSystem::of(&document, &config)?),
            None => Ok(None),
        }
    }

    /// Takes in what an index offers, and the indexes in it. Each document is read once, however often it
    /// is listed, and one at a time is in memory.
    async fn walk(&mut self, index: &[u8]) -> Result<(), StoreError> {
        let mut open = vec![(1, self.take_in(index).await?)];
        while let Some((level, mut nested)) = open.pop() {
            let Some(digest) = nested.pop() else {
                continue;
            };
            open.push((level, nested));
            if let Some(document) = read(self.store, &digest).await? {
                let nested = self.take_in(&document).await?;
                if level < LEVELS {
                    open.push((level + 1, nested));
                }
            }
        }
        Ok(())
    }

    /// Takes in the manifests of an index; returns its indexes.
    async fn take_in(&mut self, index: &[u8]) -> Result<Vec<Digest>, StoreError> {
        let mut nested = Vec::new();
        let Ok(index) = parse::<Index>(index) else {
            return Ok(nested);
        };
        for child in &index.manifests.0 {
            let Ok(digest) = child.digest() else {
                continue;
            };
            if self.offered.len() == MANIFESTS_MAX {
                break;
            }
            let is_index = media_type::kind(&child.media_type) == media_type::MediaKind::Index;
            match child.platform() {
                Some(platform) if platform.is_attestation() => {}
                Some(platform) if !is_index => self.offered.push((platform, digest)),
                _ if self.seen.len() == MANIFESTS_MAX || !self.seen.insert(digest.clone()) => {}
                _ if is_index => nested.push(digest),
                _ => self.take_in_manifest(digest).await?,
            }
        }
        Ok(nested)
    }

    /// Takes in a manifest whose platform its configuration tells.
    async fn take_in_manifest(&mut self, digest: Digest) -> Result<(), StoreError> {
        let Some(document) = read(self.store, &digest).await? else {
            return Ok(());
        };
        if let Ok(manifest) = parse::<Manifest>(&document)
            && let Some((_, Some(platform))) = configuration(self.store, &manifest).await?
        {
            self.offered.push((platform, digest));
        }
        Ok(())
    }
}

/// Whether the host runs what is for this platform.
fn runs(host: &Platform, platform: &Platform) -> bool {
    Wanted::Each(vec![host.clone()]).accepts(platform)
}

async fn read<S: ImageStore>(store: &S, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
    store.read_blob(digest, DOCUMENT_MAX).await
}

/// The configuration of a manifest, and the platform that it names; `None` where the store has none, or
/// it is not that of an image.
async fn configuration<S: ImageStore>(
    store: &S,
    manifest: &Manifest,
) -> Result<Option<(Vec<u8>, Option<Platform>)>, StoreError> {
    let Ok(digest) = manifest.config.digest() else {
        return Ok(None);
    };
    if !media_type::is_image_config(&manifest.config.media_type) {
        return Ok(None);
    }
    let Some(document) = read(store, &digest).await? else {
        return Ok(None);
    };
    let config = parse::<ImageConfig>(&document);
    let platform = config.ok().and_then(|config| config.platform());
    Ok(Some((document, platform)))
}
