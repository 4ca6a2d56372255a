//! SIGHUP: what it means on a terminal, and what it means to a daemon.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::process::is_running;

const DEADLINE: Duration = Duration::from_secs(60);

/// A stowd with a script in containerd's place that serves nothing: stowd waits for it.
struct Site {
    dir: tempfile::TempDir,
    child: Option<Child>,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let d = dir.path().display();
        let script = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/fixtures/supervisor/script"
        );
        let config = format!(
            "state-dir = \"{d}/lib\"\n\
             [containerd]\nbinary = \"{script}\"\naddress = \"{d}/c.sock\"\nroot = \"{d}/root\"\n\
             state = \"{d}/state\"\nextra-args = [\"echo $$ > {d}/new; mv {d}/new {d}/pid; exec sleep 1000\"]\n\
             [images]\ndir = \"{d}/images\"\n"
        );
        fs::write(dir.path().join("stowd.toml"), config).unwrap();
        Self { dir, child: None }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `program` with these arguments, which is to become stowd.
    fn start(&mut self, program: &str, arguments: &[&str], set_up: impl FnOnce(&mut Command)) {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .arg("--config")
            .arg(self.path("stowd.toml"))
            .arg("run")
            .env_remove("NOTIFY_SOCKET")
            .env_remove("JOURNAL_STREAM")
            .env_remove("RUST_LOG")
            .stdout(Stdio::null());
        set_up(&mut command);
        self.child = Some(command.spawn().unwrap());
        // By then stowd listens to signals.
        self.containerd();
    }

    /// The pid of the script, which is written when it runs.
    fn containerd(&self) -> Pid {
        let file = self.path("pid");
        let pid = eventually("containerd's pid", || {
            fs::read_to_string(&file).ok()?.trim().parse().ok()
        });
        Pid::from_raw(pid).unwrap()
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().unwrap();
        kill_process(Pid::from_child(child), signal).unwrap();
    }

    fn end(&mut self) -> ExitStatus {
        let child = self.child.as_mut().unwrap();
        eventually("the end of stowd", || child.try_wait().unwrap())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // containerd goes with it.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn eventually<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(began.elapsed() < DEADLINE, "{what}: not in time");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Both ends of a new terminal.
fn terminal() -> (OwnedFd, File) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let slave = File::options()
        .read(true)
        .write(true)
        .open(Path::new(name.to_str().unwrap()))
        .unwrap();
    (master, slave)
}

/// Starts stowd with the terminal as its controlling one. These tests may themselves have been told to
/// ignore SIGHUP, which is inherited.
fn start_on(site: &mut Site, slave: &File) {
    let stowd = env!("CARGO_BIN_EXE_stowd");
    let arguments = ["--ctty", "env", "--default-signal=HUP", stowd];
    site.start("setsid", &arguments, |command| {
        command
            .stdin(slave.try_clone().unwrap())
            .stderr(slave.try_clone().unwrap());
    });
}

#[test]
fn a_terminal_that_is_closed_ends_stowd_and_containerd_with_it() {
    let mut site = Site::new();
    let (master, slave) = terminal();
    start_on(&mut site, &slave);
    let containerd = site.containerd();
    drop((master, slave));
    assert_eq!(site.end().code(), Some(0));
    assert!(!is_running(containerd.as_raw_pid()), "containerd is left");
}

#[test]
fn a_second_hangup_of_a_terminal_forces_nothing() {
    let mut site = Site::new();
    // This containerd takes a second to end, and says that it has.
    let config = fs::read_to_string(site.path("stowd.toml")).unwrap();
    let done = site.path("done").display().to_string();
    // It has its trap before it is seen to run.
    let trap = format!("trap 'sleep 1; touch {done}; exit 0' TERM; echo $$");
    let config = config.replace("echo $$", &trap);
    let slow = config.replace("exec sleep 1000", "while :; do sleep 0.1; done");
    fs::write(site.path("stowd.toml"), slow).unwrap();
    let (master, slave) = terminal();
    start_on(&mut site, &slave);
    site.signal(Signal::HUP);
    std::thread::sleep(Duration::from_millis(200));
    site.signal(Signal::HUP);
    assert_eq!(site.end().code(), Some(0));
    assert!(site.path("done").exists(), "containerd was killed");
    drop((master, slave));
}

#[test]
fn nohup_is_respected() {
    let mut site = Site::new();
    let (_master, slave) = terminal();
    let log = File::create(site.path("log")).unwrap();
    let arguments = ["--ctty", "nohup", env!("CARGO_BIN_EXE_stowd")];
    site.start("setsid", &arguments, |command| {
        command.stdin(slave.try_clone().unwrap()).stderr(log);
    });
    assert_reloads(&mut site);
}

#[test]
fn a_daemon_reads_its_configuration_again() {
    let mut site = Site::new();
    let (_master, slave) = terminal();
    let log = File::create(site.path("log")).unwrap();
    let notify = site.path("notify");
    let _manager = UnixDatagram::bind(&notify).unwrap();
    // A unit may have a terminal, too (systemd.exec(5), StandardInput=tty).
    let arguments = ["--ctty", env!("CARGO_BIN_EXE_stowd")];
    site.start("setsid", &arguments, |command| {
        command
            .stdin(slave.try_clone().unwrap())
            .env("NOTIFY_SOCKET", &notify)
            .stderr(log);
    });
    assert_reloads(&mut site);
}

/// SIGHUP has the configuration read again, and ends nothing.
fn assert_reloads(site: &mut Site) {
    let containerd = site.containerd();
    site.signal(Signal::HUP);
    let log = site.path("log");
    eventually("the reload", || {
        let said = fs::read_to_string(&log).unwrap();
        said.contains("reloaded; changed: nothing").then_some(())
    });
    assert!(is_running(containerd.as_raw_pid()));
    site.signal(Signal::TERM);
    assert_eq!(site.end().code(), Some(0));
}
