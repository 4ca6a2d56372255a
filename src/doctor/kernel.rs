//! What the kernel gives.

use std::fs;
use std::path::Path;

use rustix::process::geteuid;

use super::diagnosis::Diagnosis;

/// Below it programs beside stowd, such as the kubelet, take what there is.
const FEW_INSTANCES: u64 = 64;

pub(super) fn examine(images_dir: &Path) -> Vec<Diagnosis> {
    vec![root(), overlay(), cgroups(), inotify(images_dir)]
}

fn root() -> Diagnosis {
    match geteuid().is_root() {
        true => Diagnosis::good("user", "root"),
        false => Diagnosis::bad(
            "user",
            "not root: containerd needs root, and so do some of these checks; use sudo",
        ),
    }
}

fn overlay() -> Diagnosis {
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let is_there = known
        .lines()
        .any(|line| line.split_whitespace().last() == Some("overlay"));
    match is_there {
        true => Diagnosis::good("overlay file system", "the kernel has it"),
        false => Diagnosis::doubtful(
            "overlay file system",
            "not loaded: containerd's overlayfs snapshotter needs it; modprobe overlay (the unit does)",
        ),
    }
}

fn cgroups() -> Diagnosis {
    const V2: &str = "/sys/fs/cgroup/cgroup.controllers";
    match fs::read_to_string(V2) {
        Ok(controllers) => {
            let lacking = ["cpu", "memory", "pids"].into_iter();
            let lacking =
                lacking.filter(|name| !controllers.split_whitespace().any(|c| c == *name));
            let lacking = lacking.collect::<Vec<_>>();
            match lacking.is_empty() {
                true => Diagnosis::good("cgroups", "version 2"),
                false => Diagnosis::bad(
                    "cgroups",
                    format!(
                        "version 2 without {}: the kubelet needs them; see cgroup_disable= on the \
                         kernel's command line",
                        lacking.join(", ")
                    ),
                ),
            }
        }
        Err(_) if Path::new("/sys/fs/cgroup/memory").is_dir() => Diagnosis::doubtful(
            "cgroups",
            "version 1: the kubelet refuses it from 1.35 on; boot with \
             systemd.unified_cgroup_hierarchy=1",
        ),
        Err(_) => Diagnosis::bad(
            "cgroups",
            "no controllers are mounted below /sys/fs/cgroup: no container starts",
        ),
    }
}

fn inotify(images_dir: &Path) -> Diagnosis {
    let limit = |name: &str| -> Option<u64> {
        let text = fs::read_to_string(format!("/proc/sys/fs/inotify/{name}")).ok()?;
        text.trim().parse().ok()
    };
    let (instances, watches) = (limit("max_user_instances"), limit("max_user_watches"));
    let (Some(instances), Some(watches)) = (instances, watches) else {
        return Diagnosis::doubtful(
            "inotify",
            "its limits cannot be read: the images directory may have to be polled",
        );
    };
    let wanted = directories(images_dir, watches + 1);
    if instances < FEW_INSTANCES {
        return Diagnosis::doubtful(
            "inotify",
            format!("{instances} instances a user are few; raise fs.inotify.max_user_instances"),
        );
    }
    if wanted > watches {
        return Diagnosis::doubtful(
            "inotify",
            format!(
                "the images directory has more directories than the {watches} watches of a user, and \
                 would be polled; raise fs.inotify.max_user_watches"
            ),
        );
    }
    Diagnosis::good(
        "inotify",
        format!("{instances} instances and {watches} watches a user"),
    )
}

/// How many directories there are, counted up to `most`.
fn directories(dir: &Path, most: u64) -> u64 {
    let mut found = 0;
    let mut left = vec![dir.to_owned()];
    while let Some(dir) = left.pop() {
        found += 1;
        if found >= most {
            break;
        }
        let items = fs::read_dir(dir).into_iter().flatten().flatten();
        let directories = items.filter(|item| item.file_type().is_ok_and(|kind| kind.is_dir()));
        left.extend(directories.map(|item| item.path()));
    }
    found
}
