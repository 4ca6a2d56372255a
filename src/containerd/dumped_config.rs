//! What `containerd config dump` prints, as far as stowd reads it. Pure: from 1.6 to 2.x.

use figment::Figment;
use figment::providers::{Format as _, Toml};
use serde_json::Value;

/// What a configuration says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DumpedConfig {
    pub cri_is_disabled: bool,
    /// Whether runc leaves cgroups to systemd.
    pub systemd_cgroup: Option<bool>,
    /// The image that every pod is made with, as it is written. 1.x tells it by itself when it runs.
    pub(super) sandbox_image: Option<String>,
}

/// The names of CRI's plugins: of 1.x, of 2.x.
const CRI: [&str; 2] = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.runtime"];
/// The one of 2.x that sees to images.
const IMAGES: &str = "io.containerd.cri.v1.images";

impl DumpedConfig {
    /// `None`: it is no such configuration.
    pub fn of_dump(toml: &str) -> Option<Self> {
        let dump: Value = Figment::from(Toml::string(toml)).extract().ok()?;
        dump.get("version")?;
        let disabled = dump.get("disabled_plugins").and_then(Value::as_array);
        let mut disabled = disabled.into_iter().flatten().filter_map(Value::as_str);
        let at = |plugin: &str, path: &[&str]| {
            let plugin = dump.get("plugins")?.get(plugin)?;
            path.iter().try_fold(plugin, |value, key| value.get(key))
        };
        let systemd_cgroup = ["containerd", "runtimes", "runc", "options", "SystemdCgroup"];
        let systemd_cgroup = CRI.iter().find_map(|plugin| at(plugin, &systemd_cgroup));
        let sandbox_image = at(IMAGES, &["pinned_images", "sandbox"]).and_then(Value::as_str);
        Some(Self {
            cri_is_disabled: disabled.any(|name| name == "cri" || CRI.contains(&name)),
            systemd_cgroup: systemd_cgroup.and_then(Value::as_bool),
            sandbox_image: sandbox_image
                .filter(|name| !name.is_empty())
                .map(str::to_owned),
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
                sandbox_image: None,
            };
            assert_eq!(DumpedConfig::of_dump(&toml), Some(read));
        }
        let least = DumpedConfig::of_dump("version = 3\n");
        assert_eq!(least, Some(DumpedConfig::default()));
        assert_eq!(DumpedConfig::of_dump("flag provided but not defined"), None);
    }

    #[test]
    fn the_sandbox_image_of_2_is_read() {
        for (pinned, expected) in [
            ("base = 'a:1'\nsandbox = 'b:2'", Some("b:2")),
            ("base = 'a:1'", None),
            ("sandbox = ''", None),
        ] {
            let toml = format!(
                "version = 3\n[plugins]\n  [plugins.'{IMAGES}']\n    snapshotter = 'overlayfs'\n    \
                 [plugins.'{IMAGES}'.pinned_images]\n{pinned}\n    [plugins.'{IMAGES}'.registry]\n"
            );
            let read = DumpedConfig::of_dump(&toml).unwrap();
            assert_eq!(read.sandbox_image.as_deref(), expected, "{pinned}");
        }
    }
}
