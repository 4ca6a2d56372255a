//! Where containerd's content store is, and whether direct writes to it are possible.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use containerd_client::services::v1::{Plugin, PluginsRequest};

use super::blobs_dir::{BlobsDir, Unusable};
use super::blocking::blocking;
use super::client::{Containerd, answered};
use super::failure::CallFailure;
use crate::happened::StoreEvent;
use crate::image_store::StoreError;
use crate::reporter::report;

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
                self.direct_writes.set(Some(Arc::new(dir)));
            }
            Err(why) => {
                self.direct_writes.set(None);
                report(StoreEvent::SendingBlobs(why.to_string()));
            }
        }
    }

    async fn find_content_store(&self) -> Result<BlobsDir, NotDirect> {
        let told = self.plugins().await;
        let told = told.map_err(|failure| NotDirect::NotTold(failure.into()))?;
        let (root, witness) = shared_content(&told)?;
        Ok(blocking(move || BlobsDir::open(&root, &witness)).await?)
    }

    pub(super) async fn plugins(&self) -> Result<Vec<Plugin>, CallFailure> {
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

/// Where the one content store is, and its records, which containerd has as soon as it serves.
pub(super) struct LocalContent {
    pub(super) root: PathBuf,
    pub(super) witness: PathBuf,
    /// Which namespaces share what is in it.
    policy: String,
}

/// Where the one content store is, if it is containerd's own.
pub(super) fn local_content(plugins: &[Plugin]) -> Result<LocalContent, NotDirect> {
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
    Ok(LocalContent {
        root: path(&store.exports, "root")?,
        witness: path(&metadata.exports, "path")?,
        policy: told(&metadata.exports, "policy").unwrap_or_default(),
    })
}

/// The same, if all namespaces share what is in it.
fn shared_content(plugins: &[Plugin]) -> Result<(PathBuf, PathBuf), NotDirect> {
    let LocalContent {
        root,
        witness,
        policy,
    } = local_content(plugins)?;
    match policy.as_str() {
        "shared" => Ok((root, witness)),
        _ => Err(NotDirect::NotShared { policy }),
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
