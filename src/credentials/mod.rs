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

mod document;
mod scope;

use std::fmt;

use document::Document;
use scope::Scope;

use crate::naming::Reference;
use crate::shown::shortened;

/// The longest file that is read, in bytes. A reader may stop at `CREDENTIALS_MAX + 1`.
pub const CREDENTIALS_MAX: u64 = 1 << 20;

/// How many characters of a registry's key, or of a helper's name, are shown.
const REGISTRY_SHOWN: usize = 100;

/// Logins for registries. The default has none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The first that covers an image is its login.
    logins: Vec<(Scope, Login)>,
    gaps: Vec<Gap>,
}

/// How stowd proves to a registry who it is. The fields are those of CRI's `AuthConfig`, of which
/// containerd takes a user before an identity token: each kind goes alone.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// A user and a password.
    Password {
        /// Never empty.
        username: String,
        /// May be empty.
        password: String,
    },
    /// An OAuth 2.0 refresh token: `identitytoken`.
    IdentityToken(String),
    /// A bearer token, as it goes to the registry: `registrytoken`. CRI has a field for it;
    /// containerd up to 2.2 takes no notice of that, and pulls without a login.
    RegistryToken(String),
}

/// The kind alone.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password { .. } => "Password(..)",
            Self::IdentityToken(_) => "IdentityToken(..)",
            Self::RegistryToken(_) => "RegistryToken(..)",
        })
    }
}

/// Something that the file names and has no login for that stowd or containerd could use. Its
/// `Display` is a sentence that says why, on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The key, for people; empty for `credsStore`, which has none.
    registry: String,
    /// `None` for a key that no image is under.
    scope: Option<Scope>,
    why: Why,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Why {
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
                "the login for \"{registry}\" is kept by {}, and stowd runs no credential helpers; \
                 put it into \"auths\"",
                helper(name)
            ),
            Why::Store(name) => write!(
                f,
                "the logins are kept by {}, and stowd runs no credential helpers; put them into \
                 \"auths\"",
                helper(name)
            ),
            Why::Nothing => write!(f, "the entry for \"{registry}\" has no login in it"),
            Why::NotARegistry => write!(
                f,
                "\"{registry}\" names no registry that an image could be in; write \
                 host[:port][/path], and give a host without a dot its port"
            ),
            Why::RegistryToken => write!(
                f,
                "the entry for \"{registry}\" has nothing but a \"registrytoken\", which containerd \
                 takes no notice of; give a user and a password"
            ),
        }
    }
}

/// Why a file of credentials cannot be used. Names registries and fields, and repeats no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// Longer than [`CREDENTIALS_MAX`].
    #[error("longer than {} MiB: this is no config.json of Docker", CREDENTIALS_MAX >> 20)]
    TooLong,
    /// Not JSON.
    #[error("line {line}, column {column}: this is not JSON in UTF-8")]
    NotJson {
        /// From 1.
        line: usize,
        /// From 1, in bytes; 0 for the end of the line before.
        column: usize,
    },
    /// JSON that has no end.
    #[error("line {line}, column {column}: the JSON ends here and is not whole; was the file cut?")]
    Cut {
        /// From 1.
        line: usize,
        /// From 1, in bytes; 0 for the end of the line before.
        column: usize,
    },
    /// The form that Docker had before 1.7: what belongs into `auths` is the whole file.
    #[error(
        "this is the older .dockercfg, which has no \"auths\"; write {{\"auths\": …}} around all of it"
    )]
    Dockercfg,
    /// A value of the wrong kind.
    #[error("{place} is {found}; expected {expected}")]
    Shape {
        /// Which value.
        place: String,
        /// What kind it is of.
        found: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// `auth` is not base64.
    #[error(
        "\"auth\" of {registry} is not base64; write the output of: printf %s 'user:password' | base64 -w0"
    )]
    NotBase64 {
        /// The key, in quotes.
        registry: String,
    },
    /// `auth` is base64 of something that CRI cannot carry.
    #[error("\"auth\" of {registry} is base64 of something that is not text in UTF-8")]
    NotUtf8 {
        /// The key, in quotes.
        registry: String,
    },
    /// `auth` is base64 of something else.
    #[error(
        "\"auth\" of {registry} is not base64 of user:password; write the output of: printf %s 'user:password' | base64 -w0"
    )]
    NoUser {
        /// The key, in quotes.
        registry: String,
    },
    /// Half a login.
    #[error("the entry for {registry} has a {has:?} and no {lacks:?}")]
    Half {
        /// The key, in quotes.
        registry: String,
        /// The field that is there.
        has: &'static str,
        /// The field that is not.
        lacks: &'static str,
    },
}

impl Login {
    /// The text without the login, for messages of registries and of containerd, which may repeat what
    /// was sent to them: the user, the password, both in base64 (RFC 7617), or the token.
    pub fn kept_out_of(&self, text: &str) -> String {
        let mut text = text.to_owned();
        match self {
            Self::Password { username, password } => {
                let both = document::basic(username, password);
                // The longest first: a secret that is a part of another must not break that one up.
                let mut secrets = [both.as_str(), password, username];
                secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
                for secret in secrets {
                    if secret == username && secret.len() < SHORT_USER {
                        hide_word(&mut text, secret);
                    } else {
                        hide(&mut text, secret);
                    }
                }
            }
            Self::IdentityToken(token) | Self::RegistryToken(token) => hide(&mut text, token),
        }
        text
    }
}

/// A shorter user is hidden only where it is a word of its own: the user `a` would otherwise take every
/// `a` out of a message. Tokens are longer.
const SHORT_USER: usize = 8;

/// What stands in place of a secret.
const HIDDEN: &str = "…";

fn hide(text: &mut String, secret: &str) {
    if !secret.is_empty() {
        *text = text.replace(secret, HIDDEN);
    }
}

/// Hides the word where no letter and no digit is beside it.
fn hide_word(text: &mut String, word: &str) {
    let mut shown = String::with_capacity(text.len());
    let mut from = 0;
    for (at, _) in text.match_indices(word) {
        let end = at + word.len();
        let before = text[..at].chars().next_back();
        let after = text[end..].chars().next();
        let mut beside = [before, after].into_iter().flatten();
        if !word.is_empty() && !beside.any(char::is_alphanumeric) {
            shown.push_str(&text[from..at]);
            shown.push_str(HIDDEN);
            from = end;
        }
    }
    shown.push_str(&text[from..]);
    *text = shown;
}

impl Credentials {
    /// Reads the bytes of a `config.json`. What it has beside logins is left alone.
    pub fn parse(bytes: &[u8]) -> Result<Self, CredentialsError> {
        if bytes.len() as u64 > CREDENTIALS_MAX {
            return Err(CredentialsError::TooLong);
        }
        Ok(Self::of(Document::read(bytes)?))
    }

    fn of(document: Document) -> Self {
        let Document {
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
        if let (Some(store), true, true) = (store, logins.is_empty(), gaps.0.is_empty()) {
            gaps.add("", None, Why::Store(store));
        }
        // The sort keeps the order of the keys where two are as good.
        logins.sort_by_key(|(unusual, scope, _)| (scope.rank(), *unusual));
        Self {
            logins: logins
                .into_iter()
                .map(|(_, scope, login)| (scope, login))
                .collect(),
            gaps: gaps.0,
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
        let covers = |gap: &&Gap| gap.scope.as_ref().is_some_and(|scope| scope.covers(image));
        let is_store = |gap: &&Gap| matches!(gap.why, Why::Store(_));
        let gaps = || self.gaps.iter();
        gaps().find(covers).or_else(|| gaps().find(is_store))
    }
}

/// One for each registry.
#[derive(Default)]
struct Gaps(Vec<Gap>);

impl Gaps {
    fn add(&mut self, key: &str, scope: Option<Scope>, why: Why) {
        let known = |gap: &Gap| scope.is_some() && gap.scope == scope;
        if !self.0.iter().any(known) {
            self.0.push(Gap {
                registry: shortened(key, REGISTRY_SHOWN),
                scope,
                why,
            });
        }
    }
}
