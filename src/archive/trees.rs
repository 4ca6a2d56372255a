//! The documents of an archive's images, each read once.

use std::collections::HashMap;
use std::rc::Rc;

use super::content::{Content, Found};
use super::document::{self, Config, Index, Manifest, Outline};
use super::media_type::{self, Kind};
use super::problem::Fault;
use crate::digest::Digest;
use crate::image_store::Descriptor;
use crate::platform::Platform;

/// Indexes, manifests and configurations.
pub(super) struct Trees<'c, 'a> {
    pub(super) content: &'c mut Content<'a>,
    manifests: HashMap<Digest, Rc<Manifest>>,
    indexes: HashMap<Digest, Rc<Index>>,
    platforms: HashMap<Digest, Option<Platform>>,
}

/// Why a walk ends early.
pub(super) enum Stop {
    Pending,
    Fault(Fault),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl<'c, 'a> Trees<'c, 'a> {
    pub(super) fn new(content: &'c mut Content<'a>) -> Self {
        Self {
            content,
            manifests: HashMap::new(),
            indexes: HashMap::new(),
            platforms: HashMap::new(),
        }
    }

    /// The media type of a document whose descriptor does not tell it.
    pub(super) fn own_media_type(&mut self, descriptor: &Descriptor) -> Result<String, Stop> {
        let Found::Document(found) = self.content.document(descriptor)? else {
            return Err(Stop::Pending);
        };
        let outline: Outline = parsed(&found.bytes, &found.name)?;
        Ok(outline.media_type().unwrap_or_default().to_owned())
    }

    pub(super) fn manifest(&mut self, descriptor: &Descriptor) -> Result<Rc<Manifest>, Stop> {
        if let Some(manifest) = self.manifests.get(&descriptor.digest) {
            return Ok(manifest.clone());
        }
        let Found::Document(found) = self.content.document(descriptor)? else {
            return Err(Stop::Pending);
        };
        let manifest: Manifest = parsed(&found.bytes, &found.name)
            .map_err(|fault| schema1(&found.bytes, descriptor).unwrap_or(fault))?;
        if manifest.is_ambiguous() {
            return Err(Fault::Contradiction {
                digest: descriptor.digest.clone(),
                called: "a manifest",
                other: "an index",
            }
            .into());
        }
        let manifest = Rc::new(manifest);
        self.manifests
            .insert(descriptor.digest.clone(), manifest.clone());
        Ok(manifest)
    }

    pub(super) fn index(&mut self, descriptor: &Descriptor) -> Result<Rc<Index>, Stop> {
        if let Some(index) = self.indexes.get(&descriptor.digest) {
            return Ok(index.clone());
        }
        let Found::Document(found) = self.content.document(descriptor)? else {
            return Err(Stop::Pending);
        };
        let index: Index = parsed(&found.bytes, &found.name)?;
        if index.is_ambiguous() {
            return Err(Fault::Contradiction {
                digest: descriptor.digest.clone(),
                called: "an index",
                other: "a manifest",
            }
            .into());
        }
        let index = Rc::new(index);
        self.indexes
            .insert(descriptor.digest.clone(), index.clone());
        Ok(index)
    }

    /// The platform in the configuration of a manifest.
    pub(super) fn configured_platform(
        &mut self,
        descriptor: &Descriptor,
    ) -> Result<Option<Platform>, Stop> {
        let manifest = self.manifest(descriptor)?;
        if !media_type::is_image_config(&manifest.config.media_type) {
            return Ok(None);
        }
        let config = manifest.config.descriptor().map_err(Fault::from)?;
        if let Some(platform) = self.platforms.get(&config.digest) {
            return Ok(platform.clone());
        }
        let Found::Document(found) = self.content.document(&config)? else {
            return Err(Stop::Pending);
        };
        let platform = parsed::<Config>(&found.bytes, &found.name)?.platform();
        self.platforms.insert(config.digest, platform.clone());
        Ok(platform)
    }
}

fn parsed<T: serde::de::DeserializeOwned>(bytes: &[u8], name: &str) -> Result<T, Fault> {
    document::parse(bytes).map_err(|cause| Fault::Json {
        member: name.to_owned(),
        cause,
    })
}

/// A manifest of schema 1 reads as one that lacks its configuration.
fn schema1(bytes: &[u8], descriptor: &Descriptor) -> Option<Fault> {
    let outline: Outline = document::parse(bytes).ok()?;
    let media_type = outline.media_type()?;
    (media_type::kind(media_type) == Kind::Schema1).then(|| Fault::Schema1 {
        digest: descriptor.digest.clone(),
    })
}
