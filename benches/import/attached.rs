//! stowd as a daemon, attached to a containerd that serves already: what is timed is stowd from its
//! first instruction to READY, and nothing of containerd's start.

use std::fs::File;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use stowd::unpack::UnpackWhen;

use crate::archives::Archive;
use crate::support::{Daemon, NotifySocket};

/// Nothing that is measured takes as long.
const DEADLINE: Duration = Duration::from_secs(900);

/// How stowd is started.
#[derive(Debug, Clone)]
pub(crate) struct Stowd {
    pub(crate) binary: PathBuf,
    /// The value of `images.direct`; unset: its default, or this stowd has no such key.
    pub(crate) direct: Option<bool>,
    /// The value of `images.unpack`.
    pub(crate) unpack: UnpackWhen,
}

/// A running one, in the directory of its containerd. Dropped, it is killed.
pub(crate) struct Attached {
    dir: PathBuf,
    child: Child,
    began: Instant,
    /// From just before it was started to READY=1.
    pub(crate) to_ready: Duration,
}

impl Stowd {
    /// Whether its configuration has this key, which variables set.
    pub(crate) fn knows(binary: &Path, variable: &str, value: &str) -> bool {
        let dir = tempfile::tempdir().expect("a directory");
        let config = dir.path().join("stowd.toml");
        std::fs::write(&config, "").expect("stowd.toml");
        let status = Command::new(binary)
            .arg("--config")
            .arg(config)
            .arg("check")
            .env(variable, value)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        status.expect("stowd runs").success()
    }

    /// Starts it with these archives in its images directory, and waits for READY.
    pub(crate) fn ready(&self, daemon: &Daemon, archives: &[Archive]) -> Attached {
        let dir = daemon.dir();
        let images = dir.join("images");
        let _ = std::fs::remove_dir_all(&images);
        std::fs::create_dir(&images).expect("the images directory");
        for archive in archives {
            // Links, so that nothing is copied and the files are as old as they are.
            let name = archive.path.file_name().expect("a file name");
            symlink(&archive.path, images.join(name)).expect("a link");
        }
        let path = dir.join("notify");
        let notify = NotifySocket::bind(&path);
        let (told, ready) = mpsc::channel();
        notify.on_ready(move || {
            // Nothing listens any more when this stowd was given up.
            let _ = told.send(Instant::now());
        });
        let mut command = self.command(daemon, &images);
        command.arg("run").env("NOTIFY_SOCKET", &path);
        let began = Instant::now();
        let mut child = command.spawn().expect("stowd starts");
        let ready = loop {
            if let Ok(ready) = ready.recv_timeout(Duration::from_millis(100)) {
                break ready;
            }
            let ended = child.try_wait().expect("it is our child");
            if ended.is_some() || began.elapsed() > DEADLINE {
                let _ = child.kill();
                panic!("stowd is not ready ({ended:?}):\n{}", log(dir));
            }
        };
        Attached {
            dir: dir.to_owned(),
            child,
            began,
            to_ready: ready - began,
        }
    }

    /// Returns when stowd itself finds that containerd serves, CRI included. The program is in the
    /// page cache then, as `ctr` is, which asked the same in its way.
    pub(crate) fn wait_serving(&self, daemon: &Daemon) {
        let empty = daemon.dir().join("none");
        std::fs::create_dir_all(&empty).expect("an empty images directory");
        let mut command = self.command(daemon, &empty);
        let status = command.args(["run", "--once"]).status();
        let served = status.expect("stowd runs").success();
        assert!(served, "stowd does nothing in vain:\n{}", log(daemon.dir()));
        self.forget(daemon);
    }

    /// Deletes all that it knows of what it did.
    pub(crate) fn forget(&self, daemon: &Daemon) {
        std::fs::remove_dir_all(daemon.dir().join("lib")).expect("the state directory");
    }

    fn command(&self, daemon: &Daemon, images: &Path) -> Command {
        let dir = daemon.dir();
        let config = format!(
            "state-dir = \"{dir}/lib\"\n[containerd]\nsupervise = false\naddress = \"{address}\"\n\
             [images]\ndir = \"{images}\"\nunpack = \"{unpack}\"\n",
            dir = dir.display(),
            address = daemon.address().display(),
            images = images.display(),
            unpack = self.unpack,
        );
        std::fs::write(dir.join("stowd.toml"), config).expect("stowd.toml");
        let log = File::create(dir.join("stowd.log")).expect("a log file");
        let mut command = Command::new(&self.binary);
        command
            .arg("--config")
            .arg(dir.join("stowd.toml"))
            .env_remove("RUST_LOG")
            .env_remove("JOURNAL_STREAM")
            .env_remove("NOTIFY_SOCKET")
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log);
        // What the caller's shell has set is not what is to be measured.
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"STOWD_") {
                command.env_remove(name);
            }
        }
        if let Some(direct) = self.direct {
            command.env("STOWD_IMAGES__DIRECT", direct.to_string());
        }
        command
    }
}

impl Attached {
    /// Its pid.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it has unpacked so many images; answers how long that took from its start.
    pub(crate) fn unpacked(&self, images: usize) -> Duration {
        loop {
            let log = log(&self.dir);
            let unpacked = log.lines().filter(|line| line.contains(" new snapshot"));
            let took = self.began.elapsed();
            if unpacked.count() >= images {
                return took;
            }
            assert!(took < DEADLINE, "stowd does not unpack {images}:\n{log}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn stop(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("it is our child");
        let status = self.child.wait().expect("it is our child");
        assert!(status.success(), "stowd: {status}:\n{}", log(&self.dir));
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn log(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("stowd.log")).unwrap_or_default()
}
