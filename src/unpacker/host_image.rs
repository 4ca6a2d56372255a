//! What of an image in the store the host runs: of an index the manifest that containerd would choose.

use crate::digest::Digest;
use crate::image_store::{ImageStore, StoreError, UnpackError};
use crate::oci::limits::DOCUMENT_MAX;
use crate::oci::{ImageConfig, Index, Manifest, RawDescriptor, media_type, parse};
use crate::platform::{Platform, Wanted};
use crate::unpack::RootFileSystem;

/// So many indexes lie in each other, at most; real images have two.
const LEVELS: usize = 4;

/// The most manifests that are looked at for one image.
const MANIFESTS_MAX: usize = 1000;

/// Looks for what the host runs.
pub(super) struct HostImage<'a, S> {
    store: &'a S,
    /// The manifests, with the platforms that they are for.
    offered: Vec<(Platform, Digest)>,
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
        let offered = Vec::new();
        let mut image = HostImage { store, offered };
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

    /// Takes in what an index offers, and the indexes in it.
    async fn walk(&mut self, index: &[u8]) -> Result<(), StoreError> {
        let mut open = vec![(1, index.to_vec())];
        while let Some((level, document)) = open.pop() {
            let Ok(index) = parse::<Index>(&document) else {
                continue;
            };
            for child in &index.manifests.0 {
                if self.offered.len() == MANIFESTS_MAX {
                    return Ok(());
                }
                if let Some(nested) = self.take_in(child).await?
                    && level < LEVELS
                {
                    open.push((level + 1, nested));
                }
            }
        }
        Ok(())
    }

    /// Takes in a manifest; returns an index.
    async fn take_in(&mut self, child: &RawDescriptor) -> Result<Option<Vec<u8>>, StoreError> {
        let Ok(digest) = child.digest() else {
            return Ok(None);
        };
        let is_index = media_type::kind(&child.media_type) == media_type::MediaKind::Index;
        match child.platform() {
            Some(platform) if platform.is_attestation() => return Ok(None),
            Some(platform) if !is_index => self.offered.push((platform, digest)),
            _ => {
                let Some(document) = read(self.store, &digest).await? else {
                    return Ok(None);
                };
                if is_index {
                    return Ok(Some(document));
                }
                if let Ok(manifest) = parse::<Manifest>(&document)
                    && let Some((_, Some(platform))) = configuration(self.store, &manifest).await?
                {
                    self.offered.push((platform, digest));
                }
            }
        }
        Ok(None)
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
