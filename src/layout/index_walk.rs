//! Every manifest that lies under a target, with its platform, through nested indexes.

use std::collections::{HashMap, HashSet};

use super::document_cache::{DocumentCache, Stop};
use super::document_source::DocumentSource;
use super::limits::DEPTH_MAX;
use super::problem::Fault;
use crate::digest::Digest;
use crate::oci::Descriptor;
use crate::oci::media_type::{self, MediaKind};
use crate::platform::{Platform, Wanted};

/// A manifest, or something that is in a manifest's place.
pub(super) struct ManifestRef {
    pub(super) descriptor: Descriptor,
    pub(super) kind: ManifestKind,
}

/// What the walk knows of a manifest.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum ManifestKind {
    /// A manifest whose descriptor tells the platform.
    Labelled(Platform),
    /// A manifest whose configuration tells the platform.
    Configured(Platform),
    /// A manifest of no platform: an artifact, or an image that does not say.
    Unplatformed,
    /// A document about another manifest.
    Attestation,
    /// A blob that is no manifest.
    Opaque,
}

/// A walk through all indexes under a target, and what it has found.
pub(super) struct IndexWalk<'w> {
    wanted: &'w Wanted,
    pub(super) manifests: Vec<ManifestRef>,
    /// The manifests and indexes that were met.
    seen: HashSet<Digest>,
    /// The nested indexes that were read.
    pub(super) nested: HashMap<Digest, Descriptor>,
    /// Why the platforms of others cannot be known: most of them are nowhere.
    pub(super) unknown: Vec<Fault>,
}

impl<'w> IndexWalk<'w> {
    pub(super) fn new(wanted: &'w Wanted) -> Self {
        Self {
            wanted,
            manifests: Vec::new(),
            seen: HashSet::new(),
            nested: HashMap::new(),
            unknown: Vec::new(),
        }
    }

    /// Goes through an index, `depth` indexes below the target.
    pub(super) fn index<D: DocumentSource>(
        &mut self,
        documents: &mut DocumentCache<'_, D>,
        descriptor: &Descriptor,
        depth: usize,
    ) -> Result<(), Stop<D::Error>> {
        if depth == DEPTH_MAX {
            let digest = descriptor.digest.clone();
            return Err(Fault::TooDeep { digest }.into());
        }
        let index = documents.index(descriptor)?;
        documents.files.spend(index.manifests.0.len())?;
        for child in &index.manifests.0 {
            // A blob whose digest containerd cannot keep cannot be wanted.
            let Ok(descriptor) = child.descriptor() else {
                continue;
            };
            if !self.seen.insert(descriptor.digest.clone()) {
                continue;
            }
            let platform = child.platform();
            match media_type::kind(&descriptor.media_type) {
                MediaKind::Index => {
                    if let Some(platform) = platform.filter(|p| !self.wanted.accepts(p)) {
                        let kind = ManifestKind::Labelled(platform);
                        self.manifests.push(ManifestRef { descriptor, kind });
                        continue;
                    }
                    match self.index(documents, &descriptor, depth + 1) {
                        Ok(()) => {
                            self.nested.insert(descriptor.digest.clone(), descriptor);
                        }
                        Err(Stop::Fault(fault @ Fault::MissingBlob { .. })) => {
                            self.unknown.push(fault);
                        }
                        Err(stop) => return Err(stop),
                    }
                }
                MediaKind::Manifest => match self.manifest(documents, descriptor, platform) {
                    Ok(()) => {}
                    Err(Stop::Fault(fault)) => self.unknown.push(fault),
                    Err(stop) => return Err(stop),
                },
                MediaKind::Schema1 => self.unknown.push(Fault::Schema1 {
                    digest: descriptor.digest,
                }),
                MediaKind::Unsaid | MediaKind::Other => self.manifests.push(ManifestRef {
                    descriptor,
                    kind: ManifestKind::Opaque,
                }),
            }
        }
        Ok(())
    }

    /// Takes a manifest; `platform` is what its descriptor says.
    pub(super) fn manifest<D: DocumentSource>(
        &mut self,
        documents: &mut DocumentCache<'_, D>,
        descriptor: Descriptor,
        platform: Option<Platform>,
    ) -> Result<(), Stop<D::Error>> {
        let kind = match platform {
            Some(platform) if platform.is_attestation() => ManifestKind::Attestation,
            Some(platform) => ManifestKind::Labelled(platform),
            None => match documents.configured_platform(&descriptor)? {
                Some(platform) => ManifestKind::Configured(platform),
                None => ManifestKind::Unplatformed,
            },
        };
        self.manifests.push(ManifestRef { descriptor, kind });
        Ok(())
    }
}
