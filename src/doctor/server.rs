//! The containerd that runs, or that would.

use std::path::Path;

use tokio::process::Command;

use super::answer::{ANSWER, answer};
use super::diagnosis::Diagnosis;
use crate::config::Config;
use crate::containerd::{Containerd, DumpedConfig};
use crate::entry::shown;
use crate::image_store::ImageStore as _;
use crate::supervisor::binary;
use crate::supervisor::leftover::{Server, server_of};

/// Where containerd serves if it is not told otherwise.
const DEFAULT_ADDRESS: &str = "/run/containerd/containerd.sock";

pub(super) async fn examine(config: &Config) -> Vec<Diagnosis> {
    let containerd = &config.containerd;
    let mut found = Vec::new();
    let address = shown(&containerd.address);
    match server_of(&containerd.address).await {
        Ok(Some(server)) if containerd.supervise && !server.is_of_stowd => {
            found.push(Diagnosis::bad(
                "containerd.address",
                format!(
                    "{address} is served by {}, which no stowd has started; stop it, or set \
                         containerd.supervise = false to attach to it",
                    server.process
                ),
            ));
        }
        Ok(Some(server)) => {
            let text = format!("{address} is served by {}", server.process);
            found.push(Diagnosis::good("containerd.address", text));
            found.extend(running(config).await);
        }
        Ok(None) if containerd.supervise => {
            let text = format!("{address} is free");
            found.push(Diagnosis::good("containerd.address", text));
            found.extend(configured(config).await);
        }
        Ok(None) => found.push(Diagnosis::bad(
            "containerd.address",
            format!(
                "{address} is not served; start that containerd, or set containerd.supervise = true"
            ),
        )),
        Err(error) => found.push(Diagnosis::bad("containerd.address", error.to_string())),
    }
    if containerd.supervise && containerd.address != Path::new(DEFAULT_ADDRESS) {
        found.extend(other_containerd(&address).await);
    }
    found
}

/// A containerd at the default address, which clients find where they are not told another one.
async fn other_containerd(address: &str) -> Option<Diagnosis> {
    let Server { process, .. } = server_of(Path::new(DEFAULT_ADDRESS)).await.ok()??;
    Some(Diagnosis::doubtful(
        "another containerd",
        format!(
            "{DEFAULT_ADDRESS} is served by {process}: clients that are not pointed to {address} use \
                 that one; systemctl disable --now containerd"
        ),
    ))
}

/// Asks the containerd that runs.
async fn running(config: &Config) -> Vec<Diagnosis> {
    let containerd = &config.containerd;
    let store = match Containerd::connect(&containerd.address, &containerd.namespace) {
        Ok(store) => store,
        Err(error) => return vec![Diagnosis::bad("containerd", error.to_string())],
    };
    if let Err(error) = store.wait_serving(ANSWER, |_, _| {}).await {
        return vec![Diagnosis::bad("containerd", error.to_string())];
    }
    let mut found = Vec::new();
    if let Ok(version) = store.version().await {
        found.push(Diagnosis::good(
            "containerd",
            format!("version {version}, it serves, CRI included"),
        ));
    }
    if let Some(name) = store.sandbox_image().await {
        found.push(match store.image(&name).await {
            Ok(Some(_)) => Diagnosis::good("sandbox image", format!("{name} is there")),
            Ok(None) => Diagnosis::bad(
                "sandbox image",
                format!(
                    "{name} is not there: without it no pod starts offline; put an archive with it \
                         into {}",
                    shown(&config.images.dir)
                ),
            ),
            Err(error) => Diagnosis::doubtful("sandbox image", format!("{name}: {error}")),
        });
    }
    if config.images.direct {
        found.push(match store.direct_writes_into().await {
            Ok(dir) => Diagnosis::good("direct writes", format!("into {}", shown(&dir))),
            Err(why) => Diagnosis::doubtful(
                "direct writes",
                format!("{why}: blobs are sent over the socket, which takes several times as long"),
            ),
        });
    }
    let running = store.configuration().await;
    found.extend(running.and_then(|config| cgroup_driver(&config)));
    found
}

/// Asks the program what it makes of its configuration.
async fn configured(config: &Config) -> Vec<Diagnosis> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let Ok(program) = binary::find(&config.containerd.binary, &path) else {
        return Vec::new();
    };
    let mut command = Command::new(program);
    if let Some(file) = &config.containerd.config {
        command.arg("--config").arg(file);
    }
    command.args(["config", "dump"]);
    let Some(Ok(output)) = answer(&mut command).await else {
        return Vec::new();
    };
    let Some(read) = DumpedConfig::of_dump(&String::from_utf8_lossy(&output.stdout)) else {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().last().unwrap_or("it says nothing").to_owned();
        return vec![Diagnosis::bad(
            "containerd.config",
            format!("containerd does not take its configuration: {last}"),
        )];
    };
    let is_of_cri = config.containerd.namespace == "k8s.io";
    let mut found = Vec::new();
    if read.cri_is_disabled && is_of_cri {
        found.push(Diagnosis::bad(
            "CRI",
            "switched off, but images go to its namespace, k8s.io; remove it from disabled_plugins \
             in containerd's configuration (/etc/containerd/config.toml, or containerd.config)",
        ));
    } else {
        found.push(Diagnosis::good("CRI", "switched on"));
    }
    found.extend(cgroup_driver(&read));
    found
}

/// Whether systemd and runc both make cgroups.
fn cgroup_driver(config: &DumpedConfig) -> Option<Diagnosis> {
    let is_systemd = Path::new("/run/systemd/system").is_dir();
    Some(match (config.systemd_cgroup?, is_systemd) {
        (true, false) => Diagnosis::bad(
            "cgroup driver",
            "systemd, which does not run here: no container starts; set SystemdCgroup = false for runc \
             in containerd's configuration",
        ),
        (false, true) => Diagnosis::doubtful(
            "cgroup driver",
            "cgroupfs, beside systemd: a kubelet whose cgroupDriver is systemd, the default of kubeadm, \
             does not get on with it; set SystemdCgroup = true for runc in containerd's configuration",
        ),
        (true, true) => Diagnosis::good("cgroup driver", "systemd: the kubelet must have the same"),
        (false, false) => {
            Diagnosis::good("cgroup driver", "cgroupfs: the kubelet must have the same")
        }
    })
}
