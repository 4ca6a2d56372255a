//! The shell around the plan, over a store in memory and a source of few words.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use stowd::digest::Digest;
use stowd::entry::Entry;
use stowd::image_store::{Descriptor, Image, Labels, StoreError, StoreState};
use stowd::intake::{Intake, IntakeError, Settings};
use stowd::pin::{OWNER_LABEL, PinOwner};
use stowd::platform::Wanted;
use stowd::puller::PullRules;
use stowd::source_event::{DirectoryId, EntrySource, Listed, Listing, SourceEnded, SourceEvent};
use stowd::unpack::UnpackWhen;
use tempfile::TempDir;
use tokio::sync::{Barrier, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::importer::{Draft, entry, noise};
use crate::memory_store::{Doing, Fate, MemoryStore, Step};

/// A source that says what a test sends. One task at a time waits.
struct Told(tokio::sync::Mutex<mpsc::UnboundedReceiver<SourceEvent>>);

impl EntrySource for Told {
    async fn next(&self) -> Result<SourceEvent, SourceEnded> {
        let next = self.0.lock().await.recv().await;
        next.ok_or_else(|| SourceEnded("the test is over".to_owned()))
    }

    fn rescan(&self) {}

    fn look(&self, _path: &Path) {}

    fn set_settle(&self, _settle: Duration) {}
}

fn told() -> (mpsc::UnboundedSender<SourceEvent>, Told) {
    let (tell, told) = mpsc::unbounded_channel();
    (tell, Told(told.into()))
}

fn settings(state_dir: PathBuf) -> Settings {
    Settings {
        dir: state_dir.join("images"),
        state_dir,
        namespace: "n".to_owned(),
        settle: Duration::ZERO,
        parallel: 1,
        scrub: Duration::ZERO,
        scrub_rate: 1 << 30,
        unpin_removed: true,
        wanted: Wanted::All,
        pulls: PullRules {
            extra_registries: Vec::new(),
            parallel: 1,
            timeout: Duration::from_secs(60),
            auth_file: None,
        },
        ready_timeout: Duration::from_secs(60),
        unpack: UnpackWhen::BeforeReady,
    }
}

#[tokio::test]
async fn a_store_that_is_not_followed_any_more_is_an_error() {
    let state_dir = TempDir::new().unwrap();
    let (_settings, changed) = watch::channel(settings(state_dir.path().to_owned()));
    let (_tell, source) = told();
    let (tell_store, state) = watch::channel(StoreState::default());
    let (intake, _progress) = Intake::new(MemoryStore::default(), source, changed, state, None);
    drop(tell_store);
    let ended = intake.run(CancellationToken::new()).await;
    assert!(matches!(ended, Err(IntakeError::StoreEnded)), "{ended:?}");
}

#[tokio::test]
async fn settings_that_are_not_told_any_more_are_an_error() {
    let state_dir = TempDir::new().unwrap();
    let (settings_of, changed) = watch::channel(settings(state_dir.path().to_owned()));
    let (_tell, source) = told();
    let (_tell_store, state) = watch::channel(StoreState::default());
    let (intake, progress) = Intake::new(MemoryStore::default(), source, changed, state, None);
    drop(settings_of);
    let ended = intake.run(CancellationToken::new()).await;
    assert!(
        matches!(ended, Err(IntakeError::SettingsEnded)),
        "{ended:?}"
    );
    assert!(progress.has_changed().is_err());
}

#[test]
fn a_state_directory_that_hangs_does_not_hold_the_end() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    runtime.block_on(async {
        let state_dir = TempDir::new().unwrap();
        let (_settings, changed) = watch::channel(settings(state_dir.path().to_owned()));
        let (_tell, source) = told();
        let (_tell_store, state) = watch::channel(StoreState::default());
        let store = MemoryStore::default();
        let (intake, mut progress) = Intake::new(store, source, changed, state, None);
        let stop = CancellationToken::new();
        let working = tokio::spawn(intake.run(stop.clone()));
        progress.changed().await.unwrap();
        // The one thread for such calls has one that does not return.
        let (returns, returned) = std::sync::mpsc::channel::<()>();
        tokio::task::spawn_blocking(move || returned.recv());
        stop.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(60), working).await;
        drop(returns);
        ended.expect("it ends").unwrap().unwrap();
    });
}

/// It hashes a file, which may take longer than a start may last.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_store_does_by_itself_is_progress() {
    let dir = TempDir::new().unwrap();
    let (_settings, changed) = watch::channel(settings(dir.path().to_owned()));
    let (_tell, source) = told();
    let (_tell_store, state) = watch::channel(StoreState::default());
    let store = MemoryStore::default();
    let heartbeat = Some(Duration::from_millis(20));
    let (intake, mut progress) = Intake::new(store.clone(), source, changed, state, heartbeat);
    let stop = CancellationToken::new();
    let working = tokio::spawn(intake.run(stop.clone()));
    let before = progress.borrow().moved();
    store.state().moved = 7;
    let told = progress.wait_for(|progress| progress.moved() == before + 7);
    let told = tokio::time::timeout(Duration::from_secs(60), told).await;
    assert!(told.is_ok(), "it is not told");
    stop.cancel();
    working.await.unwrap().unwrap();
}

/// An intake whose import of an archive hangs in the middle, its store, and the archive.
struct Hanging {
    store: MemoryStore,
    tell: mpsc::UnboundedSender<SourceEvent>,
    archive: Entry,
    stop: CancellationToken,
    working: JoinHandle<Result<(), IntakeError>>,
    _settings: watch::Sender<Settings>,
    _store_state: watch::Sender<StoreState>,
    _dir: TempDir,
}

/// An archive of an image of 3 MiB: plain, or compressed.
fn archive(dir: &Path, way: usize) -> Entry {
    let mut draft = Draft::new();
    let image = draft.image(noise(3 << 20, 1));
    draft.index(&[("busybox:1", &image.manifest)]);
    entry(&draft.written(dir)[way])
}

fn listed(entry: Entry) -> SourceEvent {
    let whole = true;
    SourceEvent::Listed(Listing {
        entries: vec![Listed { entry, whole }],
        ..Listing::default()
    })
}

impl Hanging {
    async fn new(way: usize) -> Self {
        let dir = TempDir::new().unwrap();
        let archive = archive(dir.path(), way);
        let store = MemoryStore::default();
        // The first chunk waits for another, which never comes.
        store.state().gather = Some(Arc::new(Barrier::new(2)));
        let (tell, source) = told();
        tell.send(listed(archive.clone())).unwrap();
        let (settings, changed) = watch::channel(settings(dir.path().join("state")));
        let (tell_store, state) = watch::channel(StoreState::default());
        let (intake, _progress) = Intake::new(store.clone(), source, changed, state, None);
        let stop = CancellationToken::new();
        let working = tokio::spawn(intake.run(stop.clone()));
        let hanging = Self {
            store,
            tell,
            archive,
            stop,
            working,
            _settings: settings,
            _store_state: tell_store,
            _dir: dir,
        };
        eventually("an import under way", || hanging.store.state().opened == 1).await;
        hanging
    }

    async fn stop(self) {
        self.stop.cancel();
        self.working.await.unwrap().unwrap();
    }
}

async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(60), "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_import_of_a_file_that_is_removed_is_given_up() {
    for way in 0..2 {
        let hanging = Hanging::new(way).await;
        let path = hanging.archive.path.clone();
        std::fs::remove_file(&path).unwrap();
        hanging.tell.send(SourceEvent::Removed(path)).unwrap();
        eventually("its lease is released", || {
            hanging.store.state().leases == 0
        })
        .await;
        let store = hanging.store.clone();
        hanging.stop().await;
        assert_eq!(store.state().chunks, 0);
        assert!(store.state().images.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_import_of_a_file_that_is_replaced_is_given_up_for_the_next() {
    for way in 0..2 {
        let hanging = Hanging::new(way).await;
        let path = hanging.archive.path.clone();
        let (_, next) = (
            hanging.store.state().gather.take(),
            path.with_extension("next"),
        );
        std::fs::copy(&path, &next).unwrap();
        std::fs::rename(&next, &path).unwrap();
        hanging
            .tell
            .send(SourceEvent::Settled(entry(&path)))
            .unwrap();
        eventually("the next is named", || {
            !hanging.store.state().images.is_empty()
        })
        .await;
        let store = hanging.store.clone();
        hanging.stop().await;
        assert_eq!(store.state().leases, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_that_went_with_their_lease_are_made_again() {
    let dir = TempDir::new().unwrap();
    let store = MemoryStore::default();
    store.state().loses_snapshots_at_end = 2;
    let (tell, source) = told();
    tell.send(listed(archive(dir.path(), 0))).unwrap();
    let (_settings, changed) = watch::channel(settings(dir.path().join("state")));
    let (_store_state, state) = watch::channel(StoreState::default());
    let (intake, mut progress) = Intake::new(store.clone(), source, changed, state, None);
    let stop = CancellationToken::new();
    let working = tokio::spawn(intake.run(stop.clone()));
    let is_over = progress.wait_for(|progress| progress.loaded);
    tokio::time::timeout(Duration::from_secs(60), is_over)
        .await
        .unwrap()
        .unwrap();
    {
        let state = store.state();
        assert_eq!((state.unpacks, state.loses_snapshots_at_end), (3, 0));
        assert_eq!((state.snapshots.len(), state.leases), (1, 0));
    }
    stop.cancel();
    working.await.unwrap().unwrap();
}

/// The lease of an import that is dropped is ended by the daemon, or expires.
#[test]
fn the_threads_of_an_import_end_with_the_intake() {
    for way in 0..2 {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let store = runtime.block_on(async {
            let hanging = Hanging::new(way).await;
            let store = hanging.store.clone();
            hanging.stop().await;
            store
        });
        // This waits for all threads that may block.
        drop(runtime);
        assert_eq!(store.state().chunks, 0);
        assert!(store.state().images.is_empty());
    }
}

#[tokio::test]
async fn a_name_that_cannot_be_unpinned_keeps_no_other_one_pinned() {
    let store = MemoryStore::default();
    let pinned = |name: &str| Image {
        name: name.to_owned(),
        target: Descriptor {
            media_type: String::new(),
            digest: Digest::of(name.as_bytes()),
            size: 1,
        },
        labels: PinOwner::default().labels(),
    };
    let names = ["r.example/a:1", "r.example/b:1"];
    let refused = StoreError::Refused {
        call: "Images.Update",
        cause: "no".to_owned(),
    };
    store.state().images = names.map(|name| (name.to_owned(), pinned(name))).into();
    store.state().fail_name = Some((names[0].to_owned(), Doing::Unpin, refused));

    let state_dir = TempDir::new().unwrap();
    let id = DirectoryId {
        file_system: 1,
        inode: 1,
    };
    let images = state_dir.path().join("images");
    std::fs::create_dir(&images).unwrap();
    // Of an empty directory nothing is known: the mount may be late.
    let empty = images.join("empty.tar");
    std::fs::write(&empty, "").unwrap();
    let listing = Listing {
        entries: vec![Listed {
            entry: entry(&empty),
            whole: true,
        }],
        directories: [(images, id)].into(),
        ..Listing::default()
    };
    let (tell, source) = told();
    tell.send(SourceEvent::Listed(listing)).unwrap();
    let (_settings, changed) = watch::channel(settings(state_dir.path().to_owned()));
    let (_tell_store, state) = watch::channel(StoreState::default());
    let (intake, _progress) = Intake::new(store.clone(), source, changed, state, None);
    let stop = CancellationToken::new();
    let working = tokio::spawn(intake.run(stop.clone()));
    let is_pinned = |name: &str| store.state().images[name].labels.contains_key(OWNER_LABEL);
    eventually("the other is unpinned", || !is_pinned(names[1])).await;
    assert!(is_pinned(names[0]));
    stop.cancel();
    working.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_sandbox_image_is_asked_for_and_looked_up_before_the_load_is_over() {
    let name = "r.example/pause:1";
    for is_there in [false, true] {
        let store = MemoryStore::default();
        store.state().sandbox_image = Some(name.to_owned());
        let image = Image {
            name: name.to_owned(),
            target: Descriptor {
                media_type: String::new(),
                digest: Digest::of(b"pause"),
                size: 1,
            },
            labels: Labels::new(),
        };
        store
            .state()
            .images
            .extend(is_there.then(|| (name.to_owned(), image)));
        let state_dir = TempDir::new().unwrap();
        let (tell, source) = told();
        tell.send(SourceEvent::Listed(Listing::default())).unwrap();
        let (_settings, changed) = watch::channel(settings(state_dir.path().to_owned()));
        let (_tell_store, state) = watch::channel(StoreState::default());
        let (intake, mut progress) = Intake::new(store, source, changed, state, None);
        let stop = CancellationToken::new();
        let working = tokio::spawn(intake.run(stop.clone()));
        let missing = {
            let loaded = progress.wait_for(|progress| progress.loaded);
            let loaded = tokio::time::timeout(Duration::from_secs(60), loaded).await;
            loaded.unwrap().unwrap().missing_sandbox_image.clone()
        };
        assert_eq!(missing.is_none(), is_there, "{missing:?}");
        stop.cancel();
        working.await.unwrap().unwrap();
    }
}

/// The second archive ends while the ledger rests after the write of the first.
#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_is_on_the_disk_when_the_load_is_over() {
    let dir = TempDir::new().unwrap();
    let names = ["a.tar", "b.tar"];
    let entries = names.map(|name| {
        let path = dir.path().join(name);
        std::fs::rename(archive(dir.path(), 0).path, &path).unwrap();
        entry(&path)
    });
    let (tell, source) = told();
    let listing = Listing {
        entries: entries.map(|entry| Listed { entry, whole: true }).into(),
        ..Listing::default()
    };
    tell.send(SourceEvent::Listed(listing)).unwrap();
    let state_dir = dir.path().join("state");
    let (_settings, changed) = watch::channel(settings(state_dir.clone()));
    let (_tell_store, state) = watch::channel(StoreState::default());
    let store = MemoryStore::default();
    let (intake, mut progress) = Intake::new(store, source, changed, state, None);
    let stop = CancellationToken::new();
    let working = tokio::spawn(intake.run(stop.clone()));
    let loaded = progress.wait_for(|progress| progress.loaded);
    let loaded = tokio::time::timeout(Duration::from_secs(60), loaded).await;
    drop(loaded.unwrap().unwrap());
    let ledger = std::fs::read_to_string(state_dir.join("ledger.json")).unwrap();
    for name in names {
        assert!(ledger.contains(name), "{name} in {ledger}");
    }
    stop.cancel();
    working.await.unwrap().unwrap();
}

/// Its document cannot be read, and no record tells of it. The others are read all the same.
#[tokio::test(flavor = "multi_thread")]
async fn one_pinned_image_that_cannot_be_read_ends_no_scrub() {
    let dir = TempDir::new().unwrap();
    let memory = r#"{"ended":{"secs_since_epoch":0,"nanos_since_epoch":0},"after":null,"suspect_since":null}"#;
    std::fs::write(dir.path().join("scrub.json"), memory).unwrap();
    let store = MemoryStore::default();
    let target = Descriptor {
        media_type: String::new(),
        digest: Digest::of(b"manifest"),
        size: 8,
    };
    let (has_read, reads) = std::sync::mpsc::channel();
    {
        let mut state = store.state();
        let image = Image {
            name: "r.example/a:1".to_owned(),
            target,
            labels: PinOwner::default().labels(),
        };
        state.receive("r.example/a:1", image);
        state.fail_read = Some(StoreError::Refused {
            call: "Content.Read",
            cause: "input/output error".to_owned(),
        });
        let read = Fate::After(Box::new(move || has_read.send(()).unwrap()));
        state
            .fates
            .entry(Step::HashBlobs)
            .or_default()
            .push_back(read);
    }
    let scrubbing = Settings {
        scrub: Duration::from_secs(1),
        unpin_removed: false,
        ..settings(dir.path().to_owned())
    };
    let (_settings, changed) = watch::channel(scrubbing);
    let (tell, source) = told();
    tell.send(SourceEvent::Listed(Listing::default())).unwrap();
    let (_tell_store, state) = watch::channel(StoreState::default());
    let (intake, _progress) = Intake::new(store.clone(), source, changed, state, None);
    let stop = CancellationToken::new();
    let working = tokio::spawn(intake.run(stop.clone()));
    let is_read = move || reads.recv_timeout(Duration::from_secs(60));
    let is_read = tokio::task::spawn_blocking(is_read).await.unwrap();
    assert_eq!(is_read, Ok(()), "nothing is read");
    stop.cancel();
    working.await.unwrap().unwrap();
}

/// Of the right length, and with the scrub that is due all the time.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_bytes_are_read_and_written_anew_and_a_clean_stop_leaves_no_marker() {
    for way in 0..2 {
        let dir = TempDir::new().unwrap();
        let archive = archive(dir.path(), way);
        let store = MemoryStore::default();
        let (tell, source) = told();
        tell.send(listed(archive)).unwrap();
        let state_dir = dir.path().join("state");
        std::fs::create_dir(&state_dir).unwrap();
        let scrubbing = Settings {
            scrub: Duration::from_millis(50),
            ..settings(state_dir.clone())
        };
        let (_settings, changed) = watch::channel(scrubbing);
        let (_tell_store, state) = watch::channel(StoreState::default());
        let (intake, _progress) = Intake::new(store.clone(), source, changed, state, None);
        let stop = CancellationToken::new();
        let working = tokio::spawn(intake.run(stop.clone()));
        eventually("it is imported", || !store.state().images.is_empty()).await;
        let digests = store.state().blobs.keys().cloned().collect::<Vec<_>>();
        assert_eq!(digests.len(), 3);
        for digest in digests {
            let is_right = || {
                let state = store.state();
                let blob = state.blobs.get(&digest);
                blob.is_some_and(|(bytes, _)| Digest::of(bytes) == digest)
            };
            eventually("it is there", is_right).await;
            store.state().blobs.get_mut(&digest).unwrap().0[0] ^= 1;
            assert!(!is_right());
            eventually("it is written anew", is_right).await;
        }
        assert!(state_dir.join("running.json").exists());
        stop.cancel();
        working.await.unwrap().unwrap();
        assert!(!state_dir.join("running.json").exists());
        assert!(state_dir.join("scrub.json").exists());
    }
}
