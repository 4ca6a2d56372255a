//! An images directory in a temporary directory, and one that receives its notices.

use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use stowd::images_dir::{Cause, Noticed, Watch, WatchOptions, scan};
use tempfile::TempDir;

pub(super) const DEADLINE: Duration = Duration::from_secs(10);

/// No timer helps: what is noticed was told by the kernel.
pub(super) const NEVER: WatchOptions = WatchOptions {
    rescan: Duration::ZERO,
    poll: Duration::ZERO,
};

pub(super) struct Images {
    /// What the images directory is in, without links in its path.
    pub(super) around: PathBuf,
    pub(super) dir: PathBuf,
    pub(super) watch: Watch,
    pub(super) seen: Vec<Noticed>,
    _temporary: TempDir,
}

impl Images {
    /// An images directory that is there, and empty.
    pub(super) fn empty() -> Self {
        Self::over("images", |around| {
            fs::create_dir(around.join("images")).unwrap()
        })
    }

    /// `dir` is watched, once `prepare` has made what there is.
    pub(super) fn over(dir: &str, prepare: impl FnOnce(&Path)) -> Self {
        Self::with(NEVER, dir, prepare)
    }

    pub(super) fn with(options: WatchOptions, dir: &str, prepare: impl FnOnce(&Path)) -> Self {
        Self::inside_of(TempDir::new().unwrap(), options, dir, prepare)
    }

    /// An empty one in memory, where thousands of files are made in a moment.
    pub(super) fn in_memory() -> Self {
        let temporary = TempDir::new_in("/dev/shm").unwrap();
        Self::inside_of(temporary, NEVER, "images", |around| {
            fs::create_dir(around.join("images")).unwrap();
        })
    }

    fn inside_of(
        temporary: TempDir,
        options: WatchOptions,
        dir: &str,
        prepare: impl FnOnce(&Path),
    ) -> Self {
        let around = fs::canonicalize(temporary.path()).unwrap();
        prepare(&around);
        let dir = around.join(dir);
        let watch = Watch::start(&dir, options).unwrap();
        Self {
            around,
            dir,
            watch,
            seen: Vec::new(),
            _temporary: temporary,
        }
    }

    pub(super) fn at(&self, path: &str) -> PathBuf {
        self.dir.join(path)
    }

    pub(super) fn write(&self, path: &str) {
        fs::write(self.at(path), path).unwrap();
    }

    pub(super) async fn next(&mut self) -> Noticed {
        let next = tokio::time::timeout(DEADLINE, self.watch.next()).await;
        let Ok(notice) = next else {
            panic!("no more notices; seen so far: {:#?}", self.seen);
        };
        let notice = notice.expect("the thread ended");
        self.seen.push(notice.clone());
        notice
    }

    /// Until this path itself is told.
    pub(super) async fn touched(&mut self, path: &str) {
        let path = self.at(path);
        while self.next().await != Noticed::Touched(path.clone()) {}
    }

    pub(super) async fn rescan(&mut self) -> Cause {
        loop {
            if let Noticed::Rescan(cause) = self.next().await {
                return cause;
            }
        }
    }

    /// As the receiver sees it: until the path is told, or a rescan finds it.
    pub(super) async fn found(&mut self, path: &str) {
        let path = self.at(path);
        loop {
            match self.next().await {
                Noticed::Touched(touched) if touched == path => return,
                Noticed::Rescan(_) if self.lists(&path) => return,
                _ => {}
            }
        }
    }

    /// Until a rescan does not find it any more.
    pub(super) async fn lost(&mut self, path: &str) {
        let path = self.at(path);
        while !matches!(self.next().await, Noticed::Rescan(_)) || self.lists(&path) {}
    }

    pub(super) fn lists(&self, path: &Path) -> bool {
        scan(&self.dir)
            .entries
            .iter()
            .any(|entry| entry.path == path)
    }

    /// Writes a file and waits for the very file: the directory that it is in is watched.
    pub(super) async fn is_followed(&mut self, path: &str) {
        self.quiet().await;
        self.write(path);
        self.touched(path).await;
    }

    /// All that has happened has been told. Answers what was told meanwhile, without the rescan
    /// that was asked for to learn it.
    pub(super) async fn quiet(&mut self) -> Vec<Noticed> {
        let from = self.seen.len();
        loop {
            let before = self.seen.len();
            self.watch.rescan();
            let cause = self.rescan().await;
            if cause == Cause::Asked && self.seen.len() == before + 1 {
                let told = self.seen[from..].iter();
                let asked = Noticed::Rescan(Cause::Asked);
                return told.filter(|notice| **notice != asked).cloned().collect();
            }
        }
    }
}

pub(super) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let in_time = tokio::time::timeout(DEADLINE, waited).await;
    assert!(in_time.is_ok(), "{what}: not within {DEADLINE:?}");
}

const INSIDE: &str = "STOWD_TEST_INSIDE";

/// Runs the body of the test `name` in a process of its own, which `wrapper` starts: in a namespace
/// where limits and mounts are nobody else's.
pub(super) fn inside<F: Future<Output = ()>>(
    wrapper: &[&str],
    name: &str,
    body: impl FnOnce() -> F,
) {
    if std::env::var_os(INSIDE).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().unwrap();
        return runtime.block_on(body());
    }
    let output = Command::new(wrapper[0])
        .args(&wrapper[1..])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{wrapper:?}: {said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
