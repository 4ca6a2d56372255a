//! The members of an archive: all that a layout needs to know of its bytes. Values alone: where they
//! were read from is not their concern.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::limits::SHOWN;
use crate::compression::Compression;
use crate::digest::Digest;
use crate::one_line::quoted;

/// The members of an archive by their normalised path: no leading `./` or `/`, no `.`, no `..`.
/// Of two members with one path the later one counts, as it does for tar.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Catalogue {
    members: BTreeMap<String, Member>,
    /// Where the archive ends, if it ends behind a member and without its end marker. It may have been
    /// cut there.
    pub unmarked_end: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Member {
    File(FileMember),
    /// A symbolic or hard link: the normalised path, inside the archive, of what it points to.
    Link(String),
    /// A link that leads out of the archive: its target as it is written.
    LinkOut(String),
}

/// A regular file in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileMember {
    /// Its length in bytes.
    pub size: u64,
    /// Where its bytes begin in the archive file; `None` where they cannot be read there, as in a
    /// compressed archive.
    pub offset: Option<u64>,
    /// Of a sparse file, where in it the bytes lie that the archive has of it, in their order: all
    /// else are zeros.
    pub runs: Option<Arc<[DataRun]>>,
    /// The digest of its bytes, where they have been hashed: all files of a compressed archive,
    /// the compressed layers of a plain docker-archive.
    pub digest: Option<Digest>,
    /// How its bytes are compressed, by what they begin with.
    pub compression: Compression,
    /// The digest of its bytes when decompressed, where `digest` is that of a compressed layer
    /// of a docker-archive; `None` also where such a layer cannot be decompressed.
    pub diff_id: Option<Digest>,
    /// Its bytes, if it can be a JSON document: it begins like one and is no longer than
    /// [`crate::oci::limits::DOCUMENT_MAX`]. In-toto statements are not kept.
    pub document: Option<Arc<[u8]>>,
}

/// Bytes of a sparse file that are no hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataRun {
    /// Where in the file they begin.
    pub at: u64,
    pub length: u64,
}

/// A link that leads to no file of its archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokenLink {
    /// The path of the link.
    pub link: String,
    /// What it points to.
    pub target: String,
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

    /// The file at `path`, or that links lead to from there, with the file's own path.
    pub fn file(&self, path: &str) -> Option<(&str, &FileMember)> {
        self.followed(path).ok()
    }

    /// The link because of which there is no file at `path`, if it is because of a link.
    pub fn broken_link(&self, path: &str) -> Option<BrokenLink> {
        let (link, target) = self.followed(path).err()??;
        Some(BrokenLink {
            link: link.to_owned(),
            target: target.to_owned(),
        })
    }

    /// Follows the links at `path` and in it to a file; else the last link that was met, and its
    /// target.
    fn followed(&self, path: &str) -> Result<(&str, &FileMember), Option<(&str, &str)>> {
        let mut path = Cow::Borrowed(path);
        let mut last = None;
        for _ in 0..LINK_DEPTH {
            let link = match self.members.get_key_value(path.as_ref()) {
                Some((path, Member::File(file))) => return Ok((path, file)),
                Some((link, member)) => Some((link, member, "")),
                None => self.linked_directory(&path),
            };
            path = match link {
                None => break,
                Some((link, Member::Link(target), rest)) => {
                    last = Some((link.as_str(), target.as_str()));
                    Cow::Owned(format!("{target}{rest}"))
                }
                Some((link, Member::LinkOut(target), _)) => {
                    last = Some((link.as_str(), target.as_str()));
                    break;
                }
                Some((_, Member::File(_), _)) => break,
            };
        }
        Err(last)
    }

    /// A member above `path` that should be a directory, and the rest of the path behind it.
    fn linked_directory<'p>(&self, path: &'p str) -> Option<(&String, &Member, &'p str)> {
        let mut above = path.rmatch_indices('/').map(|(at, _)| path.split_at(at));
        above.find_map(|(directory, rest)| {
            let (link, member) = self.members.get_key_value(directory)?;
            Some((link, member, rest))
        })
    }
}

impl fmt::Display for BrokenLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [link, target] = [&self.link, &self.target].map(|path| quoted(path, SHOWN));
        write!(
            f,
            "{link} is a link to {target}, which leads to no file of the archive: {STORE_FILES}"
        )
    }
}

/// What helps against links in an archive.
pub(super) const STORE_FILES: &str =
    "make the archive with `tar -h --hard-dereference`, which stores files in place of links";

#[cfg(test)]
mod tests {
    use super::*;

    fn file(size: u64) -> Member {
        Member::File(FileMember {
            size,
            offset: None,
            runs: None,
            digest: None,
            compression: Compression::Plain,
            diff_id: None,
            document: None,
        })
    }

    #[test]
    fn links_are_followed_at_a_path_and_in_it() {
        let mut catalogue = Catalogue::default();
        let link = |target: &str| Member::Link(target.to_owned());
        for (path, member) in [
            ("data/blobs/x", file(1)),
            ("blobs", link("store")),
            ("store", link("data/blobs")),
            ("y", link("blobs/x")),
            ("cache", Member::LinkOut("../../cache".to_owned())),
            ("gone", link("nowhere")),
            ("loop", link("loop")),
        ] {
            catalogue.insert(path.to_owned(), member);
        }
        for path in ["data/blobs/x", "blobs/x", "store/x", "y"] {
            assert_eq!(catalogue.file(path).unwrap().0, "data/blobs/x", "{path}");
            assert_eq!(catalogue.broken_link(path), None);
        }
        for (path, link, target) in [
            ("cache/x", "cache", "../../cache"),
            ("gone", "gone", "nowhere"),
            ("loop", "loop", "loop"),
            ("blobs/z", "store", "data/blobs"),
        ] {
            assert_eq!(catalogue.file(path), None, "{path}");
            let broken = catalogue.broken_link(path).unwrap();
            assert_eq!(
                (broken.link.as_str(), broken.target.as_str()),
                (link, target)
            );
        }
        assert_eq!(catalogue.broken_link("data/blobs/z"), None);
        assert_eq!(catalogue.broken_link("data/blobs/x/z"), None);
    }
}
