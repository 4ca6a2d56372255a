//! The configuration of CRI, as far as stowd asks for it, and as containerd writes it.

use std::collections::BTreeMap;

use figment::Figment;
use figment::providers::{Format as _, Toml};
use serde::Deserialize;

/// What CRI is configured with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CriConfig {
    /// The image that every pod is made with, as it is written.
    pub(super) sandbox_image: Option<String>,
    /// What containers are made with: that of CRI first, then those that a runtime has for itself. Each
    /// once.
    pub(super) snapshotters: Vec<String>,
}

/// The part of it that concerns containers.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ContainerdSettings {
    snapshotter: String,
    runtimes: BTreeMap<String, RuntimeSettings>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RuntimeSettings {
    snapshotter: String,
}

/// The snapshotters of containers: `first`, and those of runtimes.
fn snapshotters(first: String, runtimes: BTreeMap<String, RuntimeSettings>) -> Vec<String> {
    let runtimes = runtimes.into_values().map(|runtime| runtime.snapshotter);
    let mut found = Vec::new();
    for name in std::iter::once(first).chain(runtimes) {
        if !name.is_empty() && !found.contains(&name) {
            found.push(name);
        }
    }
    found
}

/// What the configuration that CRI tells in its status has; nothing from 2.0 on.
pub(super) fn in_status(json: &str) -> Option<CriConfig> {
    #[derive(Deserialize)]
    struct RuntimeConfig {
        #[serde(rename = "sandboxImage", default)]
        sandbox_image: String,
        #[serde(default)]
        containerd: ContainerdSettings,
    }
    let config = serde_json::from_str::<RuntimeConfig>(json).ok()?;
    let ContainerdSettings {
        snapshotter,
        runtimes,
    } = config.containerd;
    (!config.sandbox_image.is_empty()).then(|| CriConfig {
        sandbox_image: Some(config.sandbox_image),
        snapshotters: snapshotters(snapshotter, runtimes),
    })
}

/// What a configuration of version 3 or later has, as 2.0 and later tell it.
pub(super) fn in_dump(toml: &str) -> Option<CriConfig> {
    #[derive(Deserialize)]
    struct Dump {
        plugins: Plugins,
    }
    #[derive(Deserialize)]
    struct Plugins {
        #[serde(rename = "io.containerd.cri.v1.images")]
        images: ImagesPlugin,
        #[serde(rename = "io.containerd.cri.v1.runtime", default)]
        runtime: RuntimePlugin,
    }
    #[derive(Deserialize)]
    struct ImagesPlugin {
        pinned_images: BTreeMap<String, String>,
        #[serde(default)]
        snapshotter: String,
    }
    #[derive(Default, Deserialize)]
    struct RuntimePlugin {
        #[serde(default)]
        containerd: ContainerdSettings,
    }
    let dump = Figment::from(Toml::string(toml)).extract::<Dump>().ok()?;
    let Plugins { images, runtime } = dump.plugins;
    let mut pinned = images.pinned_images;
    Some(CriConfig {
        sandbox_image: pinned.remove("sandbox").filter(|name| !name.is_empty()),
        snapshotters: snapshotters(images.snapshotter, runtime.containerd.runtimes),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(config: Option<CriConfig>) -> Option<(String, String)> {
        config.map(|config| {
            let image = config.sandbox_image.unwrap_or_default();
            (image, config.snapshotters.join(" "))
        })
    }

    fn pair(image: &str, snapshotters: &str) -> Option<(String, String)> {
        Some((image.to_owned(), snapshotters.to_owned()))
    }

    #[test]
    fn the_status_of_1_6_and_1_7_tells_it() {
        let runtimes = r#"{"a":{"snapshotter":"devmapper"},"b":{"snapshotter":""},
                           "c":{},"d":{"snapshotter":"native"}}"#;
        let own = format!(
            r#"{{"containerd":{{"snapshotter":"native","runtimes":{runtimes}}},"sandboxImage":"p:1"}}"#
        );
        for (json, expected) in [
            (
                r#"{"containerd":{},"sandboxImage":"registry.k8s.io/pause:3.6","x":1}"#,
                pair("registry.k8s.io/pause:3.6", ""),
            ),
            (&own, pair("p:1", "native devmapper")),
            (r#"{"sandboxImage":""}"#, None),
            (r#"{"containerd":{},"enableCDI":true}"#, None),
            ("[]", None),
        ] {
            assert_eq!(told(in_status(json)), expected, "{json}");
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
        let runtime = "[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]\n\
                       snapshotter = ''\n\
                       [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.kata]\n\
                       snapshotter = 'devmapper'\n";
        for (toml, expected) in [
            (
                dump("base = 'a:1'\nsandbox = 'b:2'"),
                pair("b:2", "overlayfs"),
            ),
            (
                dump("sandbox = 'b:2'") + runtime,
                pair("b:2", "overlayfs devmapper"),
            ),
            (dump("base = 'a:1'"), pair("", "overlayfs")),
            (dump("sandbox = ''"), pair("", "overlayfs")),
            ("version = 3\n[plugins]\n".to_owned(), None),
            ("flag provided but not defined".to_owned(), None),
        ] {
            assert_eq!(told(in_dump(&toml)), expected, "{toml}");
        }
    }
}
