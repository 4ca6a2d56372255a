//! Where containerd's content store is, whether its files can be seen, and whether direct writes to it are
//! possible.

use std::collections::HashMap;
use std::path::PathBuf;

use containerd_client::services::v1::{Plugin, PluginsRequest};

use super::blob_files::BlobFiles;
use super::blobs_dir::{BlobsDir, Unusable};
use super::blocking::blocking;
use super::client::{Containerd, answered};
use super::failure::CallFailure;
use crate::happened::StoreEvent;
use crate::image_store::StoreError;
use crate::reporter::report;
use tracing::debug;

/// Why blobs are sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotDirect {
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
    /// Finds out whether blobs can be written directly, and has that done from now on if they can. To
    /// be called when containerd serves.
    pub async fn enable_direct_writes(&self) {
        match self.find_content_store().await {
            Ok(dir) => {
                report(StoreEvent::WritingDirectly(dir.path().to_owned()));
                self.direct_writes.set(Some(dir));
            }
            Err(why) => {
                self.direct_writes.set(None);
                report(StoreEvent::SendingBlobs(why.to_string()));
            }
        }
    }

    /// Finds out whether the files of blobs can be seen, and has them looked at from now on if they can.
    /// To be called when containerd serves.
    pub async fn see_content_store(&self) {
        if let Err(cause) = self.told_store().await {
            debug!(%cause, "the files of blobs are not seen");
        }
    }

    /// Where blobs would be written directly, or why they would be sent. Nothing is changed.
    pub async fn direct_writes_into(&self) -> Result<PathBuf, String> {
        match self.find_content_store().await {
            Ok(dir) => Ok(dir.path().to_owned()),
            Err(why) => Err(why.to_string()),
        }
    }

    async fn find_content_store(&self) -> Result<BlobsDir, NotDirect> {
        let ToldStore {
            root,
            witness,
            policy,
        } = self.told_store().await?;
        if policy != "shared" {
            return Err(NotDirect::NotShared { policy });
        }
        Ok(blocking(move || BlobsDir::open(&root, &witness)).await?)
    }

    /// Where containerd says that its content store is. Its files are looked at from now on, if they are
    /// to be seen from here.
    async fn told_store(&self) -> Result<ToldStore, NotDirect> {
        self.files.set(None);
        self.wrong.forget_all();
        let told = self.plugins().await;
        let told = told.map_err(|failure| NotDirect::NotTold(failure.into()))?;
        let store = ToldStore::of(&told)?;
        let (root, witness) = (store.root.clone(), store.witness.clone());
        let files = blocking(move || BlobFiles::of(&root, &witness)).await;
        self.files.set(files.ok());
        Ok(store)
    }

    async fn plugins(&self) -> Result<Vec<Plugin>, CallFailure> {
        let filters = vec![
            format!("type=={CONTENT}"),
            format!("type=={METADATA},id==bolt"),
        ];
        let mut introspection = self.introspection();
        let plugins = introspection.plugins(PluginsRequest { filters });
        let deadline = self.deadlines().answer;
        let told = answered("Introspection.Plugins", deadline, plugins).await?;
        Ok(told.plugins)
    }
}

const CONTENT: &str = "io.containerd.content.v1";
const METADATA: &str = "io.containerd.metadata.v1";

/// What containerd tells of its one content store.
#[derive(Debug)]
struct ToldStore {
    root: PathBuf,
    /// The records of it, which containerd has as soon as it serves.
    witness: PathBuf,
    /// Whether all namespaces share what is in it: `shared`.
    policy: String,
}

impl ToldStore {
    fn of(plugins: &[Plugin]) -> Result<Self, NotDirect> {
        let of = |kind: &'static str| plugins.iter().filter(move |plugin| plugin.r#type == kind);
        // One that is not containerd's own would be a proxy to another machine or another format.
        let mut stores = of(CONTENT).filter(|plugin| plugin.init_err.is_none());
        let (Some(store), None) = (stores.next(), stores.next()) else {
            return Err(NotDirect::NoStore);
        };
        if store.id != "content" {
            return Err(NotDirect::NoStore);
        }
        let told = |exports: &HashMap<String, String>, key: &str| {
            exports.get(key).cloned().filter(|value| !value.is_empty())
        };
        let path = |exports, key| {
            let path = told(exports, key).map(PathBuf::from);
            path.filter(|path| path.is_absolute())
                .ok_or(NotDirect::NoStore)
        };
        let metadata = of(METADATA).next().ok_or(NotDirect::NoStore)?;
        Ok(Self {
            root: path(&store.exports, "root")?,
            witness: path(&metadata.exports, "path")?,
            policy: told(&metadata.exports, "policy").unwrap_or_default(),
        })
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
        ToldStore::of(plugins).unwrap_err().to_string()
    }

    #[test]
    fn the_paths_are_told_by_the_plugins() {
        let store = ToldStore::of(&whole()).unwrap();
        assert_eq!(store.root, PathBuf::from("/c/content"));
        assert_eq!(store.witness, PathBuf::from("/c/meta.db"));
        assert_eq!(store.policy, "shared");
    }

    #[test]
    fn what_is_not_told_is_not_used() {
        let mut plugins = whole();
        plugins[1].exports.remove("policy");
        assert_eq!(ToldStore::of(&plugins).unwrap().policy, "");
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
