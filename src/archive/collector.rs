//! Collects the catalogue of an archive as its members come, and holds it to the limits.

use super::catalogue::{Catalogue, Encoding, File, Member};
use super::compression::skippable_frame;
use super::tar_reader::Entry;
use super::{ArchiveError, limits};

/// How much of a body is looked at to tell what it is.
pub(super) const HEAD: usize = 512;

#[derive(Default)]
pub(super) struct Collector {
    catalogue: Catalogue,
    names: usize,
    documents: u64,
}

impl Collector {
    /// Adds a link.
    pub(super) fn link(&mut self, path: &str, target: &str) -> Result<(), ArchiveError> {
        self.count_names(path.len() + target.len())?;
        self.catalogue
            .insert(path.to_owned(), Member::Link(target.to_owned()));
        Ok(())
    }

    /// Adds a file.
    pub(super) fn file(&mut self, path: &str, file: File) -> Result<(), ArchiveError> {
        self.count_names(path.len())?;
        self.catalogue.insert(path.to_owned(), Member::File(file));
        Ok(())
    }

    /// Whether the body that begins with `head` is to be kept; makes room for it.
    ///
    /// JSON is kept, for which of it are manifests is known only when the index has been read.
    /// In-toto statements are not: no layout has to be read through them, and an image's bills of
    /// materials may take megabytes each. Their first key is `_type`, as BuildKit writes them.
    pub(super) fn keeps(&mut self, entry: &Entry, head: &[u8]) -> Result<bool, ArchiveError> {
        // Both ways through an archive look at the same bytes, so that they find the same.
        let head = &head[..head.len().min(HEAD)];
        if entry.size > limits::DOCUMENT_MAX || !is_json(head) || is_statement(head) {
            return Ok(false);
        }
        self.documents += entry.size;
        if self.documents > limits::DOCUMENTS_MAX {
            let member = entry.name.clone();
            return Err(ArchiveError::DocumentsTooLong { member });
        }
        Ok(true)
    }

    pub(super) fn finish(self) -> Catalogue {
        self.catalogue
    }

    fn count_names(&mut self, bytes: usize) -> Result<(), ArchiveError> {
        self.names += bytes;
        if self.names > limits::NAMES_MAX {
            return Err(ArchiveError::NamesTooLong);
        }
        Ok(())
    }
}

/// Refuses a document that the formats prescribe, before its first byte, where it is too long to be
/// kept: without it the archive has no images.
pub(super) fn check_document_size(entry: &Entry, path: &str) -> Result<(), ArchiveError> {
    // Some archives have one directory around everything.
    let name = path.split_once('/').map_or(path, |(_, name)| name);
    let is_prescribed = matches!(name, "index.json" | "manifest.json" | "oci-layout");
    if is_prescribed && entry.size > limits::DOCUMENT_MAX {
        return Err(ArchiveError::DocumentTooLong {
            member: entry.name.clone(),
            size: entry.size,
        });
    }
    Ok(())
}

/// How a body is compressed, by what it begins with. containerd too takes a skippable frame for
/// zstd.
pub(super) fn encoding(head: &[u8]) -> Encoding {
    match head {
        [0x1f, 0x8b, 0x08, ..] => Encoding::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Encoding::Zstd,
        head if skippable_frame(head).is_some() => Encoding::Zstd,
        _ => Encoding::Plain,
    }
}

fn is_json(head: &[u8]) -> bool {
    matches!(head.trim_ascii_start().first(), Some(b'{' | b'['))
}

fn is_statement(head: &[u8]) -> bool {
    let first_key = head.trim_ascii_start().strip_prefix(b"{");
    first_key.is_some_and(|rest| rest.trim_ascii_start().starts_with(b"\"_type\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_told_by_how_they_begin() {
        assert!(is_json(b"{}"));
        assert!(is_json(b" \n\t[1]"));
        assert!(!is_json(b""));
        assert!(!is_json(b"   "));
        assert!(!is_json(b"\x1f\x8b{"));
        assert!(is_statement(
            b"{\n  \"_type\": \"https://in-toto.io/Statement/v0.1\""
        ));
        assert!(!is_statement(b"{\"schemaVersion\":2,\"_type\":1"));
    }

    #[test]
    fn encodings_are_told_by_how_they_begin() {
        assert_eq!(encoding(b"\x1f\x8b\x08\x00"), Encoding::Gzip);
        assert_eq!(encoding(b"\x28\xb5\x2f\xfd"), Encoding::Zstd);
        assert_eq!(encoding(b"\x50\x2a\x4d\x18\x04\0\0\0"), Encoding::Zstd);
        assert_eq!(encoding(b"\x1f\x8b"), Encoding::Plain);
        assert_eq!(encoding(b""), Encoding::Plain);
    }
}
