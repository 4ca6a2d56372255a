//! The shell around the plan, over a store in memory and a source of few words.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use stowd::digest::Digest;
use stowd::image_store::{Descriptor, Image, StoreError};
use stowd::intake::{Intake, IntakeError, Settings};
use stowd::pin::{OWNER_LABEL, PinOwner};
use stowd::platform::Wanted;
use stowd::puller::PullRules;
use stowd::source_event::{DirectoryId, EntrySource, Listing, SourceEvent};
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::memory_store::{Doing, MemoryStore};

/// A source that says what a test sends. One task at a time waits.
struct Told(tokio::sync::Mutex<mpsc::UnboundedReceiver<SourceEvent>>);

impl EntrySource for Told {
    async fn next(&self) -> Option<SourceEvent> {
        self.0.lock().await.recv().await
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
        unpin_removed: true,
        wanted: Wanted::All,
        pulls: PullRules {
            extra_registries: Vec::new(),
            parallel: 1,
            timeout: Duration::from_secs(60),
            auth_file: None,
        },
        ready_timeout: Duration::from_secs(60),
    }
}

#[tokio::test]
async fn settings_that_are_not_told_any_more_are_an_error() {
    let state_dir = TempDir::new().unwrap();
    let (settings_of, changed) = watch::channel(settings(state_dir.path().to_owned()));
    let (_tell, source) = told();
    let (intake, progress) = Intake::new(MemoryStore::default(), source, changed, None);
    drop(settings_of);
    let ended = intake.run(CancellationToken::new()).await;
    assert!(
        matches!(ended, Err(IntakeError::SettingsEnded)),
        "{ended:?}"
    );
    assert!(progress.has_changed().is_err());
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
    let listing = Listing {
        directories: [(state_dir.path().join("images"), id)].into(),
        ..Listing::default()
    };
    let (tell, source) = told();
    tell.send(SourceEvent::Listed(listing)).unwrap();
    let (_settings, changed) = watch::channel(settings(state_dir.path().to_owned()));
    let (intake, _progress) = Intake::new(store.clone(), source, changed, None);
    let stop = CancellationToken::new();
    let working = tokio::spawn(intake.run(stop.clone()));
    let began = Instant::now();
    let is_pinned = |name: &str| store.state().images[name].labels.contains_key(OWNER_LABEL);
    while is_pinned(names[1]) {
        assert!(began.elapsed() < Duration::from_secs(60), "it stays pinned");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(is_pinned(names[0]));
    stop.cancel();
    working.await.unwrap().unwrap();
}
