//! Archives as the usual tools read them: unpacked by `tar` and the decompressors, hashed by
//! `sha256sum`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::store::children;

/// A compression, and the commands of it. `""` is none.
pub const COMPRESSIONS: [&str; 6] = ["", "gz", "zst", "lz4", "bz2", "xz"];

/// Runs a shell pipeline with `$1` as its argument; panics when any part of it fails.
pub fn shell(script: &str, arguments: &[&Path]) -> Vec<u8> {
    let output = Command::new("bash")
        .args(["-c", &format!("set -euo pipefail\n{script}"), "bash"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("bash runs");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{script} {arguments:?}: {complaint}"
    );
    output.stdout
}

/// Compresses a file, with the tool's defaults and a checksum.
pub fn compressed(file: &Path, kind: &str) -> Vec<u8> {
    let command = match kind {
        "" => "cat",
        "gz" => "gzip -nc",
        "zst" => "zstd -qc",
        "lz4" => "lz4 -qc",
        "bz2" => "bzip2 -c",
        "xz" => "xz -1c",
        other => panic!("no compression {other}"),
    };
    shell(&format!("{command} \"$1\""), &[file])
}

/// The compression that a name promises.
pub fn compression_of(name: &str) -> &'static str {
    let end = name.rsplit('.').next();
    COMPRESSIONS
        .into_iter()
        .find(|kind| end == Some(kind))
        .unwrap_or("")
}

/// What an archive holds.
#[derive(Debug, Clone)]
pub struct Unpacked {
    /// Its images.
    pub images: Vec<UnpackedImage>,
    /// The documents of an OCI layout, by digest.
    documents: BTreeMap<String, Value>,
    /// The blobs of an OCI layout, by digest, with their lengths.
    blobs: BTreeMap<String, u64>,
}

/// An image of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnpackedImage {
    /// What the archive calls it.
    pub names: BTreeSet<String>,
    /// What it is.
    pub is: Is,
}

/// What tells one image from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Is {
    /// An OCI layout's: the digest of its manifest or index.
    Target(String),
    /// A docker-archive's: the digest and length of its configuration, then of each layer.
    Parts(Vec<(String, u64)>),
}

impl Unpacked {
    /// Unpacks and hashes a file whose compression is known.
    pub fn of(file: &Path, compression: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let decompress = match compression {
            "" => "cat \"$1\"",
            "gz" => "gzip -dc \"$1\"",
            "zst" => "zstd -qdc --long=31 \"$1\"",
            "lz4" => "lz4 -qdc \"$1\"",
            "bz2" => "bzip2 -dc \"$1\"",
            "xz" => "xz -dc \"$1\"",
            other => panic!("no compression {other}"),
        };
        shell(
            &format!("{decompress} | tar -xf - -C \"$2\""),
            &[file, dir.path()],
        );
        let hashed = shell(
            "cd \"$1\" && find . -type f -print0 | xargs -0 sha256sum",
            &[dir.path()],
        );
        let mut digests = BTreeMap::new();
        for line in String::from_utf8(hashed).expect("paths of letters").lines() {
            let (hex, path) = line.split_once("  ").expect("sha256sum's line");
            let path = dir.path().join(path.trim_start_matches("./"));
            digests.insert(
                path.canonicalize().expect("a file"),
                format!("sha256:{hex}"),
            );
        }
        if dir.path().join("index.json").exists() {
            Self::oci(dir.path(), &digests)
        } else {
            Self::docker(dir.path(), &digests)
        }
    }

    fn oci(dir: &Path, digests: &BTreeMap<PathBuf, String>) -> Self {
        let index = json(&dir.join("index.json"));
        let (mut blobs, mut documents) = (BTreeMap::new(), BTreeMap::new());
        for (path, digest) in digests {
            let size = std::fs::metadata(path).expect("a blob").len();
            blobs.insert(digest.clone(), size);
            if let Ok(document) = serde_json::from_slice(&std::fs::read(path).expect("a blob"))
                && size < 1 << 20
            {
                documents.insert(digest.clone(), document);
            }
        }
        let descriptors = index["manifests"].as_array().expect("manifests");
        let images = descriptors.iter().map(|descriptor| {
            let said = |key: &str| descriptor["annotations"][key].as_str().map(str::to_owned);
            let name = said("io.containerd.image.name");
            let name = name.or_else(|| said("org.opencontainers.image.ref.name"));
            let target = descriptor["digest"].as_str().expect("a digest").to_owned();
            UnpackedImage {
                names: name.into_iter().collect(),
                is: Is::Target(target),
            }
        });
        Self {
            images: images.collect(),
            documents,
            blobs,
        }
    }

    fn docker(dir: &Path, digests: &BTreeMap<PathBuf, String>) -> Self {
        let part = |path: &Value| {
            let path = dir
                .join(path.as_str().expect("a path"))
                .canonicalize()
                .expect("a member");
            (
                digests[&path].clone(),
                std::fs::metadata(&path).expect("a member").len(),
            )
        };
        let saved = json(&dir.join("manifest.json"));
        let images = saved.as_array().expect("a list").iter().map(|image| {
            let layers = image["Layers"].as_array().expect("layers").iter();
            let names = image["RepoTags"].as_array().into_iter().flatten();
            UnpackedImage {
                names: names
                    .map(|name| name.as_str().expect("a name").to_owned())
                    .collect(),
                is: Is::Parts(
                    std::iter::once(&image["Config"])
                        .chain(layers)
                        .map(part)
                        .collect(),
                ),
            }
        });
        Self {
            images: images.collect(),
            documents: BTreeMap::new(),
            blobs: BTreeMap::new(),
        }
    }

    /// The image of this full name. A docker-archive's short names have Docker's domain before them.
    pub fn image(&self, name: &str) -> Option<&UnpackedImage> {
        let short = name.strip_prefix("docker.io/library/").unwrap_or(name);
        self.images
            .iter()
            .find(|image| image.names.contains(name) || image.names.contains(short))
    }

    /// All blobs of a target that are there, with their lengths: what the platforms that count need,
    /// and attestations.
    pub fn blobs(&self, target: &str, counts: &dyn Fn(&str) -> bool) -> BTreeMap<String, u64> {
        let (mut found, mut open) = (BTreeMap::new(), vec![target.to_owned()]);
        while let Some(digest) = open.pop() {
            found.insert(digest.clone(), self.blobs[&digest]);
            for child in children(&self.documents[&digest]) {
                let platform = child.platform.as_deref();
                let attestation = platform == Some("unknown/unknown");
                if platform.is_some_and(|platform| !attestation && !counts(platform)) {
                    continue;
                }
                match self.blobs.get(&child.digest) {
                    None => assert!(attestation, "{digest}: {} is missing", child.digest),
                    Some(_) if child.has_children => open.push(child.digest),
                    Some(size) => drop(found.insert(child.digest, *size)),
                }
            }
        }
        found
    }
}

fn json(path: &Path) -> Value {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
