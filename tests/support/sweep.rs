//! Clearing up after a containerd that ran pods.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::generations::runc;

/// Ends the shims that a containerd with its state below `dir` has left, with their containers, and
/// unmounts what is mounted below `dir`. A shim works in its bundle's directory: that tells it from
/// all other processes.
pub fn sweep(dir: &Path) {
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let shims: Vec<(i32, PathBuf)> = processes()
        .into_iter()
        .filter_map(|pid| Some((pid, bundle_of(pid, &dir)?)))
        .collect();
    // A shim serves all containers of a pod; the bundles of a namespace lie side by side.
    let namespaces: BTreeSet<&Path> = shims
        .iter()
        .filter_map(|(_, bundle)| bundle.parent())
        .collect();
    for bundle in namespaces.into_iter().flat_map(children) {
        delete_container(&bundle);
        remove_socket(&bundle);
    }
    for (pid, _) in shims {
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

/// The directory that a process works in, if it is a shim and that is below `dir`.
fn bundle_of(pid: i32, dir: &Path) -> Option<PathBuf> {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let name = std::fs::read_to_string(process.join("comm")).ok()?;
    let bundle = std::fs::read_link(process.join("cwd")).ok()?;
    (name.starts_with("containerd-shim") && bundle.starts_with(dir)).then_some(bundle)
}

/// Kills the container and removes what runc keeps of it: its cgroup, and its state in a directory
/// that all containerds of the machine share.
fn delete_container(bundle: &Path) {
    let names = (
        bundle.file_name(),
        bundle.parent().and_then(Path::file_name),
    );
    let (Some(container), Some(namespace)) = names else {
        return;
    };
    let _ = Command::new(runc())
        .arg("--root")
        .arg(Path::new("/run/containerd/runc").join(namespace))
        .args(["delete", "--force"])
        .arg(container)
        .stderr(Stdio::null())
        .status();
}

/// Removes the shim's socket, which lies in a directory that all containerds of the machine share.
fn remove_socket(bundle: &Path) {
    const SOCKETS: &str = "/run/containerd/s/";
    // 1.x writes the bare address, 2 a document with it.
    for file in ["address", "bootstrap.json"] {
        let text = std::fs::read_to_string(bundle.join(file)).unwrap_or_default();
        if let Some((_, rest)) = text.split_once(SOCKETS) {
            let name: String = rest.chars().take_while(char::is_ascii_hexdigit).collect();
            if !name.is_empty() {
                let _ = std::fs::remove_file(Path::new(SOCKETS).join(name));
            }
        }
    }
}

fn children(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

fn processes() -> Vec<i32> {
    let names = children(Path::new("/proc"));
    let pid = |path: &PathBuf| path.file_name()?.to_str()?.parse().ok();
    names.iter().filter_map(pid).collect()
}
