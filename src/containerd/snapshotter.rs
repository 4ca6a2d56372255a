//! A snapshotter of containerd, as its Introspection API tells of it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use containerd_client::services::v1::Plugin;

use super::failure::{CallFailure, FailureKind};
use crate::image_store::UnpackError;

/// A snapshotter that works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Snapshotter {
    pub(super) name: String,
    /// Where it keeps its files, as containerd sees it.
    pub(super) root: Option<PathBuf>,
}

/// Where a snapshotter keeps its files if it tells nothing else, beside other plugins.
const PLUGIN_DIR: &str = "io.containerd.snapshotter.v1.";

impl Snapshotter {
    /// Why a call of it, or of what writes into its snapshots, failed.
    pub(super) fn failure(&self, failure: CallFailure) -> UnpackError {
        match failure.kind {
            FailureKind::PluginAway => UnpackError::Snapshotter {
                name: self.name.clone(),
                cause: format!("it does not answer: {}", failure.cause),
            },
            _ => UnpackError::Store(failure.into()),
        }
    }

    pub(super) fn of(name: &str, plugins: &[Plugin]) -> Result<Self, UnpackError> {
        let unusable = |cause| UnpackError::Snapshotter {
            name: name.to_owned(),
            cause,
        };
        let Some(plugin) = plugins.iter().find(|plugin| plugin.id == name) else {
            let works = plugins.iter().filter(|plugin| plugin.init_err.is_none());
            let works = works.map(|plugin| plugin.id.as_str());
            let works = works.collect::<BTreeSet<_>>().into_iter();
            let works = works.collect::<Vec<_>>().join(", ");
            let cause = format!("containerd has none of this name; those that work: {works}");
            return Err(unusable(cause));
        };
        if let Some(error) = &plugin.init_err {
            return Err(unusable(format!("it does not work: {}", error.message)));
        }
        let root = plugin.exports.get("root").map(PathBuf::from);
        Ok(Self {
            name: name.to_owned(),
            root: root.filter(|root| root.is_absolute()),
        })
    }
}

/// The snapshotter that keeps its files here, as CRI tells it (`snapshotRoot` of containerd's
/// `plugins/cri/images`).
pub(super) fn name_by_root<'a>(root: &'a str, plugins: &'a [Plugin]) -> Option<&'a str> {
    let (_, dir) = root.rsplit_once('/')?;
    let has_root = |plugin: &&Plugin| plugin.exports.get("root").is_some_and(|it| it == root);
    if let Some(plugin) = plugins.iter().find(has_root) {
        return Some(&plugin.id);
    }
    let name = dir.strip_prefix(PLUGIN_DIR)?;
    plugins
        .iter()
        .any(|plugin| plugin.id == name)
        .then_some(name)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use containerd_client::google::rpc::Status;

    fn plugin(id: &str, root: &str, error: Option<&str>) -> Plugin {
        Plugin {
            id: id.to_owned(),
            exports: HashMap::from([("root".to_owned(), root.to_owned())]),
            init_err: error.map(|message| Status {
                message: message.to_owned(),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    #[test]
    fn what_cannot_be_used_is_an_error_that_says_why() {
        let plugins = [
            plugin("overlayfs", "/o", None),
            plugin("native", "/n", None),
            plugin("zfs", "/z", Some("no pool")),
        ];
        let found = Snapshotter::of("native", &plugins).unwrap();
        assert_eq!(found.root, Some("/n".into()));
        let why = |name| {
            let error = Snapshotter::of(name, &plugins).unwrap_err();
            error.to_string()
        };
        assert_eq!(why("zfs"), "snapshotter zfs: it does not work: no pool");
        assert_eq!(
            why("stargz"),
            "snapshotter stargz: containerd has none of this name; those that work: native, overlayfs"
        );
    }

    #[test]
    fn a_root_tells_the_snapshotter() {
        let plugins = [
            plugin("overlayfs", "/data/overlay", None),
            plugin("proxy", "", None),
        ];
        for (root, name) in [
            ("/data/overlay", Some("overlayfs")),
            ("/r/io.containerd.snapshotter.v1.proxy", Some("proxy")),
            ("/r/io.containerd.snapshotter.v1.other", None),
            ("/data", None),
            ("", None),
        ] {
            assert_eq!(name_by_root(root, &plugins), name, "{root}");
        }
    }
}
