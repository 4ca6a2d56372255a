//! Archives by hand: catalogues as the reader makes them, without any tar.

use std::cell::RefCell;
use std::convert::Infallible;

use serde_json::{Value, json};
use stowd::compression::Compression;
use stowd::digest::Digest;
use stowd::image_store::StoredLayer;
use stowd::layout::{
    ArchiveImage, Catalogue, DocumentSource, FileMember, ImageProblem, LayoutError, Member,
    Resolution, ResolveError, resolve,
};
use stowd::platform::{Platform, Wanted};

pub(super) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(super) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(super) const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

pub(super) fn host() -> Platform {
    Platform::of_machine("x86_64", true, "")
}

pub(super) fn wanted(words: &str) -> Wanted {
    let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
    Wanted::from_config(&words, &host()).unwrap()
}

/// A store of the documents of an archive. It is asked for each once at most.
#[derive(Default)]
pub(super) struct Store {
    pub(super) has: Archive,
    asked: RefCell<Vec<Digest>>,
}

impl Store {
    pub(super) fn of(archive: &Archive) -> Self {
        Self {
            has: archive.clone(),
            ..Self::default()
        }
    }

    /// What it was asked for, in order.
    pub(super) fn asked(&self) -> Vec<Digest> {
        self.asked.borrow().clone()
    }
}

impl DocumentSource for Store {
    type Error = Infallible;

    fn document(&self, digest: &Digest) -> Result<Option<Vec<u8>>, Infallible> {
        let mut asked = self.asked.borrow_mut();
        assert!(!asked.contains(digest), "{digest} is asked for twice");
        asked.push(digest.clone());
        let found = self
            .has
            .catalogue
            .file(&format!("blobs/sha256/{}", digest.hex()));
        Ok(found.map(|(_, file)| file.document.as_deref().unwrap().to_vec()))
    }

    fn layer(&self, diff_id: &Digest) -> Result<Option<StoredLayer>, Infallible> {
        let found = self
            .has
            .catalogue
            .file(&format!("blobs/sha256/{}", diff_id.hex()));
        Ok(found.map(|(_, file)| StoredLayer {
            digest: diff_id.clone(),
            size: file.size,
        }))
    }
}

/// An archive that is being made.
#[derive(Default, Clone)]
pub(super) struct Archive {
    pub(super) catalogue: Catalogue,
    /// The directory that everything lies in, with a final slash.
    pub(super) top: &'static str,
}

impl Archive {
    /// A file of a plain archive. What begins like JSON is kept as a document.
    pub(super) fn file(&mut self, path: &str, bytes: &[u8]) -> &mut Self {
        let document = matches!(bytes.first(), Some(b'{' | b'[')).then(|| bytes.to_vec());
        self.put(
            path,
            FileMember {
                size: bytes.len() as u64,
                offset: Some(512),
                runs: None,
                digest: None,
                compression: Compression::Plain,
                diff_id: None,
                document: document.map(Into::into),
            },
        )
    }

    pub(super) fn put(&mut self, path: &str, file: FileMember) -> &mut Self {
        let path = format!("{}{path}", self.top);
        self.catalogue.insert(path, Member::File(file));
        self
    }

    pub(super) fn link(&mut self, path: &str, target: &str) -> &mut Self {
        let [path, target] = [path, target].map(|path| format!("{}{path}", self.top));
        self.catalogue.insert(path, Member::Link(target));
        self
    }

    pub(super) fn json(&mut self, path: &str, document: &Value) -> &mut Self {
        self.file(path, document.to_string().as_bytes())
    }

    /// A blob of an OCI layout; returns its descriptor.
    pub(super) fn blob(&mut self, media_type: &str, bytes: &[u8]) -> Value {
        let descriptor = descriptor(media_type, bytes);
        self.file(&blob_path(&descriptor), bytes);
        descriptor
    }

    pub(super) fn json_blob(&mut self, media_type: &str, document: &Value) -> Value {
        self.blob(media_type, document.to_string().as_bytes())
    }

    /// An image of one layer; returns the descriptor of its manifest, without platform.
    pub(super) fn image(&mut self, architecture: &str, content: &str) -> Value {
        let config = json!({"architecture": architecture, "os": "linux", "made": content});
        let config = self.json_blob(OCI_CONFIG, &config);
        let layer = self.blob(OCI_LAYER, format!("layer {content}").as_bytes());
        self.manifest(&config, &[layer])
    }

    pub(super) fn manifest(&mut self, config: &Value, layers: &[Value]) -> Value {
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": layers});
        self.json_blob(OCI_MANIFEST, &manifest)
    }

    pub(super) fn index(&mut self, manifests: &[Value]) -> Value {
        self.json_blob(
            OCI_INDEX,
            &json!({"schemaVersion": 2, "manifests": manifests}),
        )
    }

    /// Writes `oci-layout` and `index.json`.
    pub(super) fn layout(&mut self, manifests: &[Value]) -> &mut Self {
        self.json("oci-layout", &json!({"imageLayoutVersion": "1.0.0"}));
        self.json(
            "index.json",
            &json!({"schemaVersion": 2, "manifests": manifests}),
        )
    }

    /// The same archive without a blob.
    pub(super) fn without(&self, descriptor: &Value) -> Self {
        let lost = format!("{}{}", self.top, blob_path(descriptor));
        let mut catalogue = Catalogue::default();
        for (path, member) in self.catalogue.iter().filter(|(path, _)| *path != lost) {
            catalogue.insert(path.to_owned(), member.clone());
        }
        Self {
            catalogue,
            top: self.top,
        }
    }

    /// Resolves before a store that has nothing.
    pub(super) fn resolve(&self, words: &str) -> Result<Resolution, LayoutError> {
        self.resolve_with(&Store::default(), words)
    }

    pub(super) fn resolve_with(
        &self,
        documents: &impl DocumentSource<Error = Infallible>,
        words: &str,
    ) -> Result<Resolution, LayoutError> {
        resolve(&self.catalogue, documents, &wanted(words), &host()).map_err(|error| match error {
            ResolveError::Layout(error) => error,
            ResolveError::Source(never) => match never {},
        })
    }

    /// The one image of an archive without problems.
    pub(super) fn only_image(&self, words: &str) -> ArchiveImage {
        let resolution = self.resolve(words).unwrap();
        assert_eq!(resolution.problems, []);
        let [image] = <[_; 1]>::try_from(resolution.images).unwrap();
        image
    }

    /// The one problem of an archive without a usable image.
    pub(super) fn only_problem(&self, words: &str) -> ImageProblem {
        let resolution = self.resolve(words).unwrap();
        assert_eq!(resolution.images, []);
        let [problem] = <[_; 1]>::try_from(resolution.problems).unwrap();
        problem
    }
}

pub(super) fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len()})
}

pub(super) fn digest_of(descriptor: &Value) -> Digest {
    Digest::parse(descriptor["digest"].as_str().unwrap()).unwrap()
}

pub(super) fn blob_path(descriptor: &Value) -> String {
    format!("blobs/sha256/{}", digest_of(descriptor).hex())
}

/// The descriptor with a platform.
pub(super) fn on(descriptor: &Value, os: &str, architecture: &str) -> Value {
    let mut descriptor = descriptor.clone();
    descriptor["platform"] = json!({"os": os, "architecture": architecture});
    descriptor
}

/// The descriptor with `org.opencontainers.image.ref.name`.
pub(super) fn named(descriptor: &Value, name: &str) -> Value {
    annotated(descriptor, "org.opencontainers.image.ref.name", name)
}

pub(super) fn annotated(descriptor: &Value, key: &str, value: &str) -> Value {
    let mut descriptor = descriptor.clone();
    descriptor["annotations"][key] = json!(value);
    descriptor
}

/// The names of an image, written.
pub(super) fn names(image: &ArchiveImage) -> Vec<String> {
    image.names.iter().map(ToString::to_string).collect()
}

/// The digests of an image's blobs, in their order.
pub(super) fn blobs(image: &ArchiveImage) -> Vec<Digest> {
    image
        .blobs
        .iter()
        .map(|blob| blob.descriptor.digest.clone())
        .collect()
}
