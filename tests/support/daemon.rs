//! A private containerd.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::generations::Generation;
use super::pause::PAUSE_IMAGE;
use super::process::is_stopped;
use super::sweep::sweep;

/// How a [`Daemon`] differs from the usual one.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Where its content goes; unset: inside its own directory.
    pub root: Option<PathBuf>,
    /// Lines for the end of its configuration file.
    pub config: String,
    /// Lines for the head of its configuration file, before the first table.
    pub head: String,
}

/// A containerd with its own root, state and socket. Dropped, it is killed by its pid, its shims and
/// their containers with it, and its log is printed if the test failed.
pub struct Daemon {
    generation: Generation,
    dir: tempfile::TempDir,
    root: PathBuf,
    child: Child,
}

impl Daemon {
    /// Starts the usual one; it may not serve yet.
    pub fn start(generation: &Generation) -> Self {
        Self::start_with(generation, Options::default())
    }

    /// Starts one that differs; it may not serve yet.
    pub fn start_with(generation: &Generation, options: Options) -> Self {
        // Not in /tmp, which may be a tmpfs: the overlayfs snapshotter wants a real file system. Not
        // below target/, whose path may be too long for a socket.
        let dir = tempfile::Builder::new()
            .prefix("stowd-")
            .tempdir_in("/var/tmp")
            .expect("a directory in /var/tmp");
        let root = options.root.unwrap_or_else(|| dir.path().join("root"));
        let text = format!(
            "version = {}\n{}\n{}\n{}",
            generation.config_version(),
            options.head,
            generation.config(dir.path(), PAUSE_IMAGE),
            options.config
        );
        std::fs::write(dir.path().join("config.toml"), text).expect("config.toml");
        let child = spawn(generation, dir.path(), &root);
        Self {
            generation: generation.clone(),
            dir,
            root,
            child,
        }
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The gRPC socket: containerd's services and CRI.
    pub fn address(&self) -> PathBuf {
        self.dir.path().join("c.sock")
    }

    /// Where its content is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Its own directory, with room for a test's files; goes with it.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Which generation it is.
    pub fn generation(&self) -> &Generation {
        &self.generation
    }

    /// All that it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Kills it with SIGKILL and waits for its end. Its containers live on.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Has it end in order (SIGTERM), and waits for its end.
    pub fn stop(&mut self) {
        self.signal(Signal::TERM);
        let _ = self.child.wait();
    }

    /// Starts another one at its address, on this root.
    pub fn replace(&mut self, root: PathBuf) {
        self.root = root;
        self.restart();
    }

    /// Starts it again, on the same root.
    pub fn restart(&mut self) {
        self.kill();
        self.child = spawn(&self.generation, self.dir.path(), &self.root);
    }

    /// Stops it in its tracks (SIGSTOP), and returns when it has stopped; `thaw` lets it go on.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
        let began = Instant::now();
        while !is_stopped(self.child.id()) {
            let waited = began.elapsed();
            assert!(waited < Duration::from_secs(60), "it does not stop");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Lets a frozen one go on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it is our child");
    }

    /// Runs this generation's `ctr` against it and answers its output. Panics when ctr fails.
    pub fn ctr(&self, arguments: &[&str]) -> String {
        self.try_ctr(arguments)
            .unwrap_or_else(|stderr| panic!("ctr {arguments:?}: {stderr}"))
    }

    /// Runs this generation's `ctr` against it: its output, or its complaint.
    pub fn try_ctr(&self, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new(self.generation.ctr())
            .arg("--address")
            .arg(self.address())
            .args(arguments)
            .env_remove("CONTAINERD_NAMESPACE")
            .output()
            .expect("ctr runs");
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// Waits until it answers `ctr`; panics with its log when it does not.
    pub fn wait(&mut self) {
        let began = Instant::now();
        loop {
            let seen = match self.try_ctr(&["--connect-timeout", "1s", "namespaces", "list"]) {
                Ok(_) => return,
                Err(seen) => seen,
            };
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("containerd has ended with {status}");
            }
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "containerd {} does not answer: {seen}",
                self.generation.name
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // SIGKILL ends a stopped process as well.
        self.kill();
        sweep(self.dir.path());
        if std::thread::panicking() {
            eprintln!(
                "--- log of containerd {} ---\n{}--- end ---",
                self.generation.name,
                self.log()
            );
        }
    }
}

fn spawn(generation: &Generation, dir: &Path, root: &Path) -> Child {
    let log = File::options()
        .create(true)
        .append(true)
        .open(dir.join("log"))
        .expect("a log file");
    Command::new(generation.containerd())
        .arg("--config")
        .arg(dir.join("config.toml"))
        .arg("--address")
        .arg(dir.join("c.sock"))
        .arg("--root")
        .arg(root)
        .arg("--state")
        .arg(dir.join("state"))
        .env("PATH", generation.path())
        .env_remove("NOTIFY_SOCKET")
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a second handle"))
        .stderr(log)
        .spawn()
        .expect("containerd starts")
}
