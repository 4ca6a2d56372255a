//! A booted systemd to test in, with stowd and containerd installed: see
//! `tests/support/systemd-machine`, which makes it.
//!
//! Every test boots its own, which takes about a second, so that no test sees what another left.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Generation, reference, runc};

/// One at a time: each has a containerd to run, and times are asserted.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A machine that runs until it is dropped.
pub(crate) struct Machine {
    script: Child,
    leader: u32,
    dir: TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Machine {
    /// Boots a machine with the containerd of the reference, and returns when its systemd takes commands.
    pub(crate) fn boot() -> Self {
        Self::boot_with(&reference(), &[])
    }

    /// Boots a machine with the containerd of a generation and with further options for systemd-nspawn,
    /// such as `--bind=HOST:INSIDE`.
    pub(crate) fn boot_with(generation: &Generation, nspawn_options: &[&str]) -> Self {
        Self::boot_stowd(env!("CARGO_BIN_EXE_stowd"), generation, nspawn_options)
    }

    /// As [`boot_with`](Self::boot_with), on the containerd of the reference and without stowd.
    pub(crate) fn boot_without_stowd(nspawn_options: &[&str]) -> Self {
        Self::boot_stowd("", &reference(), nspawn_options)
    }

    fn boot_stowd(binary: &str, generation: &Generation, nspawn_options: &[&str]) -> Self {
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = tempfile::Builder::new()
            .prefix("systemd-")
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
            .expect("a directory under target/tmp");
        let errors = File::create(dir.path().join("errors")).expect("a file for errors");
        let script = Command::new(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/support/systemd-machine"
        ))
        .arg(dir.path().join("machine"))
        .arg(binary)
        .args(nspawn_options)
        .env("MACHINE_CONTAINERD", &generation.bin)
        .env("MACHINE_RUNC", runc())
        // Held open for as long as the machine shall live.
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(errors)
        .spawn()
        .expect("tests/support/systemd-machine runs");
        let mut machine = Self {
            script,
            leader: 0,
            dir,
            _turn: turn,
        };
        machine.leader = machine.wait_for_leader();
        machine
    }

    fn wait_for_leader(&mut self) -> u32 {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if let Ok(leader) = std::fs::read_to_string(self.dir.path().join("machine/leader")) {
                return leader.trim().parse().expect("a process id");
            }
            let ended = self
                .script
                .try_wait()
                .expect("the script can be waited for");
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "no machine ({ended:?}): {}",
                std::fs::read_to_string(self.dir.path().join("errors")).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A command to be run in the machine, as root, ended after `limit` (its status is then 124).
    pub(crate) fn command(&self, limit: Duration, command: &[&str]) -> Command {
        let mut entered = Command::new("nsenter");
        entered
            // The root too: where the tests run in a chroot, it is not that of the namespace.
            .args(["--target", &self.leader.to_string(), "--all"])
            .args(["--root", "--wd", "--"])
            .args(["timeout", "--kill-after=5", &limit.as_secs().to_string()])
            .args(command)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin")
            .env("LC_ALL", "C.UTF-8")
            .env("SYSTEMD_PAGER", "")
            .stdin(Stdio::null());
        entered
    }

    /// Runs a command in the machine and waits for it, two minutes at most.
    pub(crate) fn run(&self, command: &[&str]) -> Output {
        self.command(Duration::from_secs(120), command)
            .output()
            .expect("nsenter runs")
    }

    /// As [`run`](Self::run), for a command that must succeed: answers its standard output. A failure
    /// panics with what the command and the journal said.
    pub(crate) fn ok(&self, command: &[&str]) -> String {
        let output = self.run(command);
        if !output.status.success() {
            let journal = self.run(&[
                "journalctl",
                "--boot",
                "--lines=60",
                "--output=short-monotonic",
            ]);
            panic!(
                "{command:?} failed: {}\n{}{}\njournal:\n{}",
                output.status,
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr),
                String::from_utf8_lossy(&journal.stdout)
            );
        }
        String::from_utf8(output.stdout).expect("text")
    }

    /// A property of a unit, such as `StatusText` of `stowd.service`.
    pub(crate) fn property(&self, unit: &str, name: &str) -> String {
        let said = self.ok(&["systemctl", "show", "--value", "--property", name, unit]);
        said.trim_end().to_owned()
    }

    /// The journal's entries of a unit since boot, oldest first, with their fields.
    pub(crate) fn journal(&self, unit: &str) -> Vec<Value> {
        self.ok(&["journalctl", "--sync"]);
        // Without --all a field of more than 4096 bytes is null.
        let asked = ["--boot", "--all", "--output=json", "--unit", unit];
        let lines = self.ok(&[&["journalctl"], &asked[..]].concat());
        lines
            .lines()
            .map(|line| serde_json::from_str(line).expect("journalctl writes JSON"))
            .collect()
    }

    /// Where the test finds a path of the machine's: an absolute path, seen through its mounts.
    pub(crate) fn path(&self, inside: &str) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.leader));
        root.join(inside.trim_start_matches('/'))
    }

    /// Writes a file of the machine's, with the directories that lead to it.
    pub(crate) fn write(&self, inside: &str, contents: &str) {
        let path = self.path(inside);
        std::fs::create_dir_all(path.parent().expect("a path with a name")).expect("directories");
        std::fs::write(&path, contents).unwrap_or_else(|error| panic!("{inside}: {error}"));
    }

    /// Copies a file of the host's to the machine as a careful user does: under another name first,
    /// then renamed.
    pub(crate) fn put(&self, file: &Path, inside: &str) {
        let path = self.path(inside);
        let part = path.with_extension("part");
        std::fs::copy(file, &part).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        std::fs::rename(&part, &path).unwrap_or_else(|error| panic!("{inside}: {error}"));
    }

    /// The process id that a process of the machine's (as `systemctl show -p MainPID` says it) has on
    /// the host, where it can be killed.
    pub(crate) fn host_pid(&self, inside: u32) -> Option<u32> {
        let namespace = std::fs::read_link(format!("/proc/{}/ns/pid", self.leader)).ok()?;
        let wanted = inside.to_string();
        std::fs::read_dir("/proc").ok()?.find_map(|entry| {
            let entry = entry.ok()?.path();
            if std::fs::read_link(entry.join("ns/pid")).ok()? != namespace {
                return None;
            }
            let status = std::fs::read_to_string(entry.join("status")).ok()?;
            let ids = status
                .lines()
                .find_map(|line| line.strip_prefix("NSpid:"))?;
            let mut ids = ids.split_whitespace();
            let host = ids.next()?.parse().ok()?;
            (ids.next_back() == Some(wanted.as_str())).then_some(host)
        })
    }

    /// Probes until there is an answer, and panics at the deadline with what was waited for and the
    /// machine's journal.
    pub(crate) fn eventually<T>(
        &self,
        within: Duration,
        what: &str,
        mut probe: impl FnMut() -> Option<T>,
    ) -> T {
        let deadline = Instant::now() + within;
        loop {
            if let Some(answer) = probe() {
                return answer;
            }
            if Instant::now() >= deadline {
                let journal = self.ok(&["journalctl", "--boot", "--lines=60"]);
                panic!("not within {within:?}: {what}\njournal:\n{journal}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Shuts the machine down in order, as `systemctl poweroff` does; true when it ended by itself
    /// within the limit.
    pub(crate) fn power_off(mut self, limit: Duration) -> bool {
        // Its end may cut the command short.
        let _ = self.run(&["systemctl", "poweroff"]);
        self.ends_within(limit)
    }

    fn ends_within(&mut self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            match self.script.try_wait() {
                Ok(Some(_)) => return true,
                Ok(None) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                _ => return false,
            }
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The end of its standard input tells the script to end the machine and to clean up.
        drop(self.script.stdin.take());
        if !self.ends_within(Duration::from_secs(30)) {
            // Dropped anyway, and the panic would hide the test's own.
            let _ = self.script.kill();
            let _ = self.script.wait();
        }
    }
}

/// Whether a command was ended by its time limit.
pub(crate) fn timed_out(output: &Output) -> bool {
    output.status.code() == Some(124) || output.status.signal() == Some(9)
}
