//! Waiting until containerd serves: every service that stowd needs answers.

use std::time::Duration;

use containerd_client::services::v1::{ListImagesRequest, ListStatusesRequest, PluginsRequest};
use containerd_client::services::v1::{ListRequest as ListLeasesRequest, Plugin};
use tokio::time::{Instant, timeout};

use super::client::{Containerd, answered};
use super::failure::CallFailure;
use crate::image_store::StoreError;

const BETWEEN_TRIES: Duration = Duration::from_millis(50);
/// Between two reports while waiting.
const BETWEEN_REPORTS: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotServing {
    #[error("containerd does not serve after {seconds} s: {last}")]
    Timeout {
        /// How long it was waited for.
        seconds: u64,
        /// What failed last.
        last: String,
    },
    /// A plugin that stowd needs has failed; it stays so until containerd is restarted.
    #[error("containerd's plugin {plugin} failed to start: {cause}")]
    Plugin {
        /// Its type and id, as `ctr plugins ls` shows them.
        plugin: String,
        /// Its own message.
        cause: String,
    },
    /// CRI is needed, because images go where CRI looks for them, and is switched off.
    #[error(
        "containerd runs without its CRI plugin, but images go to the namespace k8s.io, which is \
         CRI's: remove \"cri\" from disabled_plugins in containerd's configuration"
    )]
    NoCri,
}

impl Containerd {
    /// Returns when the socket, the content, images and leases services and, in the namespace
    /// `k8s.io`, CRI answer. Every few seconds until then `on_wait` is told how long it has been and
    /// what is missing.
    pub async fn wait_serving(
        &self,
        within: Duration,
        mut on_wait: impl FnMut(Duration, &str),
    ) -> Result<(), NotServing> {
        let began = Instant::now();
        let mut reported = began;
        loop {
            let left = within.saturating_sub(began.elapsed());
            let last = match timeout(left, self.probe()).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(Probe::Final(reason))) => return Err(reason),
                Ok(Err(Probe::Later(failure))) => StoreError::from(failure).to_string(),
                Err(_) => "containerd does not answer".to_owned(),
            };
            if began.elapsed() >= within {
                return Err(NotServing::Timeout {
                    seconds: within.as_secs(),
                    last,
                });
            }
            if reported.elapsed() >= BETWEEN_REPORTS {
                reported = Instant::now();
                on_wait(began.elapsed(), &last);
            }
            tokio::time::sleep(BETWEEN_TRIES).await;
        }
    }

    /// containerd's own version, such as `1.7.24` or what its packager made of it.
    pub async fn version(&self) -> Result<String, StoreError> {
        let mut service = self.version_service();
        let version = service.version(());
        let version = answered("Version.Version", self.deadlines().answer, version).await?;
        Ok(version.version)
    }

    async fn probe(&self) -> Result<(), Probe> {
        let deadline = self.deadlines().answer;
        let mut introspection = self.introspection();
        let plugins = introspection.plugins(PluginsRequest::default());
        let plugins = answered("Introspection.Plugins", deadline, plugins).await?;
        // containerd starts its plugins before it serves the socket: one that failed stays failed.
        if let Some(reason) = broken(&plugins.plugins, self.is_of_cri()) {
            return Err(Probe::Final(reason));
        }
        // Filters that no record passes: a full store must not make the probe slow.
        let nothing = || vec!["name==stowd.invalid".to_owned()];
        let mut content = self.content(None);
        let statuses = content.list_statuses(ListStatusesRequest {
            filters: vec!["ref==stowd.invalid".to_owned()],
        });
        answered("Content.ListStatuses", deadline, statuses).await?;
        let mut images = self.image_records(None);
        let listed = images.list(ListImagesRequest { filters: nothing() });
        answered("Images.List", deadline, listed).await?;
        let mut leases = self.leases();
        let listed = leases.list(ListLeasesRequest {
            filters: vec!["id==stowd.invalid".to_owned()],
        });
        answered("Leases.List", deadline, listed).await?;
        if self.is_of_cri() {
            self.probe_cri().await?;
        }
        Ok(())
    }
}

/// What one probe found.
enum Probe {
    Later(CallFailure),
    Final(NotServing),
}

impl From<CallFailure> for Probe {
    fn from(failure: CallFailure) -> Self {
        Self::Later(failure)
    }
}

const SNAPSHOTTER: &str = "io.containerd.snapshotter.v1";

/// What writing images needs, causes before what depends on them. 1.6 has its leases in the metadata
/// plugin, 1.7 and 2 in a plugin of their own; 2 has CRI in four parts.
const NEEDED: [(&str, Option<&str>); 6] = [
    ("io.containerd.content.v1", None),
    ("io.containerd.metadata.v1", None),
    ("io.containerd.lease.v1", None),
    ("io.containerd.service.v1", Some("content-service")),
    ("io.containerd.service.v1", Some("images-service")),
    ("io.containerd.service.v1", Some("leases-service")),
];
const NEEDED_GRPC: [&str; 3] = ["content", "images", "leases"];
const NEEDED_BY_CRI: [(&str, Option<&str>); 4] = [
    ("io.containerd.runtime.v2", Some("task")),
    ("io.containerd.cri.v1", None),
    ("io.containerd.podsandbox.controller.v1", None),
    ("io.containerd.grpc.v1", Some("cri")),
];

/// The failed plugin that keeps containerd from ever serving, if there is one. Other plugins may fail:
/// aufs, btrfs, devmapper and zfs do on most hosts.
fn broken(plugins: &[Plugin], with_cri: bool) -> Option<NotServing> {
    let of = |kind: &str, id: Option<&str>| {
        let (kind, id) = (kind.to_owned(), id.map(str::to_owned));
        plugins.iter().filter(move |plugin| {
            plugin.r#type == kind && id.as_ref().is_none_or(|id| *id == plugin.id)
        })
    };
    let grpc = NEEDED_GRPC.map(|id| ("io.containerd.grpc.v1", Some(id)));
    let by_cri = NEEDED_BY_CRI.iter().filter(|_| with_cri);
    let failed = NEEDED
        .iter()
        .chain(&grpc)
        .chain(by_cri)
        .flat_map(|&(kind, id)| of(kind, id))
        .find_map(failure_of);
    if failed.is_some() {
        return failed;
    }
    // One snapshotter that works is enough. If none does, overlayfs's error is reported: it is the one
    // that works on most hosts.
    let mut snapshotters = of(SNAPSHOTTER, None).peekable();
    if snapshotters.peek().is_some() && snapshotters.all(|plugin| plugin.init_err.is_some()) {
        return of(SNAPSHOTTER, Some("overlayfs"))
            .chain(of(SNAPSHOTTER, None))
            .find_map(failure_of);
    }
    let has_cri = of("io.containerd.grpc.v1", Some("cri")).next().is_some();
    (with_cri && !has_cri).then_some(NotServing::NoCri)
}

fn failure_of(plugin: &Plugin) -> Option<NotServing> {
    plugin.init_err.as_ref().map(|error| NotServing::Plugin {
        plugin: format!("{}.{}", plugin.r#type, plugin.id),
        cause: error.message.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use containerd_client::google::rpc;

    fn plugin(kind: &str, id: &str, error: Option<&str>) -> Plugin {
        Plugin {
            r#type: kind.to_owned(),
            id: id.to_owned(),
            init_err: error.map(|message| rpc::Status {
                message: message.to_owned(),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    fn whole() -> Vec<Plugin> {
        vec![
            plugin("io.containerd.content.v1", "content", None),
            plugin(SNAPSHOTTER, "zfs", Some("skip plugin")),
            plugin(SNAPSHOTTER, "devmapper", Some("devmapper not configured")),
            plugin(SNAPSHOTTER, "overlayfs", None),
            plugin("io.containerd.internal.v1", "tracing", Some("skip plugin")),
            plugin("io.containerd.grpc.v1", "cri", None),
        ]
    }

    #[test]
    fn optional_plugins_may_fail() {
        assert_eq!(broken(&whole(), true), None);
    }

    #[test]
    fn the_cause_is_told_before_what_depends_on_it() {
        let mut plugins = whole();
        plugins[5] = plugin("io.containerd.grpc.v1", "cri", Some("no metadata"));
        plugins.push(plugin("io.containerd.metadata.v1", "bolt", Some("timeout")));
        let NotServing::Plugin { plugin, cause } = broken(&plugins, true).unwrap() else {
            panic!("another reason");
        };
        assert_eq!(plugin, "io.containerd.metadata.v1.bolt");
        assert_eq!(cause, "timeout");
    }

    #[test]
    fn cri_counts_only_where_images_are_for_it() {
        let mut plugins = whole();
        plugins[5] = plugin("io.containerd.grpc.v1", "cri", Some("bad sandbox"));
        assert_eq!(broken(&plugins, false), None);
        assert!(broken(&plugins, true).is_some());
        plugins.pop();
        assert_eq!(broken(&plugins, false), None);
        assert_eq!(broken(&plugins, true), Some(NotServing::NoCri));
    }

    #[test]
    fn without_any_snapshotter_overlayfs_says_why() {
        let mut plugins = whole();
        plugins[3] = plugin(SNAPSHOTTER, "overlayfs", Some("operation not permitted"));
        let reason = broken(&plugins, false).unwrap().to_string();
        assert!(reason.contains("overlayfs"), "{reason}");
        assert!(reason.contains("operation not permitted"), "{reason}");
    }
}
