//! From a descriptor in `index.json` to what is wanted of it: first a survey of every manifest under
//! it, then the choice, then the blobs of what was chosen.

use super::candidate::{Claim, Outcome, Whole};
use super::collect::Collected;
use super::content::Content;
use super::document::Pointer;
use super::media_type::{self, Kind};
use super::problem::Fault;
use super::survey::{Is, Leaf, Survey};
use super::trees::{Stop, Trees};
use crate::digest::Digest;
use crate::image_store::Descriptor;
use crate::platform::{Platform, Wanted};

/// Reads the images of one archive.
pub(super) struct ImageTrees<'c, 'a> {
    trees: Trees<'c, 'a>,
    wanted: &'c Wanted,
    host: &'c Platform,
}

/// What a tree came to, and the configurations of the manifests that were chosen.
pub(super) struct Tree {
    pub(super) outcome: Outcome,
    pub(super) configs: Vec<Digest>,
}

/// What of a target is wanted.
struct Choice<'s> {
    /// The platforms that it offers.
    offered: Vec<Platform>,
    /// The manifests that must be whole; if there are none, nothing of the target is wanted.
    needed: Vec<&'s Leaf>,
    /// What is taken along if it is whole.
    extras: Vec<&'s Leaf>,
    /// Whether what is needed was chosen for its platform.
    by_platform: bool,
}

impl<'c, 'a> ImageTrees<'c, 'a> {
    pub(super) fn new(
        content: &'c mut Content<'a>,
        wanted: &'c Wanted,
        host: &'c Platform,
    ) -> Self {
        Self {
            trees: Trees::new(content),
            wanted,
            host,
        }
    }

    /// Counts `items` towards what an archive may ask for.
    pub(super) fn spend(&self, items: usize) -> Result<(), Fault> {
        self.trees.content.spend(items)
    }

    /// Finds what is wanted of the target of a descriptor.
    pub(super) fn read(&mut self, pointer: &Pointer) -> Tree {
        let mut configs = Vec::new();
        let outcome = match self.outcome(pointer, &mut configs) {
            Ok(outcome) => outcome,
            Err(Stop::Pending) => Outcome::Pending,
            Err(Stop::Fault(fault)) => Outcome::Bad(fault),
        };
        Tree { outcome, configs }
    }

    fn outcome(&mut self, pointer: &Pointer, configs: &mut Vec<Digest>) -> Result<Outcome, Stop> {
        let platform = pointer.platform();
        if platform.as_ref().is_some_and(Platform::is_attestation) {
            return Ok(Outcome::Nothing);
        }
        let mut target = pointer.descriptor().map_err(Fault::from)?;
        if media_type::kind(&target.media_type) == Kind::Unsaid {
            target.media_type = self.trees.own_media_type(&target)?;
        }
        let survey = self.survey(&target, platform)?;
        let choice = choose(&survey, self.wanted);
        let all_needed = choice.needed.is_empty() || *self.wanted == Wanted::All;
        if let Some(fault) = survey.unknown.first().filter(|_| all_needed) {
            return Err(fault.clone().into());
        }
        if !choice.needed.is_empty() {
            return self.collect(target, &survey, choice, configs);
        }
        if choice.offered.is_empty() {
            return Err(Fault::EmptyIndex {
                digest: target.digest,
            }
            .into());
        }
        Ok(Outcome::Foreign(choice.offered))
    }

    fn survey(
        &mut self,
        target: &Descriptor,
        platform: Option<Platform>,
    ) -> Result<Survey<'c>, Stop> {
        let mut survey = Survey::new(self.wanted);
        match media_type::kind(&target.media_type) {
            Kind::Index => survey.index(&mut self.trees, target, 0)?,
            Kind::Manifest => survey.manifest(&mut self.trees, target.clone(), platform)?,
            Kind::Schema1 => {
                let digest = target.digest.clone();
                return Err(Fault::Schema1 { digest }.into());
            }
            Kind::Unsaid | Kind::Other => {
                return Err(Fault::NoManifest {
                    digest: target.digest.clone(),
                    media_type: target.media_type.clone(),
                }
                .into());
            }
        }
        if survey.pending {
            return Err(Stop::Pending);
        }
        Ok(survey)
    }

    fn collect(
        &mut self,
        target: Descriptor,
        survey: &Survey<'_>,
        choice: Choice<'_>,
        configs: &mut Vec<Digest>,
    ) -> Result<Outcome, Stop> {
        let mut collected = Collected::default();
        let mut pending = false;
        for leaf in &choice.needed {
            match collected.manifest(&mut self.trees, &leaf.descriptor) {
                Ok(config) => configs.extend(config),
                // The others go on, so that one round asks for all that is missing.
                Err(Stop::Pending) => pending = true,
                Err(stop) => return Err(stop),
            }
        }
        if pending {
            return Err(Stop::Pending);
        }
        for leaf in choice.extras {
            collected.extra(&mut self.trees, leaf);
        }
        let is_index = media_type::kind(&target.media_type) == Kind::Index;
        if is_index {
            let mut nested = survey.nested.clone();
            collected.indexes(&mut self.trees, &target, &mut nested)?;
        }
        let runs_on_host = if choice.by_platform {
            self.wanted.runs_here(&choice.offered, self.host)
        } else {
            // containerd asks for no platform where there is no choice.
            !is_index && self.is_runnable(&target)
        };
        let claim = match (choice.by_platform, runs_on_host) {
            (false, _) => Claim::Unplatformed,
            (true, false) => Claim::Wanted,
            (true, true) => Claim::Host,
        };
        Ok(Outcome::Whole(Whole {
            target,
            blobs: collected.blobs,
            runs_on_host,
            claim,
        }))
    }

    /// Whether a manifest that names no platform looks like an image all the same.
    fn is_runnable(&mut self, descriptor: &Descriptor) -> bool {
        self.trees.manifest(descriptor).is_ok_and(|manifest| {
            let mut layers = manifest.layers.0.iter();
            media_type::is_image_config(&manifest.config.media_type)
                && layers.all(|layer| media_type::is_layer(&layer.media_type))
        })
    }
}

fn choose<'s>(survey: &'s Survey<'_>, wanted: &Wanted) -> Choice<'s> {
    // containerd, too, prefers a platform that the index tells to one in a configuration.
    let labelled = survey.leaves.iter().filter_map(|leaf| match &leaf.is {
        Is::Labelled(platform) => Some((platform.clone(), leaf)),
        _ => None,
    });
    let configured = survey.leaves.iter().filter_map(|leaf| match &leaf.is {
        Is::Configured(platform) => Some((platform.clone(), leaf)),
        _ => None,
    });
    let (offered, leaves): (Vec<Platform>, Vec<&Leaf>) = labelled.chain(configured).unzip();
    let chosen = wanted.choose(&offered);
    let by_platform = !chosen.is_empty();
    let unplatformed = |leaf: &&Leaf| leaf.is == Is::Unplatformed;
    let needed = if by_platform {
        chosen.into_iter().map(|i| leaves[i]).collect()
    } else {
        survey.leaves.iter().filter(unplatformed).collect()
    };
    let is_extra = |leaf: &&Leaf| match leaf.is {
        Is::Attestation | Is::Opaque => true,
        Is::Unplatformed => by_platform,
        Is::Labelled(_) | Is::Configured(_) => false,
    };
    Choice {
        offered,
        needed,
        extras: survey.leaves.iter().filter(is_extra).collect(),
        by_platform,
    }
}
