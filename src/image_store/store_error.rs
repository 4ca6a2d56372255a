//! Why a store did not do what it was asked, and why an image was not pulled.

use crate::digest::Digest;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PullError {
    /// It is not about the image: the store did not do what it was asked.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Where the runtime looks for the image, it cannot even be asked for, or is not there: nothing of it
    /// was fetched. The words are the runtime's.
    #[error("{0}")]
    Unresolved(String),
    /// The image cannot be had from where the runtime looks for it. The words are the runtime's.
    #[error("{0}")]
    Failed(String),
}

impl PullError {
    /// The same with other words of the runtime's.
    pub(crate) fn map_words(self, words: impl FnOnce(String) -> String) -> Self {
        match self {
            Self::Unresolved(told) => Self::Unresolved(words(told)),
            Self::Failed(told) => Self::Failed(words(told)),
            Self::Store(_) => self,
        }
    }
}

impl StoreError {
    /// Whether the store is away: that says nothing about what it was asked.
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    /// Whether the store is at work and refuses what it was asked: another call may succeed.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }
}

/// Why the store did not do what it was asked, as far as a caller can act on it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The store is gone or does not answer. The call can be made again when it is back.
    #[error("{call}: containerd is not reachable: {cause}")]
    Unreachable {
        /// The call, as containerd's API names it.
        call: &'static str,
        /// Its own words.
        cause: String,
    },
    /// An answer did not come in time.
    #[error("{call}: no answer from containerd within {seconds} s")]
    Deadline {
        /// The call, as containerd's API names it.
        call: &'static str,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The bytes that the store holds for a blob are not those of its digest. The store has
    /// thrown them away: sending the blob anew, from its first byte, can succeed.
    #[error("blob {expected}: what the store was sent has another digest: {cause}")]
    Mismatch {
        expected: Digest,
        /// The store's own words, with the digest that it found.
        cause: String,
    },
    /// Another client threw away what was sent of a blob. Sending it anew, from its first byte, can
    /// succeed.
    #[error("blob {digest}: what was sent of it was removed by another client: {cause}")]
    Removed {
        digest: Digest,
        /// The store's own words.
        cause: String,
    },
    /// The store had a blob, and has collected it since. Writing it anew can succeed.
    #[error("blob {digest} was collected while it was in use")]
    Collected { digest: Digest },
    /// The store sends other bytes for a blob than those of its digest.
    #[error("the store's blob {digest} is damaged")]
    Damaged { digest: Digest },
    /// No room on the store's file system.
    #[error("{call}: no space left on the file system of containerd's root: {cause}")]
    NoSpace {
        /// The call, as containerd's API names it.
        call: &'static str,
        /// Its own words.
        cause: String,
    },
    #[error("{call}: {cause}")]
    Refused {
        /// The call, as containerd's API names it.
        call: &'static str,
        /// Its own words.
        cause: String,
    },
}
