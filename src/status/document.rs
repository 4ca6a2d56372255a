//! `status.json`: what a daemon says of itself, for programs and for `stowd status`.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::on_board::OnBoard;
use super::rfc3339;

/// The version of the document. It grows when a field changes its meaning or goes.
pub const STATUS_VERSION: u32 = 1;

/// Which process wrote it, what it runs, and how far it is. Nothing in it is secret: it has neither
/// credentials nor environment variables, and the names in it are those of images and of their files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusDocument {
    pub version: u32,
    /// The version of stowd.
    pub stowd: String,
    pub pid: u32,
    /// When the process began, in clock ticks since the boot (proc_pid_stat(5), `starttime`).
    pub pid_start: u64,
    /// The PID namespace in which `pid` counts: its inode.
    pub pid_namespace: u64,
    /// The kernel's `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    #[serde(with = "rfc3339")]
    pub started: Option<SystemTime>,
    /// Of this version of the file.
    #[serde(with = "rfc3339")]
    pub written: Option<SystemTime>,
    pub instance: String,
    pub images_dir: String,
    pub containerd_address: String,
    /// Whether containerd is its child.
    pub supervises: bool,
    pub phase: DaemonPhase,
    #[serde(default, with = "rfc3339")]
    pub ready_since: Option<SystemTime>,
    /// Why it has ended.
    #[serde(default)]
    pub error: Option<String>,
    /// Why what `metrics.listen` asks for is not served.
    #[serde(default)]
    pub metrics_error: Option<String>,
    pub on_board: OnBoard,
}

/// How far a daemon is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DaemonPhase {
    /// It starts containerd, or waits for it.
    #[default]
    Starting,
    /// It brings what was there at the start.
    Loading,
    /// READY was told.
    Ready,
    Stopping,
    /// It has ended of an error.
    Failed,
}
