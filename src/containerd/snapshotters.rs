//! Which snapshotters images are unpacked with: those that CRI makes containers with, or the one that the
//! configuration names.
//!
//! CRI that runs tells which they are, and not the file of its configuration, which may be another one by
//! now: its status has those of runtimes and, in 1.6 and 1.7, the one of all others; from 2.0 on that is
//! told by where it keeps images (`ImageFsInfo`, whose first answer is about it).

use containerd_client::services::v1::{Plugin, PluginsRequest};
use k8s_cri::v1::ImageFsInfoRequest;

use super::client::{Containerd, answered};
use super::failure::CallFailure;
use super::snapshotter::{Snapshotter, name_by_root};
use crate::image_store::{StoreError, UnpackError};

/// What containerd takes where nothing is said (`defaults.DefaultSnapshotter`).
const DEFAULT: &str = "overlayfs";

impl Containerd {
    /// The same connection, which unpacks images with this snapshotter, whatever CRI uses.
    pub fn with_snapshotter(mut self, name: Option<String>) -> Self {
        self.snapshotter = name;
        self
    }

    /// The snapshotters, and why one cannot be used; where all can be, they are asked for no more as long
    /// as the same containerd runs.
    pub(super) async fn found_snapshotters(
        &self,
    ) -> Result<Vec<Result<Snapshotter, UnpackError>>, UnpackError> {
        let _guard = self.locks.lock("snapshotters").await;
        let server = self.server().await.map_err(StoreError::from)?;
        if let Some(found) = self.snapshotters.of(&server) {
            return Ok(found.iter().cloned().map(Ok).collect());
        }
        let plugins = self.snapshotter_plugins().await.map_err(StoreError::from)?;
        let names = self.snapshotter_names(&plugins).await?;
        let names = names.iter();
        let found = names.map(|name| Snapshotter::of(name, &plugins));
        let found = found.collect::<Vec<_>>();
        if let Ok(all) = found.iter().cloned().collect::<Result<Vec<_>, _>>() {
            self.snapshotters.set_of(server, all);
        }
        Ok(found)
    }

    async fn snapshotter_plugins(&self) -> Result<Vec<Plugin>, CallFailure> {
        let request = PluginsRequest {
            filters: vec!["type==io.containerd.snapshotter.v1".to_owned()],
        };
        let mut introspection = self.introspection();
        let plugins = introspection.plugins(request);
        let deadline = self.deadlines().answer;
        let told = answered("Introspection.Plugins", deadline, plugins).await?;
        Ok(told.plugins)
    }

    /// The names of them, each once.
    async fn snapshotter_names(&self, plugins: &[Plugin]) -> Result<Vec<String>, StoreError> {
        if let Some(name) = &self.snapshotter {
            return Ok(vec![name.clone()]);
        }
        if !self.is_of_cri() {
            return Ok(vec![DEFAULT.to_owned()]);
        }
        let status = self.cri_status().await?;
        let first = match status.snapshotter {
            Some(name) => name,
            None => self.snapshotter_by_root(plugins).await?,
        };
        let mut names = vec![first];
        for name in status.of_runtimes {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        Ok(names)
    }

    async fn snapshotter_by_root(&self, plugins: &[Plugin]) -> Result<String, StoreError> {
        const INFO: &str = "ImageFsInfo";
        let mut images = self.cri_images();
        let info = images.image_fs_info(ImageFsInfoRequest {});
        let info = answered(INFO, self.deadlines().answer, info).await?;
        let first = info.image_filesystems.into_iter().next();
        let root = first.and_then(|first| first.fs_id);
        let root = root.map_or_else(String::new, |root| root.mountpoint);
        match name_by_root(&root, plugins) {
            Some(name) => Ok(name.to_owned()),
            None => Err(StoreError::Refused {
                call: INFO,
                cause: format!("CRI keeps images in {root:?}, where no snapshotter is"),
            }),
        }
    }
}
