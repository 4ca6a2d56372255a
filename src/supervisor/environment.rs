//! The child's environment, made of stowd's own. Pure.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// A variable with this prefix is meant for the child alone, which gets it without the prefix.
const PREFIX: &[u8] = b"CONTAINERD_";
/// The one such variable that is a flag of containerd's instead: it reads no variable for it.
const LOG_LEVEL: &[u8] = b"CONTAINERD_LOG_LEVEL";

/// Names that systemd gives a meaning for stowd's own process (sd_notify(3),
/// sd_watchdog_enabled(3), systemd.exec(5)). With the first of them containerd, which speaks the
/// protocol, would report READY in stowd's place.
const STRIPPED: [&[u8]; 5] = [
    b"NOTIFY_SOCKET",
    b"WATCHDOG_USEC",
    b"WATCHDOG_PID",
    b"INVOCATION_ID",
    b"JOURNAL_STREAM",
];
/// Families of such names: socket activation (sd_listen_fds(3)) and stowd's own configuration.
const STRIPPED_PREFIXES: [&[u8]; 2] = [b"LISTEN_", b"STOWD_"];

/// What stowd's environment means for the child.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    /// The child's whole environment, each name once.
    pub variables: BTreeMap<OsString, OsString>,
    /// The value of `--log-level`. Never empty.
    pub log_level: Option<OsString>,
}

impl Environment {
    /// Reads the variables of stowd's own environment, in their order.
    ///
    /// Where a name occurs twice the first one counts, as it does for getenv(3) and for Go.
    pub fn from_own(own: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let mut plain = BTreeMap::new();
        let mut overrides = BTreeMap::new();
        let mut log_level = None;
        for (name, value) in own {
            if name.as_bytes() == LOG_LEVEL {
                log_level.get_or_insert(value);
            } else if let Some(inner) = name.as_bytes().strip_prefix(PREFIX) {
                let inner = OsString::from_vec(inner.to_vec());
                if is_for_child(&inner) {
                    overrides.entry(inner).or_insert(value);
                }
            } else if is_for_child(&name) {
                plain.entry(name).or_insert(value);
            }
        }
        plain.extend(overrides);
        Self {
            variables: plain,
            log_level: log_level.filter(|level| !level.is_empty()),
        }
    }
}

/// Whether the child may have a variable of this name.
fn is_for_child(name: &OsStr) -> bool {
    let name = name.as_bytes();
    !name.is_empty()
        && !STRIPPED.contains(&name)
        && !STRIPPED_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix))
}
