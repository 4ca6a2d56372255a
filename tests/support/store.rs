//! What a containerd holds in `k8s.io`, asked without stowd's own code.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use containerd_client::services::v1 as api;
use containerd_client::services::v1::content_client::ContentClient;
use containerd_client::services::v1::images_client::ImagesClient;
use containerd_client::services::v1::leases_client::LeasesClient;
use containerd_client::with_namespace;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::runtime::{Builder, Runtime};
use tonic::Request;
use tonic::transport::Channel;

use super::architecture;

const NAMESPACE: &str = "k8s.io";

/// What the lease and the ingest begin with that a stowd has for as long as it runs.
pub const OF_AN_INSTANCE: &str = "stowd-instance-";

/// An image record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The digest that it points to.
    pub target: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// A blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// Its length in bytes.
    pub size: u64,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// A connection to one containerd. Not for use inside of an async test.
pub struct Store {
    runtime: Runtime,
    channel: Channel,
}

impl Store {
    /// Connects to the socket.
    pub fn at(address: &Path) -> Self {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let channel = runtime.block_on(containerd_client::connect(address));
        Self {
            runtime,
            channel: channel.expect("containerd's socket"),
        }
    }

    /// The image records, by name. Those that CRI adds for itself, under the digests of
    /// configurations and a little later, are left out.
    pub fn images(&self) -> BTreeMap<String, Record> {
        let mut images = ImagesClient::new(self.channel.clone());
        let request = api::ListImagesRequest::default();
        let listed = self
            .runtime
            .block_on(images.list(with_namespace!(request, NAMESPACE)));
        let listed = listed.expect("Images.List").into_inner().images;
        let record = |image: api::Image| {
            let target = image.target.expect("a target").digest;
            (
                image.name,
                Record {
                    target,
                    labels: image.labels.into_iter().collect(),
                },
            )
        };
        let named = listed
            .into_iter()
            .filter(|image| !image.name.starts_with("sha256:"));
        named.map(record).collect()
    }

    /// The blobs, by digest.
    pub fn blobs(&self) -> BTreeMap<String, Blob> {
        let mut content = ContentClient::new(self.channel.clone());
        self.runtime.block_on(async {
            let request = api::ListContentRequest::default();
            let listed = content.list(with_namespace!(request, NAMESPACE)).await;
            let mut listed = listed.expect("Content.List").into_inner();
            let mut blobs = BTreeMap::new();
            while let Some(part) = listed.message().await.expect("Content.List") {
                for info in part.info {
                    let labels = info.labels.into_iter().collect();
                    blobs.insert(
                        info.digest,
                        Blob {
                            size: info.size as u64,
                            labels,
                        },
                    );
                }
            }
            blobs
        })
    }

    /// The bytes of a blob, a message at a time.
    fn each_part(&self, digest: &str, mut take: impl FnMut(&[u8])) {
        let mut content = ContentClient::new(self.channel.clone());
        self.runtime.block_on(async {
            let request = api::ReadContentRequest {
                digest: digest.to_owned(),
                offset: 0,
                size: 0,
            };
            let read = content.read(with_namespace!(request, NAMESPACE)).await;
            let mut read = read
                .unwrap_or_else(|status| panic!("{digest}: {status}"))
                .into_inner();
            while let Some(part) = read.message().await.expect("Content.Read") {
                take(&part.data);
            }
        });
    }

    /// The digest of the bytes that are stored under this digest, and how many they are.
    pub fn hash(&self, digest: &str) -> (String, u64) {
        let (mut hasher, mut size) = (Sha256::new(), 0);
        self.each_part(digest, |part| {
            hasher.update(part);
            size += part.len() as u64;
        });
        let hex = hasher
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>();
        (format!("sha256:{hex}"), size)
    }

    /// A blob that is a JSON document.
    pub fn document(&self, digest: &str) -> Value {
        let mut bytes = Vec::new();
        self.each_part(digest, |part| bytes.extend_from_slice(part));
        serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{digest}: {error}"))
    }

    /// The names of blobs that are half written. What holds the instance of a stowd is left out.
    pub fn ingests(&self) -> Vec<String> {
        let mut content = ContentClient::new(self.channel.clone());
        let request = api::ListStatusesRequest::default();
        let listed = content.list_statuses(with_namespace!(request, NAMESPACE));
        let listed = self
            .runtime
            .block_on(listed)
            .expect("Content.ListStatuses")
            .into_inner();
        listed
            .statuses
            .into_iter()
            .map(|status| status.r#ref)
            .filter(|name| !name.starts_with(OF_AN_INSTANCE))
            .collect()
    }

    /// The ids of all leases but for those of stowd's instances.
    pub fn leases(&self) -> Vec<String> {
        let mut leases = self.all_leases();
        leases.retain(|id| !id.starts_with(OF_AN_INSTANCE));
        leases
    }

    /// The ids of the leases of stowd's instances.
    pub fn leases_of_instances(&self) -> Vec<String> {
        let mut leases = self.all_leases();
        leases.retain(|id| id.starts_with(OF_AN_INSTANCE));
        leases
    }

    fn all_leases(&self) -> Vec<String> {
        let mut leases = LeasesClient::new(self.channel.clone());
        let request = api::ListRequest::default();
        let listed = self
            .runtime
            .block_on(leases.list(with_namespace!(request, NAMESPACE)));
        let listed = listed.expect("Leases.List").into_inner().leases;
        listed.into_iter().map(|lease| lease.id).collect()
    }

    /// Has containerd collect garbage, and returns when it has: that is what the end of a lease with
    /// `sync` is for.
    pub fn collect_garbage(&self) {
        let mut leases = LeasesClient::new(self.channel.clone());
        let id = "collect".to_owned();
        let create = api::CreateRequest {
            id: id.clone(),
            ..Default::default()
        };
        let delete = api::DeleteRequest { id, sync: true };
        self.runtime.block_on(async {
            leases
                .create(with_namespace!(create, NAMESPACE))
                .await
                .expect("Leases.Create");
            leases
                .delete(with_namespace!(delete, NAMESPACE))
                .await
                .expect("Leases.Delete");
        });
    }

    /// Removes an image record.
    pub fn remove_image(&self, name: &str) {
        let mut images = ImagesClient::new(self.channel.clone());
        let request = api::DeleteImageRequest {
            name: name.to_owned(),
            sync: true,
            ..Default::default()
        };
        let removed = self
            .runtime
            .block_on(images.delete(with_namespace!(request, NAMESPACE)));
        removed.expect("Images.Delete");
    }

    /// All that the images consist of. Panics where a manifest misses a child, an index misses the
    /// manifest of this host, or a parent's labels do not keep a child that is there.
    pub fn closure(&self) -> BTreeSet<String> {
        self.closure_for(&|platform| platform == format!("linux/{}", architecture()))
    }

    /// The same where other platforms count than this host's.
    pub fn closure_for(&self, counts: &dyn Fn(&str) -> bool) -> BTreeSet<String> {
        let blobs = self.blobs();
        let mut open = self
            .images()
            .into_values()
            .map(|image| image.target)
            .collect::<Vec<_>>();
        let mut closure = BTreeSet::new();
        while let Some(digest) = open.pop() {
            let blob = blobs
                .get(&digest)
                .unwrap_or_else(|| panic!("{digest} is not there"));
            if !closure.insert(digest.clone()) {
                continue;
            }
            let document = self.document(&digest);
            for child in children(&document) {
                if !blobs.contains_key(&child.digest) {
                    let needed = child.platform.as_deref().is_none_or(counts);
                    assert!(!needed, "{digest}: its child {} is missing", child.digest);
                    continue;
                }
                let kept = blob.labels.iter().any(|(key, value)| {
                    key.starts_with("containerd.io/gc.ref.content.") && *value == child.digest
                });
                assert!(
                    kept,
                    "{digest}: no label keeps {}: {:?}",
                    child.digest, blob.labels
                );
                if child.has_children {
                    open.push(child.digest);
                } else {
                    closure.insert(child.digest);
                }
            }
        }
        closure
    }
}

/// What a manifest or an index refers to.
#[derive(Debug, Clone)]
pub struct Child {
    /// Its digest.
    pub digest: String,
    /// Its length in bytes.
    pub size: u64,
    /// Its platform, where it is a manifest in an index: `os/architecture`.
    pub platform: Option<String>,
    /// It is a manifest itself.
    pub has_children: bool,
}

/// The children of a manifest or an index.
pub fn children(document: &Value) -> Vec<Child> {
    let list = |key: &str| document[key].as_array().cloned().unwrap_or_default();
    let digest = |value: &Value| value["digest"].as_str().expect("a digest").to_owned();
    let size = |value: &Value| value["size"].as_u64().expect("a size");
    let leaf = |value: &Value| Child {
        digest: digest(value),
        size: size(value),
        platform: None,
        has_children: false,
    };
    let manifest = |value: &Value| {
        let platform = value["platform"].as_object().map(|platform| {
            let part = |key: &str| platform[key].as_str().expect("a platform").to_owned();
            format!("{}/{}", part("os"), part("architecture"))
        });
        Child {
            digest: digest(value),
            size: size(value),
            platform,
            has_children: true,
        }
    };
    let config = document
        .get("config")
        .filter(|config| config.is_object())
        .map(leaf);
    config
        .into_iter()
        .chain(list("layers").iter().map(leaf))
        .chain(list("manifests").iter().map(manifest))
        .collect()
}
