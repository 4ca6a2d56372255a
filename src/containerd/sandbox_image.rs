//! The sandbox ("pause") image: CRI makes every pod with it.
//!
//! CRI of 1.6 and 1.7 tells its name in its own status. From 2.0 on no call tells it: the program that
//! runs is asked what it makes of its configuration (`containerd config dump`, with the option that it
//! was itself given), imports and defaults included.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::linux::fs::MetadataExt as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::process::Stdio;

use figment::Figment;
use figment::providers::{Format as _, Toml};
use k8s_cri::v1::StatusRequest;
use serde::Deserialize;
use tokio::process::Command;
use tokio::time::timeout;

use super::blocking::blocking;
use super::client::{Containerd, answered};
use super::failure::CallFailure;
use crate::happened::StoreEvent;
use crate::image_store::StoreError;
use crate::naming::{Reference, ReferenceError};
use crate::reporter::report;

/// Why the name of the sandbox image is not known.
#[derive(Debug, thiserror::Error)]
enum NameUnknown {
    #[error("{0}")]
    Call(StoreError),
    /// Its files, and its own program, cannot be reached by its pid or its paths.
    #[error("containerd runs in other namespaces than stowd")]
    Elsewhere,
    #[error("containerd, pid {pid}: {error}")]
    Process { pid: u64, error: io::Error },
    /// Its name would be that of another program, which is not to be run.
    #[error("containerd, pid {pid}, goes by the name of {name:?}")]
    OtherProgram { pid: u64, name: OsString },
    #[error("`containerd config dump` does not end")]
    Hangs,
    #[error("`containerd config dump` does not tell it")]
    NotDumped,
    #[error(transparent)]
    Name(#[from] ReferenceError),
}

impl From<CallFailure> for NameUnknown {
    fn from(failure: CallFailure) -> Self {
        Self::Call(failure.into())
    }
}

impl Containerd {
    /// The normalised name; `None` where the namespace is not CRI's, and where the name cannot be had,
    /// which is reported.
    pub(super) async fn sandbox_image_of_cri(&self) -> Option<String> {
        if !self.is_of_cri() {
            return None;
        }
        match self.told_sandbox_image().await {
            Ok(name) => Some(name),
            Err(unknown) => {
                report(StoreEvent::SandboxImageUnknown(unknown.to_string()));
                None
            }
        }
    }

    async fn told_sandbox_image(&self) -> Result<String, NameUnknown> {
        let mut runtime = self.cri_runtime();
        let status = runtime.status(StatusRequest { verbose: true });
        let status = answered("CRI Status", self.deadlines().answer, status).await?;
        let told = status.info.get("config").and_then(|json| in_status(json));
        let name = match told {
            Some(name) => name,
            None => in_dump(&self.dumped_configuration().await?).ok_or(NameUnknown::NotDumped)?,
        };
        Ok(Reference::parse(&name)?.canonical().to_string())
    }

    /// What containerd makes of its configuration, as TOML; `None` where it cannot be had.
    pub async fn configuration(&self) -> Option<String> {
        self.dumped_configuration().await.ok()
    }

    async fn dumped_configuration(&self) -> Result<String, NameUnknown> {
        let deadline = self.deadlines().answer;
        let mut introspection = self.introspection();
        let server = answered("Introspection.Server", deadline, introspection.server(())).await?;
        let pid = server.pid;
        let process = move |error| NameUnknown::Process { pid, error };
        let command = blocking(move || {
            if !shares_namespaces(pid, server.pidns).map_err(process)? {
                return Err(NameUnknown::Elsewhere);
            }
            let line = fs::read(format!("/proc/{pid}/cmdline")).map_err(process)?;
            let started = Started::by(&line);
            match started.is_containerd() {
                true => Ok(started.config_dump(pid)),
                false => Err(NameUnknown::OtherProgram {
                    pid,
                    name: started.name,
                }),
            }
        });
        let mut command = command.await?;
        let output = timeout(deadline, command.output()).await;
        let output = output.map_err(|_| NameUnknown::Hangs)?.map_err(process)?;
        String::from_utf8(output.stdout).map_err(|_| NameUnknown::NotDumped)
    }
}

/// Whether a process is the one that containerd calls itself by this pid, and sees the same files.
fn shares_namespaces(pid: u64, pidns: u64) -> io::Result<bool> {
    let namespace = |of: &str, kind: &str| fs::metadata(format!("/proc/{of}/ns/{kind}"));
    if pid == 0 || namespace("self", "pid")?.st_ino() != pidns {
        return Ok(false);
    }
    let own = namespace("self", "mnt")?;
    Ok(namespace(&pid.to_string(), "mnt")?.st_ino() == own.st_ino())
}

/// How a containerd was started.
#[derive(Debug, PartialEq, Eq)]
struct Started {
    /// Its first word: a program of many names goes by it.
    name: OsString,
    /// What it was given as `--config`.
    config: Option<OsString>,
}

impl Started {
    /// By the line of a `/proc/PID/cmdline`.
    fn by(line: &[u8]) -> Self {
        let mut words = line.split(|byte| *byte == 0);
        let name = words.next().unwrap_or_default();
        let mut config = None;
        while let Some(word) = words.next() {
            // One dash or two: Go's flags take either.
            let Some(option) = word.strip_prefix(b"-") else {
                continue;
            };
            let option = option.strip_prefix(b"-").unwrap_or(option);
            let (option, value) = match option.iter().position(|byte| *byte == b'=') {
                Some(at) => (&option[..at], Some(&option[at + 1..])),
                None => (option, None),
            };
            if matches!(option, b"config" | b"c") {
                config = value.or_else(|| words.next());
            }
        }
        Self {
            name: OsString::from_vec(name.to_vec()),
            config: config
                .filter(|config| !config.is_empty())
                .map(|config| OsString::from_vec(config.to_vec())),
        }
    }

    /// Whether its program can be run again: another one would not take the words for what they are.
    fn is_containerd(&self) -> bool {
        let name = self.name.as_bytes().rsplit(|byte| *byte == b'/').next();
        name.is_some_and(|name| name.starts_with(b"containerd"))
    }

    /// Has the program of this process tell its configuration. Nothing of stowd's environment reaches
    /// it.
    fn config_dump(&self, pid: u64) -> Command {
        let mut command = Command::new(format!("/proc/{pid}/exe"));
        command.arg0(&self.name);
        if let Some(config) = &self.config {
            command.args([OsStr::new("--config"), config]);
        }
        command
            .args(["config", "dump"])
            .current_dir(format!("/proc/{pid}/cwd"))
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        command
    }
}

/// What the configuration that CRI tells in its status has; nothing from 2.0 on.
fn in_status(json: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct RuntimeConfig {
        #[serde(rename = "sandboxImage", default)]
        sandbox_image: String,
    }
    let config = serde_json::from_str::<RuntimeConfig>(json).ok()?;
    Some(config.sandbox_image).filter(|name| !name.is_empty())
}

/// What a configuration of version 3 or later has, as 2.0 and later tell it.
fn in_dump(toml: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Dump {
        plugins: Plugins,
    }
    #[derive(Deserialize)]
    struct Plugins {
        #[serde(rename = "io.containerd.cri.v1.images")]
        images: ImagesPlugin,
    }
    #[derive(Deserialize)]
    struct ImagesPlugin {
        pinned_images: BTreeMap<String, String>,
    }
    let dump = Figment::from(Toml::string(toml)).extract::<Dump>().ok()?;
    let mut pinned = dump.plugins.images.pinned_images;
    pinned.remove("sandbox").filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_of_1_6_and_1_7_tells_it() {
        for (json, told) in [
            (
                r#"{"containerd":{},"sandboxImage":"registry.k8s.io/pause:3.6","x":1}"#,
                Some("registry.k8s.io/pause:3.6"),
            ),
            (r#"{"sandboxImage":""}"#, None),
            (r#"{"containerd":{},"enableCDI":true}"#, None),
            ("[]", None),
        ] {
            assert_eq!(in_status(json).as_deref(), told, "{json}");
        }
    }

    #[test]
    fn the_dump_of_2_tells_it() {
        let dump = |pinned: &str| {
            format!(
                "version = 3\n[plugins]\n  [plugins.'io.containerd.cri.v1.images']\n    \
                 snapshotter = 'overlayfs'\n    [plugins.'io.containerd.cri.v1.images'.pinned_images]\n\
                 {pinned}\n    [plugins.'io.containerd.cri.v1.images'.registry]\n"
            )
        };
        for (toml, told) in [
            (dump("base = 'a:1'\nsandbox = 'b:2'"), Some("b:2")),
            (dump("base = 'a:1'"), None),
            (dump("sandbox = ''"), None),
            ("version = 3\n[plugins]\n".to_owned(), None),
            ("flag provided but not defined".to_owned(), None),
        ] {
            assert_eq!(in_dump(&toml).as_deref(), told, "{toml}");
        }
    }

    #[test]
    fn the_last_config_of_a_command_line_counts() {
        for (line, config) in [
            ("containerd", None),
            ("containerd --config /a", Some("/a")),
            ("containerd --config=/a --root /r", Some("/a")),
            ("containerd -c /a", Some("/a")),
            ("containerd -config /a --log-level debug", Some("/a")),
            ("containerd --config /a --root /r -c=/b", Some("/b")),
            ("containerd --root --config", None),
            ("containerd --configure /a", None),
        ] {
            let line = line.replace(' ', "\0") + "\0";
            let started = Started::by(line.as_bytes());
            let told = started.config.as_deref().and_then(OsStr::to_str);
            assert_eq!(told, config, "{line:?}");
        }
    }

    #[test]
    fn no_other_program_is_run() {
        for (name, is_it) in [
            ("containerd", true),
            ("/usr/bin/containerd", true),
            ("/opt/k/containerd-2.3", true),
            ("/sbin/init", false),
            ("/opt/containerd/bin/k3s", false),
            ("", false),
        ] {
            assert_eq!(
                Started::by(name.as_bytes()).is_containerd(),
                is_it,
                "{name}"
            );
        }
    }

    #[test]
    fn a_process_shares_its_own_namespaces_alone() {
        let own = fs::metadata("/proc/self/ns/pid").unwrap().st_ino();
        let pid = u64::from(std::process::id());
        assert!(shares_namespaces(pid, own).unwrap());
        assert!(!shares_namespaces(pid, own + 1).unwrap());
        assert!(!shares_namespaces(0, own).unwrap());
    }
}
