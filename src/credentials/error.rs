//! Why a file of credentials cannot be used.

/// The longest file that is read, in bytes. A reader may stop at `CREDENTIALS_MAX + 1`.
pub const CREDENTIALS_MAX: u64 = 1 << 20;

/// Why a file of credentials cannot be used. Names registries and fields, and repeats no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// Longer than [`CREDENTIALS_MAX`].
    #[error("longer than {} MiB: this is no config.json of Docker", CREDENTIALS_MAX >> 20)]
    TooLong,
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
