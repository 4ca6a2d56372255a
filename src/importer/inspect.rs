//! Reads an archive as an import does, and tells what would come of it in a store that has nothing. No
//! store is asked. One thread hashes the bodies, each once; memory is bounded as for an import.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::convert::Infallible;
use std::io::{self, Read as _};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use super::attempt::{check_end, first_lacking};
use super::bodies::BodyError;
use super::documents;
use super::report::ImportError;
use crate::admit::archive_images;
use crate::compression::Compression;
use crate::digest::{Digest, Hasher};
use crate::entry::shown;
use crate::image_store::StoredLayer;
use crate::layout::{
    ArchiveImage, BlobSource, Catalogue, DocumentSource, FileMember, Note, ResolveError,
    WantedBlob, resolve,
};
use crate::naming::Reference;
use crate::oci::{ImageConfig, media_type, parse};
use crate::platform::{Platform, Wanted};
use crate::progress::Meter;
use crate::tar::{self, BodySink, OpenArchive, PlainArchive, limits};

/// What an archive would bring.
#[derive(Debug)]
pub struct Inspection {
    /// The length of the file in bytes.
    pub size: u64,
    pub compression: Compression,
    /// The images that would be imported, in the order of the archive.
    pub images: Vec<InspectedImage>,
    /// Why others would not be, a line each.
    pub problems: Vec<String>,
    pub notes: Vec<Note>,
    /// The blobs of the images, each once, with their lengths in bytes.
    pub blobs: BTreeMap<Digest, u64>,
}

/// An image that would be imported.
#[derive(Debug)]
pub struct InspectedImage {
    /// As containerd would have them; those of extra registries are the last.
    pub names: Vec<Reference>,
    /// Of its manifest or index.
    pub digest: Digest,
    /// Of each of its configurations that says one.
    pub platforms: Vec<Platform>,
    pub layers: usize,
    /// Of all its blobs, in bytes.
    pub size: u64,
    pub runs_on_host: bool,
}

/// Inspects an archive. This blocks.
pub fn inspect(
    path: &Path,
    wanted: &Wanted,
    extra_registries: &[String],
) -> Result<Inspection, ImportError> {
    let archive = tar::open(path, Meter::default(), Arc::default())?;
    let mut streamed = HashedBodies::default();
    let catalogue = match &archive {
        OpenArchive::Plain(archive) => archive.index()?,
        OpenArchive::Compressed(archive) => archive.stream(&mut streamed)?,
    };
    let resolution = resolve(&catalogue, &NoDocuments, wanted, Platform::host());
    let resolution = match resolution {
        Ok(resolution) => resolution,
        Err(ResolveError::Layout(error)) => {
            check_end(&catalogue, || Some(error.to_string()))?;
            return Err(error.into());
        }
    };
    check_end(&catalogue, || first_lacking(&resolution))?;
    let (size, compression) = match &archive {
        OpenArchive::Plain(archive) => (archive.size(), Compression::Plain),
        OpenArchive::Compressed(archive) => (archive.size(), archive.compression()),
    };
    let mut inspection = Inspection {
        size,
        compression,
        images: Vec::new(),
        problems: resolution
            .problems
            .iter()
            .map(ToString::to_string)
            .collect(),
        notes: resolution.notes.clone(),
        blobs: BTreeMap::new(),
    };
    let desired = archive_images(&shown(path), &resolution, extra_registries);
    let mut bodies = CheckedBodies {
        catalogue: &catalogue,
        archive: &archive,
        streamed: streamed.whole,
        plain: HashMap::new(),
    };
    for (image, desired) in resolution.images.iter().zip(desired) {
        match bodies.fault_of(image) {
            Some(fault) => {
                check_end(&catalogue, || Some(fault.clone()))?;
                inspection
                    .problems
                    .push(format!("{}: {fault}", image.names[0]));
            }
            None => inspection.add(image, desired.names.iter().cloned().collect(), &catalogue),
        }
    }
    Ok(inspection)
}

impl Inspection {
    fn add(&mut self, image: &ArchiveImage, names: Vec<Reference>, catalogue: &Catalogue) {
        let blobs = || image.blobs.iter().map(|blob| &blob.descriptor);
        self.blobs
            .extend(blobs().map(|blob| (blob.digest.clone(), blob.size)));
        self.images.push(InspectedImage {
            names,
            digest: image.target.digest.clone(),
            platforms: platforms(image, catalogue),
            layers: blobs()
                .filter(|blob| media_type::is_layer(&blob.media_type))
                .count(),
            size: blobs().map(|blob| blob.size).sum(),
            runs_on_host: image.runs_on_host,
        });
    }
}

fn platforms(image: &ArchiveImage, catalogue: &Catalogue) -> Vec<Platform> {
    let blobs = image.blobs.iter();
    let configs = blobs.filter(|blob| media_type::is_image_config(&blob.descriptor.media_type));
    let configs = configs.filter_map(|blob| documents::of(catalogue, blob));
    let mut platforms = Vec::new();
    for config in configs.filter_map(|bytes| parse::<ImageConfig>(bytes).ok()) {
        let platform = config.platform();
        platforms.extend(platform.filter(|platform| !platforms.contains(platform)));
    }
    platforms
}

/// What an archive refers to and does not have is nowhere.
struct NoDocuments;

impl DocumentSource for NoDocuments {
    type Error = Infallible;

    fn document(&self, _digest: &Digest) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(None)
    }

    fn layer(&self, _diff_id: &Digest) -> Result<Option<StoredLayer>, Infallible> {
        Ok(None)
    }
}

/// Hashes the bodies of a compressed archive.
#[derive(Default)]
struct HashedBodies {
    hasher: Hasher,
    whole: HashSet<Digest>,
}

impl BodySink for HashedBodies {
    fn begin(&mut self, _path: &str, _claimed: Option<Digest>, _size: u64) -> ControlFlow<()> {
        self.hasher = Hasher::default();
        ControlFlow::Continue(())
    }

    fn take(&mut self, bytes: &[u8]) -> ControlFlow<()> {
        self.hasher.update(bytes);
        ControlFlow::Continue(())
    }

    fn end(&mut self) -> ControlFlow<(), Digest> {
        let digest = std::mem::take(&mut self.hasher).finish();
        self.whole.insert(digest.clone());
        ControlFlow::Continue(digest)
    }
}

/// The bodies of an archive that were hashed so far.
struct CheckedBodies<'a> {
    catalogue: &'a Catalogue,
    archive: &'a OpenArchive,
    /// Those that a compressed archive has.
    streamed: HashSet<Digest>,
    /// What is wrong with those of a plain one.
    plain: HashMap<Digest, Option<String>>,
}

impl CheckedBodies<'_> {
    /// Why the image cannot be imported.
    fn fault_of(&mut self, image: &ArchiveImage) -> Option<String> {
        image.blobs.iter().find_map(|blob| self.fault(blob))
    }

    fn fault(&mut self, blob: &WantedBlob) -> Option<String> {
        let digest = &blob.descriptor.digest;
        if let Some(document) = documents::of(self.catalogue, blob) {
            let actual = Digest::of(document);
            return (actual != *digest).then(|| format!("blob {digest}: its digest is {actual}"));
        }
        let (path, link) = match &blob.source {
            BlobSource::Member(path) => (Some(path), None),
            BlobSource::Store(link) => (None, link.clone()),
            BlobSource::Document(_) => (None, None),
        };
        let file = path.and_then(|path| self.catalogue.file(path));
        match (self.archive, file) {
            (OpenArchive::Compressed(_), _) if self.streamed.contains(digest) => None,
            (OpenArchive::Plain(archive), Some((path, file))) => {
                let hash = || fault_of_body(archive, path, file, digest);
                self.plain
                    .entry(digest.clone())
                    .or_insert_with(hash)
                    .clone()
            }
            _ => {
                let digest = digest.clone();
                Some(BodyError::Missing { digest, link }.to_string())
            }
        }
    }
}

fn fault_of_body(
    archive: &PlainArchive,
    path: &str,
    file: &FileMember,
    digest: &Digest,
) -> Option<String> {
    let path = path.to_owned();
    let fault = match hash(archive, file) {
        Ok(actual) if actual == *digest => return None,
        Ok(actual) => BodyError::Corrupt {
            path,
            expected: digest.clone(),
            actual,
        },
        Err(cause) => BodyError::Unreadable { path, cause },
    };
    Some(fault.to_string())
}

fn hash(archive: &PlainArchive, file: &FileMember) -> io::Result<Digest> {
    let mut body = archive.body(file, 0);
    let mut hasher = Hasher::default();
    let mut chunk = vec![0; limits::CHUNK];
    loop {
        match body.read(&mut chunk)? {
            0 => return Ok(hasher.finish()),
            read => hasher.update(&chunk[..read]),
        }
    }
}
