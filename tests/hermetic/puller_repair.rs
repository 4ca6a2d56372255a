//! Images of lists whose blobs are damaged: what is thrown away of them, what brings it back, and what
//! stays where nothing does.

use std::time::Duration;

use stowd::digest::Digest;
use stowd::entry::{Entry, Identity, Kind};
use stowd::image_store::{Descriptor, Image, Labels, PullError};
use stowd::ledger::ImportedImage;
use stowd::plan::EntryResult;
use stowd::progress::Meter;
use stowd::puller::{PullRules, Puller};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::memory_store::MemoryStore;

const A: &str = "registry.example/a:1";
const LAYER: &[u8] = b"a layer";
const CONFIG: &[u8] = b"{}";

/// A list of one image, which it has brought.
struct Stage {
    dir: TempDir,
    store: MemoryStore,
    puller: Puller<MemoryStore>,
    known: Vec<ImportedImage>,
}

/// What a registry has under [`A`]: the image, and its manifest.
fn served() -> (Image, Vec<u8>) {
    let descriptor = |bytes: &[u8]| {
        let (digest, size) = (Digest::of(bytes), bytes.len());
        format!(r#"{{"digest":"{digest}","size":{size}}}"#)
    };
    let (config, layer) = (descriptor(CONFIG), descriptor(LAYER));
    let manifest = format!(r#"{{"config":{config},"layers":[{layer}]}}"#).into_bytes();
    let image = Image {
        name: A.to_owned(),
        target: Descriptor {
            media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
            digest: Digest::of(&manifest),
            size: manifest.len() as u64,
        },
        labels: Labels::new(),
    };
    (image, manifest)
}

impl Stage {
    async fn new() -> Self {
        let store = MemoryStore::default();
        let rules = PullRules {
            extra_registries: Vec::new(),
            parallel: 2,
            timeout: Duration::from_secs(60),
            auth_file: None,
        };
        let mut stage = Self {
            dir: TempDir::new().unwrap(),
            puller: Puller::new(store.clone(), rules),
            store,
            known: Vec::new(),
        };
        let (image, manifest) = served();
        stage.put(&[&manifest, CONFIG, LAYER]);
        stage.store.state().images.insert(A.to_owned(), image);
        stage.known = stage.work().await.images;
        assert_eq!(stage.known[0].blobs.len(), 3);
        stage
    }

    fn put(&self, blobs: &[&[u8]]) {
        let blobs = blobs.iter();
        let blobs = blobs.map(|bytes| (Digest::of(bytes), (bytes.to_vec(), Labels::new())));
        self.store.state().blobs.extend(blobs);
    }

    fn has(&self, bytes: &[u8]) -> bool {
        self.store.state().blobs.contains_key(&Digest::of(bytes))
    }

    /// The blob is longer than it was.
    fn damage(&self, bytes: &[u8]) {
        let mut state = self.store.state();
        let blob = state.blobs.get_mut(&Digest::of(bytes)).unwrap();
        blob.0.push(b'x');
    }

    fn answering(&self, answer: Result<Image, PullError>) {
        self.store.state().registry.insert(A.to_owned(), answer);
    }

    /// Looks at the list, and pulls what is absent.
    async fn work(&self) -> EntryResult {
        let path = self.dir.path().join("core.txt");
        if !path.exists() {
            std::fs::write(&path, A).unwrap();
        }
        let entry = Entry {
            identity: Identity::of(&std::fs::metadata(&path).unwrap()),
            path,
            kind: Kind::List,
        };
        let (meter, stop) = (Meter::default(), CancellationToken::new());
        let looked = self.puller.look(&entry, &self.known, &meter).await.unwrap();
        if looked.absent.is_empty() {
            return looked.into();
        }
        let pulled = self.puller.pull(&entry, &self.known, looked, &meter, &stop);
        pulled.await.unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn an_image_without_its_configuration_is_not_there() {
    let mut stage = Stage::new().await;
    let refused = PullError::Failed("connection refused".to_owned());
    let (image, _) = served();
    for is_known in [true, false] {
        if !is_known {
            stage.known.clear();
        }
        stage.store.state().blobs.remove(&Digest::of(CONFIG));
        stage.answering(Err(refused.clone()));
        // The runtime has read the configuration before, and shows the image.
        let failed = stage.work().await;
        assert_eq!(
            failed.problems,
            [format!("line 1: {A}: connection refused")]
        );
        assert_eq!(failed.images, []);
        stage.answering(Ok(image.clone()));
        stage.store.state().served = vec![CONFIG.to_vec()];
        let back = stage.work().await;
        assert_eq!((back.problems.len(), back.images.len()), (0, 1));
        assert!(stage.has(CONFIG));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_damaged_stays_while_the_registry_cannot_be_asked() {
    let stage = Stage::new().await;
    let (image, manifest) = served();
    for bytes in [&manifest, CONFIG] {
        stage.damage(bytes);
        let away = PullError::Unresolved("failed to resolve: connection refused".to_owned());
        stage.answering(Err(away));
        let failed = stage.work().await;
        let problem = format!("line 1: {A}: failed to resolve: connection refused");
        assert_eq!(failed.problems, [problem]);
        assert_eq!(stage.store.state().discarded, []);
        assert_eq!(stage.store.state().leases, 0);
        stage.answering(Ok(image.clone()));
        stage.store.state().served = vec![bytes.to_vec()];
        let back = stage.work().await;
        assert_eq!((back.problems.len(), &back.images), (0, &stage.known));
        let discarded = std::mem::take(&mut stage.store.state().discarded);
        assert_eq!(discarded, [Digest::of(bytes)]);
        assert_eq!(stage.store.state().leases, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn where_the_registry_fails_in_the_middle_the_rest_is_kept_until_the_image_is_whole() {
    let stage = Stage::new().await;
    let (image, _) = served();
    stage.damage(CONFIG);
    stage.answering(Err(PullError::Failed("500".to_owned())));
    for hours in [0, 1, 13] {
        tokio::time::advance(Duration::from_secs(hours * 60 * 60)).await;
        let failed = stage.work().await;
        assert_eq!(failed.problems, [format!("line 1: {A}: 500")]);
        assert_eq!(stage.store.state().leases, 1);
    }
    assert_eq!(stage.store.state().discarded, [Digest::of(CONFIG)]);
    stage.answering(Ok(image));
    stage.store.state().served = vec![CONFIG.to_vec()];
    let back = stage.work().await;
    assert_eq!((back.problems.len(), &back.images), (0, &stage.known));
    assert_eq!(stage.store.state().leases, 0);
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_is_unpacked_is_brought_by_itself_where_it_was_thrown_away() {
    let stage = Stage::new().await;
    let (image, _) = served();
    let layer = Digest::of(LAYER);
    stage.answering(Ok(image));
    stage.store.state().unpacked = vec![layer.clone()];
    stage.damage(LAYER);
    // The registry does not give it.
    for _ in 0..2 {
        let failed = stage.work().await;
        assert_eq!(failed.problems.len(), 1);
        assert_eq!(stage.store.state().leases, 1);
    }
    stage.store.state().served = vec![LAYER.to_vec()];
    let back = stage.work().await;
    assert_eq!((back.problems.len(), &back.images), (0, &stage.known));
    assert!(stage.has(LAYER));
    assert_eq!(stage.store.state().leases, 0);
    assert_eq!(stage.store.state().discarded, std::slice::from_ref(&layer));
    assert_eq!(
        stage.store.state().pulled_blobs,
        [&layer; 3].map(Clone::clone)
    );

    // One that the runtime has thrown away would be thrown away again.
    stage.store.state().blobs.remove(&layer);
    let without = stage.work().await;
    assert_eq!((without.problems.len(), without.images.len()), (0, 1));
    assert_eq!(without.images[0].blobs.len(), 2);
    assert_eq!(stage.store.state().pulled_blobs.len(), 3);
}
