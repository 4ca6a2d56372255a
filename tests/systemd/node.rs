//! A machine whose stowd is configured so that containers run in it: what its systemd, its journal
//! and its processes tell of stowd.

use std::ops::Deref;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::machine::Machine;
use crate::support::{Generation, fixture, reference};

/// The unit under test.
pub(crate) const UNIT: &str = "stowd.service";
/// How long anything that takes a second on a quiet machine may take on a busy one.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// The image of `pause.tar`.
pub(crate) const PAUSE: &str = "registry.stowd.test/pause:1";
/// The image of `skopeo-docker.tar.zst`: busybox.
pub(crate) const BUSYBOX: &str = "registry.stowd.test/skopeo:1.35";

/// A machine with stowd as the installer installs it. Only what containerd needs to run containers
/// here is configured, and a short `images.settle`.
pub(crate) struct Node {
    machine: Machine,
}

/// A process of the machine's: a pid alone may have been given to another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    /// As processes of the machine's see it.
    pub(crate) pid: u32,
    /// In ticks since boot.
    started: u64,
}

impl Deref for Node {
    type Target = Machine;

    fn deref(&self) -> &Machine {
        &self.machine
    }
}

impl Node {
    /// With the containerd of the reference. stowd is not started.
    pub(crate) fn boot() -> Self {
        Self::boot_with(&reference())
    }

    /// With the containerd of this generation. stowd is not started.
    pub(crate) fn boot_with(generation: &Generation) -> Self {
        Self::configured(Machine::boot_with(generation, &[]), generation)
    }

    /// With stowd still to be installed, and options of systemd-nspawn.
    pub(crate) fn boot_without_stowd(nspawn_options: &[&str]) -> Self {
        let machine = Machine::boot_without_stowd(nspawn_options);
        Self::configured(machine, &reference())
    }

    fn configured(machine: Machine, generation: &Generation) -> Self {
        let node = Self { machine };
        let plugins = generation.config(Path::new("/run/stowd-test"), PAUSE);
        node.write(
            "/etc/stowd/containerd.toml",
            &format!("version = {}\n{plugins}", generation.config_version()),
        );
        node.configure(
            "50-test",
            "[containerd]\nconfig = \"/etc/stowd/containerd.toml\"\n[images]\nsettle = \"100ms\"\n",
        );
        node
    }

    /// As [`Machine::power_off`].
    pub(crate) fn power_off(self, limit: Duration) -> bool {
        self.machine.power_off(limit)
    }

    /// Writes a drop-in of stowd's configuration.
    pub(crate) fn configure(&self, name: &str, text: &str) {
        self.write(&format!("/etc/stowd/config.d/{name}.toml"), text);
    }

    /// The machine has a `containerd.service`, as a distribution's package brings one.
    pub(crate) fn have_containerd_service(&self) {
        let unit = "/etc/systemd/system/containerd.service";
        // It may be a link to nothing.
        self.ok(&["rm", "-f", unit]);
        self.write(
            unit,
            "[Service]\nType=notify\nExecStart=/usr/local/bin/containerd \
             --config=/etc/stowd/containerd.toml --root=/var/lib/stowd/other\nRestart=always\nRestartSec=1\n\
             [Install]\nWantedBy=multi-user.target\n",
        );
        self.ok(&["systemctl", "daemon-reload"]);
    }

    /// Writes a drop-in of the unit: lines of `[Service]`.
    pub(crate) fn drop_in(&self, lines: &str) {
        self.write(
            &format!("/etc/systemd/system/{UNIT}.d/test.conf"),
            &format!("[Service]\n{lines}\n"),
        );
        self.ok(&["systemctl", "daemon-reload"]);
    }

    /// Puts archives that `make-archives` made into the images directory.
    pub(crate) fn stow(&self, files: &[&str]) {
        for file in files {
            self.put(
                &fixture(file).path,
                &format!("/var/lib/stowd/images/{file}"),
            );
        }
    }

    /// `systemctl VERB stowd`, which must succeed.
    pub(crate) fn systemctl(&self, verb: &str) {
        self.ok(&["systemctl", verb, UNIT]);
    }

    /// `systemctl start stowd`, while something else is done.
    pub(crate) fn begin_start(&self) -> Child {
        let mut command = self.command(Duration::from_secs(120), &["systemctl", "start", UNIT]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("nsenter runs")
    }

    /// A property of the unit.
    pub(crate) fn shows(&self, name: &str) -> String {
        self.property(UNIT, name)
    }

    /// A property of the unit that is a time in microseconds.
    pub(crate) fn time(&self, name: &str) -> Duration {
        let time = self.shows(name);
        Duration::from_micros(
            time.parse()
                .unwrap_or_else(|_| panic!("{name} is {time:?}")),
        )
    }

    /// Asserts properties of the unit.
    pub(crate) fn assert_shows(&self, expected: &[(&str, &str)]) {
        for (name, value) in expected {
            assert_eq!(self.shows(name), *value, "{name}");
        }
    }

    /// Waits until the unit is active again, after `restarts` restarts of systemd's own accord.
    pub(crate) fn wait_restarted(&self, restarts: u32) {
        self.eventually(SOON, "the restart, and READY", || {
            let is = self.shows("NRestarts") == restarts.to_string()
                && self.shows("ActiveState") == "active";
            is.then_some(())
        });
    }

    /// The unit's main process.
    pub(crate) fn stowd(&self) -> Process {
        let pid = self.shows("MainPID").parse().expect("a pid");
        self.process(pid).expect("stowd runs")
    }

    /// stowd's child.
    pub(crate) fn containerd(&self) -> Process {
        let stowd = self.stowd().pid;
        let tasks = self.path(&format!("/proc/{stowd}/task"));
        let lists = std::fs::read_dir(tasks).expect("tasks of stowd");
        let lists = lists.filter_map(|task| {
            std::fs::read_to_string(task.expect("a task").path().join("children")).ok()
        });
        let children = lists.collect::<Vec<_>>().join(" ");
        let pid = children.trim().parse();
        self.process(pid.unwrap_or_else(|_| panic!("the children of stowd: {children:?}")))
            .expect("containerd runs")
    }

    /// The process that has this pid now.
    pub(crate) fn process(&self, pid: u32) -> Option<Process> {
        let stat = std::fs::read_to_string(self.path(&format!("/proc/{pid}/stat"))).ok()?;
        // The second field, the name, ends with the last parenthesis; the start is field 22.
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        let state = fields.next()?;
        let started = fields.nth(18)?.parse().ok()?;
        (state != "Z").then_some(Process { pid, started })
    }

    /// Whether the process is still there.
    pub(crate) fn runs(&self, process: &Process) -> bool {
        self.process(process.pid).as_ref() == Some(process)
    }

    /// Sends a signal, by name, to one process.
    pub(crate) fn kill(&self, signal: &str, process: &Process) {
        self.ok(&["kill", "-s", signal, &process.pid.to_string()]);
    }

    /// The variables that a process was started with.
    pub(crate) fn environment(&self, process: &Process) -> Vec<String> {
        self.words(process, "environ")
    }

    /// The arguments that a process was started with.
    pub(crate) fn arguments(&self, process: &Process) -> Vec<String> {
        self.words(process, "cmdline")
    }

    fn words(&self, process: &Process, file: &str) -> Vec<String> {
        let path = self.path(&format!("/proc/{}/{file}", process.pid));
        let text = std::fs::read_to_string(path).expect("a file of a running process");
        text.split_terminator('\0').map(str::to_owned).collect()
    }

    /// `ctr` in CRI's namespace: its output.
    pub(crate) fn ctr(&self, arguments: &[&str]) -> String {
        let address = "--address=/run/stowd/containerd.sock";
        self.ok(&[&["ctr", address, "--namespace=k8s.io"], arguments].concat())
    }

    /// The names of the images in the store.
    pub(crate) fn images(&self) -> Vec<String> {
        let listed = self.ctr(&["images", "list", "--quiet"]);
        listed.lines().map(str::to_owned).collect()
    }

    /// Runs a container of [`BUSYBOX`] that stays: its first process.
    pub(crate) fn run_container(&self, name: &str) -> Process {
        self.ctr(&[
            "run",
            "--detach",
            "--null-io",
            BUSYBOX,
            name,
            "/bin/busybox",
            "sleep",
            "1000000",
        ]);
        self.running_container(name)
    }

    /// The first process of a container, which containerd must say to be running.
    pub(crate) fn running_container(&self, name: &str) -> Process {
        let tasks = self.ctr(&["tasks", "list"]);
        let task = tasks
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .find(|words| words.first() == Some(&name))
            .unwrap_or_else(|| panic!("no task {name}: {tasks}"));
        assert_eq!(task[2], "RUNNING", "{tasks}");
        let pid = task[1].parse().expect("a pid");
        self.process(pid).expect("a process of a running container")
    }

    /// The same process runs in the container as before, and containerd can reach into it.
    pub(crate) fn assert_survived(&self, name: &str, before: &Process) {
        assert_eq!(
            &self.running_container(name),
            before,
            "the container's process"
        );
        // Where the machine is busy, ctr may end before it has copied what so short a process says.
        let mut tries = 0;
        self.eventually(SOON, "it says what it is to say", || {
            tries += 1;
            let id = format!("--exec-id=look{tries}");
            let said = self.ctr(&["tasks", "exec", &id, name, "/bin/busybox", "echo", "inside"]);
            (said.trim() == "inside").then_some(())
        });
    }

    /// The unit's journal: the entries under this identifier.
    pub(crate) fn said_by(&self, identifier: &str) -> Vec<Value> {
        let mut entries = self.journal(UNIT);
        entries.retain(|entry| entry["SYSLOG_IDENTIFIER"] == identifier);
        entries
    }

    /// stowd's entries whose message begins like this.
    pub(crate) fn said(&self, beginning: &str) -> Vec<Value> {
        let mut entries = self.said_by("stowd");
        entries.retain(|entry| {
            let message = entry["MESSAGE"].as_str().unwrap_or_default();
            message.starts_with(beginning)
        });
        entries
    }
}

/// When the journal took an entry in, since boot.
pub(crate) fn when(entry: &Value) -> Duration {
    let time = entry["__MONOTONIC_TIMESTAMP"].as_str().expect("a time");
    Duration::from_micros(time.parse().expect("microseconds"))
}
