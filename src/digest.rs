//! Content digests: what names a blob, and the hash that proves it.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::one_line::quoted;

/// The digest of a blob in its written form, `sha256:` and 64 lower-case hexadecimal digits
/// (OCI image spec, "Digests"). SHA-256 is the one algorithm that containerd's content store keeps.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(String);

const ALGORITHM: &str = "sha256:";

/// Why a text is not a digest that stowd can use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text} is not a digest of the form sha256:<64 lower-case hexadecimal digits>")]
pub struct DigestError {
    text: String,
}

impl Digest {
    /// Reads the written form.
    pub fn parse(text: &str) -> Result<Self, DigestError> {
        let hex = text.strip_prefix(ALGORITHM).unwrap_or_default();
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if hex.len() == 64 && hex.bytes().all(is_hex) {
            Ok(Self(text.to_owned()))
        } else {
            // A hostile document may hold megabytes here; an error line must stay a line.
            let text = quoted(text, 100);
            Err(DigestError { text })
        }
    }

    /// Reads the 64 hexadecimal digits.
    pub(crate) fn of_hex(hex: &str) -> Result<Self, DigestError> {
        Self::parse(&format!("{ALGORITHM}{hex}"))
    }

    /// The digest of bytes that are at hand.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::default();
        hasher.update(bytes);
        hasher.finish()
    }

    /// The 64 hexadecimal digits.
    pub fn hex(&self) -> &str {
        &self.0[ALGORITHM.len()..]
    }

    /// The written form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl serde::Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Hashes a stream of chunks.
#[derive(Clone, Default)]
pub struct Hasher(Sha256);

impl Hasher {
    /// Takes the next chunk.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all that was taken.
    pub fn finish(self) -> Digest {
        use fmt::Write as _;
        let mut text = String::with_capacity(ALGORITHM.len() + 64);
        text.push_str(ALGORITHM);
        for byte in self.0.finalize() {
            let _ = write!(text, "{byte:02x}");
        }
        Digest(text)
    }
}

impl std::io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn the_digest_of_nothing_is_the_published_one() {
        assert_eq!(Digest::of(b"").as_str(), EMPTY);
        assert_eq!(Digest::parse(EMPTY).unwrap(), Digest::of(b""));
    }

    #[test]
    fn what_containerd_would_refuse_is_refused() {
        let upper = EMPTY.to_uppercase().replace("SHA256", "sha256");
        for bad in [
            "",
            "sha256:",
            "sha512:00",
            &EMPTY[..70],
            &upper,
            &EMPTY[7..],
        ] {
            assert!(Digest::parse(bad).is_err(), "{bad}");
        }
        let endless = "x".repeat(1 << 20);
        assert!(Digest::parse(&endless).unwrap_err().to_string().len() < 300);
    }
}
