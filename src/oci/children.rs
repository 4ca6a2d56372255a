//! What a manifest or an index of an image that is in a store points to.

use super::descriptor::RawDescriptor;
use super::document::{Index, Manifest, parse};
use crate::digest::Digest;
use crate::needed_blob::NeededBlob;

/// The blobs that a document points to. Those whose digest stowd cannot read are left out: no store
/// of SHA-256 has them.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Children {
    /// Manifests and indexes, which have children themselves.
    pub(crate) documents: Vec<NeededBlob>,
    /// Configurations and layers, which have none.
    pub(crate) leaves: Vec<NeededBlob>,
    /// The configuration among them.
    pub(crate) config: Option<Digest>,
}

impl Children {
    /// Of the bytes of a manifest or an index (OCI image spec); none of what is neither.
    pub(crate) fn of(document: &[u8]) -> Self {
        let needed = |descriptors: &[RawDescriptor]| {
            let needed = descriptors.iter();
            let needed = needed.filter_map(|descriptor| descriptor.needed().ok());
            needed.collect()
        };
        if let Ok(manifest) = parse::<Manifest>(document) {
            let mut leaves: Vec<_> = needed(&manifest.layers.0);
            leaves.extend(manifest.config.needed());
            Self {
                documents: Vec::new(),
                leaves,
                config: manifest.config.digest().ok(),
            }
        } else if let Ok(index) = parse::<Index>(document) {
            Self {
                documents: needed(&index.manifests.0),
                ..Self::default()
            }
        } else {
            Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_have_leaves_and_indexes_have_documents() {
        let [one, two] = [(b"1", 1), (b"2", 2)].map(|(bytes, size)| NeededBlob {
            digest: Digest::of(bytes),
            size,
        });
        let descriptor = |NeededBlob { digest, size }: &NeededBlob| {
            format!(r#"{{"digest":"{digest}","size":{size}}}"#)
        };
        let manifest = format!(
            r#"{{"config":{},"layers":[{},{{"digest":"sha512:00","size":1}}]}}"#,
            descriptor(&one),
            descriptor(&two)
        );
        let children = Children::of(manifest.as_bytes());
        assert_eq!(children.leaves, [two.clone(), one.clone()]);
        assert_eq!(children.config.as_ref(), Some(&one.digest));
        assert!(children.documents.is_empty());
        let index = format!(
            r#"{{"manifests":[{},{}]}}"#,
            descriptor(&one),
            descriptor(&two)
        );
        let children = Children::of(index.as_bytes());
        assert_eq!(children.documents, [one, two]);
        assert!(children.leaves.is_empty());
        for other in ["", "[]", "{}", r#"{"config":1}"#, "\u{0}"] {
            assert_eq!(
                Children::of(other.as_bytes()),
                Children::default(),
                "{other}"
            );
        }
    }
}
