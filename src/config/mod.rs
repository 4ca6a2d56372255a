//! The configuration: its values, their defaults, and how a file, drop-ins, the environment and the
//! command line make one of them.
//!
//! ```text
//! file, drop-ins ─┐
//! environment ────┼─ layer (unknown keys, wrong kinds) ─ load (merge, origins) ─ check (meaning)
//! command line ───┘
//! ```
//!
//! figment parses and merges; nothing outside this module knows of it.

mod check;
mod file;
mod key;
mod layer;
mod line_level;
mod listen;
mod live;
mod load;
mod nearest;
mod origin;
mod problem;
mod registry;
mod value;

pub use check::{CheckReport, Finding, check};
pub use key::{KEYS, Key};
pub use line_level::LineLevel;
pub use listen::ListenAddress;
pub use live::Changes;
pub use load::{ConfigFile, DEFAULT_FILE, Flag, Inputs, LoadError, LoadedConfig, load};
pub use origin::Origin;
pub use problem::Problem;

use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;

use crate::pin::DEFAULT_INSTANCE;
use crate::unpack::UnpackWhen;

/// The whole configuration, as `config/config.toml` lists it.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The owner of the pins: different instances may share a containerd.
    pub instance: String,
    /// How containerd is run and reached.
    pub containerd: ContainerdConfig,
    /// Which images, and how they are imported.
    pub images: Images,
    /// How image lists are pulled.
    pub lists: Lists,
    /// What is served to a monitoring system.
    pub metrics: MetricsConfig,
    /// Where stowd keeps what it knows.
    pub state_dir: PathBuf,
    /// Which log lines are written, in the words of `RUST_LOG`.
    pub log_level: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ContainerdConfig {
    /// Run containerd as a child; otherwise attach to the one that serves `address`.
    pub supervise: bool,
    /// The program; found on PATH when it has no slash.
    pub binary: PathBuf,
    /// Passed as `--config`.
    pub config: Option<PathBuf>,
    /// The gRPC socket: containerd's services and CRI.
    pub address: PathBuf,
    /// Passed as `--root`.
    pub root: PathBuf,
    /// Passed as `--state`.
    pub state: PathBuf,
    /// Appended last.
    pub extra_args: Vec<String>,
    pub namespace: String,
    /// How long containerd may take to serve.
    pub start_timeout: Duration,
    /// Between SIGTERM and SIGKILL.
    pub stop_timeout: Duration,
    /// What becomes of its output.
    pub log: ContainerdLog,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ContainerdLog {
    /// Unset: the journal, or stderr where there is none.
    pub file: Option<PathBuf>,
    /// The file is rotated before it grows beyond this.
    pub max_size: ByteSize,
    pub max_backups: usize,
    /// How old a rotated file may get.
    pub max_age: Duration,
    /// Rotated files are compressed with gzip.
    pub compress: bool,
    /// Write to the file and to the journal.
    pub tee: bool,
    /// The least level of a line that reaches the journal, or stderr. The file gets all.
    pub level: LineLevel,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Images {
    /// The images directory. It may be missing.
    pub dir: PathBuf,
    /// `host`, `all`, or names such as `linux/arm64`.
    pub platforms: Vec<String>,
    /// Imported images are also named as if they came from these.
    pub extra_registries: Vec<String>,
    /// Quiet time after the last change of a file before it is read.
    pub settle: Duration,
    /// Entries imported at once; 0: as many as there are cores, from 2 to 4.
    pub parallel: usize,
    /// Blobs are written where containerd keeps them, where that can be done.
    pub direct: bool,
    /// When images are unpacked.
    pub unpack: UnpackWhen,
    /// What they are unpacked with; unset: what CRI makes containers with.
    pub snapshotter: Option<String>,
    /// Time between full rescans; zero: never.
    pub rescan: Duration,
    /// Time between two readings of all blobs; zero: never.
    pub scrub: Duration,
    /// So much of them is read in a second.
    pub scrub_rate: ByteSize,
    /// Unpin what no entry brings any more.
    pub unpin_removed: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Lists {
    /// Pulls at once.
    pub parallel: usize,
    /// For one image.
    pub pull_timeout: Duration,
    /// How long pulls may hold READY back.
    pub ready_timeout: Duration,
    /// A file in the format of Docker's `config.json`, with the credentials for pulls.
    pub auth_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct MetricsConfig {
    /// An address, as [`ListenAddress`] reads it; unset: nothing is served.
    pub listen: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            instance: DEFAULT_INSTANCE.to_owned(),
            containerd: ContainerdConfig::default(),
            images: Images::default(),
            lists: Lists::default(),
            metrics: MetricsConfig::default(),
            state_dir: "/var/lib/stowd".into(),
            log_level: "info".to_owned(),
        }
    }
}

impl Default for ContainerdConfig {
    fn default() -> Self {
        Self {
            supervise: true,
            binary: "containerd".into(),
            config: None,
            address: "/run/stowd/containerd.sock".into(),
            root: "/var/lib/stowd/containerd".into(),
            state: "/run/stowd/containerd".into(),
            extra_args: Vec::new(),
            namespace: "k8s.io".to_owned(),
            start_timeout: Duration::from_secs(2 * 60),
            stop_timeout: Duration::from_secs(30),
            log: ContainerdLog::default(),
        }
    }
}

impl Default for ContainerdLog {
    fn default() -> Self {
        Self {
            file: None,
            max_size: ByteSize::mib(50),
            max_backups: 3,
            max_age: Duration::from_secs(28 * 24 * 60 * 60),
            compress: true,
            tee: false,
            level: LineLevel::Warn,
        }
    }
}

impl Default for Images {
    fn default() -> Self {
        Self {
            dir: "/var/lib/stowd/images".into(),
            platforms: vec!["host".to_owned()],
            extra_registries: Vec::new(),
            settle: Duration::from_secs(2),
            parallel: 0,
            direct: true,
            unpack: UnpackWhen::default(),
            snapshotter: None,
            rescan: Duration::from_secs(10 * 60),
            scrub: Duration::from_secs(7 * 24 * 60 * 60),
            scrub_rate: ByteSize::mib(32),
            unpin_removed: true,
        }
    }
}

impl Default for Lists {
    fn default() -> Self {
        Self {
            parallel: 4,
            pull_timeout: Duration::from_secs(10 * 60),
            ready_timeout: Duration::from_secs(5 * 60),
            auth_file: None,
        }
    }
}
