//! What the CRI that runs says of its configuration in its status. Pure: the words of 1.6 to 2.x.

use std::collections::BTreeMap;

use serde::Deserialize;

/// What is configured of CRI, as far as its status tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct CriStatus {
    /// The image that every pod is made with, as it is written; nothing from 2.0 on.
    pub(super) sandbox_image: Option<String>,
    /// What containers are made with, where their runtime has nothing for itself; nothing from 2.0 on.
    pub(super) snapshotter: Option<String>,
    /// What runtimes have for themselves.
    pub(super) of_runtimes: Vec<String>,
}

#[derive(Deserialize)]
struct ToldConfig {
    #[serde(rename = "sandboxImage", default)]
    sandbox_image: String,
    #[serde(default)]
    containerd: ContainerdSettings,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ContainerdSettings {
    snapshotter: String,
    runtimes: Option<BTreeMap<String, RuntimeSettings>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RuntimeSettings {
    snapshotter: String,
}

impl CriStatus {
    /// By the `config` of a verbose status.
    pub(super) fn of_config(json: &str) -> Option<Self> {
        let told = serde_json::from_str::<ToldConfig>(json).ok()?;
        let some = |text: String| (!text.is_empty()).then_some(text);
        let runtimes = told.containerd.runtimes.unwrap_or_default();
        let of_runtimes = runtimes.into_values();
        let of_runtimes = of_runtimes.filter_map(|runtime| some(runtime.snapshotter));
        Some(Self {
            of_runtimes: of_runtimes.collect(),
            sandbox_image: some(told.sandbox_image),
            snapshotter: some(told.containerd.snapshotter),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_generation_tells_what_it_tells() {
        let runtimes = r#"{"a":{"snapshotter":"devmapper"},"b":{"snapshotter":""},"c":{}}"#;
        let of_1 = format!(
            r#"{{"containerd":{{"snapshotter":"native","runtimes":{runtimes}}},"sandboxImage":"p:1"}}"#
        );
        let of_2 = format!(r#"{{"containerd":{{"runtimes":{runtimes}}},"enableCDI":true}}"#);
        let told =
            |image: Option<&str>, snapshotter: Option<&str>, of_runtimes: &[&str]| CriStatus {
                sandbox_image: image.map(str::to_owned),
                snapshotter: snapshotter.map(str::to_owned),
                of_runtimes: of_runtimes.iter().map(|name| (*name).to_owned()).collect(),
            };
        for (json, expected) in [
            (
                &*of_1,
                Some(told(Some("p:1"), Some("native"), &["devmapper"])),
            ),
            (&*of_2, Some(told(None, None, &["devmapper"]))),
            (
                r#"{"containerd":{"runtimes":null}}"#,
                Some(told(None, None, &[])),
            ),
            ("no JSON", None),
        ] {
            assert_eq!(CriStatus::of_config(json), expected, "{json}");
        }
    }
}
