//! Builds the catalogue of an archive as its members come, and holds it to the limits.

use super::error::ArchiveError;
use super::expansion::Expansion;
use super::limits;
use super::reader::{MemberKind, TarMember};
use crate::layout::limits::DOCUMENTS_MAX;
use crate::layout::{Catalogue, FileMember, Member};
use crate::oci::limits::DOCUMENT_MAX;

/// How much of a body is looked at to tell what it is.
pub(super) const HEAD: usize = 512;

#[derive(Default)]
pub(super) struct CatalogueBuilder {
    catalogue: Catalogue,
    /// The bytes of paths, and of the maps of sparse members.
    names: usize,
    documents: u64,
}

impl CatalogueBuilder {
    /// Adds what is no file: links.
    pub(super) fn other(&mut self, kind: &MemberKind) -> Result<(), ArchiveError> {
        let (path, target, member): (_, _, fn(String) -> Member) = match kind {
            MemberKind::Link { path, target } => (path, target, Member::Link),
            MemberKind::LinkOut { path, target } => (path, target, Member::LinkOut),
            MemberKind::File(_) | MemberKind::Ignored => return Ok(()),
        };
        self.count_names(path.len() + target.len())?;
        self.catalogue.insert(path.clone(), member(target.clone()));
        Ok(())
    }

    pub(super) fn file(&mut self, path: &str, file: FileMember) -> Result<(), ArchiveError> {
        self.count_names(path.len())?;
        self.catalogue.insert(path.to_owned(), Member::File(file));
        Ok(())
    }

    /// Counts the holes of a sparse file, which are bytes of it that the archive does not have, and its
    /// map. A stream needs no map later, and is held to the same limit.
    pub(super) fn count_holes(
        &mut self,
        member: &TarMember,
        expansion: &Expansion,
    ) -> Result<(), ArchiveError> {
        let Some(runs) = &member.runs else {
            return Ok(());
        };
        self.count_names(size_of_val(&**runs))?;
        let counted = expansion.count(member.size - stored(member));
        counted.map_err(|halt| halt.error(Some(&member.name)))
    }

    /// Whether the body that begins with `head` is to be kept; makes room for it.
    ///
    /// JSON is kept, for which of it are manifests is known only when the index has been read.
    /// In-toto statements are not: no layout has to be read through them, and an image's bills of
    /// materials may take megabytes each. Their first key is `_type`, as BuildKit writes them.
    pub(super) fn keeps(&mut self, member: &TarMember, head: &[u8]) -> Result<bool, ArchiveError> {
        // Both ways through an archive look at the same bytes, so that they find the same.
        let head = &head[..head.len().min(HEAD)];
        if member.size > DOCUMENT_MAX || !is_json(head) || is_statement(head) {
            return Ok(false);
        }
        self.documents += member.size;
        if self.documents > DOCUMENTS_MAX {
            let member = member.name.clone();
            return Err(ArchiveError::DocumentsTooLong { member });
        }
        Ok(true)
    }

    /// The catalogue of an archive that ends there without its end marker, or that has one.
    pub(super) fn finish(mut self, unmarked_end: Option<u64>) -> Catalogue {
        self.catalogue.unmarked_end = unmarked_end;
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

/// The length of a body in the archive, without its holes.
pub(super) fn stored(member: &TarMember) -> u64 {
    let runs = member.runs.as_ref();
    runs.map_or(member.size, |runs| runs.iter().map(|run| run.length).sum())
}

/// Refuses a document that the formats prescribe, before its first byte, where it is too long to be
/// kept: without it the archive has no images.
pub(super) fn check_document_size(member: &TarMember, path: &str) -> Result<(), ArchiveError> {
    // Some archives have one directory around everything.
    let name = path.split_once('/').map_or(path, |(_, name)| name);
    let is_prescribed = matches!(name, "index.json" | "manifest.json" | "oci-layout");
    if is_prescribed && member.size > DOCUMENT_MAX {
        return Err(ArchiveError::DocumentTooLong {
            member: member.name.clone(),
            size: member.size,
        });
    }
    Ok(())
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
}
