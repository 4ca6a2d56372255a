//! containerd's command line, made of the configuration. Pure.

use std::ffi::{OsStr, OsString};

use crate::config::{self, LineLevel};

/// The arguments after the program's name: `--config`, `--address`, `--root`, `--state`,
/// `--log-level`, then `containerd.extra-args`, which come last so that they win.
///
/// Lines that `containerd.log.level` asks for and that containerd does not write by default are asked for
/// there, unless `log_level` is another.
pub fn arguments(config: &config::ContainerdConfig, log_level: Option<&OsStr>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = Vec::new();
    let mut flag = |name: &str, value: &OsStr| {
        arguments.push(name.into());
        arguments.push(value.to_owned());
    };
    if let Some(file) = &config.config {
        flag("--config", file.as_os_str());
    }
    flag("--address", config.address.as_os_str());
    flag("--root", config.root.as_os_str());
    flag("--state", config.state.as_os_str());
    let level = config.log.level;
    let asked = (level < LineLevel::Info).then(|| OsStr::new(level.word()));
    if let Some(level) = log_level.or(asked) {
        flag("--log-level", level);
    }
    arguments.extend(config.extra_args.iter().map(OsString::from));
    arguments
}
