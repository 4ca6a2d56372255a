//! From a descriptor in `index.json` to what is wanted of it: first a walk to every manifest under it,
//! then the choice, then the blobs of what was chosen.

use super::closure::Closure;
use super::document_cache::{DocumentCache, Stop};
use super::document_source::DocumentSource;
use super::index_walk::{IndexWalk, ManifestKind, ManifestRef};
use super::layout_files::LayoutFiles;
use super::parsed_image::{CompleteImage, NamePriority, Selection};
use super::problem::Fault;
use crate::digest::Digest;
use crate::oci::media_type::{self, MediaKind};
use crate::oci::{Descriptor, RawDescriptor};
use crate::platform::{Platform, Wanted};

/// Selects from the images of one archive.
pub(super) struct Selector<'a, D> {
    documents: DocumentCache<'a, D>,
    wanted: &'a Wanted,
    host: &'a Platform,
}

/// What is wanted of a target, and the configurations of the manifests that were chosen.
pub(super) struct SelectedTarget {
    pub(super) selection: Selection,
    pub(super) configs: Vec<Digest>,
}

/// What of a target is wanted.
struct Choice<'s> {
    /// The platforms that it offers.
    offered: Vec<Platform>,
    /// The manifests that must be whole; if there are none, nothing of the target is wanted.
    needed: Vec<&'s ManifestRef>,
    /// What is taken along if it is whole.
    extras: Vec<&'s ManifestRef>,
    /// Whether what is needed was chosen for its platform.
    by_platform: bool,
}

impl<'a, D: DocumentSource> Selector<'a, D> {
    pub(super) fn new(
        files: &'a LayoutFiles<'a>,
        source: &'a D,
        wanted: &'a Wanted,
        host: &'a Platform,
    ) -> Self {
        Self {
            documents: DocumentCache::new(files, source),
            wanted,
            host,
        }
    }

    /// Finds what is wanted of the target of a descriptor.
    pub(super) fn select(&mut self, target: &RawDescriptor) -> Result<SelectedTarget, D::Error> {
        let mut configs = Vec::new();
        let selection = match self.selection(target, &mut configs) {
            Ok(selection) => selection,
            Err(Stop::Fault(fault)) => Selection::Bad(fault),
            Err(Stop::Source(error)) => return Err(error),
        };
        Ok(SelectedTarget { selection, configs })
    }

    fn selection(
        &mut self,
        target: &RawDescriptor,
        configs: &mut Vec<Digest>,
    ) -> Result<Selection, Stop<D::Error>> {
        let platform = target.platform();
        if platform.as_ref().is_some_and(Platform::is_attestation) {
            return Ok(Selection::NotAnImage);
        }
        let mut target = target.descriptor().map_err(Fault::from)?;
        if media_type::kind(&target.media_type) == MediaKind::Unsaid {
            target.media_type = self.documents.own_media_type(&target)?;
        }
        let walk = self.walk(&target, platform)?;
        let choice = choose(&walk, self.wanted);
        let all_needed = choice.needed.is_empty() || *self.wanted == Wanted::All;
        if let Some(fault) = walk.unknown.first().filter(|_| all_needed) {
            return Err(fault.clone().into());
        }
        if !choice.needed.is_empty() {
            return self.collect(target, &walk, choice, configs);
        }
        if choice.offered.is_empty() {
            return Err(Fault::EmptyIndex {
                digest: target.digest,
            }
            .into());
        }
        Ok(Selection::OtherPlatforms(choice.offered))
    }

    fn walk(
        &mut self,
        target: &Descriptor,
        platform: Option<Platform>,
    ) -> Result<IndexWalk<'a>, Stop<D::Error>> {
        let mut walk = IndexWalk::new(self.wanted);
        match media_type::kind(&target.media_type) {
            MediaKind::Index => walk.index(&mut self.documents, target, 0)?,
            MediaKind::Manifest => walk.manifest(&mut self.documents, target.clone(), platform)?,
            MediaKind::Schema1 => {
                let digest = target.digest.clone();
                return Err(Fault::Schema1 { digest }.into());
            }
            MediaKind::Unsaid | MediaKind::Other => {
                return Err(Fault::NoManifest {
                    digest: target.digest.clone(),
                    media_type: target.media_type.clone(),
                }
                .into());
            }
        }
        Ok(walk)
    }

    fn collect(
        &mut self,
        target: Descriptor,
        walk: &IndexWalk<'_>,
        choice: Choice<'_>,
        configs: &mut Vec<Digest>,
    ) -> Result<Selection, Stop<D::Error>> {
        let documents = &mut self.documents;
        let mut closure = Closure::default();
        for needed in &choice.needed {
            configs.extend(closure.manifest(documents, &needed.descriptor)?);
        }
        for extra in choice.extras {
            closure.extra(documents, extra)?;
        }
        let is_index = media_type::kind(&target.media_type) == MediaKind::Index;
        if is_index {
            let mut nested = walk.nested.clone();
            closure.indexes(documents, &target, &mut nested)?;
        }
        let runs_on_host = if choice.by_platform {
            self.wanted.runs_here(&choice.offered, self.host)
        } else {
            // containerd compares no platform where there is no choice.
            !is_index && self.is_runnable(&target)?
        };
        let priority = match (choice.by_platform, runs_on_host) {
            (false, _) => NamePriority::Unplatformed,
            (true, false) => NamePriority::Wanted,
            (true, true) => NamePriority::Host,
        };
        Ok(Selection::Complete(CompleteImage {
            target,
            blobs: closure.blobs,
            mislabelled: closure.mislabelled,
            runs_on_host,
            priority,
        }))
    }

    /// Whether a manifest that names no platform looks like an image all the same.
    fn is_runnable(&mut self, descriptor: &Descriptor) -> Result<bool, Stop<D::Error>> {
        let manifest = self.documents.manifest(descriptor)?;
        let mut layers = manifest.layers.0.iter();
        Ok(media_type::is_image_config(&manifest.config.media_type)
            && layers.all(|layer| media_type::is_layer(&layer.media_type)))
    }
}

fn choose<'s>(walk: &'s IndexWalk<'_>, wanted: &Wanted) -> Choice<'s> {
    // containerd, too, prefers a platform that the index tells to one in a configuration.
    let labelled = walk.manifests.iter().filter_map(|found| match &found.kind {
        ManifestKind::Labelled(platform) => Some((platform.clone(), found)),
        _ => None,
    });
    let configured = walk.manifests.iter().filter_map(|found| match &found.kind {
        ManifestKind::Configured(platform) => Some((platform.clone(), found)),
        _ => None,
    });
    let (offered, manifests): (Vec<Platform>, Vec<&ManifestRef>) =
        labelled.chain(configured).unzip();
    let chosen = wanted.choose(&offered);
    let by_platform = !chosen.is_empty();
    let unplatformed = |found: &&ManifestRef| found.kind == ManifestKind::Unplatformed;
    let needed = if by_platform {
        chosen.into_iter().map(|i| manifests[i]).collect()
    } else {
        walk.manifests.iter().filter(unplatformed).collect()
    };
    let is_extra = |found: &&ManifestRef| match found.kind {
        ManifestKind::Attestation | ManifestKind::Opaque => true,
        ManifestKind::Unplatformed => by_platform,
        ManifestKind::Labelled(_) | ManifestKind::Configured(_) => false,
    };
    Choice {
        offered,
        needed,
        extras: walk.manifests.iter().filter(is_extra).collect(),
        by_platform,
    }
}
