//! The settings that shape what an entry brings, in one comparable value.

use crate::digest::{Digest, Hasher};
use crate::platform::Wanted;

/// To be raised when a new stowd brings something else from the same file with the same settings
/// (other names, other labels), or writes down more of it: entries that an older one imported are then
/// imported again.
const RULES: u32 = 3;

/// Tells settings apart under which the same file brings different images or names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Fingerprint(Digest);

impl Fingerprint {
    /// Of `images.platforms` as it was understood (`host` on another machine is another platform),
    /// `images.extra-registries` and `containerd.namespace`. Order and repetition do not count.
    pub fn of(wanted: &Wanted, extra_registries: &[String], namespace: &str) -> Self {
        let platforms = match wanted {
            Wanted::All => vec!["all".to_owned()],
            Wanted::Each(platforms) => platforms.iter().map(ToString::to_string).collect(),
        };
        let mut hasher = Hasher::default();
        hasher.update(&RULES.to_le_bytes());
        for mut words in [
            platforms,
            extra_registries.to_vec(),
            vec![namespace.to_owned()],
        ] {
            words.sort();
            words.dedup();
            // With lengths, so that no two lists of words make the same bytes.
            hasher.update(&words.len().to_le_bytes());
            for word in words {
                hasher.update(&word.len().to_le_bytes());
                hasher.update(word.as_bytes());
            }
        }
        Self(hasher.finish())
    }

    /// As the ledger's file has it.
    pub(super) fn digest(&self) -> &Digest {
        &self.0
    }

    /// From the ledger's file.
    pub(super) fn from_digest(digest: Digest) -> Self {
        Self(digest)
    }
}

/// Of no settings: equal to none that [`Fingerprint::of`] makes.
impl Default for Fingerprint {
    fn default() -> Self {
        Self(Digest::of(b""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::Platform;

    fn of(platforms: &[&str], registries: &[&str], namespace: &str) -> Fingerprint {
        let owned = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        let wanted = Wanted::from_config(&owned(platforms), Platform::host()).unwrap();
        Fingerprint::of(&wanted, &owned(registries), namespace)
    }

    #[test]
    fn what_brings_the_same_is_the_same() {
        let one = of(
            &["linux/amd64", "linux/arm64"],
            &["a.example", "b.example"],
            "n",
        );
        let other = of(
            &["linux/arm64", "linux/amd64"],
            &["b.example", "a.example", "a.example"],
            "n",
        );
        assert_eq!(one, other);
        let host = Platform::host().to_string();
        assert_eq!(of(&["host"], &[], "n"), of(&[&host], &[], "n"));
    }

    #[test]
    fn what_brings_something_else_differs() {
        let all = [
            Fingerprint::default(),
            of(&["all"], &[], "n"),
            of(&["linux/amd64"], &[], "n"),
            of(&["linux/arm64"], &[], "n"),
            of(&["linux/amd64", "linux/arm64"], &[], "n"),
            of(&["linux/amd64"], &["n"], "n"),
            of(&["linux/amd64"], &["a.example"], "n"),
            of(&["linux/amd64"], &["a.example", "b.example"], "n"),
            of(&["linux/amd64"], &["a.exampleb.example"], "n"),
            of(&["linux/amd64"], &[], "k8s.io"),
        ];
        for (i, one) in all.iter().enumerate() {
            for (j, other) in all.iter().enumerate() {
                assert_eq!(one == other, i == j, "{i} and {j}");
            }
        }
    }
}
