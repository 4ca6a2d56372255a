//! Clearing up after a containerd that ran pods.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// Ends the shims that a containerd with its state below `dir` has left, with their containers, and
/// unmounts what is mounted below `dir`. A shim works in its bundle's directory: that tells it from
/// all other processes.
pub fn sweep(dir: &Path) {
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let all = processes();
    let shims: Vec<i32> = all
        .iter()
        .map(|(pid, _)| *pid)
        .filter(|pid| is_shim(*pid, &dir))
        .collect();
    // The shims first, or they would report their containers' ends to a daemon that is gone.
    let containers = all
        .iter()
        .filter(|(_, parent)| shims.contains(parent))
        .map(|(pid, _)| *pid);
    for pid in shims.iter().copied().chain(containers) {
        if let Some(pid) = Pid::from_raw(pid) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let below = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(PathBuf::from)
        .filter(|point| point.starts_with(&dir));
    for point in below.collect::<Vec<_>>().into_iter().rev() {
        let _ = Command::new("umount")
            .arg("--lazy")
            .arg(point)
            .stderr(Stdio::null())
            .status();
    }
}

fn is_shim(pid: i32, dir: &Path) -> bool {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let name = std::fs::read_to_string(process.join("comm")).unwrap_or_default();
    name.starts_with("containerd-shim")
        && std::fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd.starts_with(dir))
}

/// Every process with its parent.
fn processes() -> Vec<(i32, i32)> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            // "pid (name) state parent …", and the name may hold anything.
            let (_, rest) = stat.rsplit_once(')')?;
            Some((pid, rest.split_whitespace().nth(1)?.parse().ok()?))
        })
        .collect()
}
