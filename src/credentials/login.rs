//! A login, and how it is kept out of messages.

use std::fmt;

use super::basic;

/// What stowd authenticates with at a registry. The fields are those of CRI's `AuthConfig`, of which
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

impl Login {
    /// The text without the login, for messages of registries and of containerd, which may repeat what
    /// was sent to them: the user, the password, both in base64 (RFC 7617), or the token.
    pub fn kept_out_of(&self, text: &str) -> String {
        let mut text = text.to_owned();
        match self {
            Self::Password { username, password } => {
                let both = basic::encoded(username, password);
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

/// A shorter user is hidden only where it is a word of its own: the user `a` would otherwise take
/// every `a` out of a message. Tokens are longer.
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
