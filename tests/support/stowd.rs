//! stowd itself, as the program that users run, with a private containerd under it.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::generations::Generation;
use super::hosts::{plain_http, write_hosts};
use super::notify_socket::NotifySocket;
use super::pause::PAUSE_IMAGE;
use super::process::kibibytes;
use super::store::{OF_AN_INSTANCE, Store};
use super::sweep::sweep;

/// A directory with all that a stowd needs, before it is started.
pub struct Setup {
    generation: Generation,
    dir: tempfile::TempDir,
    /// Lines for the end of stowd's configuration file.
    pub config: String,
    /// Lines of table `[containerd]`.
    pub containerd: String,
    /// Lines of table `[images]`, beside the directory.
    pub images: String,
    /// The program that it takes for containerd.
    pub binary: PathBuf,
    /// Added to its environment.
    pub environment: Vec<(String, String)>,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// A program that becomes stowd, or runs it, with its arguments.
    pub wrapper: Vec<String>,
}

impl Setup {
    /// Starts stowd in a mount namespace of its own, where nothing is beside its directory: the mounts of
    /// other tests, and the directories that they make, would wake it up.
    pub fn alone(&mut self) {
        const ALONE: &str = "mount --bind \"$0\" /mnt && mount -t tmpfs tmpfs \"$1\" && mkdir \"$0\" && \
             mount --move /mnt \"$0\" && shift && exec \"$@\"";
        let dir = self.dir().to_str().expect("UTF-8");
        let (beside, _) = dir.rsplit_once('/').expect("a directory beside others");
        let unshare = ["unshare", "--mount", "--propagation", "private"];
        let mount = ["sh", "-c", ALONE, dir, beside];
        let words = unshare.into_iter().chain(mount);
        self.wrapper = words.map(str::to_owned).collect();
    }

    /// An empty images directory, and a configuration that keeps all inside one temporary one.
    pub fn new(generation: &Generation) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("stowd-")
            .tempdir_in("/var/tmp")
            .expect("a directory in /var/tmp");
        std::fs::create_dir(dir.path().join("images")).expect("images");
        let text = format!(
            "version = {}\n{}",
            generation.config_version(),
            generation.config(dir.path(), PAUSE_IMAGE),
        );
        std::fs::write(dir.path().join("containerd.toml"), text).expect("containerd.toml");
        Self {
            generation: generation.clone(),
            dir,
            binary: generation.containerd(),
            config: String::new(),
            containerd: String::new(),
            images: "settle = \"100ms\"\n".to_owned(),
            environment: Vec::new(),
            arguments: vec!["run".to_owned()],
            wrapper: Vec::new(),
        }
    }

    /// The directory that holds everything.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The containerd that it gets.
    pub fn generation(&self) -> &Generation {
        &self.generation
    }

    /// The images directory.
    pub fn images(&self) -> PathBuf {
        self.dir.path().join("images")
    }

    /// Has stowd attach to the containerd at this socket.
    pub fn attach(&mut self, address: &Path) {
        self.containerd.push_str("supervise = false\n");
        let address = address.display().to_string();
        let address = ("STOWD_CONTAINERD__ADDRESS".to_owned(), address);
        self.environment.push(address);
    }

    /// Puts a file into the images directory.
    pub fn stow(&self, file: &Path) -> &Self {
        let name = file.file_name().expect("a file name");
        self.stow_as(file, &name.to_string_lossy())
    }

    /// Puts a file into the images directory under another name.
    pub fn stow_as(&self, file: &Path, name: &str) -> &Self {
        let to = self.images().join(name);
        if let Some(parent) = to.parent() {
            std::fs::create_dir_all(parent).expect("a directory");
        }
        std::fs::copy(file, to).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        self
    }

    /// Writes a list of images into the images directory.
    pub fn list(&self, name: &str, text: impl AsRef<[u8]>) -> &Self {
        std::fs::write(self.images().join(name), text).expect("a list");
        self
    }

    /// Has containerd find a registry (`docker.io`, `registry.stowd.test`) by plain HTTP at these
    /// addresses, mirrors first and in turn.
    pub fn registry(&self, name: &str, server: &str, mirrors: &[&str]) -> &Self {
        write_hosts(self.dir(), name, &plain_http(server, mirrors));
        self
    }

    /// Has CRI use another sandbox image than the usual one.
    pub fn sandbox_image(&self, name: &str) -> &Self {
        let generation = &self.generation;
        let version = generation.config_version();
        let config = generation.config(self.dir.path(), name);
        let text = format!("version = {version}\n{config}");
        std::fs::write(self.dir.path().join("containerd.toml"), text).expect("containerd.toml");
        self
    }

    /// Starts stowd; nothing of it may be up yet.
    pub fn start(self) -> Stowd {
        let dir = self.dir.path();
        let text = format!(
            "state-dir = \"{d}/lib\"\n\
             [containerd]\nbinary = \"{binary}\"\nconfig = \"{d}/containerd.toml\"\n\
             address = \"{d}/c.sock\"\nroot = \"{d}/root\"\nstate = \"{d}/state\"\n{containerd}\n\
             [images]\ndir = \"{d}/images\"\n{images}\n{rest}",
            d = dir.display(),
            binary = self.binary.display(),
            containerd = self.containerd,
            images = self.images,
            rest = self.config,
        );
        std::fs::write(dir.join("stowd.toml"), text).expect("stowd.toml");
        let notify = NotifySocket::bind(&dir.join("notify"));
        let child = spawn(&self, &notify);
        Stowd {
            setup: self,
            notify,
            child,
            status: None,
        }
    }
}

fn spawn(setup: &Setup, notify: &NotifySocket) -> Child {
    let dir = setup.dir.path();
    let log = File::options()
        .create(true)
        .append(true)
        .open(dir.join("log"))
        .expect("a log file");
    let mut words = setup.wrapper.clone();
    words.push(env!("CARGO_BIN_EXE_stowd").to_owned());
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    command
        .arg("--config")
        .arg(dir.join("stowd.toml"))
        .args(&setup.arguments)
        .env("PATH", setup.generation.path())
        .env("NOTIFY_SOCKET", notify.path())
        .env_remove("RUST_LOG")
        // They begin like keys of the configuration, and stowd refuses what is none.
        .env_remove("STOWD_TEST_CONTAINERD")
        .env_remove("STOWD_SOAK_ROUNDS")
        .env_remove("STOWD_SOAK_SEED")
        .env_remove("JOURNAL_STREAM")
        .envs(setup.environment.iter().map(|(name, value)| (name, value)))
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a second handle"))
        .stderr(log)
        .spawn()
        .expect("stowd starts")
}

/// A running stowd. Dropped, it is killed by its pid, and what is left of its containerd with it;
/// its log is printed if the test failed.
pub struct Stowd {
    setup: Setup,
    /// What it told its service manager.
    pub notify: NotifySocket,
    child: Child,
    status: Option<ExitStatus>,
}

impl Stowd {
    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it was started from.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// The same, to be changed for the next start.
    pub fn setup_mut(&mut self) -> &mut Setup {
        &mut self.setup
    }

    /// The socket of its containerd.
    pub fn address(&self) -> PathBuf {
        self.setup.dir().join("c.sock")
    }

    /// The pid of its containerd: the child that it has, but for one that it asks for the configuration
    /// (`containerd config dump`).
    pub fn containerd_pid(&self) -> Option<u32> {
        // Not one that is only asked for its configuration, which has stowd's own words before its exec.
        let serves = |pid: &u32| {
            let arguments = std::fs::read_to_string(format!("/proc/{pid}/cmdline"));
            arguments.is_ok_and(|arguments| arguments.contains("\0--address\0"))
        };
        children(self.pid()).into_iter().find(serves)
    }

    /// Whether a blob is on its way into the content store of its own containerd.
    pub fn is_importing(&self) -> bool {
        self.is_importing_into(&self.setup.dir().join("root"))
    }

    /// The same for a containerd with this root: either it has something half written, or stowd has a
    /// file there that has no name yet.
    pub fn is_importing_into(&self, root: &Path) -> bool {
        let content = root.join("io.containerd.content.v1.content");
        // One whose name containerd has not written yet may be what holds the instance.
        let is_named = |ingest: &PathBuf| {
            let name = std::fs::read_to_string(ingest.join("ref"));
            name.is_ok_and(|name| !name.is_empty() && !name.contains(OF_AN_INSTANCE))
        };
        if half_written(&content).iter().any(is_named) {
            return true;
        }
        let blobs = content.join("blobs/sha256");
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.pid()));
        let mut open = open.into_iter().flatten().flatten();
        open.any(|file| {
            std::fs::read_link(file.path()).is_ok_and(|path| path.parent() == Some(&blobs))
        })
    }

    /// All that it and its containerd have written.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.setup.dir().join("log")).unwrap_or_default()
    }

    /// stowd's own lines of the log that hold `part`.
    pub fn lines(&self, part: &str) -> Vec<String> {
        let log = self.log();
        let lines = log
            .lines()
            .filter(|line| line.contains(part) && !line.starts_with("time="));
        lines.map(str::to_owned).collect()
    }

    /// Waits for READY=1; panics when stowd ends before, or after `deadline`.
    pub fn wait_ready(&mut self, deadline: Duration) {
        self.wait_until(deadline, "READY=1", |stowd| {
            stowd.notify.ready_at().is_some()
        });
    }

    /// Waits until `holds`, polling; panics when stowd ends before, or after `deadline`.
    pub fn wait_until(&mut self, deadline: Duration, what: &str, holds: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !holds(self) {
            if let Some(status) = self.try_wait() {
                // What it did last may have come between the two looks.
                assert!(holds(self), "{what}: stowd has ended with {status}");
                return;
            }
            assert!(
                began.elapsed() < deadline,
                "{what}: not within {deadline:?}; told: {:?}",
                self.notify.messages()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn try_wait(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().expect("it is our child");
        }
        self.status
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it is our child");
    }

    /// Waits for its end; panics after `deadline`.
    pub fn wait(&mut self, deadline: Duration) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.try_wait() {
                self.notify.hear_all();
                return status;
            }
            assert!(
                began.elapsed() < deadline,
                "stowd has not ended within {deadline:?}"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Asks it to end with SIGTERM, and answers its exit status.
    pub fn stop(&mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        let status = self.wait(Duration::from_secs(60));
        assert_eq!(status.signal(), None, "stowd was killed");
        status.code()
    }

    /// Kills it with SIGKILL and waits for its end.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        self.wait(Duration::from_secs(10));
    }

    /// Starts it again on the same directories; the notifications begin anew.
    pub fn restart(&mut self) {
        if self.try_wait().is_none() {
            self.kill();
        }
        self.notify = NotifySocket::bind(&self.setup.dir().join("notify"));
        self.child = spawn(&self.setup, &self.notify);
        self.status = None;
    }

    /// The lines that tell of the outcome of this file of the images directory, later tries left out.
    /// What is whole of a file that failed is told before its failure, and left out too.
    pub fn outcomes(&self, file: &str) -> Vec<String> {
        let path = format!("{}/{file}", self.setup.images().display());
        let marks = ["imported", "failed"].map(|what| format!(" {what} {path}: "));
        let mut lines = self.lines(&path);
        lines.retain(|line| {
            let first = !line.contains("(attempt ") || line.contains("(attempt 1)");
            first && marks.iter().any(|mark| line.contains(mark))
        });
        let mut outcomes = Vec::<String>::new();
        for line in lines {
            let is_rest = line.contains(&marks[1]);
            outcomes.pop_if(|before| is_rest && before.contains(&marks[0]));
            outcomes.push(line);
        }
        outcomes
    }

    /// What its containerd holds.
    pub fn store(&self) -> Store {
        Store::at(&self.address())
    }

    /// The most memory that it has had at once, in MiB.
    pub fn peak_memory(&self) -> u64 {
        kibibytes(self.pid(), "VmHWM:") >> 10
    }

    /// Runs its generation's `ctr` in `k8s.io`: its output. Panics when ctr fails.
    pub fn ctr(&self, arguments: &[&str]) -> String {
        ctr(&self.setup.generation, &self.address(), arguments)
    }
}

/// Runs a generation's `ctr` in `k8s.io`: its output. Panics when ctr fails.
pub fn ctr(generation: &Generation, address: &Path, arguments: &[&str]) -> String {
    let output = Command::new(generation.ctr())
        .arg("--address")
        .arg(address)
        .args(["--namespace", "k8s.io"])
        .args(arguments)
        .output()
        .expect("ctr runs");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ctr {arguments:?}: {complaint}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The directories of the half-written blobs of a content store. What holds the instance of a stowd is
/// none of them.
pub fn half_written(content: &Path) -> Vec<PathBuf> {
    let ingests = std::fs::read_dir(content.join("ingest"));
    let ingests = ingests.into_iter().flatten().flatten();
    let mut ingests = ingests.map(|ingest| ingest.path()).collect::<Vec<_>>();
    ingests.retain(|ingest| {
        let reference = std::fs::read_to_string(ingest.join("ref"));
        reference.is_ok_and(|reference| !reference.contains(OF_AN_INSTANCE))
    });
    ingests
}

/// The pids of a process's children.
pub fn children(pid: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten();
    let lists = tasks.map(|task| std::fs::read_to_string(task.path().join("children")));
    let lists = lists.filter_map(Result::ok).collect::<Vec<_>>();
    lists
        .iter()
        .flat_map(|list| list.split_whitespace())
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

impl Drop for Stowd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        sweep(self.setup.dir());
        if std::thread::panicking() {
            eprintln!("--- log of stowd ---\n{}--- end ---", self.log());
        }
    }
}
