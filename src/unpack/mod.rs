//! What unpacking an image makes: a snapshot for each of its layers. Pure: which they are, by which names
//! they go, and why there may be none.
//!
//! Sources: OCI image spec, "Image Configuration" (`diff_ids`, chain IDs); containerd's
//! `core/unpack/unpacker.go`, which decides what counts as a layer, and looks for the same names.

mod no_root_file_system;
mod tally;
mod when;

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::digest::Digest;
use crate::oci::{Descriptor, ImageConfig, List, Manifest, media_type, parse};

pub use no_root_file_system::NoRootFileSystem;
pub use tally::UnpackTally;
pub use when::UnpackWhen;

/// The layers of an image that a node of its platform runs, the lowest first; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootFileSystem {
    /// The configuration of the image: the labels of its blob tell that it is unpacked.
    pub config: Digest,
    pub layers: Vec<DiffLayer>,
}

/// A layer, as it is unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiffLayer {
    /// Its blob.
    pub blob: Descriptor,
    /// The digest of what the blob decompresses to.
    pub diff_id: Digest,
    /// The name of the snapshot that has this layer and all below it.
    pub chain_id: Digest,
    /// What the manifest says of it beside: what decompresses it, and its snapshot, may go by that.
    pub annotations: BTreeMap<String, String>,
}

/// The layers of a manifest, as far as its other readers have no use for.
#[derive(Deserialize)]
struct AnnotatedManifest {
    #[serde(default)]
    layers: List<AnnotatedLayer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnnotatedLayer {
    #[serde(default)]
    media_type: String,
    annotations: Option<BTreeMap<String, Option<String>>>,
}

impl AnnotatedLayer {
    fn into_annotations(self) -> BTreeMap<String, String> {
        let all = self.annotations.unwrap_or_default().into_iter();
        all.map(|(key, value)| (key, value.unwrap_or_default()))
            .collect()
    }
}

impl RootFileSystem {
    /// By the documents of an image. `None` where it is no image to run, such as a Helm chart, or has
    /// no layers.
    pub(crate) fn of(document: &[u8], config: &[u8]) -> Result<Option<Self>, NoRootFileSystem> {
        let manifest = parse::<Manifest>(document)?;
        if !media_type::is_image_config(&manifest.config.media_type) {
            return Ok(None);
        }
        let layers = manifest.layers.0.iter();
        let layers = layers.filter(|layer| media_type::is_layer(&layer.media_type));
        let blobs = layers.map(|layer| layer.descriptor());
        let blobs = blobs.collect::<Result<Vec<_>, _>>()?;
        if blobs.is_empty() {
            return Ok(None);
        }
        let config = parse::<ImageConfig>(config)?;
        let diff_ids = config.diff_ids().iter().map(|text| Digest::parse(text));
        let diff_ids = diff_ids.collect::<Result<Vec<_>, _>>()?;
        if blobs.len() != diff_ids.len() {
            return Err(NoRootFileSystem::Counts {
                layers: blobs.len(),
                diff_ids: diff_ids.len(),
            });
        }
        let annotated = parse::<AnnotatedManifest>(document)?.layers.0.into_iter();
        let annotated = annotated.filter(|layer| media_type::is_layer(&layer.media_type));
        let chain_ids = chain_ids(&diff_ids);
        let layers = blobs
            .into_iter()
            .zip(diff_ids)
            .zip(chain_ids)
            .zip(annotated);
        let layers = layers.map(|(((blob, diff_id), chain_id), layer)| DiffLayer {
            blob,
            diff_id,
            chain_id,
            annotations: layer.into_annotations(),
        });
        Ok(Some(Self {
            config: manifest.config.digest()?,
            layers: layers.collect(),
        }))
    }

    /// The name of the snapshot that a container of the image is made from.
    pub fn top(&self) -> Option<&Digest> {
        self.layers.last().map(|layer| &layer.chain_id)
    }
}

/// The names of the snapshots of layers with these digests, the lowest first (OCI image spec, "Layer
/// ChainID").
fn chain_ids(diff_ids: &[Digest]) -> Vec<Digest> {
    let mut chain = None::<Digest>;
    let chained = diff_ids.iter().map(|diff_id| {
        let next = match &chain {
            None => diff_id.clone(),
            Some(below) => Digest::of(format!("{below} {diff_id}").as_bytes()),
        };
        chain = Some(next.clone());
        next
    });
    chained.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

    fn manifest(config: &str, layers: &[(&str, &Digest)]) -> String {
        let described = |(kind, digest): &(&str, &Digest)| {
            format!(r#"{{"mediaType":"{kind}","digest":"{digest}","size":1}}"#)
        };
        let layers = layers.iter().map(described).collect::<Vec<_>>().join(",");
        let config = described(&(config, &Digest::of(b"config")));
        format!(r#"{{"config":{config},"layers":[{layers}]}}"#)
    }

    fn config(diff_ids: &[&str]) -> String {
        let diff_ids = serde_json::to_string(diff_ids).unwrap();
        format!(r#"{{"rootfs":{{"type":"layers","diff_ids":{diff_ids}}}}}"#)
    }

    #[test]
    fn chain_ids_are_those_of_the_specification() {
        // As `identity.ChainIDs` of the image spec's own tests has them.
        let [a, b, c] = ["a", "b", "c"].map(|text| Digest::of(text.as_bytes()));
        let ab = Digest::of(format!("{a} {b}").as_bytes());
        let abc = Digest::of(format!("{ab} {c}").as_bytes());
        assert_eq!(chain_ids(&[a.clone(), b, c]), [a, ab, abc]);
        assert!(chain_ids(&[]).is_empty());
        // busybox and a layer on it, by sha256sum.
        let printed = format!("sha256:{} sha256:{}", "0".repeat(64), "1".repeat(64));
        let zeros = Digest::of_hex(&"0".repeat(64)).unwrap();
        let ones = Digest::of_hex(&"1".repeat(64)).unwrap();
        let chained = chain_ids(&[zeros, ones]);
        assert_eq!(chained[1], Digest::of(printed.as_bytes()));
    }

    #[test]
    fn layers_go_with_their_digests() {
        let [one, two] = [b"1", b"2"].map(|bytes| Digest::of(bytes));
        let [first, second] = [b"3", b"4"].map(|bytes| Digest::of(bytes));
        let attestation = "application/vnd.in-toto+json";
        let layers = [(LAYER, &one), (attestation, &first), (LAYER, &two)];
        let manifest = manifest(CONFIG, &layers);
        let config = config(&[first.as_str(), second.as_str()]);
        let found = RootFileSystem::of(manifest.as_bytes(), config.as_bytes());
        let found = found.unwrap().unwrap();
        assert_eq!(found.config, Digest::of(b"config"));
        let parts = |layer: &DiffLayer| (layer.blob.digest.clone(), layer.diff_id.clone());
        let parts = found.layers.iter().map(parts).collect::<Vec<_>>();
        assert_eq!(parts, [(one, first.clone()), (two, second.clone())]);
        let chain = chain_ids(&[first, second]);
        assert_eq!(found.top(), chain.last());
    }

    #[test]
    fn layers_keep_their_annotations() {
        let one = Digest::of(b"1");
        let manifest = manifest(CONFIG, &[("text/plain", &one), (LAYER, &one)]);
        let annotated = r#","annotations":{"a":"1","b":null},"size":1}]"#;
        let manifest = manifest.replace(r#","size":1}]"#, annotated);
        let config = config(&[one.as_str()]);
        let found = RootFileSystem::of(manifest.as_bytes(), config.as_bytes());
        let [layer] = &found.unwrap().unwrap().layers[..] else {
            panic!("one layer")
        };
        let expected = [("a", "1"), ("b", "")].map(|(key, value)| (key.into(), value.into()));
        assert_eq!(layer.annotations, expected.into());
    }

    #[test]
    fn what_has_no_root_file_system_is_told_from_what_is_wrong() {
        let one = Digest::of(b"1");
        let of = |manifest: &str, config: &str| {
            RootFileSystem::of(manifest.as_bytes(), config.as_bytes())
        };
        let chart = manifest("application/vnd.cncf.helm.config.v1+json", &[]);
        assert_eq!(of(&chart, "no JSON"), Ok(None));
        assert_eq!(of(&manifest(CONFIG, &[]), &config(&[])), Ok(None));
        let single = manifest(CONFIG, &[(LAYER, &one)]);
        let error = of(&single, &config(&[])).unwrap_err().to_string();
        assert_eq!(error, "its manifest has 1 layers, its configuration 0");
        for wrong in ["no JSON", &config(&["sha512:00"])] {
            of(&single, wrong).unwrap_err();
        }
    }
}
