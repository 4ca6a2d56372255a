//! What containerd makes of its configuration: the program that runs is asked for it (`containerd config
//! dump`, with the option that it was itself given), imports and defaults included. It reads the file as it
//! is now: it is asked only for what CRI does not tell of itself.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::linux::fs::MetadataExt as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::process::Stdio;

use tokio::process::Command;
use tokio::time::timeout;

use super::blocking::blocking;
use super::client::Containerd;
use super::dumped_config::DumpedConfig;
use super::failure::CallFailure;
use super::found::ServerIdentity;
use crate::image_store::StoreError;
use crate::naming::ReferenceError;

/// Why the configuration of CRI is not known.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConfigUnknown {
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

impl From<CallFailure> for ConfigUnknown {
    fn from(failure: CallFailure) -> Self {
        Self::Call(failure.into())
    }
}

impl Containerd {
    /// What containerd makes of its configuration; `None` where it cannot be had.
    pub async fn configuration(&self) -> Option<DumpedConfig> {
        let server = self.server().await.ok()?;
        self.dumped_config(&server).await.ok()
    }

    pub(super) async fn dumped_config(
        &self,
        server: &ServerIdentity,
    ) -> Result<DumpedConfig, ConfigUnknown> {
        let deadline = self.deadlines().answer;
        let ServerIdentity { pid, pidns, .. } = *server;
        let process = move |error| ConfigUnknown::Process { pid, error };
        let command = blocking(move || {
            if !shares_namespaces(pid, pidns).map_err(process)? {
                return Err(ConfigUnknown::Elsewhere);
            }
            let line = fs::read(format!("/proc/{pid}/cmdline")).map_err(process)?;
            let started = Started::by(&line);
            match started.is_containerd() {
                true => Ok(started.config_dump(pid)),
                false => Err(ConfigUnknown::OtherProgram {
                    pid,
                    name: started.name,
                }),
            }
        });
        let mut command = command.await?;
        let output = timeout(deadline, command.output()).await;
        let output = output.map_err(|_| ConfigUnknown::Hangs)?.map_err(process)?;
        let dump = String::from_utf8_lossy(&output.stdout);
        DumpedConfig::of_dump(&dump).ok_or(ConfigUnknown::NotDumped)
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
            // It is over sooner than threads for its garbage collector pay, and READY is waited for.
            .env("GOMAXPROCS", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_process_shares_namespaces_in_its_own_namespaces_alone() {
        let own = fs::metadata("/proc/self/ns/pid").unwrap().st_ino();
        let pid = u64::from(std::process::id());
        assert!(shares_namespaces(pid, own).unwrap());
        assert!(!shares_namespaces(pid, own + 1).unwrap());
        assert!(!shares_namespaces(0, own).unwrap());
    }
}
