//! The interface to a store of images, in terms of images and blobs, not of RPCs.
//!
//! `containerd` implements it over gRPC. Tests implement it in memory, where each step can be made to
//! fail.

mod blob_tally;
mod store_error;
mod unpack_error;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;

use crate::credentials::Login;
use crate::digest::Digest;
use crate::needed_blob::{BlobFaults, NeededBlob};
use crate::pin::{PinOwner, RUNTIME_PIN};
use crate::unpack::RootFileSystem;

pub use crate::oci::Descriptor;
pub use blob_tally::{BlobCount, BlobTally, BlobWay};
pub use store_error::{PullError, StoreError};
pub use unpack_error::UnpackError;

/// Labels as containerd keeps them on blobs and images.
pub type Labels = BTreeMap<String, String>;

/// An image record: a name that points to a manifest or an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The normalised name, `registry/path:tag` or `registry/path@digest`.
    pub name: String,
    /// What the name points to.
    pub target: Descriptor,
    /// The record's labels, pins among them.
    pub labels: Labels,
}

impl Image {
    /// Whether CRI keeps the image from collection, at stowd's request or at another client's.
    pub(crate) fn is_pinned(&self) -> bool {
        let (key, value) = RUNTIME_PIN;
        self.labels.get(key).is_some_and(|found| found == value)
    }
}

/// What is known of a store without asking it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreState {
    /// Why it does not answer; `None`: it does, as far as is known.
    pub away: Option<String>,
    /// Grows each time that a store answers again after one did not: it may be another one.
    pub returns: u64,
    /// Grows when images may have been deleted.
    pub losses: u64,
}

/// A layer that the store has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLayer {
    /// Of its bytes as they are, compressed or not.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewBlob {
    /// Its name is known before its first byte: it is sent only when it is not there.
    Known {
        digest: Digest,
        /// Its length in bytes.
        size: u64,
    },
    /// Its digest is known only when its last byte has been read, as with the layers of a
    /// compressed docker-archive. Such a write cannot be resumed.
    Unnamed {
        /// Distinguishes it from the other blobs of its lease.
        key: String,
        /// Its length in bytes.
        size: u64,
    },
}

impl NewBlob {
    /// Its length in bytes.
    pub fn size(&self) -> u64 {
        match self {
            Self::Known { size, .. } | Self::Unnamed { size, .. } => *size,
        }
    }
}

/// The answer to [`ImageStore::open_blob`].
pub enum Opened<W> {
    /// The store has the blob; it is under the lease now. With its length in bytes, where finding it has told
    /// that.
    Exists(Option<u64>),
    /// It is to be written, from [`BlobWriter::offset`] on.
    Writer(W),
}

/// A blob on its way into the store, written from its first byte to its last. Dropped without a
/// commit it may leave what it wrote, to be resumed by the next writer of the same digest.
pub trait BlobWriter: Send + 'static {
    /// How many bytes of the blob the store has already: an interrupted write is resumed there. Where
    /// these are all bytes, only the commit is missing. 0 for unnamed blobs.
    fn offset(&self) -> u64;

    /// Hashes the next bytes and queues them; those before [`offset`](Self::offset) are only hashed.
    /// Returns when they are queued, not when they are stored; an earlier failure shows here or in
    /// [`commit`](Self::commit). It hashes, and may write to a disk: for many bytes, call it from a
    /// thread that may block. After a failure [`give_up`](Self::give_up) the blob.
    fn write(&mut self, bytes: &[u8]) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The digest of the bytes that were given to [`write`](Self::write). A caller that knows
    /// what it should be can tell wrong bytes from a store that does not keep what it was sent.
    fn digest(&self) -> Digest;

    /// Ends the blob: the store checks its length and `digest`, then keeps it with `labels`.
    /// That it is there already is success; it has the labels then as with
    /// [`label_blob`](ImageStore::label_blob). A failure for lack of space leaves nothing of it.
    fn commit(
        self,
        digest: &Digest,
        labels: Labels,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Throws away what was written, so that no later writer resumes it. The room that it took is free
    /// when this returns.
    fn abort(self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Aborts the blob because of this failure, which is the one to report. A store that is away keeps
    /// what it has: the blob is resumed when the store is back.
    fn give_up(self, failure: &StoreError) -> impl Future<Output = ()> + Send
    where
        Self: Sized,
    {
        let is_away = failure.is_away();
        async move {
            if !is_away {
                drop(self.abort().await);
            }
        }
    }
}

/// A store of images in one namespace.
pub trait ImageStore: Clone + Send + Sync + 'static {
    /// Keeps what an import has written from garbage collection until its images are named.
    type Lease: Clone + Send + Sync + 'static;
    /// A blob on its way in.
    type Writer: BlobWriter;

    /// Whose pins it sets and takes off.
    fn owner(&self) -> &PinOwner;

    /// Grows as long as it works on something of which a caller sees no progress.
    fn moved(&self) -> u64 {
        0
    }

    /// What is counted of its blobs: it counts those that it is given when they are committed, and imports
    /// those that they find there.
    fn tally(&self) -> BlobTally;

    /// Begins a lease; `purpose` is for people who list leases. It expires by itself some time after
    /// its owner died.
    fn begin_lease(
        &self,
        purpose: &str,
    ) -> impl Future<Output = Result<Self::Lease, StoreError>> + Send;

    /// Ends a lease: what no image refers to is free to be collected. Returns whether it was there: the store
    /// has kept all that was under it until now.
    fn release(&self, lease: Self::Lease) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// The same, and returns when what only it kept is gone: the room is free again.
    fn release_and_collect(
        &self,
        lease: Self::Lease,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Whether the name points to this target and has these labels already: whether
    /// [`put_image`](Self::put_image) would change nothing.
    fn has_image(&self, image: &Image) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Whether the store has a blob of this length in its namespace, whole, with these labels among its
    /// own.
    /// It is not put under a lease: it stays only as long as something else keeps it.
    fn has_labelled(
        &self,
        digest: &Digest,
        size: u64,
        labels: &Labels,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Whether the store has a blob in its namespace, whole. If it has, the blob is under the lease now.
    fn has_blob(
        &self,
        lease: &Self::Lease,
        digest: &Digest,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// How many bytes of a blob it has half written, which need no room any more.
    fn half_written(&self, digest: &Digest)
    -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// How many bytes are free for blobs on the store's file system; `None` where that cannot be told
    /// from here.
    fn free_space(&self) -> impl Future<Output = Option<u64>> + Send;

    /// What is wrong with those of these blobs that are not there, or not of their length, in the
    /// store's namespace, or whose bytes [`hash_blobs`](Self::hash_blobs) has found wrong. Their bytes are
    /// not read. Blobs that are being written are left out.
    fn faults(
        &self,
        blobs: Vec<NeededBlob>,
    ) -> impl Future<Output = Result<BlobFaults, StoreError>> + Send;

    /// Reads these blobs, as far as they are there, at most so many bytes a second and behind all other
    /// work, and says of which the bytes are wrong or cannot be read. Those that are wrong are damaged for
    /// everything else from then on: they are [`faults`](Self::faults), and are written anew. Dropped, it
    /// ends soon.
    fn hash_blobs(
        &self,
        blobs: Vec<NeededBlob>,
        rate: u64,
    ) -> impl Future<Output = Result<BlobFaults, StoreError>> + Send;

    /// Throws away what there is of a blob that the store itself proves to be damaged, whatever its caller
    /// believes, so that it is written anew. What it has kept from collection is kept by the lease.
    /// Waits while the blob is being written.
    fn discard_if_damaged(
        &self,
        lease: &Self::Lease,
        digest: &Digest,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Asks for a blob, and for a writer where it is not there, or is damaged. Waits while another writer
    /// is at the same blob: a caller that has a writer of it open must end that one first.
    fn open_blob(
        &self,
        lease: &Self::Lease,
        blob: NewBlob,
    ) -> impl Future<Output = Result<Opened<Self::Writer>, StoreError>> + Send;

    /// A small blob that the store has; `None` where it has none. That its bytes are not those of its
    /// digest is [`StoreError::Damaged`]; any other error, that it is longer than `limit` bytes among them,
    /// says nothing about its bytes.
    fn read_blob(
        &self,
        digest: &Digest,
        limit: u64,
    ) -> impl Future<Output = Result<Option<Vec<u8>>, StoreError>> + Send;

    /// A layer of the namespace that decompresses to what has this digest, or is that itself; `None`
    /// where none is known.
    fn layer(
        &self,
        diff_id: &Digest,
    ) -> impl Future<Output = Result<Option<StoredLayer>, StoreError>> + Send;

    /// Sets these labels on a blob that is there; its other labels stay. Labels that list the
    /// repositories of a registry ([`source_labels`](crate::source_labels)) are merged, also with what other
    /// imports of this process add at the same time. Labels that it has already are not written again.
    fn label_blob(
        &self,
        digest: &Digest,
        labels: Labels,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Returns when everything that the store has, also what it wrote itself, is on the disk: a name that
    /// is put after that never outlives its blobs, even where the power fails. Does nothing where the
    /// store's file system is not to be seen from here.
    fn sync(&self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Makes the snapshots of an image with each snapshotter that its containers may be made with; the
    /// lease keeps them until the labels of the configuration do. They are on the disk when this returns.
    /// What it cannot finish it takes away again. Images that share layers may be unpacked at the same
    /// time. Returns how many snapshots were not there before.
    fn unpack(
        &self,
        lease: &Self::Lease,
        image: &RootFileSystem,
    ) -> impl Future<Output = Result<usize, UnpackError>> + Send;

    /// The configurations of the images that are unpacked, with each snapshotter that their containers may
    /// be made with.
    fn unpacked(&self) -> impl Future<Output = Result<BTreeSet<Digest>, UnpackError>> + Send;

    /// Creates the image, or points the existing name to its new target. Labels are set one by one:
    /// those that others set stay, and so does the pin of another owner. A name that another instance has
    /// pinned goes on pointing to where it does.
    fn put_image(
        &self,
        lease: &Self::Lease,
        image: &Image,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Takes the pins off an image whose pin is the owner's, and only then. That there is no such image
    /// is success.
    fn unpin(&self, name: &str) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Puts the owner's name on a pin from before there were instances, where the owner takes it over
    /// ([`PinOwner::takes_over`]). That there is no such pin is success.
    fn take_over(&self, name: &str) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The image of this name, as it is written in the store.
    fn image(&self, name: &str) -> impl Future<Output = Result<Option<Image>, StoreError>> + Send;

    /// All images of the namespace.
    fn images(&self) -> impl Future<Output = Result<Vec<Image>, StoreError>> + Send;

    /// Returns when the container runtime (CRI) sees this image under its name, and not what the name
    /// pointed to before. The image's `repo@digest` must be in the store by then. Returns at once where
    /// the store's namespace is not CRI's, and where the name has been moved to another image meanwhile.
    fn seen_by_runtime(&self, image: &Image)
    -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Whether the container runtime has an image under this name: it need not be pulled then.
    fn runtime_has(&self, name: &str) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// The normalised name of the image that the container runtime makes every pod with; `None` where the
    /// store's namespace is not CRI's, and where the name cannot be had.
    fn sandbox_image(&self) -> impl Future<Output = Option<String>> + Send;

    /// Has the image of this name pulled, as a node would pull it for a container: mirrors, rewrites
    /// and certificates are the runtime's own. There is no limit of time: dropped, the pull ends.
    fn pull(
        &self,
        name: &str,
        login: Option<&Login>,
    ) -> impl Future<Output = Result<(), PullError>> + Send;

    /// Has one blob of an image pulled, from where the image is: a pull of the image leaves out a layer
    /// that is unpacked. `name` is the image's repository with the blob's digest. The blob is under the
    /// lease then.
    fn pull_blob(
        &self,
        lease: &Self::Lease,
        name: &str,
        digest: &Digest,
        login: Option<&Login>,
    ) -> impl Future<Output = Result<(), PullError>> + Send;
}
