//! The programs that containers need.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::answer::answer;
use super::diagnosis::Diagnosis;
use crate::config::ContainerdConfig;
use crate::entry::shown;
use crate::one_line::shortened;
use crate::supervisor::binary;

/// How much of what it says is shown, in characters.
const SHOWN: usize = 120;

const SHIM: &str = "containerd-shim-runc-v2";

pub(super) async fn examine(config: &ContainerdConfig) -> Vec<Diagnosis> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found = Vec::new();
    let mut beside = None;
    if config.supervise {
        found.push(match binary::find(&config.binary, &path) {
            Ok(program) => {
                beside = program.parent().map(Path::to_owned);
                version("containerd", &program).await
            }
            Err(error) => Diagnosis::bad("containerd", error.to_string()),
        });
    }
    // containerd looks beside itself too.
    let shim = binary::find(Path::new(SHIM), &path).ok();
    let shim = shim.or_else(|| {
        beside
            .map(|dir| dir.join(SHIM))
            .filter(|file| file.exists())
    });
    found.push(match shim {
        Some(shim) => Diagnosis::good("shim", shown(&shim)),
        None => Diagnosis::bad(
            "shim",
            format!(
                "{SHIM} is neither on PATH nor beside containerd: no container starts; it is \
                     part of containerd's package"
            ),
        ),
    });
    found.push(match binary::find(Path::new("runc"), &path) {
        Ok(program) => version("runc", &program).await,
        Err(_) => Diagnosis::bad(
            "runc",
            "not on PATH: no container starts, unless CRI is configured for another runtime; \
             install the package runc",
        ),
    });
    found
}

/// What the program says of itself.
async fn version(subject: &'static str, program: &PathBuf) -> Diagnosis {
    let mut command = Command::new(program);
    command.arg("--version");
    let path = shown(program);
    match answer(&mut command).await {
        Some(Ok(output)) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout);
            let first = text.lines().next().unwrap_or_default();
            Diagnosis::good(subject, format!("{path}: {}", shortened(first, SHOWN)))
        }
        Some(Ok(output)) => Diagnosis::bad(
            subject,
            format!(
                "{path} --version fails ({}); install it anew",
                output.status
            ),
        ),
        Some(Err(error)) => Diagnosis::bad(subject, format!("{path} cannot be run: {error}")),
        None => Diagnosis::bad(
            subject,
            format!("{path} --version does not end; is its file system there?"),
        ),
    }
}
