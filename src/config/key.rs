//! The keys: the name of each, the kind of value that it takes, and its place in [`Config`].
//!
//! Everything that walks the keys goes by this table: the loader, `stowd check`, and the test that
//! holds the sample file and the manual together.

use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;

use super::{Config, LineLevel};
use crate::unpack::UnpackWhen;

#[derive(Debug)]
pub struct Key {
    name: &'static str,
    pub(super) place: Field,
}

/// Where the value of a key lives, and with that which kind it is.
#[derive(Debug)]
pub(super) enum Field {
    Switch(fn(&mut Config) -> &mut bool),
    Count(fn(&mut Config) -> &mut usize),
    Text(fn(&mut Config) -> &mut String),
    OptionalText(fn(&mut Config) -> &mut Option<String>),
    Texts(fn(&mut Config) -> &mut Vec<String>),
    Path(fn(&mut Config) -> &mut PathBuf),
    OptionalPath(fn(&mut Config) -> &mut Option<PathBuf>),
    Size(fn(&mut Config) -> &mut ByteSize),
    Duration(fn(&mut Config) -> &mut Duration),
    Unpack(fn(&mut Config) -> &mut UnpackWhen),
    LineLevel(fn(&mut Config) -> &mut LineLevel),
}

/// Every key, in the order of a file: top level first, then table by table.
pub const KEYS: &[Key] = &[
    key("instance", Field::Text(|c| &mut c.instance)),
    key("state-dir", Field::Path(|c| &mut c.state_dir)),
    key("log-level", Field::Text(|c| &mut c.log_level)),
    key(
        "containerd.supervise",
        Field::Switch(|c| &mut c.containerd.supervise),
    ),
    key(
        "containerd.binary",
        Field::Path(|c| &mut c.containerd.binary),
    ),
    key(
        "containerd.config",
        Field::OptionalPath(|c| &mut c.containerd.config),
    ),
    key(
        "containerd.address",
        Field::Path(|c| &mut c.containerd.address),
    ),
    key("containerd.root", Field::Path(|c| &mut c.containerd.root)),
    key("containerd.state", Field::Path(|c| &mut c.containerd.state)),
    key(
        "containerd.extra-args",
        Field::Texts(|c| &mut c.containerd.extra_args),
    ),
    key(
        "containerd.namespace",
        Field::Text(|c| &mut c.containerd.namespace),
    ),
    key(
        "containerd.start-timeout",
        Field::Duration(|c| &mut c.containerd.start_timeout),
    ),
    key(
        "containerd.stop-timeout",
        Field::Duration(|c| &mut c.containerd.stop_timeout),
    ),
    key(
        "containerd.log.file",
        Field::OptionalPath(|c| &mut c.containerd.log.file),
    ),
    key(
        "containerd.log.max-size",
        Field::Size(|c| &mut c.containerd.log.max_size),
    ),
    key(
        "containerd.log.max-backups",
        Field::Count(|c| &mut c.containerd.log.max_backups),
    ),
    key(
        "containerd.log.max-age",
        Field::Duration(|c| &mut c.containerd.log.max_age),
    ),
    key(
        "containerd.log.compress",
        Field::Switch(|c| &mut c.containerd.log.compress),
    ),
    key(
        "containerd.log.tee",
        Field::Switch(|c| &mut c.containerd.log.tee),
    ),
    key(
        "containerd.log.level",
        Field::LineLevel(|c| &mut c.containerd.log.level),
    ),
    key("images.dir", Field::Path(|c| &mut c.images.dir)),
    key(
        "images.platforms",
        Field::Texts(|c| &mut c.images.platforms),
    ),
    key(
        "images.extra-registries",
        Field::Texts(|c| &mut c.images.extra_registries),
    ),
    key("images.settle", Field::Duration(|c| &mut c.images.settle)),
    key("images.parallel", Field::Count(|c| &mut c.images.parallel)),
    key("images.direct", Field::Switch(|c| &mut c.images.direct)),
    key("images.unpack", Field::Unpack(|c| &mut c.images.unpack)),
    key(
        "images.snapshotter",
        Field::OptionalText(|c| &mut c.images.snapshotter),
    ),
    key("images.rescan", Field::Duration(|c| &mut c.images.rescan)),
    key("images.scrub", Field::Duration(|c| &mut c.images.scrub)),
    key(
        "images.scrub-rate",
        Field::Size(|c| &mut c.images.scrub_rate),
    ),
    key(
        "images.unpin-removed",
        Field::Switch(|c| &mut c.images.unpin_removed),
    ),
    key("lists.parallel", Field::Count(|c| &mut c.lists.parallel)),
    key(
        "lists.pull-timeout",
        Field::Duration(|c| &mut c.lists.pull_timeout),
    ),
    key(
        "lists.ready-timeout",
        Field::Duration(|c| &mut c.lists.ready_timeout),
    ),
    key(
        "lists.auth-file",
        Field::OptionalPath(|c| &mut c.lists.auth_file),
    ),
    key(
        "metrics.listen",
        Field::OptionalText(|c| &mut c.metrics.listen),
    ),
];

const fn key(name: &'static str, place: Field) -> Key {
    Key { name, place }
}

impl Key {
    /// The key of this dotted name.
    pub fn named(name: &str) -> Option<&'static Key> {
        KEYS.iter().find(|key| key.name == name)
    }

    /// The name with its tables: `containerd.log.max-size`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The table and the last word of the name; the table is empty at the top level.
    pub(crate) fn table_and_word(&self) -> (&'static str, &'static str) {
        self.name.rsplit_once('.').unwrap_or(("", self.name))
    }

    /// The environment variable that sets it: `STOWD_CONTAINERD__LOG__MAX_SIZE`.
    pub fn variable(&self) -> String {
        format!("STOWD_{}", words_of_variable(self.name))
    }
}

/// The tables, outer before inner: every proper prefix of a key's name.
pub(super) fn tables() -> impl Iterator<Item = &'static str> {
    let mut seen: Vec<&str> = Vec::new();
    KEYS.iter().filter_map(move |key| {
        let (table, _) = key.table_and_word();
        let new = !table.is_empty() && !seen.contains(&table);
        seen.push(table);
        new.then_some(table)
    })
}

/// How a dotted name is written in a variable: `__` steps into a table, `_` stands for `-`.
pub(super) fn words_of_variable(name: &str) -> String {
    name.replace('.', "__")
        .replace('-', "_")
        .to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_follow_the_names() {
        let variable = |name| Key::named(name).unwrap().variable();
        assert_eq!(variable("state-dir"), "STOWD_STATE_DIR");
        assert_eq!(variable("images.dir"), "STOWD_IMAGES__DIR");
        assert_eq!(
            variable("containerd.log.max-size"),
            "STOWD_CONTAINERD__LOG__MAX_SIZE"
        );
    }

    #[test]
    fn tables_are_named_once() {
        assert_eq!(
            tables().collect::<Vec<_>>(),
            ["containerd", "containerd.log", "images", "lists", "metrics"]
        );
    }

    #[test]
    fn every_key_has_a_place_of_its_own() {
        for key in KEYS {
            let mut config = Config::default();
            let before = KEYS.iter().map(|k| k.text(&config)).collect::<Vec<_>>();
            match key.place {
                Field::Switch(at) => *at(&mut config) ^= true,
                Field::Count(at) => *at(&mut config) += 1,
                Field::Text(at) => at(&mut config).push('x'),
                Field::OptionalText(at) => *at(&mut config) = Some("x".to_owned()),
                Field::Texts(at) => at(&mut config).push("x".to_owned()),
                Field::Path(at) => *at(&mut config) = "x".into(),
                Field::OptionalPath(at) => *at(&mut config) = Some("x".into()),
                Field::Size(at) => *at(&mut config) = ByteSize::b(1),
                Field::Duration(at) => *at(&mut config) += Duration::from_nanos(1),
                Field::Unpack(at) => *at(&mut config) = UnpackWhen::Never,
                Field::LineLevel(at) => *at(&mut config) = LineLevel::Trace,
            }
            let changed: Vec<_> = KEYS
                .iter()
                .zip(before)
                .filter(|(k, before)| k.text(&config) != *before)
                .map(|(k, _)| k.name)
                .collect();
            assert_eq!(changed, [key.name]);
        }
    }
}
