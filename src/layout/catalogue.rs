//! The members of an archive: all that a layout needs to know of its bytes. Values alone: where they
//! were read from is not their concern.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::compression::Encoding;
use crate::digest::Digest;

/// The members of an archive by their normalised path: no leading `./` or `/`, no `.`, no `..`.
/// Of two members with one path the later one counts, as it does for tar.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Catalogue {
    members: BTreeMap<String, Member>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Member {
    File(FileMember),
    /// A symbolic or hard link: the normalised path, inside the archive, of what it points to.
    Link(String),
}

/// A regular file in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileMember {
    /// Its length in bytes.
    pub size: u64,
    /// Where its bytes begin in the archive file; `None` where they cannot be read there, as in a
    /// compressed archive.
    pub offset: Option<u64>,
    /// The digest of its bytes, where they have been hashed: all files of a compressed archive,
    /// the compressed layers of a plain docker-archive.
    pub digest: Option<Digest>,
    /// How its bytes are compressed, by what they begin with.
    pub encoding: Encoding,
    /// The digest of its bytes when decompressed, where `digest` is that of a compressed layer
    /// of a docker-archive; `None` also where such a layer cannot be decompressed.
    pub diff_id: Option<Digest>,
    /// Its bytes, if it can be a JSON document: it begins like one and is no longer than
    /// [`crate::oci::limits::DOCUMENT_MAX`]. In-toto statements are not kept.
    pub document: Option<Arc<[u8]>>,
}

/// Links that lead to links are followed this often.
const LINK_DEPTH: usize = 16;

impl Catalogue {
    /// Adds a member; the path is normalised.
    pub fn insert(&mut self, path: String, member: Member) {
        self.members.insert(path, member);
    }

    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The members in the order of their paths.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Member)> {
        self.members
            .iter()
            .map(|(path, member)| (path.as_str(), member))
    }

    /// The file at `path`, or that a link there leads to, with the file's own path.
    pub fn file(&self, path: &str) -> Option<(&str, &FileMember)> {
        let mut path = path;
        for _ in 0..LINK_DEPTH {
            match self.members.get_key_value(path)? {
                (path, Member::File(file)) => return Some((path, file)),
                (_, Member::Link(target)) => path = target,
            }
        }
        None
    }
}
