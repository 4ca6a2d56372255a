//! What a file of credentials names and has no usable login for.

use std::fmt;

use super::scope::Scope;
use crate::naming::Reference;
use crate::one_line::{quoted, shortened};

/// How many characters of a registry's key, or of a helper's name, are shown.
const REGISTRY_SHOWN: usize = 100;

/// A registry's key, for people.
pub(super) fn registry(key: &str) -> String {
    quoted(key, REGISTRY_SHOWN)
}

/// Something that the file names and has no login for that stowd or containerd could use. Its
/// `Display` is a sentence that says why, on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The key in quotes; `credsStore` has none.
    registry: String,
    /// `None` for a key that no image is under.
    scope: Option<Scope>,
    why: Why,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Why {
    /// `credHelpers` or `credsStore` names this helper for it.
    Helper(String),
    /// `credsStore` names this helper, for whatever registries.
    Store(String),
    /// Its entry is empty.
    Nothing,
    /// No image is under such a key.
    NotARegistry,
    /// See [`Login::RegistryToken`].
    RegistryToken,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let registry = &self.registry;
        let helper = |name| format!("docker-credential-{}", shortened(name, REGISTRY_SHOWN));
        match &self.why {
            Why::Helper(name) => write!(
                f,
                "the login for {registry} is kept by {}, and stowd runs no credential helpers; \
                 put it into \"auths\"",
                helper(name)
            ),
            Why::Store(name) => write!(
                f,
                "the logins are kept by {}, and stowd runs no credential helpers; put them into \
                 \"auths\"",
                helper(name)
            ),
            Why::Nothing => write!(f, "the entry for {registry} has no login in it"),
            Why::NotARegistry => write!(
                f,
                "{registry} names no registry that an image could be in; write \
                 host[:port][/path], and give a host without a dot its port"
            ),
            Why::RegistryToken => write!(
                f,
                "the entry for {registry} has nothing but a \"registrytoken\", which containerd \
                 takes no notice of; give a user and a password"
            ),
        }
    }
}

impl Gap {
    /// Whether the image is in the registry that has no login.
    pub(super) fn covers(&self, image: &Reference) -> bool {
        self.scope.as_ref().is_some_and(|scope| scope.covers(image))
    }

    /// Whether it is about all registries.
    pub(super) fn is_of_store(&self) -> bool {
        matches!(self.why, Why::Store(_))
    }
}

/// One for each registry.
#[derive(Default)]
pub(super) struct Gaps(Vec<Gap>);

impl Gaps {
    pub(super) fn add(&mut self, key: &str, scope: Option<Scope>, why: Why) {
        let known = |gap: &Gap| scope.is_some() && gap.scope == scope;
        if !self.0.iter().any(known) {
            self.0.push(Gap {
                registry: registry(key),
                scope,
                why,
            });
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn into_list(self) -> Vec<Gap> {
        self.0
    }
}
