//! READY, and exit status 0, never come of a component that ended. A process of its own runs the
//! load, with a source and a store that fail at each step; what the service manager hears is read
//! from a real socket.

use std::collections::VecDeque;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use stowd::containerd::NotServing;
use stowd::digest::Digest;
use stowd::image_store::{Descriptor, Image, StoreError};
use stowd::intake::{Intake, Settings};
use stowd::notify::Notifier;
use stowd::pin::{OWNER_LABEL, PinOwner};
use stowd::platform::Wanted;
use stowd::puller::PullRules;
use stowd::service::{Ending, FatalError, LoadOptions, Mode, StoreService, load};
use stowd::source_event::{DirectoryId, EntrySource, Listing, SourceEvent};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::memory_store::{Doing, MemoryStore};

/// What happens, in the process that runs the load.
const SCENARIO: &str = "STOWD_TEST_SCENARIO";
/// Its state directory.
const STATE_DIR: &str = "STOWD_TEST_STATE_DIR";

/// What a source does, one after the other; then it waits for ever.
enum Act {
    Tell(SourceEvent),
    End,
    Panic,
    /// Waits, so that READY can come before what follows.
    Wait,
}

struct Acts(Mutex<VecDeque<Act>>);

impl Acts {
    fn take(&self) -> Option<Act> {
        self.0.lock().unwrap().pop_front()
    }

    fn is_to_wait(&self) -> bool {
        matches!(self.0.lock().unwrap().front(), Some(Act::Wait))
    }
}

impl EntrySource for Acts {
    async fn next(&self) -> Option<SourceEvent> {
        while self.is_to_wait() {
            // A wait that is dropped half way is done again.
            tokio::time::sleep(Duration::from_millis(600)).await;
            self.take();
        }
        match self.take() {
            Some(Act::Tell(event)) => Some(event),
            Some(Act::End) => None,
            Some(Act::Panic) => panic!("a bug in the source"),
            Some(Act::Wait) | None => std::future::pending().await,
        }
    }

    fn rescan(&self) {}

    fn look(&self, _path: &Path) {}

    fn set_settle(&self, _settle: Duration) {}
}

impl StoreService for MemoryStore {
    async fn serving(
        &self,
        _timeout: Duration,
        _on_wait: impl Fn(Duration, &str),
    ) -> Result<(), NotServing> {
        let mut state = self.state();
        match state.servings.pop_front() {
            Some(false) => Err(NotServing::NoCri),
            _ => Ok(()),
        }
    }

    async fn write_directly(&self) {}

    async fn stale_leases(&self) -> Result<Vec<()>, StoreError> {
        Ok(Vec::new())
    }

    async fn own_leases(&self) -> Result<Vec<()>, StoreError> {
        Ok(Vec::new())
    }

    async fn clear_leases(&self, _leases: &[()]) -> Result<(), StoreError> {
        Ok(())
    }
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

/// Runs a load in which something ends, in the process that [`outcome`] starts.
#[test]
#[ignore = "a part of the other tests of this module"]
fn loader() {
    let Ok(scenario) = std::env::var(SCENARIO) else {
        return;
    };
    let state_dir = PathBuf::from(std::env::var_os(STATE_DIR).unwrap());
    stowd::logging::init("info").unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let ended = runtime.block_on(lived_through(&scenario, state_dir));
    runtime.shutdown_timeout(Duration::from_secs(1));
    match ended {
        Ok((Ending::Loaded, _)) => std::process::exit(0),
        Ok((Ending::Asked, _)) => std::process::exit(2),
        Err(error) => {
            tracing::error!("stopped: {error}");
            std::process::exit(1);
        }
    }
}

async fn lived_through(
    scenario: &str,
    state_dir: PathBuf,
) -> Result<(Ending, stowd::ledger::Summary), FatalError> {
    let listed = || Act::Tell(SourceEvent::Listed(Listing::default()));
    let store = MemoryStore::default();
    let mut mode = Mode::Once;
    let mut refused = None;
    let mut acts = Vec::new();
    let (settings_of, changed) = watch::channel(settings(state_dir));
    let mut settings_of = Some(settings_of);
    match scenario {
        "all is well" => acts.push(listed()),
        "the watch cannot start" => {
            refused = Some(io::Error::from_raw_os_error(24));
        }
        "the source ends at once" => acts.push(Act::End),
        "the source panics" => acts.push(Act::Panic),
        "the source ends after READY" => {
            mode = Mode::Daemon;
            acts.extend([listed(), Act::Wait, Act::End]);
        }
        "the source panics after READY" => {
            mode = Mode::Daemon;
            acts.extend([listed(), Act::Wait, Act::Panic]);
        }
        "a task panics" => {
            store.state().panic_at_list = true;
            acts.push(listed());
        }
        "the channel of the settings is closed" => settings_of = None,
        "the store does not serve" => store.state().servings = [false].into(),
        "the store is gone after the load" => {
            store.state().servings = [true, false].into();
            acts.push(listed());
        }
        other => panic!("{other}"),
    }
    let options = LoadOptions {
        mode,
        direct: false,
        start_timeout: Duration::from_secs(1),
    };
    let start = || match refused {
        Some(error) => Err(FatalError::Signals(error)),
        None => Ok(Acts(Mutex::new(acts.into()))),
    };
    let notifier = Notifier::default();
    let force = CancellationToken::new();
    let interrupt = std::future::pending();
    let ended = load(
        &store, start, changed, options, &notifier, interrupt, &force,
    )
    .await;
    drop(settings_of);
    ended
}

/// What came of a scenario: the exit status, what the service manager heard, and the log.
struct Outcome {
    status: Option<i32>,
    heard: Vec<String>,
    log: String,
}

fn outcome(scenario: &str) -> Outcome {
    let dir = TempDir::new().unwrap();
    let socket = dir.path().join("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    // A process that hangs is ended, and the test fails.
    let output = Command::new("timeout")
        .arg("60")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "service::loader", "--ignored", "--nocapture"])
        .env("NOTIFY_SOCKET", &socket)
        .env(SCENARIO, scenario)
        .env(STATE_DIR, dir.path())
        .env_remove("RUST_LOG")
        .env_remove("JOURNAL_STREAM")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    manager.set_nonblocking(true).unwrap();
    let mut heard = Vec::new();
    let mut datagram = [0; 8192];
    while let Ok(length) = manager.recv(&mut datagram) {
        heard.push(String::from_utf8_lossy(&datagram[..length]).into_owned());
    }
    Outcome {
        status: output.status.code(),
        heard,
        log: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn is_ready(datagram: &str) -> bool {
    datagram.lines().any(|line| line == "READY=1")
}

#[test]
fn a_load_that_is_over_is_ready_and_ends_with_0() {
    let Outcome { status, heard, log } = outcome("all is well");
    assert_eq!(status, Some(0), "{heard:?}\n{log}");
    assert!(heard.iter().any(|datagram| is_ready(datagram)), "{heard:?}");
}

#[test]
fn nothing_that_ends_is_taken_for_success() {
    for (scenario, cause, may_be_ready) in [
        ("the watch cannot start", "Too many open files", false),
        (
            "the source ends at once",
            "images directory is not followed",
            false,
        ),
        ("the source panics", "panicked", false),
        (
            "the source ends after READY",
            "images directory is not followed",
            true,
        ),
        ("the source panics after READY", "panicked", true),
        ("a task panics", "panicked", false),
        (
            "the channel of the settings is closed",
            "settings are not told",
            false,
        ),
        ("the store does not serve", "CRI plugin", false),
        ("the store is gone after the load", "CRI plugin", false),
    ] {
        let Outcome { status, heard, log } = outcome(scenario);
        let told = format!("{scenario}: {status:?} {heard:#?}\n{log}");
        assert_eq!(status, Some(1), "{told}");
        assert_eq!(
            heard.iter().any(|datagram| is_ready(datagram)),
            may_be_ready,
            "{told}"
        );
        let statuses = heard.iter().rev().flat_map(|datagram| datagram.lines());
        let last = statuses
            .filter_map(|line| line.strip_prefix("STATUS="))
            .next();
        let last = last.unwrap_or_default();
        assert!(
            last.starts_with("failed: ") && last.contains(cause),
            "{told}"
        );
        assert!(log.contains(cause), "{told}");
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
    let listing = Listing {
        directories: [(state_dir.path().join("images"), id)].into(),
        ..Listing::default()
    };
    let acts = [Act::Tell(SourceEvent::Listed(listing))];
    let source = Acts(Mutex::new(acts.into()));
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
