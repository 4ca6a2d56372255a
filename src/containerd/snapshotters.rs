//! Which snapshotters images are unpacked with: those that CRI makes containers with, or the one that the
//! configuration names.

use containerd_client::services::v1::PluginsRequest;

use super::client::{Containerd, answered};
use super::snapshotter::Snapshotter;
use crate::happened::StoreEvent;
use crate::image_store::UnpackError;
use crate::reporter::report;

/// What containerd takes where nothing is said (`defaults.DefaultSnapshotter`).
const DEFAULT: &str = "overlayfs";

impl Containerd {
    /// The same connection, which unpacks images with this snapshotter, whatever CRI uses.
    pub fn with_snapshotter(mut self, name: Option<String>) -> Self {
        self.snapshotter = name;
        self
    }

    /// The snapshotters, and why one cannot be used; where all can be, they are asked for no more until a
    /// store returns.
    pub(super) async fn found_snapshotters(
        &self,
    ) -> Result<Vec<Result<Snapshotter, UnpackError>>, UnpackError> {
        let _guard = self.locks.lock("snapshotters").await;
        if let Some(found) = self.snapshotters.get() {
            return Ok(found.iter().cloned().map(Ok).collect());
        }
        let names = self.snapshotter_names().await;
        let request = PluginsRequest {
            filters: vec!["type==io.containerd.snapshotter.v1".to_owned()],
        };
        let mut introspection = self.introspection();
        let plugins = introspection.plugins(request);
        let deadline = self.deadlines().answer;
        let told = answered("Introspection.Plugins", deadline, plugins).await;
        let told = told.map_err(|failure| UnpackError::Store(failure.into()))?;
        let is_seen = self.files.get().is_some();
        let names = names.iter();
        let found = names.map(|name| Snapshotter::of(name, &told.plugins, is_seen));
        let found = found.collect::<Vec<_>>();
        if let Ok(all) = found.iter().cloned().collect::<Result<Vec<_>, _>>() {
            self.snapshotters.set(Some(all));
        }
        Ok(found)
    }

    /// The names of them, each once.
    async fn snapshotter_names(&self) -> Vec<String> {
        if let Some(name) = &self.snapshotter {
            return vec![name.clone()];
        }
        if !self.is_of_cri() {
            return vec![DEFAULT.to_owned()];
        }
        match self.told_cri_config().await {
            Ok(config) if !config.snapshotters.is_empty() => config.snapshotters.clone(),
            Ok(_) => vec![DEFAULT.to_owned()],
            Err(untold) => {
                report(StoreEvent::SnapshotterUnknown {
                    taken: DEFAULT.to_owned(),
                    cause: untold.to_string(),
                });
                vec![DEFAULT.to_owned()]
            }
        }
    }
}
