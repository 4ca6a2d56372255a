//! The connection to containerd, and the one way in which calls are made over it.

use std::collections::BTreeSet;
use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use containerd_client::services::v1::content_client::ContentClient;
use containerd_client::services::v1::diff_client::DiffClient;
use containerd_client::services::v1::events_client::EventsClient;
use containerd_client::services::v1::images_client::ImagesClient;
use containerd_client::services::v1::introspection_client::IntrospectionClient;
use containerd_client::services::v1::leases_client::LeasesClient;
use containerd_client::services::v1::snapshots::snapshots_client::SnapshotsClient;
use containerd_client::services::v1::version_client::VersionClient;
use hyper_util::rt::TokioIo;
use k8s_cri::v1::image_service_client::ImageServiceClient;
use k8s_cri::v1::runtime_service_client::RuntimeServiceClient;
use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{MissedTickBehavior, interval};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status, Streaming};

use super::blob_files::BlobFiles;
use super::direct_writes::DirectWrites;
use super::failure::CallFailure;
use super::found::{Found, FoundOf};
use super::late_layers::LateLayers;
use super::lease::Lease;
use super::snapshot_sync::SnapshotSyncs;
use super::snapshotter::Snapshotter;
use super::wrong_bytes::WrongBytes;
use crate::concurrency::{SENT_BLOBS, STREAM_CONNECTIONS};
use crate::config::Config;
use crate::image_store::{BlobTally, StoreError};
use crate::keyed_lock::KeyedLock;
use crate::pin::PinOwner;

/// containerd sends messages of up to 16 MiB; tonic would take 4.
pub(super) const MESSAGE_LIMIT: usize = 16 << 20;

/// The error of a call comes in its headers, and repeats what a registry said. With more than this the
/// call is broken off.
const HEADERS_LIMIT: u32 = 1 << 20;

/// What a peer may send on one stream before it waits. Only reads of content are this large. Not
/// adaptive: hyper measures with pings, and Go's gRPC server closes a connection that pings it too
/// often.
const STREAM_WINDOW: u32 = 8 << 20;

/// While a call is waited for of which containerd tells no progress, it counts as getting on this often.
const STEP: Duration = Duration::from_secs(1);

/// The namespace that CRI keeps its images in, whatever the caller asks for.
pub(super) const CRI_NAMESPACE: &str = "k8s.io";

/// How long an answer is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// For a call that only reads.
    pub answer: Duration,
    /// For a call that changes something. containerd has one writer for its metadata, and commits
    /// a blob inside its transaction, fsync included: on a slow disk, with a large layer, others wait.
    pub change: Duration,
    /// For the acknowledgement of the next bytes of a blob, whatever its length.
    pub progress: Duration,
    /// Until CRI, which learns of images through events, shows one that was put.
    pub runtime: Duration,
    /// Until containerd's events bring one of stowd's own; and between the first two tries, if it is in
    /// vain.
    pub heard: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            answer: Duration::from_secs(30),
            change: Duration::from_secs(5 * 60),
            progress: Duration::from_secs(60),
            runtime: Duration::from_secs(30),
            heard: Duration::from_secs(10),
        }
    }
}

/// containerd at one socket, in one namespace. Clones share the connections, each of which is made at
/// its first call and made again after it broke.
#[derive(Debug, Clone)]
pub struct Containerd {
    channel: Channel,
    streams: Arc<[Channel]>,
    next_stream: Arc<AtomicUsize>,
    sending: Arc<Semaphore>,
    namespace: String,
    namespace_header: MetadataValue<Ascii>,
    owner: PinOwner,
    deadlines: Deadlines,
    /// One writer of this process at a time for each ingest, and for the labels of each blob.
    /// containerd has a lock for each ingest, but an abort does not take it: without this one, a
    /// writer could remove an ingest that another has resumed. And containerd has no compare-and-set
    /// of labels: to add to a list is to read and to write.
    pub(super) locks: KeyedLock,
    pub(super) direct_writes: DirectWrites,
    /// Leases that could not be ended, by their ids: containerd was away.
    pub(super) unreleased: Arc<Mutex<BTreeSet<String>>>,
    /// The files of blobs, where they can be seen.
    pub(super) files: Found<BlobFiles>,
    /// Grows while bytes are hashed that are not sent.
    pub(super) moved: Arc<AtomicU64>,
    pub(super) tally: BlobTally,
    pub(super) wrong: WrongBytes,
    /// What images are unpacked with, if it is not what CRI makes containers with.
    pub(super) snapshotter: Option<String>,
    pub(super) snapshotters: FoundOf<Vec<Snapshotter>>,
    pub(super) snapshot_syncs: SnapshotSyncs,
    pub(super) late_layers: LateLayers,
    pub(super) sandbox_images: FoundOf<String>,
}

impl Containerd {
    /// Prepares the connection to the containerd of a configuration, for the pins of its instance, as
    /// [`connect`](Self::connect) does.
    pub(crate) fn of_config(config: &Config) -> Result<Self, StoreError> {
        let store = Self::connect(&config.containerd.address, &config.containerd.namespace)?;
        Ok(store
            .with_owner(PinOwner::of_instance(&config.instance))
            .with_snapshotter(config.images.snapshotter.clone()))
    }

    /// Prepares the connection to the unix socket `address`; nothing is sent yet. Must be called
    /// within a tokio runtime. Fails where `namespace` cannot be sent as a header.
    pub fn connect(address: impl Into<PathBuf>, namespace: &str) -> Result<Self, StoreError> {
        let namespace_header = namespace.parse().map_err(|_| StoreError::Refused {
            call: "connect",
            cause: format!("{namespace:?} is not a name of a containerd namespace"),
        })?;
        let address = address.into();
        let streams = (0..STREAM_CONNECTIONS).map(|_| channel(address.clone()));
        Ok(Self {
            streams: streams.collect(),
            next_stream: Arc::default(),
            sending: Arc::new(Semaphore::new(SENT_BLOBS)),
            channel: channel(address),
            namespace: namespace.to_owned(),
            namespace_header,
            owner: PinOwner::default(),
            deadlines: Deadlines::default(),
            locks: KeyedLock::default(),
            direct_writes: DirectWrites::default(),
            unreleased: Arc::default(),
            files: Found::default(),
            moved: Arc::default(),
            tally: BlobTally::default(),
            wrong: WrongBytes::default(),
            snapshotter: None,
            snapshotters: FoundOf::default(),
            snapshot_syncs: SnapshotSyncs::default(),
            late_layers: LateLayers::default(),
            sandbox_images: FoundOf::default(),
        })
    }

    /// The same connection with other deadlines.
    pub fn with_deadlines(mut self, deadlines: Deadlines) -> Self {
        self.deadlines = deadlines;
        self
    }

    /// The same connection for the pins of another owner than the default instance.
    pub(crate) fn with_owner(mut self, owner: PinOwner) -> Self {
        self.owner = owner;
        self
    }

    pub(super) fn pin_owner(&self) -> &PinOwner {
        &self.owner
    }

    /// The instance, by whose name its pins are its own.
    pub(super) fn instance(&self) -> &str {
        self.owner.name()
    }

    /// The namespace that everything is read from and written to.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    pub(super) fn deadlines(&self) -> Deadlines {
        self.deadlines
    }

    /// Waits for what tells no progress, and counts steps meanwhile.
    pub(super) async fn getting_on<T>(&self, call: impl Future<Output = T>) -> T {
        let mut call = std::pin::pin!(call);
        let mut steps = interval(STEP);
        steps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                done = &mut call => return done,
                _ = steps.tick() => {
                    self.moved.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// Whether images of this namespace are those that CRI serves.
    pub(super) fn is_of_cri(&self) -> bool {
        self.namespace == CRI_NAMESPACE
    }

    pub(super) fn content(&self, lease: Option<&Lease>) -> ContentClient<Transport> {
        ContentClient::new(self.transport(lease)).max_decoding_message_size(MESSAGE_LIMIT)
    }

    /// For the bytes of one blob.
    pub(super) fn content_stream(&self, lease: &Lease) -> ContentClient<Transport> {
        let next = self.next_stream.fetch_add(1, Ordering::Relaxed);
        let channel = &self.streams[next % self.streams.len()];
        ContentClient::new(self.transport_over(channel, Some(lease)))
            .max_decoding_message_size(MESSAGE_LIMIT)
    }

    /// Waits until one more blob may be sent. `None`: the semaphore is closed, which no code does.
    pub(super) async fn may_send(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.sending).acquire_owned().await.ok()
    }

    pub(super) fn image_records(&self, lease: Option<&Lease>) -> ImagesClient<Transport> {
        ImagesClient::new(self.transport(lease)).max_decoding_message_size(MESSAGE_LIMIT)
    }

    pub(super) fn leases(&self) -> LeasesClient<Transport> {
        LeasesClient::new(self.transport(None)).max_decoding_message_size(MESSAGE_LIMIT)
    }

    pub(super) fn snapshots(&self, lease: Option<&Lease>) -> SnapshotsClient<Transport> {
        SnapshotsClient::new(self.transport(lease)).max_decoding_message_size(MESSAGE_LIMIT)
    }

    pub(super) fn diffs(&self) -> DiffClient<Transport> {
        DiffClient::new(self.transport(None))
    }

    pub(super) fn events(&self) -> EventsClient<Transport> {
        EventsClient::new(self.transport(None)).max_decoding_message_size(MESSAGE_LIMIT)
    }

    pub(super) fn introspection(&self) -> IntrospectionClient<Transport> {
        IntrospectionClient::new(self.transport(None)).max_decoding_message_size(MESSAGE_LIMIT)
    }

    pub(super) fn version_service(&self) -> VersionClient<Transport> {
        VersionClient::new(self.transport(None))
    }

    pub(super) fn cri_images(&self) -> ImageServiceClient<Transport> {
        ImageServiceClient::new(self.transport(None)).max_decoding_message_size(MESSAGE_LIMIT)
    }

    pub(super) fn cri_runtime(&self) -> RuntimeServiceClient<Transport> {
        RuntimeServiceClient::new(self.transport(None)).max_decoding_message_size(MESSAGE_LIMIT)
    }

    pub(super) fn transport(&self, lease: Option<&Lease>) -> Transport {
        self.transport_over(&self.channel, lease)
    }

    fn transport_over(&self, channel: &Channel, lease: Option<&Lease>) -> Transport {
        InterceptedService::new(
            channel.clone(),
            Headers {
                namespace: self.namespace_header.clone(),
                lease: lease.map(Lease::header),
            },
        )
    }
}

/// A connection to the unix socket, made when it is first used.
fn channel(address: PathBuf) -> Channel {
    // A unix socket has no host, but HTTP/2 wants one named.
    Endpoint::from_static("http://localhost")
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(2 * STREAM_WINDOW)
        .http2_max_header_list_size(HEADERS_LIMIT)
        .connect_with_connector_lazy(tower::service_fn(move |_| {
            let address = address.clone();
            async move { UnixStream::connect(address).await.map(TokioIo::new) }
        }))
}

pub(super) type Transport = InterceptedService<Channel, Headers>;

/// What containerd reads from the headers of each call.
#[derive(Debug, Clone)]
pub(super) struct Headers {
    namespace: MetadataValue<Ascii>,
    lease: Option<MetadataValue<Ascii>>,
}

impl Interceptor for Headers {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let headers = request.metadata_mut();
        headers.insert("containerd-namespace", self.namespace.clone());
        if let Some(lease) = &self.lease {
            headers.insert("containerd-lease", lease.clone());
        }
        Ok(request)
    }
}

/// Waits for the answer to `call`, the name that a failure is reported under, for `deadline`.
pub(super) async fn answered<T>(
    call: &'static str,
    deadline: Duration,
    answer: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, CallFailure> {
    match tokio::time::timeout(deadline, answer).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(CallFailure::of(call, &status)),
        Err(_) => Err(CallFailure::late(call, deadline)),
    }
}

/// The next message of a stream, waited for as in [`answered`]; `None` at its end.
pub(super) async fn next_message<T>(
    call: &'static str,
    deadline: Duration,
    messages: &mut Streaming<T>,
) -> Result<Option<T>, CallFailure> {
    match tokio::time::timeout(deadline, messages.message()).await {
        Ok(Ok(message)) => Ok(message),
        Ok(Err(status)) => Err(CallFailure::of(call, &status)),
        Err(_) => Err(CallFailure::late(call, deadline)),
    }
}

/// containerd counts bytes in signed numbers. No blob comes near their limit.
pub(super) fn to_wire(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

pub(super) fn from_wire(bytes: i64) -> u64 {
    u64::try_from(bytes).unwrap_or(0)
}
