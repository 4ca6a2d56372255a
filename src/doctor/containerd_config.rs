//! What of containerd's configuration decides whether pods start. Pure: from what `containerd config
//! dump` prints, of 1.6 to 2.x.

use figment::Figment;
use figment::providers::{Format as _, Toml};
use serde_json::Value;

/// What a configuration says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct DumpedConfig {
    pub(super) cri_is_disabled: bool,
    /// Whether runc leaves cgroups to systemd.
    pub(super) systemd_cgroup: Option<bool>,
}

/// The names of CRI's plugins: of 1.x, of 2.x.
const CRI: [&str; 2] = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.runtime"];

impl DumpedConfig {
    /// `None`: it is no such configuration.
    pub(super) fn of_dump(toml: &str) -> Option<Self> {
        let dump: Value = Figment::from(Toml::string(toml)).extract().ok()?;
        dump.get("version")?;
        let disabled = dump.get("disabled_plugins").and_then(Value::as_array);
        let mut disabled = disabled.into_iter().flatten().filter_map(Value::as_str);
        let options = CRI.iter().find_map(|plugin| {
            let runtimes = dump
                .get("plugins")?
                .get(plugin)?
                .get("containerd")?
                .get("runtimes")?;
            runtimes.get("runc")?.get("options")
        });
        Some(Self {
            cri_is_disabled: disabled.any(|name| name == "cri" || CRI.contains(&name)),
            systemd_cgroup: options.and_then(|options| options.get("SystemdCgroup")?.as_bool()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_of_1_and_2_are_read() {
        for plugin in CRI {
            let toml = format!(
                "version = 2\ndisabled_plugins = [\"aufs\", \"cri\"]\n[plugins.\"{plugin}\".containerd.\
                 runtimes.runc.options]\nSystemdCgroup = true\n"
            );
            let read = DumpedConfig {
                cri_is_disabled: true,
                systemd_cgroup: Some(true),
            };
            assert_eq!(DumpedConfig::of_dump(&toml), Some(read));
        }
        let least = DumpedConfig::of_dump("version = 3\n");
        assert_eq!(least, Some(DumpedConfig::default()));
        assert_eq!(DumpedConfig::of_dump("flag provided but not defined"), None);
    }
}
