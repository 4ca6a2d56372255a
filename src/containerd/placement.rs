//! Whether blobs are placed: written by stowd where containerd keeps them, instead of being sent to it
//! byte by byte.
//!
//! ```text
//!   stowd                                     containerd
//!   write and hash a file without a name
//!   name it blobs/sha256/<hex>
//!   STAT, with the digest and the length ---> has the file: remembers that it is wanted
//!   COMMIT, with the labels ----------------> the namespace has the blob, the lease holds it
//! ```
//!
//! containerd does the same with a blob that another namespace has: what the store holds under a
//! digest is taken over without a byte being sent. A garbage collection takes files that nobody
//! knows of; from the STAT on, somebody knows of this one. What was collected before is sent the
//! ordinary way, from the file that stowd still has open.
//!
//! For that, the store must be on this machine, of this user, and shared between namespaces
//! (`content_sharing_policy` of the metadata plugin). Else every blob is sent.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use containerd_client::services::v1::{Plugin, PluginsRequest};
use tracing::{info, warn};

use super::blobs_dir::{BlobsDir, Unusable};
use super::blocking::blocking;
use super::client::{Containerd, answered};
use super::failure::Failure;
use crate::image_store::StoreError;

/// A blob that is shorter costs containerd no more when it is sent.
pub(super) const WORTH_PLACING: u64 = 128 << 10;

/// Where blobs are placed; nowhere, as long as nobody has found out that they can be. Clones are one.
#[derive(Debug, Clone, Default)]
pub(super) struct Placement(Arc<RwLock<Option<Arc<BlobsDir>>>>);

impl Placement {
    pub(super) fn dir(&self) -> Option<Arc<BlobsDir>> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set(&self, dir: Option<Arc<BlobsDir>>) -> Option<Arc<BlobsDir>> {
        let mut place = self.0.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *place, dir)
    }

    /// From now on everything is sent.
    pub(super) fn give_up(&self, why: &dyn fmt::Display) {
        if self.set(None).is_some() {
            warn!("blobs are not placed any more, but sent over gRPC: {why}");
        }
    }
}

/// Why blobs are sent.
#[derive(Debug, thiserror::Error)]
enum Unplaced {
    #[error("{0}")]
    NotTold(StoreError),
    #[error("containerd does not tell of one content store of its own")]
    NoStore,
    #[error(
        "containerd keeps the content of namespaces apart (content_sharing_policy = \"{policy}\")"
    )]
    NotShared { policy: String },
    #[error(transparent)]
    Unusable(#[from] Unusable),
}

impl Containerd {
    /// Finds out whether blobs can be placed, and has them placed from now on if they can. To be
    /// called when containerd serves.
    pub async fn place_blobs(&self) {
        match self.find_placement().await {
            Ok(dir) => {
                let path = dir.path().display();
                info!("blobs are placed in {path}");
                self.placement.set(Some(Arc::new(dir)));
            }
            Err(why) => {
                self.placement.set(None);
                info!("blobs are sent over gRPC: {why}");
            }
        }
    }

    async fn find_placement(&self) -> Result<BlobsDir, Unplaced> {
        let told = self.plugins().await;
        let told = told.map_err(|failure| Unplaced::NotTold(failure.into()))?;
        let (root, witness) = shared_content(&told)?;
        let opened = blocking(move || BlobsDir::open(&root, &witness)).await;
        Ok(opened.map_err(Unplaced::NotTold)??)
    }

    async fn plugins(&self) -> Result<Vec<Plugin>, Failure> {
        let filters = vec![
            format!("type=={CONTENT}"),
            format!("type=={METADATA},id==bolt"),
        ];
        let mut introspection = self.introspection();
        let plugins = introspection.plugins(PluginsRequest { filters });
        let patience = self.deadlines().answer;
        let told = answered("Introspection.Plugins", patience, plugins).await?;
        Ok(told.plugins)
    }
}

const CONTENT: &str = "io.containerd.content.v1";
const METADATA: &str = "io.containerd.metadata.v1";

/// Where the one content store is, if all namespaces share what is in it; and where the records of it
/// are, which containerd has as soon as it serves.
fn shared_content(plugins: &[Plugin]) -> Result<(PathBuf, PathBuf), Unplaced> {
    let of = |kind: &'static str| plugins.iter().filter(move |plugin| plugin.r#type == kind);
    // One that is not containerd's own would be a proxy to who knows where.
    let mut stores = of(CONTENT).filter(|plugin| plugin.init_err.is_none());
    let (Some(store), None) = (stores.next(), stores.next()) else {
        return Err(Unplaced::NoStore);
    };
    let told = |exports: &HashMap<String, String>, key: &str| {
        exports.get(key).cloned().filter(|value| !value.is_empty())
    };
    let path = |exports, key| {
        let path = told(exports, key).map(PathBuf::from);
        path.filter(|path| path.is_absolute())
            .ok_or(Unplaced::NoStore)
    };
    let metadata = of(METADATA).next().ok_or(Unplaced::NoStore)?;
    let policy = told(&metadata.exports, "policy").unwrap_or_default();
    if store.id != "content" {
        Err(Unplaced::NoStore)
    } else if policy != "shared" {
        Err(Unplaced::NotShared { policy })
    } else {
        Ok((
            path(&store.exports, "root")?,
            path(&metadata.exports, "path")?,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugin(kind: &str, id: &str, exports: &[(&str, &str)]) -> Plugin {
        let exports = exports.iter();
        Plugin {
            r#type: kind.to_owned(),
            id: id.to_owned(),
            exports: exports
                .map(|&(k, v)| (k.to_owned(), v.to_owned()))
                .collect(),
            ..Default::default()
        }
    }

    fn whole() -> Vec<Plugin> {
        let metadata = [("policy", "shared"), ("path", "/c/meta.db")];
        vec![
            plugin(CONTENT, "content", &[("root", "/c/content")]),
            plugin(METADATA, "bolt", &metadata),
        ]
    }

    fn why(plugins: &[Plugin]) -> String {
        shared_content(plugins).unwrap_err().to_string()
    }

    #[test]
    fn the_paths_are_told_by_the_plugins() {
        let (root, witness) = shared_content(&whole()).unwrap();
        assert_eq!(root, PathBuf::from("/c/content"));
        assert_eq!(witness, PathBuf::from("/c/meta.db"));
    }

    #[test]
    fn what_is_not_told_or_not_shared_is_not_used() {
        let mut plugins = whole();
        plugins[1]
            .exports
            .insert("policy".into(), "isolated".into());
        assert!(why(&plugins).contains("\"isolated\""));
        plugins[1].exports.remove("policy");
        assert!(why(&plugins).contains("content_sharing_policy"));
        plugins.pop();
        assert!(why(&plugins).contains("does not tell"));

        for path in ["", "relative"] {
            for (number, key) in [(0, "root"), (1, "path")] {
                let mut plugins = whole();
                plugins[number].exports.insert(key.into(), path.into());
                assert!(why(&plugins).contains("does not tell"), "{key} {path}");
            }
        }
    }

    #[test]
    fn a_second_store_or_another_one_is_not_trusted() {
        let mut plugins = whole();
        plugins.push(plugin(CONTENT, "proxy", &[]));
        assert!(why(&plugins).contains("does not tell of one"));
        plugins.remove(0);
        assert!(why(&plugins).contains("does not tell of one"));
    }
}
