//! What on this machine would keep stowd, or the pods of its containerd, from working, each with its
//! remedy. Nothing is started that goes on, and nothing is changed.
//!
//! ```text
//!   kernel    root, overlay, cgroups, inotify
//!   programs  containerd, its shim and runc, with their versions
//!   server    who serves the sockets; CRI, sandbox image, direct writes where containerd runs
//!   disk      file systems, free space, directories that others may write to
//!   unit      what systemd has of stowd.service, and what drop-ins must not set
//! ```

mod answer;
mod diagnosis;
mod disk;
mod kernel;
mod programs;
mod server;
mod unit;

use crate::config::LoadedConfig;

pub use diagnosis::{Diagnosis, Severity};

/// Looks at everything. Takes some seconds at most where something does not answer.
pub async fn examine(loaded: &LoadedConfig) -> Vec<Diagnosis> {
    let config = &loaded.config;
    let mut found = Vec::new();
    let doubts = loaded.warnings.iter();
    found.extend(doubts.map(|warning| Diagnosis::doubtful("configuration", warning.to_string())));
    if loaded.warnings.is_empty() {
        found.push(Diagnosis::good("configuration", "can be used"));
    }
    found.extend(kernel::examine(&config.images.dir));
    found.extend(programs::examine(&config.containerd).await);
    found.extend(server::examine(config).await);
    found.extend(disk::examine(config));
    found.extend(unit::examine().await);
    found
}
