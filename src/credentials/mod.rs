//! Logins for registries, as Docker's `config.json` has them
//! (<https://docs.docker.com/reference/cli/docker/login/>), read by the rules of Docker and, where
//! its keys are registries with paths or patterns, of the kubelet
//! (<https://kubernetes.io/docs/concepts/containers/images/#config-json>).
//!
//! ```json
//! {"auths": {
//!   "https://index.docker.io/v1/": {"auth": "dXNlcjpwYXNzd29yZA=="},
//!   "registry.example:5000/team":  {"username": "user", "password": "password"},
//!   "*.azurecr.example":           {"identitytoken": "..."}
//! }}
//! ```
//!
//! No `Debug`, `Display` or error in here shows a secret: a user counts as one, since some
//! registries want a token in its place.

mod basic;
mod document;
mod error;
mod gap;
mod login;
mod scope;

pub use error::{CREDENTIALS_MAX, CredentialsError};
pub use gap::Gap;
pub use login::Login;

use document::ConfigJson;
use gap::{Gaps, Why};
use scope::Scope;

use crate::naming::Reference;

/// Logins for registries. The default has none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The first that covers an image is its login.
    logins: Vec<(Scope, Login)>,
    gaps: Vec<Gap>,
}

impl Credentials {
    /// Reads the bytes of a `config.json`. What it has beside logins is left alone.
    pub fn parse(bytes: &[u8]) -> Result<Self, CredentialsError> {
        if bytes.len() as u64 > CREDENTIALS_MAX {
            return Err(CredentialsError::TooLong);
        }
        Ok(Self::of(ConfigJson::read(bytes)?))
    }

    fn of(document: ConfigJson) -> Self {
        let ConfigJson {
            auths,
            helpers,
            store,
        } = document;
        let mut logins = Vec::new();
        let mut gaps = Gaps::default();
        let mut empty = Vec::new();
        for (key, login) in auths {
            match (Scope::of(&key), login) {
                (None, _) => gaps.add(&key, None, Why::NotARegistry),
                (Some(scope), None) => empty.push((key, scope)),
                (Some(scope), Some(login)) => {
                    if matches!(login, Login::RegistryToken(_)) {
                        gaps.add(&key, Some(scope.clone()), Why::RegistryToken);
                    }
                    let unusual = !scope.is_usual(&key);
                    logins.push((unusual, scope, login));
                }
            }
        }
        let has_login = |scope: &Scope| logins.iter().any(|(_, other, _)| other == scope);
        for (key, helper) in helpers {
            match Scope::of(&key) {
                None => gaps.add(&key, None, Why::NotARegistry),
                Some(scope) if has_login(&scope) => {}
                Some(scope) => gaps.add(&key, Some(scope), Why::Helper(helper)),
            }
        }
        // Docker leaves an empty entry behind where it gave the login to the store.
        for (key, scope) in empty.into_iter().filter(|(_, scope)| !has_login(scope)) {
            let why = store.clone().map_or(Why::Nothing, Why::Helper);
            gaps.add(&key, Some(scope), why);
        }
        if let (Some(store), true, true) = (store, logins.is_empty(), gaps.is_empty()) {
            gaps.add("", None, Why::Store(store));
        }
        // The sort keeps the order of the keys where two are as good.
        logins.sort_by_key(|(unusual, scope, _)| (scope.rank(), *unusual));
        Self {
            logins: logins
                .into_iter()
                .map(|(_, scope, login)| (scope, login))
                .collect(),
            gaps: gaps.into_list(),
        }
    }

    /// The login for the registry that an image is in: the one with the longest path that the image
    /// is under, and a host that is written out before one with a `*`.
    pub fn login_for(&self, image: &Reference) -> Option<&Login> {
        let mut logins = self.logins.iter();
        logins.find_map(|(scope, login)| scope.covers(image).then_some(login))
    }

    /// What the file names in vain: to be warned of when it is read.
    pub fn gaps(&self) -> &[Gap] {
        &self.gaps
    }

    /// Why there may be no login for the registry of an image: what to say when it is refused.
    pub fn gap_for(&self, image: &Reference) -> Option<&Gap> {
        let gaps = || self.gaps.iter();
        let covering = gaps().find(|gap| gap.covers(image));
        covering.or_else(|| gaps().find(|gap| gap.is_of_store()))
    }
}
