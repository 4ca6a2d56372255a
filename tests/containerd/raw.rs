//! containerd asked without stowd's own code, and what the tests write.

use std::collections::BTreeMap;

use containerd_client::services::v1 as api;
use containerd_client::services::v1::content_client::ContentClient;
use containerd_client::services::v1::images_client::ImagesClient;
use containerd_client::services::v1::leases_client::LeasesClient;
use containerd_client::with_namespace;
use stowd::containerd::{Containerd, Lease};
use stowd::digest::Digest;
use stowd::image_store::{BlobWriter, ImageStore, Labels, NewBlob, Opened, StoreError};
use tonic::Request;
use tonic::transport::Channel;

use crate::support::{Daemon, Generation};

/// The namespace of tests that need no CRI.
pub(crate) const NAMESPACE: &str = "stowd-test";

/// A daemon that serves, and stowd's client of it.
pub(crate) async fn serve(generation: &Generation) -> (Daemon, Containerd) {
    let mut daemon = Daemon::start(generation);
    daemon.wait();
    let store = client(&daemon);
    (daemon, store)
}

/// Another client of the same daemon, with a connection of its own. It sends its blobs.
pub(crate) fn client(daemon: &Daemon) -> Containerd {
    Containerd::connect(daemon.address(), NAMESPACE).unwrap()
}

/// How large blobs get into the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Sent,
    Placed,
}

impl Way {
    /// As [`client`], for blobs that go this way.
    pub(crate) async fn client(self, daemon: &Daemon) -> Containerd {
        let store = client(daemon);
        if self == Self::Placed {
            store.enable_direct_writes().await;
        }
        store
    }

    /// As [`serve`], for blobs that go this way.
    pub(crate) async fn serve(self, generation: &Generation) -> (Daemon, Containerd) {
        let (daemon, _) = serve(generation).await;
        let store = self.client(&daemon).await;
        (daemon, store)
    }
}

/// Makes tests of each `async fn NAME(Generation, Way)`, as `on_each_generation` or `on_the_reference` does,
/// for each way: `NAME::sent::on_1_6` and so on.
macro_rules! both_ways {
    ($on:ident: $($name:ident),+ $(,)?) => {
        $(
            mod $name {
                async fn sent(generation: $crate::support::Generation) {
                    super::$name(generation, $crate::raw::Way::Sent).await;
                }

                async fn placed(generation: $crate::support::Generation) {
                    super::$name(generation, $crate::raw::Way::Placed).await;
                }

                $crate::support::$on!(sent, placed);
            }
        )+
    };
}
pub(crate) use both_ways;

/// `length` bytes that compress badly and differ from seed to seed.
pub(crate) fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// The blob by its digest.
pub(crate) fn known(blob: &[u8]) -> NewBlob {
    NewBlob::Known {
        digest: Digest::of(blob),
        size: blob.len() as u64,
    }
}

/// Labels from pairs.
pub(crate) fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs
        .iter()
        .map(|&(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// Opens a blob that is not there.
pub(crate) async fn writer<S: ImageStore>(store: &S, lease: &S::Lease, blob: NewBlob) -> S::Writer {
    match store.open_blob(lease, blob).await.unwrap() {
        Opened::Writer(writer) => writer,
        Opened::Exists(_) => panic!("the blob exists"),
    }
}

/// Puts a blob whole; fine where it exists.
pub(crate) async fn put(
    store: &Containerd,
    lease: &Lease,
    blob: &[u8],
    labels: Labels,
) -> Result<(), StoreError> {
    let Opened::Writer(mut writer) = store.open_blob(lease, known(blob)).await? else {
        return Ok(());
    };
    for chunk in blob.chunks(300_000) {
        if let Err(error) = writer.write(chunk).await {
            writer.give_up(&error).await;
            return Err(error);
        }
    }
    writer.commit(&Digest::of(blob), labels).await
}

/// containerd's own API.
pub(crate) struct Raw {
    channel: Channel,
    namespace: String,
}

impl Raw {
    pub(crate) async fn connect(daemon: &Daemon) -> Self {
        Self {
            channel: containerd_client::connect(daemon.address()).await.unwrap(),
            namespace: NAMESPACE.to_owned(),
        }
    }

    /// Content.Status: how far an ingest has come; `None` where there is none.
    pub(crate) async fn ingest(&self, reference: &str) -> Option<u64> {
        let request = api::StatusRequest {
            r#ref: reference.to_owned(),
        };
        let mut content = ContentClient::new(self.channel.clone());
        match content
            .status(with_namespace!(request, self.namespace))
            .await
        {
            Ok(answer) => Some(answer.into_inner().status.unwrap().offset as u64),
            Err(status) if status.code() == tonic::Code::NotFound => None,
            Err(status) => panic!("{status}"),
        }
    }

    /// Content.Abort.
    pub(crate) async fn abort(&self, reference: &str) {
        let request = api::AbortRequest {
            r#ref: reference.to_owned(),
        };
        let mut content = ContentClient::new(self.channel.clone());
        let request = with_namespace!(request, self.namespace);
        content.abort(request).await.unwrap();
    }

    /// Writes bytes to an ingest and lets go of it, as a writer that was cut off does.
    pub(crate) async fn half_write(&self, reference: &str, total: u64, data: Vec<u8>) {
        let length = data.len() as u64;
        let write = api::WriteContentRequest {
            action: api::WriteAction::Write.into(),
            r#ref: reference.to_owned(),
            total: total as i64,
            data,
            ..Default::default()
        };
        let mut content = ContentClient::new(self.channel.clone());
        let requests = tokio_stream::iter([write]);
        let request = with_namespace!(requests, self.namespace);
        let mut answers = content.write(request).await.unwrap().into_inner();
        while answers.message().await.unwrap().is_some() {}
        assert_eq!(self.ingest(reference).await, Some(length));
    }

    /// The labels of a blob; `None` where there is none.
    pub(crate) async fn blob_labels(&self, digest: &Digest) -> Option<Labels> {
        let request = api::InfoRequest {
            digest: digest.to_string(),
        };
        let mut content = ContentClient::new(self.channel.clone());
        match content.info(with_namespace!(request, self.namespace)).await {
            Ok(answer) => Some(
                answer
                    .into_inner()
                    .info
                    .unwrap()
                    .labels
                    .into_iter()
                    .collect(),
            ),
            Err(status) if status.code() == tonic::Code::NotFound => None,
            Err(status) => panic!("{status}"),
        }
    }

    /// What a lease holds, as `type/id`.
    pub(crate) async fn held_by(&self, lease: &str) -> Vec<String> {
        let request = api::ListResourcesRequest {
            id: lease.to_owned(),
        };
        let mut leases = LeasesClient::new(self.channel.clone());
        let answer = leases.list_resources(with_namespace!(request, self.namespace));
        let resources = answer.await.unwrap().into_inner().resources;
        let name = |resource: api::Resource| format!("{}/{}", resource.r#type, resource.id);
        resources.into_iter().map(name).collect()
    }

    /// All leases, by id, with their labels.
    pub(crate) async fn leases(&self) -> BTreeMap<String, Labels> {
        let mut leases = LeasesClient::new(self.channel.clone());
        let listed = leases.list(with_namespace!(api::ListRequest::default(), self.namespace));
        let listed = listed.await.unwrap().into_inner().leases.into_iter();
        let entry = |lease: api::Lease| (lease.id, lease.labels.into_iter().collect());
        listed.map(entry).collect()
    }

    /// Begins a lease with these labels.
    pub(crate) async fn create_lease(&self, id: &str, labels: Labels) {
        let request = api::CreateRequest {
            id: id.to_owned(),
            labels: labels.into_iter().collect(),
        };
        let mut leases = LeasesClient::new(self.channel.clone());
        let created = leases.create(with_namespace!(request, self.namespace));
        created.await.unwrap();
    }

    /// Has containerd collect garbage, and returns when it has: that is what the end of a lease with
    /// `sync` is for.
    pub(crate) async fn collect_garbage(&self) {
        self.create_lease("collect", Labels::new()).await;
        let request = api::DeleteRequest {
            id: "collect".to_owned(),
            sync: true,
        };
        let mut leases = LeasesClient::new(self.channel.clone());
        let deleted = leases.delete(with_namespace!(request, self.namespace));
        deleted.await.unwrap();
    }

    /// The labels of an image record; `None` where there is none.
    pub(crate) async fn image_labels(&self, name: &str) -> Option<Labels> {
        let request = api::GetImageRequest {
            name: name.to_owned(),
        };
        let mut images = ImagesClient::new(self.channel.clone());
        match images.get(with_namespace!(request, self.namespace)).await {
            Ok(answer) => Some(
                answer
                    .into_inner()
                    .image
                    .unwrap()
                    .labels
                    .into_iter()
                    .collect(),
            ),
            Err(status) if status.code() == tonic::Code::NotFound => None,
            Err(status) => panic!("{status}"),
        }
    }

    /// Deletes an image record, if it is there.
    pub(crate) async fn delete_image(&self, name: &str) {
        let request = api::DeleteImageRequest {
            name: name.to_owned(),
            ..Default::default()
        };
        let mut images = ImagesClient::new(self.channel.clone());
        let _ = images
            .delete(with_namespace!(request, self.namespace))
            .await;
    }
}
