//! Why an archive cannot be read.

use std::fmt;
use std::io;

use super::decode_error::DecodeError;
use super::header::HeaderError;
use super::limits;
use super::member_name::MemberName;
use crate::compression::Compression;
use crate::layout::limits::DOCUMENTS_MAX;
use crate::oci::limits::DOCUMENT_MAX;

/// Why bytes of the archive file could not be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum InputError {
    /// The stop flag is set.
    #[error("stopped before the archive was read")]
    Stopped,
    /// The system's own error.
    #[error("cannot read the archive at byte {offset}: {cause}")]
    Failed {
        /// Where in the file.
        offset: u64,
        /// The system's own words.
        cause: io::Error,
    },
}

impl From<InputError> for io::Error {
    fn from(error: InputError) -> Self {
        let kind = match &error {
            InputError::Stopped => io::ErrorKind::Other,
            InputError::Failed { cause, .. } => cause.kind(),
        };
        io::Error::new(kind, error)
    }
}

/// Why an archive cannot be read. A message is whole, its cause included; no message has the
/// archive's own path, which the caller knows.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("cannot open the archive: {0}")]
    Open(io::Error),
    /// A directory, a device or a pipe.
    #[error("not a regular file")]
    NotAFile,
    /// Not one byte.
    #[error("the file is empty")]
    Empty,
    /// Neither a tar header nor the magic number of a compression.
    #[error("{}: it begins with {begins}", WhatIsNotTar(*inside))]
    NotTar {
        /// The compression whose decoded bytes these are; `None` for the file's own.
        inside: Option<Compression>,
        /// The first bytes.
        begins: FirstBytes,
    },
    /// What a web server says instead of the file.
    #[error("not an archive but an HTML page: the download was answered by a web page")]
    WebPage,
    /// The compressed stream cannot be decoded.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("cannot read the archive at byte {offset}: {cause}")]
    Read {
        /// Where in the file.
        offset: u64,
        /// The system's own words.
        cause: io::Error,
    },
    /// The receiver or the stop flag ended the reading.
    #[error("stopped before the archive was read")]
    Stopped,
    /// The archive ends before its end marker.
    #[error(
        "the tar archive ends early, at byte {offset}{}: it was cut, or is still being written",
        InOrAfter(member.as_ref())
    )]
    Truncated {
        /// Where in the tar archive, when decompressed.
        offset: u64,
        /// The last member that was begun.
        member: Option<MemberName>,
    },
    /// The archive ends behind a member, without its end marker, and lacks something.
    #[error(
        "the tar archive ends early, at byte {offset}, with no end marker: it was cut, or is still \
         being written; {lacking}"
    )]
    NoEndMarker {
        /// Where in the tar archive, when decompressed.
        offset: u64,
        /// What of it cannot be found.
        lacking: String,
    },
    /// A block that should be a header is none.
    #[error("the tar archive is damaged at byte {offset}: {cause}")]
    Header {
        /// Where in the tar archive, when decompressed.
        offset: u64,
        cause: HeaderError,
    },
    /// A decompression bomb.
    #[error(
        "{} decompresses to more than {} GiB and {} times the length of the file, \
         as no image does",
        Expanding(member.as_ref()),
        limits::EXPANDED_FREE >> 30,
        limits::EXPANSION_MAX
    )]
    Expands {
        /// The compressed layer; `None` for the archive itself.
        member: Option<MemberName>,
    },
    /// More zeros after the end marker than [`limits::PADDING_MAX`].
    #[error(
        "after the end of the tar archive come more than {} MiB of zeros",
        limits::PADDING_MAX >> 20
    )]
    Padding,
    /// Half an end marker, and more after it.
    #[error("the tar archive is damaged at byte {offset}: a lone block of zeros")]
    LoneZeroBlock {
        /// Where in the tar archive, when decompressed.
        offset: u64,
    },
    /// A long name or a pax header, and no member after it.
    #[error("the tar archive is damaged at byte {offset}: a long name without its member")]
    Dangling {
        /// Where in the tar archive, when decompressed.
        offset: u64,
    },
    /// Two long names or pax headers for one member.
    #[error("the tar archive is damaged at byte {offset}: two long names for one member")]
    Repeated {
        /// Where in the tar archive, when decompressed.
        offset: u64,
    },
    /// Something follows the end marker.
    #[error(
        "after the end of the tar archive, at byte {offset}, more follows; \
         archives that were joined must be imported one by one"
    )]
    Trailing {
        /// Where in the tar archive, when decompressed.
        offset: u64,
    },
    /// A long name or a pax header larger than [`limits::EXTENSION_MAX`].
    #[error(
        "the tar header at byte {offset} announces a long name or pax header of {size} bytes; \
         at most {} are read",
        limits::EXTENSION_MAX
    )]
    ExtensionTooLong {
        /// Where in the tar archive, when decompressed.
        offset: u64,
        /// What it announces, in bytes.
        size: u64,
    },
    /// A path or link target longer than [`limits::PATH_MAX`].
    #[error(
        "the path or link target of member {member} is longer than {} bytes",
        limits::PATH_MAX
    )]
    PathTooLong { member: MemberName },
    /// More members than [`limits::MEMBERS_MAX`].
    #[error("the archive has more than {} members", limits::MEMBERS_MAX)]
    TooManyMembers,
    /// More bytes of paths, and of where sparse members have bytes, than [`limits::NAMES_MAX`].
    #[error(
        "the paths in the archive, and the maps of its sparse members, take more than {} MiB",
        limits::NAMES_MAX >> 20
    )]
    NamesTooLong,
    /// A member with holes, in another format than PAX 1.0.
    #[error(
        "member {member} is a sparse file of an old format, which is not read; write the archive \
         without holes (GNU tar without --sparse, bsdtar with --no-read-sparse) or with --format=pax"
    )]
    Sparse { member: MemberName },
    /// The map of a sparse member does not fit its bytes.
    #[error("the map of the sparse file {member} is damaged, or too long")]
    SparseMap { member: MemberName },
    /// A document that the formats prescribe is longer than [`DOCUMENT_MAX`].
    #[error(
        "{member} is {size} bytes long; a JSON document may have {} at most",
        DOCUMENT_MAX
    )]
    DocumentTooLong {
        member: MemberName,
        /// Its length in bytes.
        size: u64,
    },
    /// More bytes of documents than [`DOCUMENTS_MAX`].
    #[error(
        "with {member}, the JSON documents in the archive take more than {} MiB",
        DOCUMENTS_MAX >> 20
    )]
    DocumentsTooLong {
        /// The member that was one too many.
        member: MemberName,
    },
}

impl ArchiveError {
    /// Whether the system failed to read the file, which says nothing about its content.
    pub(crate) fn is_of_system(&self) -> bool {
        matches!(self, Self::Open(_) | Self::Read { .. } | Self::Stopped)
    }

    /// What to say of bytes that should have been a tar header.
    pub(super) fn not_tar(head: &[u8]) -> ArchiveError {
        let text = head.trim_ascii_start().to_ascii_lowercase();
        if text.starts_with(b"<!doctype html") || text.starts_with(b"<html") {
            return ArchiveError::WebPage;
        }
        ArchiveError::NotTar {
            inside: None,
            begins: FirstBytes(head[..head.len().min(8)].to_vec()),
        }
    }

    /// Says where the bytes that are no tar archive were found.
    pub(super) fn inside(self, compression: Compression) -> ArchiveError {
        match self {
            ArchiveError::NotTar { begins, .. } if compression != Compression::Plain => {
                let inside = Some(compression);
                ArchiveError::NotTar { inside, begins }
            }
            other => other,
        }
    }
}

impl From<InputError> for ArchiveError {
    fn from(error: InputError) -> Self {
        match error {
            InputError::Stopped => ArchiveError::Stopped,
            InputError::Failed { offset, cause } => ArchiveError::Read { offset, cause },
        }
    }
}

/// The first bytes of a file, in hexadecimal and as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstBytes(Vec<u8>);

impl fmt::Display for FirstBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in &self.0 {
            write!(f, "{byte:02x} ")?;
        }
        write!(f, "(\"{}\")", self.0.escape_ascii())
    }
}

struct WhatIsNotTar(Option<Compression>);

impl fmt::Display for WhatIsNotTar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str(
                "not a tar archive, nor one compressed with gzip, zstd, lz4, bzip2 or xz",
            ),
            Some(compression) => write!(f, "the {compression} stream holds no tar archive"),
        }
    }
}

struct Expanding<'a>(Option<&'a MemberName>);

impl fmt::Display for Expanding<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("the archive"),
            Some(member) => write!(f, "member {member}"),
        }
    }
}

struct InOrAfter<'a>(Option<&'a MemberName>);

impl fmt::Display for InOrAfter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => Ok(()),
            Some(member) => write!(f, ", in or after member {member}"),
        }
    }
}
