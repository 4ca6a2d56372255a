//! A store in memory, for the faults that a real containerd does not produce on demand.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use std::thread::{ThreadId, current};
use std::time::Duration;

use stowd::credentials::Login;
use stowd::digest::{Digest, Hasher};
use stowd::image_store::{
    BlobTally, BlobWay, BlobWriter, Image, ImageStore, Labels, NewBlob, Opened, PullError,
    StoreError, StoreState, StoredLayer, UnpackError,
};
use stowd::needed_blob::{BlobFault, BlobFaults, NeededBlob};
use stowd::pin::{DEFAULT_PIN, OWNER_LABEL, PinOwner};
use stowd::source_labels;
use stowd::unpack::{DiffLayer, RootFileSystem};
use tokio::sync::Barrier;

/// The label of a configuration that says which snapshot is its own.
const OF_SNAPSHOT: &str = "containerd.io/gc.ref.snapshot.memory";

/// Clones are one store.
#[derive(Clone, Default)]
pub(crate) struct MemoryStore(Arc<Mutex<State>>);

#[derive(Default)]
pub(crate) struct State {
    /// The blobs that were committed, with their labels.
    pub blobs: BTreeMap<Digest, (Vec<u8>, Labels)>,
    /// Those that it was given were sent.
    pub tally: BlobTally,
    /// Those that a cut of the power may take.
    pub unsynced: BTreeSet<Digest>,
    /// The snapshots of layers, by their chain IDs.
    pub snapshots: BTreeSet<Digest>,
    /// Images that are being unpacked, and how many at most ever were.
    pub unpacking: usize,
    pub most_unpacking: usize,
    /// How often it was to unpack an image.
    pub unpacks: usize,
    /// Fails to sync, once.
    pub fail_sync: Option<StoreError>,
    /// What was written of blobs that were not committed.
    pub ingests: BTreeMap<Digest, Vec<u8>>,
    /// The images by name.
    pub images: BTreeMap<String, Image>,
    /// Names that the runtime was asked for.
    pub seen: Vec<String>,
    /// Leases that were begun and not released.
    pub leases: usize,
    /// What it was asked to read, and on which threads.
    pub read: Vec<(Digest, ThreadId)>,
    /// Fails every read.
    pub fail_read: Option<StoreError>,
    /// Answers no read.
    pub holds_reads: bool,
    /// What it has done of which its callers see no progress.
    pub moved: u64,
    /// How often a lease was released with a collection.
    pub collected: usize,
    /// How often it was to write something: a blob opened, a label or an image set.
    pub writes: usize,
    /// How often it was asked whether it has a blob.
    pub asked: usize,
    /// Writers that were opened.
    pub opened: usize,
    /// Writers that were neither committed nor aborted: what a dropped one leaves takes room.
    pub open: usize,
    /// The bytes of blobs that it has room for, if it tells.
    pub capacity: Option<u64>,
    /// The keys of the unnamed blobs that were opened.
    pub keys: Vec<String>,
    /// The first chunk of a blob waits here for those of others.
    pub gather: Option<Arc<Barrier>>,
    /// How many have waited there.
    pub gathered: usize,
    /// Chunks that were written so far.
    pub chunks: usize,
    /// Called when the chunk of this number is written.
    pub at_chunk: Option<(usize, Box<dyn FnOnce() + Send>)>,
    /// Fails the chunk of this number, once.
    pub fail_at_chunk: Option<(usize, StoreError)>,
    /// Collects the blob that is the next but so many to be labelled, once.
    pub collects_after: Option<usize>,
    /// So many leases take a blob with them when they end.
    pub loses_at_end: usize,
    /// So many leases take the snapshots with them.
    pub loses_snapshots_at_end: usize,
    /// What the runtime answers whatever it is asked for.
    pub away: Option<StoreError>,
    /// The answers to pulls; who asks for anything else waits for ever.
    pub registry: BTreeMap<String, Result<Image, PullError>>,
    /// Blobs that a pull brings, where they are not there.
    pub served: Vec<Vec<u8>>,
    /// Those of them that a pull of an image leaves out.
    pub unpacked: Vec<Digest>,
    /// Blobs that were pulled by themselves.
    pub pulled_blobs: Vec<Digest>,
    /// What the runtime makes pods with.
    pub sandbox_image: Option<String>,
    /// Names that the runtime was asked whether it has.
    pub looked_up: Vec<String>,
    /// Blobs of the right length that were found to have wrong bytes.
    wrong: BTreeSet<Digest>,
    /// Blobs that were to be discarded.
    pub discarded: Vec<Digest>,
    /// Names that were pulled.
    pub pulled: Vec<String>,
    /// Whose logins came with the pulls.
    pub logins: Vec<String>,
    /// Pulls that are under way, and how many at most ever were.
    pub pulling: usize,
    pub most_pulling: usize,
    /// Fails to put an image of this name, or to have it seen, every time.
    pub fail_name: Option<(String, Doing, StoreError)>,
    /// What happens at each step of the daemon with the store, time after time; then all is well.
    pub fates: BTreeMap<Step, VecDeque<Fate>>,
    /// Another process has taken the instance.
    pub is_instance_lost: bool,
    /// What it says by itself, if it has not been heard yet.
    pub says: Option<StoreState>,
    /// How often labels of a blob were changed after it was there.
    pub labelled: usize,
}

/// What is done with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doing {
    Put,
    See,
    Unpin,
}

/// A step of the daemon with the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    Serve,
    Claim,
    FindContent,
    FindStaleLeases,
    ListImages,
    BeginLease,
    ClearLeases,
    FindOwnLeases,
    HashBlobs,
    Unpack,
    ListUnpacked,
}

/// What happens at a step.
pub(crate) enum Fate {
    Well,
    Fail,
    Panic,
    /// This happens, and then all is well.
    After(Box<dyn FnOnce() + Send>),
    /// All is well after a while.
    Slow(Duration),
    /// This happens, and the store never answers.
    Hang(Box<dyn FnOnce() + Send>),
}

impl State {
    fn check(&self, name: &str, now: Doing) -> Result<(), StoreError> {
        match &self.fail_name {
            Some((bad, doing, error)) if bad == name && *doing == now => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// A pull has brought this image. Its manifest, which stands for all of it, has its name for bytes.
    pub(crate) fn receive(&mut self, name: &str, image: Image) {
        let named = name.as_bytes().to_vec();
        let served = self
            .served
            .iter()
            .map(|bytes| (Digest::of(bytes), bytes.clone()));
        for (digest, bytes) in served.chain([(image.target.digest.clone(), named)]) {
            if self.unpacked.contains(&digest) {
                continue;
            }
            self.blobs.entry(digest).or_insert((bytes, Labels::new()));
        }
        self.images.insert(name.to_owned(), image);
    }

    fn label(&mut self, digest: &Digest, labels: &Labels) {
        let (_, had) = self.blobs.get_mut(digest).expect("the blob is there");
        let missing = source_labels::missing(had, labels);
        self.labelled += usize::from(!missing.is_empty());
        had.extend(missing);
    }
}

/// How long a pull takes.
const PULL: Duration = Duration::from_secs(1);

impl MemoryStore {
    /// What is in it.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Lives through the next fate of a step.
    pub(crate) async fn live(&self, step: Step) -> Result<(), StoreError> {
        let fate = {
            let mut state = self.state();
            let fates = state.fates.get_mut(&step);
            fates.and_then(VecDeque::pop_front).unwrap_or(Fate::Well)
        };
        match fate {
            Fate::Well => Ok(()),
            Fate::Fail => Err(StoreError::Refused {
                call: "Store.Step",
                cause: format!("{step:?} is refused"),
            }),
            Fate::Panic => panic!("a bug in {step:?}"),
            Fate::After(happens) => {
                happens();
                Ok(())
            }
            Fate::Slow(time) => {
                tokio::time::sleep(time).await;
                Ok(())
            }
            Fate::Hang(happens) => {
                happens();
                std::future::pending().await
            }
        }
    }
}

/// A blob on its way in.
pub(crate) struct Writer {
    store: MemoryStore,
    claimed: Option<Digest>,
    offset: u64,
    bytes: Vec<u8>,
    hasher: Hasher,
    taken: usize,
}

impl BlobWriter for Writer {
    fn offset(&self) -> u64 {
        self.offset
    }

    async fn write(&mut self, chunk: &[u8]) -> Result<(), StoreError> {
        self.hasher.update(chunk);
        let gather = self.store.state().gather.clone();
        if let (0, Some(gather)) = (self.taken, gather) {
            self.store.state().gathered += 1;
            gather.wait().await;
        }
        let there = usize::try_from(self.offset)
            .unwrap()
            .saturating_sub(self.taken);
        self.taken += chunk.len();
        let chunk = &chunk[there.min(chunk.len())..];
        if chunk.is_empty() {
            return Ok(());
        }
        let mut state = self.store.state();
        state.chunks += 1;
        let chunks = state.chunks;
        if let Some((_, happen)) = state.at_chunk.take_if(|(at, _)| *at == chunks) {
            happen();
        }
        if let Some((_, error)) = state.fail_at_chunk.take_if(|(at, _)| *at == chunks) {
            return Err(error);
        }
        self.bytes.extend_from_slice(chunk);
        if let Some(claimed) = &self.claimed {
            state.ingests.insert(claimed.clone(), self.bytes.clone());
        }
        Ok(())
    }

    fn digest(&self) -> Digest {
        self.hasher.clone().finish()
    }

    async fn commit(self, digest: &Digest, labels: Labels) -> Result<(), StoreError> {
        let mut state = self.store.state();
        state.open -= 1;
        let mut hasher = Hasher::default();
        hasher.update(&self.bytes);
        let actual = hasher.finish();
        state.ingests.remove(digest);
        if actual != *digest {
            return Err(StoreError::Mismatch {
                expected: digest.clone(),
                cause: actual.to_string(),
            });
        }
        let bytes = self.bytes.len() as u64;
        state.tally.count(BlobWay::Sent, bytes);
        match state.blobs.get(digest) {
            Some(_) => state.label(digest, &labels),
            None => {
                state.blobs.insert(digest.clone(), (self.bytes, labels));
                state.unsynced.insert(digest.clone());
            }
        }
        Ok(())
    }

    async fn abort(self) -> Result<(), StoreError> {
        let mut state = self.store.state();
        state.open -= 1;
        if let Some(claimed) = &self.claimed {
            state.ingests.remove(claimed);
        }
        Ok(())
    }
}

impl ImageStore for MemoryStore {
    type Lease = ();
    type Writer = Writer;

    fn owner(&self) -> &PinOwner {
        static OWNER: LazyLock<PinOwner> = LazyLock::new(PinOwner::default);
        &OWNER
    }

    fn moved(&self) -> u64 {
        self.state().moved
    }

    fn tally(&self) -> BlobTally {
        self.state().tally.clone()
    }

    async fn begin_lease(&self, _purpose: &str) -> Result<(), StoreError> {
        self.live(Step::BeginLease).await?;
        self.state().leases += 1;
        Ok(())
    }

    async fn release(&self, (): ()) -> Result<bool, StoreError> {
        let mut state = self.state();
        state.leases -= 1;
        let is_lost = state.loses_at_end > 0;
        if is_lost {
            state.loses_at_end -= 1;
            state.blobs.pop_first();
        }
        let has_snapshots = !state.snapshots.is_empty();
        if has_snapshots && state.loses_snapshots_at_end > 0 {
            state.loses_snapshots_at_end -= 1;
            state.snapshots.clear();
            return Ok(false);
        }
        Ok(!is_lost)
    }

    async fn release_and_collect(&self, (): ()) -> Result<bool, StoreError> {
        self.state().collected += 1;
        self.release(()).await
    }

    async fn has_image(&self, image: &Image) -> Result<bool, StoreError> {
        let state = self.state();
        let has = state.images.get(&image.name);
        Ok(has.is_some_and(|has| {
            let is_set = |(key, value)| has.labels.get(key) == Some(value);
            has.target == image.target && image.labels.iter().all(is_set)
        }))
    }

    async fn has_labelled(
        &self,
        digest: &Digest,
        size: u64,
        labels: &Labels,
    ) -> Result<bool, StoreError> {
        let state = self.state();
        Ok(state.blobs.get(digest).is_some_and(|(bytes, has)| {
            bytes.len() as u64 == size
                && source_labels::missing(has, labels).is_empty()
                && !state.wrong.contains(digest)
        }))
    }

    async fn faults(&self, blobs: Vec<NeededBlob>) -> Result<BlobFaults, StoreError> {
        let state = self.state();
        let fault = |blob: NeededBlob| match state.blobs.get(&blob.digest) {
            None => Some((blob.digest, BlobFault::NoRecord)),
            Some(_) if state.wrong.contains(&blob.digest) => Some((blob.digest, BlobFault::Bytes)),
            Some((bytes, _)) if bytes.len() as u64 == blob.size => None,
            Some((bytes, _)) => Some((blob.digest, BlobFault::FileLength(bytes.len() as u64))),
        };
        Ok(blobs.into_iter().filter_map(fault).collect())
    }

    async fn hash_blobs(
        &self,
        blobs: Vec<NeededBlob>,
        _rate: u64,
    ) -> Result<BlobFaults, StoreError> {
        self.live(Step::HashBlobs).await?;
        let mut state = self.state();
        let mut faults = BlobFaults::new();
        for NeededBlob { digest, .. } in blobs {
            let blob = state.blobs.get(&digest);
            if blob.is_some_and(|(bytes, _)| Digest::of(bytes) != digest) {
                state.wrong.insert(digest.clone());
                faults.insert(digest, BlobFault::Bytes);
            }
        }
        Ok(faults)
    }

    async fn discard_if_damaged(&self, (): &(), digest: &Digest) -> Result<(), StoreError> {
        let mut state = self.state();
        state.discarded.push(digest.clone());
        state.blobs.remove(digest);
        state.wrong.remove(digest);
        Ok(())
    }

    async fn has_blob(&self, (): &(), digest: &Digest) -> Result<bool, StoreError> {
        let mut state = self.state();
        state.asked += 1;
        Ok(state.blobs.contains_key(digest))
    }

    async fn half_written(&self, digest: &Digest) -> Result<u64, StoreError> {
        let state = self.state();
        let half = state.ingests.get(digest);
        Ok(half.map_or(0, |bytes| bytes.len() as u64))
    }

    async fn free_space(&self) -> Option<u64> {
        let state = self.state();
        let taken = state.blobs.values().map(|(bytes, _)| bytes.len() as u64);
        let half = state.ingests.values().map(|bytes| bytes.len() as u64);
        let taken = taken.chain(half).sum();
        Some(state.capacity?.saturating_sub(taken))
    }

    async fn open_blob(&self, (): &(), blob: NewBlob) -> Result<Opened<Writer>, StoreError> {
        let mut state = self.state();
        state.writes += 1;
        let claimed = match blob {
            NewBlob::Known { digest, .. } => Some(digest),
            NewBlob::Unnamed { key, .. } => {
                state.keys.push(key);
                None
            }
        };
        if let Some(digest) = &claimed
            && let Some((bytes, _)) = state.blobs.get(digest)
        {
            if Digest::of(bytes) == *digest {
                return Ok(Opened::Exists(None));
            }
            state.blobs.remove(digest);
            state.wrong.remove(digest);
        }
        state.opened += 1;
        state.open += 1;
        let half = claimed
            .as_ref()
            .and_then(|digest| state.ingests.get(digest))
            .cloned();
        let bytes = half.unwrap_or_default();
        let offset = bytes.len() as u64;
        Ok(Opened::Writer(Writer {
            store: self.clone(),
            claimed,
            offset,
            bytes,
            hasher: Hasher::default(),
            taken: 0,
        }))
    }

    async fn read_blob(&self, digest: &Digest, _limit: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let holds_reads = {
            let mut state = self.state();
            state.read.push((digest.clone(), current().id()));
            if let Some(error) = &state.fail_read {
                return Err(error.clone());
            }
            state.holds_reads
        };
        if holds_reads {
            std::future::pending::<()>().await;
        }
        Ok(self
            .state()
            .blobs
            .get(digest)
            .map(|(bytes, _)| bytes.clone()))
    }

    async fn layer(&self, diff_id: &Digest) -> Result<Option<StoredLayer>, StoreError> {
        let state = self.state();
        let unpacked = |labels: &Labels| {
            let label = labels.get("containerd.io/uncompressed");
            label.is_some_and(|label| label == diff_id.as_str())
        };
        let mut blobs = state.blobs.iter();
        let found = blobs.find(|(digest, (_, labels))| *digest == diff_id || unpacked(labels));
        Ok(found.map(|(digest, (bytes, _))| StoredLayer {
            digest: digest.clone(),
            size: bytes.len() as u64,
        }))
    }

    async fn label_blob(&self, digest: &Digest, labels: Labels) -> Result<(), StoreError> {
        let mut state = self.state();
        if let Some(left) = &mut state.collects_after {
            *left -= 1;
            if *left == 0 {
                state.collects_after = None;
                state.blobs.remove(digest);
                let digest = digest.clone();
                return Err(StoreError::Collected { digest });
            }
        }
        let before = state.labelled;
        state.label(digest, &labels);
        state.writes += state.labelled - before;
        Ok(())
    }

    async fn sync(&self) -> Result<(), StoreError> {
        let mut state = self.state();
        state.unsynced.clear();
        state.fail_sync.take().map_or(Ok(()), Err)
    }

    async fn unpack(&self, (): &(), image: &RootFileSystem) -> Result<usize, UnpackError> {
        {
            let mut state = self.state();
            state.unpacks += 1;
            state.unpacking += 1;
            state.most_unpacking = state.most_unpacking.max(state.unpacking);
        }
        let lived = self.live(Step::Unpack).await;
        let mut state = self.state();
        state.unpacking -= 1;
        lived?;
        assert!(state.leases > 0, "unpacked without a lease");
        let mut made = 0;
        for DiffLayer { blob, chain_id, .. } in &image.layers {
            if !state.blobs.contains_key(&blob.digest) {
                return Err(UnpackError::Lacks {
                    layer: NeededBlob {
                        digest: blob.digest.clone(),
                        size: blob.size,
                    },
                    cause: "not found".to_owned(),
                });
            }
            made += usize::from(state.snapshots.insert(chain_id.clone()));
        }
        if let Some(top) = image.top() {
            let label = (OF_SNAPSHOT.to_owned(), top.to_string());
            state.label(&image.config, &Labels::from([label]));
        }
        Ok(made)
    }

    async fn unpacked(&self) -> Result<BTreeSet<Digest>, UnpackError> {
        self.live(Step::ListUnpacked).await?;
        let state = self.state();
        let is_there = |labels: &Labels| {
            let top = labels
                .get(OF_SNAPSHOT)
                .map(|top| Digest::parse(top).unwrap());
            top.is_some_and(|top| state.snapshots.contains(&top))
        };
        let unpacked = state
            .blobs
            .iter()
            .filter(|(_, (_, labels))| is_there(labels));
        Ok(unpacked.map(|(digest, _)| digest.clone()).collect())
    }

    async fn put_image(&self, (): &(), image: &Image) -> Result<(), StoreError> {
        let mut state = self.state();
        let is_synced = !state.unsynced.contains(&image.target.digest);
        assert!(is_synced, "named before it was on the disk");
        state.check(&image.name, Doing::Put)?;
        let is_new = state.images.get(&image.name) != Some(image);
        state.writes += usize::from(is_new);
        state.images.insert(image.name.clone(), image.clone());
        Ok(())
    }

    async fn unpin(&self, name: &str) -> Result<(), StoreError> {
        let mut state = self.state();
        state.check(name, Doing::Unpin)?;
        if let Some(image) = state.images.get_mut(name)
            && self.owner().owns(image.labels.get(OWNER_LABEL))
        {
            for (key, _) in self.owner().pins() {
                image.labels.remove(key);
            }
        }
        Ok(())
    }

    async fn take_over(&self, name: &str) -> Result<(), StoreError> {
        if let Some(image) = self.state().images.get_mut(name)
            && self.owner().takes_over(image.labels.get(OWNER_LABEL))
        {
            let (key, value) = DEFAULT_PIN;
            image.labels.insert(key.to_owned(), value.to_owned());
        }
        Ok(())
    }

    async fn image(&self, name: &str) -> Result<Option<Image>, StoreError> {
        Ok(self.state().images.get(name).cloned())
    }

    async fn images(&self) -> Result<Vec<Image>, StoreError> {
        self.live(Step::ListImages).await?;
        Ok(self.state().images.values().cloned().collect())
    }

    async fn seen_by_runtime(&self, image: &Image) -> Result<(), StoreError> {
        let mut state = self.state();
        let put = state.images.get(&image.name);
        assert_eq!(put, Some(image), "asked for before it was there");
        state.check(&image.name, Doing::See)?;
        state.seen.push(image.name.clone());
        Ok(())
    }

    async fn runtime_has(&self, name: &str) -> Result<bool, StoreError> {
        let mut state = self.state();
        if let Some(away) = &state.away {
            return Err(away.clone());
        }
        state.looked_up.push(name.to_owned());
        Ok(state.images.contains_key(name))
    }

    async fn sandbox_image(&self) -> Option<String> {
        self.state().sandbox_image.clone()
    }

    async fn pull(&self, name: &str, login: Option<&Login>) -> Result<(), PullError> {
        let answer = {
            let mut state = self.state();
            state.pulled.push(name.to_owned());
            if let Some(Login::Password { username, .. }) = login {
                state.logins.push(username.clone());
            }
            state.pulling += 1;
            state.most_pulling = state.most_pulling.max(state.pulling);
            state.registry.get(name).cloned()
        };
        tokio::time::sleep(PULL).await;
        self.state().pulling -= 1;
        match answer {
            Some(Ok(image)) => {
                self.state().receive(name, image);
                Ok(())
            }
            Some(Err(error)) => Err(error),
            None => std::future::pending().await,
        }
    }

    async fn pull_blob(
        &self,
        (): &(),
        name: &str,
        digest: &Digest,
        _login: Option<&Login>,
    ) -> Result<(), PullError> {
        let mut state = self.state();
        state.pulled_blobs.push(digest.clone());
        let mut served = state.served.iter();
        let bytes = served.find(|bytes| Digest::of(bytes) == *digest).cloned();
        let bytes = bytes.ok_or(PullError::Failed(format!("{name}: not found")))?;
        state.blobs.insert(digest.clone(), (bytes, Labels::new()));
        Ok(())
    }
}
