//! Every manifest that lies under a target, with its platform, through nested indexes.

use std::collections::{HashMap, HashSet};

use super::media_type::{self, Kind};
use super::problem::Fault;
use super::trees::{Stop, Trees};
use crate::digest::Digest;
use crate::image_store::Descriptor;
use crate::platform::{Platform, Wanted};

/// How deep indexes may lie in indexes. `docker save` has two levels.
const DEPTH_MAX: usize = 8;

/// A manifest, or something that is in a manifest's place.
pub(super) struct Leaf {
    pub(super) descriptor: Descriptor,
    pub(super) is: Is,
}

/// What a leaf is.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Is {
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

/// All that lies under a target.
pub(super) struct Survey<'w> {
    wanted: &'w Wanted,
    pub(super) leaves: Vec<Leaf>,
    /// The leaves and indexes that were met.
    seen: HashSet<Digest>,
    /// The nested indexes that were read.
    pub(super) nested: HashMap<Digest, Descriptor>,
    /// Manifests without a platform of which nothing more can be known, as they are nowhere.
    pub(super) unknown: Vec<Fault>,
    /// Whether documents have to be asked of the store.
    pub(super) pending: bool,
}

impl<'w> Survey<'w> {
    pub(super) fn new(wanted: &'w Wanted) -> Self {
        Self {
            wanted,
            leaves: Vec::new(),
            seen: HashSet::new(),
            nested: HashMap::new(),
            unknown: Vec::new(),
            pending: false,
        }
    }

    /// Goes through an index, `depth` indexes below the target.
    pub(super) fn index(
        &mut self,
        trees: &mut Trees<'_, '_>,
        descriptor: &Descriptor,
        depth: usize,
    ) -> Result<(), Stop> {
        if depth == DEPTH_MAX {
            return Err(Fault::TooDeep {
                digest: descriptor.digest.clone(),
                max: DEPTH_MAX,
            }
            .into());
        }
        let index = trees.index(descriptor)?;
        trees.content.spend(index.manifests.0.len())?;
        for child in &index.manifests.0 {
            // What cannot be kept by containerd cannot be wanted.
            let Ok(descriptor) = child.descriptor() else {
                continue;
            };
            if !self.seen.insert(descriptor.digest.clone()) {
                continue;
            }
            let platform = child.platform();
            match media_type::kind(&descriptor.media_type) {
                Kind::Index => {
                    if let Some(platform) = platform.filter(|p| !self.wanted.accepts(p)) {
                        let is = Is::Labelled(platform);
                        self.leaves.push(Leaf { descriptor, is });
                        continue;
                    }
                    match self.index(trees, &descriptor, depth + 1) {
                        Ok(()) => {
                            self.nested.insert(descriptor.digest.clone(), descriptor);
                        }
                        Err(Stop::Pending) => self.pending = true,
                        Err(Stop::Fault(fault @ Fault::MissingBlob { .. })) => {
                            self.unknown.push(fault);
                        }
                        Err(stop) => return Err(stop),
                    }
                }
                Kind::Manifest => match self.manifest(trees, descriptor, platform) {
                    Err(Stop::Pending) => self.pending = true,
                    Err(Stop::Fault(fault)) => self.unknown.push(fault),
                    Ok(()) => {}
                },
                Kind::Schema1 => self.unknown.push(Fault::Schema1 {
                    digest: descriptor.digest,
                }),
                Kind::Unsaid | Kind::Other => self.leaves.push(Leaf {
                    descriptor,
                    is: Is::Opaque,
                }),
            }
        }
        Ok(())
    }

    /// Takes a manifest; `platform` is what its descriptor says.
    pub(super) fn manifest(
        &mut self,
        trees: &mut Trees<'_, '_>,
        descriptor: Descriptor,
        platform: Option<Platform>,
    ) -> Result<(), Stop> {
        let is = match platform {
            Some(platform) if platform.is_attestation() => Is::Attestation,
            Some(platform) => Is::Labelled(platform),
            None => match trees.configured_platform(&descriptor)? {
                Some(platform) => Is::Configured(platform),
                None => Is::Unplatformed,
            },
        };
        self.leaves.push(Leaf { descriptor, is });
        Ok(())
    }
}
