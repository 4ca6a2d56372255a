//! What a daemon stands between in a test: a store in memory whose steps have fates, a source that
//! acts, and a script for containerd.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};
use stowd::config::Config;
use stowd::containerd::{ClaimError, InstanceInUse, NotServing};
use stowd::image_store::{StoreError, StoreState};
use stowd::images_dir::{Source, SourceOptions, Unwatchable};
use stowd::process_identity;
use stowd::service::{Claim, Edges, StoreService};
use stowd::source_event::{DirectoryId, EntrySource, Listed, Listing, SourceEnded, SourceEvent};
use stowd::status::{DaemonPhase, EntryState};
use stowd::status_file;
use tokio::sync::watch;

use crate::importer::{Draft, entry, noise};
use crate::memory_store::{Fate, MemoryStore, Step};
use crate::notify::allow_descriptors;

/// The file that says that the service manager has heard READY.
pub(super) const READY: &str = "ready";
/// The file that says that it has heard that containerd does not answer.
pub(super) const SILENT: &str = "silent";
/// The script that stands for containerd exits when this file is there.
const EXIT: &str = "exit";

/// What a source does, one after the other; then it says nothing more.
pub(super) enum Act {
    Tell(SourceEvent),
    /// Waits until this file is there.
    Until(&'static str),
    Do(Box<dyn FnOnce() + Send>),
    End,
    Panic,
}

/// How the source begins.
enum Start {
    Acts(Vec<Act>),
    /// The images directory itself.
    Real,
    /// The same, without a file descriptor for it.
    Refused,
}

/// A scenario that is being put together.
pub(super) struct Stage {
    dir: PathBuf,
    store: MemoryStore,
    start: Start,
    has_store: bool,
    containerd: String,
}

impl Stage {
    pub(super) fn new(dir: PathBuf) -> Self {
        std::fs::create_dir_all(dir.join("images")).unwrap();
        Self {
            dir,
            store: MemoryStore::default(),
            start: Start::Acts(Vec::new()),
            has_store: true,
            containerd: "supervise = false".to_owned(),
        }
    }

    /// What happens each time that the daemon comes to a step.
    pub(super) fn at(&mut self, step: Step, fates: impl Into<VecDeque<Fate>>) {
        self.store.state().fates.insert(step, fates.into());
    }

    pub(super) fn acts(&mut self, acts: impl Into<Vec<Act>>) {
        self.start = Start::Acts(acts.into());
    }

    /// Follows the images directory itself.
    pub(super) fn follow(&mut self) {
        self.start = Start::Real;
    }

    pub(super) fn refuse_watch(&mut self) {
        self.start = Start::Refused;
    }

    pub(super) fn refuse_store(&mut self) {
        self.has_store = false;
    }

    /// The store says that it is away, or that it has returned so often.
    pub(super) fn says(&self, away: Option<&str>, returns: u64) -> Box<dyn FnOnce() + Send> {
        let (store, away) = (self.store.clone(), away.map(str::to_owned));
        Box::new(move || {
            store.state().says = Some(StoreState {
                away,
                returns,
                losses: 0,
            });
        })
    }

    /// An empty store takes the place of the store, which says that it has returned.
    pub(super) fn replace_store(&self) -> Box<dyn FnOnce() + Send> {
        let (store, says) = (self.store.clone(), self.says(None, 1));
        Box::new(move || {
            store.state().images.clear();
            store.state().blobs.clear();
            says();
        })
    }

    /// The store must have an image.
    pub(super) fn has_image(&self) -> Box<dyn FnOnce() + Send> {
        let store = self.store.clone();
        Box::new(move || assert!(!store.state().images.is_empty(), "READY of an empty store"))
    }

    /// The status must say that the daemon is ready, with one entry and its image.
    pub(super) fn has_status(&self) -> Box<dyn FnOnce() + Send> {
        let path = self.state_dir().join("status.json");
        Box::new(move || {
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o644);
            let document = status_file::read(&path).unwrap().unwrap();
            assert_eq!(document.phase, DaemonPhase::Ready);
            assert_eq!(document.pid, std::process::id());
            assert_eq!(
                process_identity::start_of(document.pid),
                Some(document.pid_start)
            );
            let board = document.on_board;
            assert!(board.loaded, "{board:?}");
            let entries = board
                .entries
                .iter()
                .map(|entry| (entry.state, entry.images.len()));
            assert_eq!(entries.collect::<Vec<_>>(), [(EntryState::Imported, 1)]);
        })
    }

    /// Another stowd takes the instance.
    pub(super) fn lose_instance(&self) -> Box<dyn FnOnce() + Send> {
        let store = self.store.clone();
        Box::new(move || store.state().is_instance_lost = true)
    }

    pub(super) fn state_dir(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// Runs this program as containerd.
    pub(super) fn supervise(&mut self, binary: &str) {
        let dir = self.dir.display();
        self.containerd = format!(
            "binary = \"{binary}\"\naddress = \"{dir}/c.sock\"\nroot = \"{dir}/root\"\n\
             state = \"{dir}/run\"\nextra-args = [\"trap 'exit 0' TERM; while [ ! -e {dir}/{EXIT} ]; \
             do sleep 0.01; done; echo out of luck; exit 3\"]"
        );
    }

    /// Runs a script as containerd, which exits when the result is called.
    pub(super) fn mortal(&mut self) -> Box<dyn FnOnce() + Send> {
        self.supervise(&fixture("script"));
        self.mark(EXIT)
    }

    /// Has the address of containerd held by a process that is dying: the start of containerd waits
    /// for it.
    pub(super) fn hold_address(&mut self) {
        self.supervise(&fixture("script"));
        let script = r#"use IO::Socket::UNIX;
            my $s = IO::Socket::UNIX->new(Local => $ARGV[0], Listen => 4096) or die;
            exit 0 if fork;
            close(STDOUT); close(STDERR);
            select(undef, undef, undef, 0.1) while -e $ARGV[0];"#;
        let mut perl = Command::new("perl");
        let held = perl
            .args(["-e", script])
            .arg(self.dir.join("c.sock"))
            .status();
        assert!(held.unwrap().success());
    }

    /// A whole archive in the images directory, as a listing has it.
    pub(super) fn archive(&self) -> Listed {
        let mut draft = Draft::new();
        let image = draft.image(noise(1000, 1));
        draft.index(&[("busybox:1", &image.manifest)]);
        let path = draft.written(&self.dir)[0].clone();
        let stowed = self.dir.join("images/a.tar");
        std::fs::rename(path, &stowed).unwrap();
        Listed {
            entry: entry(&stowed),
            whole: true,
        }
    }

    /// Puts a file there that acts may wait for.
    pub(super) fn mark(&self, file: &str) -> Box<dyn FnOnce() + Send> {
        let file = self.dir.join(file);
        Box::new(move || std::fs::write(file, "").unwrap())
    }

    /// Waits until a file is there, on the thread of the caller.
    pub(super) fn until(&self, file: &str) -> Box<dyn FnOnce() + Send> {
        let file = self.dir.join(file);
        Box::new(move || {
            while !file.exists() {
                std::thread::sleep(Duration::from_millis(2));
            }
        })
    }

    pub(super) fn config_file(&self) -> PathBuf {
        let file = self.dir.join("config.toml");
        let (dir, containerd) = (self.dir.display(), &self.containerd);
        let text = format!(
            "state-dir = \"{dir}/state\"\n[images]\ndir = \"{dir}/images\"\nsettle = \"100ms\"\n\
             [containerd]\n{containerd}\n"
        );
        std::fs::write(&file, text).unwrap();
        file
    }

    pub(super) fn edges(self) -> StageEdges {
        StageEdges {
            dir: self.dir,
            store: self.has_store.then_some(self.store),
            start: Mutex::new(Some(self.start)),
        }
    }
}

/// A program of `tests/fixtures/supervisor`.
pub(super) fn fixture(name: &str) -> String {
    format!(
        "{}/tests/fixtures/supervisor/{name}",
        env!("CARGO_MANIFEST_DIR")
    )
}

/// The signal of a service manager that stops this process.
pub(super) fn stop() -> Box<dyn FnOnce() + Send> {
    Box::new(|| kill_process(getpid(), Signal::TERM).unwrap())
}

/// The same, as soon as the daemon listens to it.
pub(super) fn stop_when_heard() {
    let listens = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let caught = status
            .lines()
            .find_map(|line| line.strip_prefix("SigCgt:\t"));
        let caught = u64::from_str_radix(caught.unwrap(), 16).unwrap();
        caught & (1 << (Signal::TERM.as_raw() - 1)) != 0
    };
    std::thread::spawn(move || {
        while !listens() {
            std::thread::sleep(Duration::from_millis(1));
        }
        stop()();
    });
}

/// A listing with these entries, and with the directories that they are in: each is a file system of its
/// own.
pub(super) fn listed(entries: impl Into<Vec<Listed>>) -> Act {
    let entries = entries.into();
    let directories = entries.iter().filter_map(|listed| {
        let dir = listed.entry.path.parent()?;
        let file_system = dir.components().count() as u64;
        let inode = 1;
        Some((dir.to_owned(), DirectoryId { file_system, inode }))
    });
    Act::Tell(SourceEvent::Listed(Listing {
        directories: directories.collect(),
        entries,
        ..Listing::default()
    }))
}

pub(super) struct StageEdges {
    dir: PathBuf,
    store: Option<MemoryStore>,
    start: Mutex<Option<Start>>,
}

impl Edges for StageEdges {
    type Store = MemoryStore;
    type Source = StageSource;

    fn store(&self, _config: &Config) -> Result<MemoryStore, StoreError> {
        self.store.clone().ok_or_else(|| StoreError::Refused {
            call: "connect",
            cause: "no such namespace".to_owned(),
        })
    }

    fn source(&self, dir: &Path, options: SourceOptions) -> Result<StageSource, Unwatchable> {
        let start = self.start.lock().unwrap().take();
        match start.expect("the source is started once") {
            Start::Acts(acts) => Ok(StageSource::Acts(self.dir.clone(), Mutex::new(acts.into()))),
            Start::Real => Source::start(dir, options).map(StageSource::Real),
            Start::Refused => {
                allow_descriptors(0);
                Source::start(dir, options).map(StageSource::Real)
            }
        }
    }
}

pub(super) enum StageSource {
    Acts(PathBuf, Mutex<VecDeque<Act>>),
    Real(Source),
}

impl EntrySource for StageSource {
    async fn next(&self) -> Result<SourceEvent, SourceEnded> {
        let (dir, acts) = match self {
            Self::Real(source) => return source.next().await,
            Self::Acts(dir, acts) => (dir, acts),
        };
        loop {
            let awaited = match acts.lock().unwrap().front() {
                Some(Act::Until(file)) => Some(dir.join(file)),
                _ => None,
            };
            // A wait that is dropped half way is done again.
            while awaited.as_ref().is_some_and(|file| !file.exists()) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            let act = acts.lock().unwrap().pop_front();
            match act {
                Some(Act::Tell(event)) => return Ok(event),
                Some(Act::Until(_)) => {}
                Some(Act::Do(act)) => act(),
                Some(Act::End) => return Err(SourceEnded("no thread".to_owned())),
                Some(Act::Panic) => panic!("a bug in the source"),
                None => return std::future::pending().await,
            }
        }
    }

    fn rescan(&self) {}

    fn look(&self, path: &Path) {
        if let Self::Real(source) = self {
            source.look(path);
        }
    }

    fn set_settle(&self, _settle: Duration) {}
}

/// The instance of a store in memory.
pub(crate) struct Claimed(MemoryStore);

impl Claim for Claimed {
    async fn lost(&mut self) -> InstanceInUse {
        while !self.0.state().is_instance_lost {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        in_use()
    }

    async fn release(self) -> Result<(), StoreError> {
        Ok(())
    }
}

fn in_use() -> InstanceInUse {
    InstanceInUse {
        instance: "default".to_owned(),
        holder: None,
    }
}

impl StoreService for MemoryStore {
    type Claim = Claimed;

    async fn claim(&self, _state_dir: &Path) -> Result<Claimed, ClaimError> {
        self.live(Step::Claim).await.map_err(|_| in_use())?;
        Ok(Claimed(self.clone()))
    }

    async fn serving(
        &self,
        timeout: Duration,
        _on_wait: impl Fn(Duration, &str),
    ) -> Result<(), NotServing> {
        let served = self.live(Step::Serve).await;
        served.map_err(|error| NotServing::Timeout {
            seconds: timeout.as_secs(),
            last: error.to_string(),
        })
    }

    async fn follow_state(&self, _is_asked: bool, state: &watch::Sender<StoreState>) -> Infallible {
        loop {
            let said = self.state().says.take();
            if let Some(said) = said {
                state.send_replace(said);
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn find_content(&self, _direct: bool) {
        // It is done without where it cannot be had.
        let _ = self.live(Step::FindContent).await;
    }

    async fn stale_leases(&self) -> Result<Vec<()>, StoreError> {
        self.live(Step::FindStaleLeases).await.map(|()| vec![()])
    }

    async fn own_leases(&self) -> Result<Vec<()>, StoreError> {
        self.live(Step::FindOwnLeases).await.map(|()| Vec::new())
    }

    async fn clear_leases(&self, _leases: &[()]) -> Result<(), StoreError> {
        self.live(Step::ClearLeases).await
    }
}
