//! `ctr images import`, as scripts use it.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::archives::{Archive, Packing};
use crate::support::{Daemon, Generation};

/// Who does the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// ctr itself, which sends blobs, since it knows no other way: 1.6.
    Only,
    /// ctr itself, because it was told to.
    Local,
    /// containerd's Transfer service, to which ctr sends the archive. The default of later ones.
    Transfer,
}

impl Mode {
    /// What it adds to `ctr images import`.
    pub(crate) fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Only => &["--all-platforms"],
            Self::Local => &["--local", "--all-platforms"],
            Self::Transfer => &[],
        }
    }
}

/// What is done with an image that is imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// CRI unpacks it for its first container.
    Leave,
    Unpack,
}

/// What this generation's ctr can do.
pub(crate) fn modes(generation: &Generation) -> &'static [Mode] {
    let help = Command::new(generation.ctr())
        .args(["images", "import", "--help"])
        .output()
        .expect("ctr runs");
    if String::from_utf8_lossy(&help.stdout).contains("--local") {
        &[Mode::Local, Mode::Transfer]
    } else {
        &[Mode::Only]
    }
}

/// Imports one archive after another; answers how long that took. A compressed one comes through the
/// decompressor of its format.
pub(crate) fn import(daemon: &Daemon, mode: Mode, then: Then, archives: &[Archive]) -> Duration {
    let began = Instant::now();
    for archive in archives {
        import_one(daemon, mode, then, archive);
    }
    began.elapsed()
}

fn import_one(daemon: &Daemon, mode: Mode, then: Then, archive: &Archive) {
    let mut ctr = Command::new(daemon.generation().ctr());
    let log = daemon.dir().join("ctr.log");
    ctr.arg("--address")
        .arg(daemon.address())
        .args(["--namespace", "k8s.io", "images", "import"])
        .args((then == Then::Leave).then_some("--no-unpack"))
        .args(mode.arguments())
        .env_remove("CONTAINERD_SNAPSHOTTER")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&log).expect("a log file"));
    let mut decompressor = decompressor(archive);
    if let Some(child) = &mut decompressor {
        let stream = child.stdout.take().expect("a pipe");
        ctr.arg("-").stdin(Stdio::from(stream));
    } else {
        ctr.arg(&archive.path);
    }
    let status = ctr.status().expect("ctr runs");
    // Its end of the pipe would keep the decompressor from ending.
    drop(ctr);
    let decompressed = decompressor.is_none_or(|mut child| {
        let status = child.wait().expect("it is our child");
        status.success()
    });
    assert!(
        status.success() && decompressed,
        "ctr on {}: {status}: {}",
        archive.path.display(),
        said(&log)
    );
}

/// `zstd -dc` or `gzip -dc`, already reading.
fn decompressor(archive: &Archive) -> Option<Child> {
    let program = match archive.packing() {
        Packing::Plain => return None,
        Packing::Zstd => "zstd",
        Packing::Gzip => "gzip",
    };
    let child = Command::new(program)
        .arg("-dc")
        .arg(&archive.path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn();
    Some(child.unwrap_or_else(|error| panic!("{program}: {error}")))
}

/// Panics unless all images of the archives are in containerd's list.
pub(crate) fn assert_listed(daemon: &Daemon, archives: &[Archive]) {
    let list = daemon.ctr(&["--namespace", "k8s.io", "images", "list", "--quiet"]);
    for name in archives.iter().flat_map(|archive| &archive.names) {
        let there = list.lines().any(|line| line == name);
        assert!(there, "{name} is not in containerd's list:\n{list}");
    }
}

fn said(log: &Path) -> String {
    std::fs::read_to_string(log).unwrap_or_default()
}
