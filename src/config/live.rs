//! Which keys a running stowd takes from a configuration that was read again.

use super::Config;
use super::key::KEYS;

/// The keys that take effect without a restart.
const LIVE: [&str; 12] = [
    "images.platforms",
    "images.extra-registries",
    "images.settle",
    "images.parallel",
    "images.unpack",
    "images.scrub",
    "images.scrub-rate",
    "images.unpin-removed",
    "lists.parallel",
    "lists.pull-timeout",
    "lists.auth-file",
    "metrics.listen",
];

/// What became of a configuration that was read again: the dotted keys that differ.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Changes {
    /// They are in effect.
    pub taken: Vec<&'static str>,
    /// They need a restart.
    pub left: Vec<&'static str>,
}

impl Config {
    /// Takes the values of the keys that take effect without a restart from `newer`.
    pub fn take(&mut self, newer: Config) -> Changes {
        let mut changes = Changes::default();
        for key in KEYS {
            if key.text(self) != key.text(&newer) {
                let live = LIVE.contains(&key.name());
                let kind = if live {
                    &mut changes.taken
                } else {
                    &mut changes.left
                };
                kind.push(key.name());
            }
        }
        self.images.platforms = newer.images.platforms;
        self.images.extra_registries = newer.images.extra_registries;
        self.images.settle = newer.images.settle;
        self.images.parallel = newer.images.parallel;
        self.images.unpack = newer.images.unpack;
        self.images.scrub = newer.images.scrub;
        self.images.scrub_rate = newer.images.scrub_rate;
        self.images.unpin_removed = newer.images.unpin_removed;
        self.lists.parallel = newer.lists.parallel;
        self.lists.pull_timeout = newer.lists.pull_timeout;
        self.lists.auth_file = newer.lists.auth_file;
        self.metrics.listen = newer.metrics.listen;
        changes
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::unpack::UnpackWhen;

    #[test]
    fn what_is_live_is_taken_and_the_rest_is_named() {
        let mut running = Config::default();
        let mut newer = Config::default();
        newer.images.settle = Duration::from_secs(9);
        newer.images.dir = "/elsewhere".into();
        newer.log_level = "debug".to_owned();
        newer.lists.ready_timeout = Duration::ZERO;
        let changes = running.take(newer.clone());
        assert_eq!(changes.taken, ["images.settle"]);
        assert_eq!(
            changes.left,
            ["log-level", "images.dir", "lists.ready-timeout"]
        );
        assert_eq!(running.images.settle, Duration::from_secs(9));
        assert_eq!(running.images.dir, Config::default().images.dir);
        assert_eq!(running.take(newer).taken, Vec::<&str>::new());
    }

    #[test]
    fn every_live_key_is_a_key_and_is_taken() {
        let newer = |change: fn(&mut Config)| {
            let mut newer = Config::default();
            change(&mut newer);
            newer
        };
        let changes: [fn(&mut Config); LIVE.len()] = [
            |c| c.images.platforms = vec!["all".to_owned()],
            |c| c.images.extra_registries = vec!["registry.example".to_owned()],
            |c| c.images.settle = Duration::ZERO,
            |c| c.images.parallel = 7,
            |c| c.images.unpack = UnpackWhen::Never,
            |c| c.images.scrub = Duration::ZERO,
            |c| c.images.scrub_rate = bytesize::ByteSize::mib(7),
            |c| c.images.unpin_removed = false,
            |c| c.lists.parallel = 7,
            |c| c.lists.pull_timeout = Duration::from_secs(1),
            |c| c.lists.auth_file = Some("/etc/stowd/auth.json".into()),
            |c| c.metrics.listen = Some("127.0.0.1:9477".to_owned()),
        ];
        for (change, key) in changes.into_iter().zip(LIVE) {
            let newer = newer(change);
            let mut running = Config::default();
            assert_eq!(running.take(newer.clone()).taken, [key]);
            assert_eq!(running, newer);
        }
    }
}
