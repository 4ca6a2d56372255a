//! Small archives that no tool would make, for what has to be refused.
//!
//! Each has blobs of its own, by its seed: no archive can be helped by what another one brought.

use serde_json::{Value, json};
use stowd::digest::Digest;

use crate::raw::bytes;
use crate::support::architecture;

/// What an image is to be made of.
pub(crate) struct Recipe {
    pub(crate) seed: u64,
    /// The length of its one file, in bytes.
    pub(crate) size: usize,
    pub(crate) name: Option<&'static str>,
    /// Whether its layer is compressed with gzip.
    pub(crate) gzip: bool,
    /// Changes the tar of its layer, before it is hashed.
    pub(crate) layer: fn(&mut Vec<u8>),
    pub(crate) config: fn(&mut Value),
    pub(crate) manifest: fn(&mut Value),
    /// Changes `index.json`, or `manifest.json` of a docker-archive.
    pub(crate) index: fn(&mut Value),
}

/// A good image.
pub(crate) fn recipe(seed: u64, name: &'static str) -> Recipe {
    Recipe {
        seed,
        size: 40_000,
        name: Some(name),
        gzip: false,
        layer: |_| (),
        config: |_| (),
        manifest: |_| (),
        index: |_| (),
    }
}

/// A member of an archive.
#[derive(Debug, Clone)]
pub(crate) enum Body {
    File(Vec<u8>),
    Symlink(String),
}

/// An archive before it is packed.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    /// The members, in order.
    pub(crate) members: Vec<(String, Body)>,
    pub(crate) layer: String,
    pub(crate) config: String,
    /// Of an OCI layout.
    pub(crate) manifest: String,
}

impl Recipe {
    /// The layer, as it is in the archive, and its configuration.
    fn parts(&self) -> (Vec<u8>, Vec<u8>) {
        let mut tar = tar::Builder::new(Vec::new());
        append(&mut tar, "etc/seed", &bytes(self.seed, self.size));
        let mut layer = tar.into_inner().unwrap();
        (self.layer)(&mut layer);
        let mut config = json!({
            "architecture": architecture(),
            "os": "linux",
            "config": { "Env": [format!("SEED={}", self.seed)] },
            "rootfs": { "type": "layers", "diff_ids": [Digest::of(&layer)] },
        });
        (self.config)(&mut config);
        if self.gzip {
            use std::io::Write as _;
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&layer).unwrap();
            layer = encoder.finish().unwrap();
        }
        (layer, config.to_string().into_bytes())
    }

    /// As an OCI layout: the index first, the blobs in the order of parents and children.
    pub(crate) fn oci(&self) -> Made {
        let (layer, config) = self.parts();
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
        });
        (self.manifest)(&mut manifest);
        let manifest = manifest.to_string().into_bytes();
        let mut named = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
        if let Some(name) = self.name {
            named["annotations"] = json!({ "io.containerd.image.name": name });
        }
        let mut index = json!({ "schemaVersion": 2, "manifests": [named] });
        (self.index)(&mut index);
        let path = |blob: &[u8]| format!("blobs/sha256/{}", Digest::of(blob).hex());
        let mut made = Made {
            members: Vec::new(),
            layer: path(&layer),
            config: path(&config),
            manifest: path(&manifest),
        };
        made.add("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
        made.add("index.json", index.to_string().as_bytes());
        for blob in [manifest, config, layer] {
            made.add(&path(&blob), &blob);
        }
        made
    }

    /// As a docker-archive, `manifest.json` last.
    pub(crate) fn docker(&self) -> Made {
        let (layer, config) = self.parts();
        let mut made = Made {
            members: Vec::new(),
            layer: format!("{}.tar", Digest::of(&layer).hex()),
            config: format!("{}.json", Digest::of(&config).hex()),
            manifest: String::new(),
        };
        let names = self.name.into_iter().collect::<Vec<_>>();
        let mut saved =
            json!([{ "Config": made.config, "RepoTags": names, "Layers": [made.layer] }]);
        (self.index)(&mut saved);
        let (layer_path, config_path) = (made.layer.clone(), made.config.clone());
        made.add(&layer_path, &layer);
        made.add(&config_path, &config);
        made.add("manifest.json", saved.to_string().as_bytes());
        made
    }
}

impl Made {
    pub(crate) fn add(&mut self, path: &str, body: &[u8]) {
        self.members
            .push((path.to_owned(), Body::File(body.to_vec())));
    }

    /// Without the member of this path.
    pub(crate) fn without(mut self, path: &str) -> Self {
        let before = self.members.len();
        self.members.retain(|(other, _)| other != path);
        assert_eq!(self.members.len() + 1, before, "{path}");
        self
    }

    /// With another body for the member of this path.
    pub(crate) fn with(mut self, path: &str, body: Body) -> Self {
        let member = self.members.iter_mut().find(|(other, _)| other == path);
        member.unwrap_or_else(|| panic!("{path}")).1 = body;
        self
    }

    /// With one bit of the member's body changed, in the middle of it.
    pub(crate) fn flipped(self, path: &str) -> Self {
        let found = self.members.iter().find(|(other, _)| other == path);
        let Some((_, Body::File(bytes))) = found else {
            panic!("{path}")
        };
        let mut bytes = bytes.clone();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        self.with(path, Body::File(bytes))
    }

    /// Both in one archive: what one layout lists and what the other does.
    pub(crate) fn and(mut self, other: Made, list: &str) -> Self {
        let read = |made: &Made| {
            let found = made.members.iter().find(|(path, _)| path == list);
            let Some((_, Body::File(bytes))) = found else {
                panic!("{list}")
            };
            serde_json::from_slice::<Value>(bytes).unwrap()
        };
        let (mut all, more) = (read(&self), read(&other));
        match &mut all {
            Value::Array(entries) => entries.extend(more.as_array().unwrap().clone()),
            index => {
                let more = more["manifests"].as_array().unwrap().clone();
                index["manifests"].as_array_mut().unwrap().extend(more);
            }
        }
        let own = |path: &String| path != list && path != "oci-layout";
        self.members
            .extend(other.members.into_iter().filter(|(path, _)| own(path)));
        self.with(list, Body::File(all.to_string().into_bytes()))
    }

    /// The archive.
    pub(crate) fn tar(&self) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, body) in &self.members {
            match body {
                Body::File(bytes) => append(&mut tar, path, bytes),
                Body::Symlink(target) => {
                    let mut header = tar::Header::new_gnu();
                    header.set_entry_type(tar::EntryType::Symlink);
                    header.set_size(0);
                    tar.append_link(&mut header, path, target).unwrap();
                }
            }
        }
        tar.into_inner().unwrap()
    }
}

/// Adds a file to a tar archive.
pub(crate) fn append(tar: &mut tar::Builder<Vec<u8>>, path: &str, body: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(body.len() as u64);
    tar.append_data(&mut header, path, body).unwrap();
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len() })
}
