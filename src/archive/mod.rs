//! Reads image archives: tar files, plain or compressed, in one of two ways.
//!
//! ```text
//! plain       a.tar      index()  headers and documents read, bodies passed over ─┐
//!                                                                        Catalogue
//!                        body()   a body the store lacks, read at its place ◄─────┘
//!
//! compressed  a.tar.zst  stream() one pass: decode ═► tar ─┬─► body, body, body … ─► the receiver
//!                                                          └─► Catalogue, at the end
//!                        (═► from one thread to another)
//! ```
//!
//! A compressed archive cannot be read twice without the work of decoding it twice, and whether a
//! body is a layer that is wanted is known only when the index has been seen, which may come last.
//! So every body is handed on as it comes; small JSON documents are kept, bodies are not. Nothing
//! is unpacked to disk, no path of an archive touches the file system, and memory is bounded by
//! [`limits`]. An archive that was cut never yields a catalogue: its end marker must be there, and
//! the checksum of its compression right.
//!
//! Everything here blocks: call it from a thread that may.

mod candidate;
pub mod catalogue;
pub mod children;
mod collect;
mod collector;
mod compression;
mod content;
mod diff_id;
mod docker_archive;
mod document;
mod expansion;
mod gzip;
mod image_tree;
mod index;
mod layout;
pub mod limits;
mod lz4_frames;
mod media_type;
mod member_path;
mod oci_layout;
mod positioned;
pub mod problem;
mod read_ahead;
pub mod resolve;
mod settle;
mod stream;
mod survey;
mod tar_header;
mod tar_reader;
mod trees;

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::OFlags;

pub use compression::{Compression, DecodeError};
pub use member_path::MemberName;
pub use positioned::{Body, InputError};
pub use stream::Receiver;
pub use tar_header::HeaderError;

use crate::progress::Meter;
use catalogue::Catalogue;
use tar_header::{BLOCK, Header};

/// An archive file that is open.
///
/// The file is read at positions of its own: what is read does not depend on the file's cursor, and
/// several bodies may be read at once.
#[derive(Debug)]
pub struct Archive {
    file: File,
    size: u64,
    compression: Compression,
    meter: Meter,
    stop: Arc<AtomicBool>,
}

impl Archive {
    /// Opens a file and tells its compression by its first bytes, whatever its name says.
    ///
    /// When all of the archive has been read, or skipped and added by whoever skips, `meter` has
    /// counted [`size`](Self::size) bytes.
    pub fn open(path: &Path, meter: Meter) -> Result<Archive, ArchiveError> {
        let file = File::options()
            .read(true)
            // A named pipe would make the open wait for a writer.
            .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
            .open(path)
            .map_err(ArchiveError::Open)?;
        let metadata = file.metadata().map_err(ArchiveError::Open)?;
        if !metadata.is_file() {
            return Err(ArchiveError::NotAFile);
        }
        let mut archive = Archive {
            file,
            size: metadata.len(),
            compression: Compression::Plain,
            meter,
            stop: Arc::default(),
        };
        archive.compression = archive.sniff()?;
        Ok(archive)
    }

    /// Makes all reading end with [`ArchiveError::Stopped`] soon after the flag is set.
    pub fn stopped_by(mut self, stop: Arc<AtomicBool>) -> Archive {
        self.stop = stop;
        self
    }

    /// How the file is compressed. [`Plain`](Compression::Plain) means [`index`](Self::index) and
    /// [`body`](Self::body), all else means [`stream`](Self::stream).
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// The length of the file in bytes, as it was opened.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The open file, to see by `fstat` whether it has changed while it was read.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Lists a plain archive: reads its headers and its documents and passes over the bodies. Only
    /// compressed layers outside of `blobs/` are read, for their digests.
    ///
    /// Of the file's bytes `meter` counts all but the bodies that [`body`](Self::body) can read; of
    /// a body that is read both here and there, each counts one half.
    pub fn index(&self) -> Result<Catalogue, ArchiveError> {
        match self.compression {
            Compression::Plain => index::index(self),
            compression => Err(ArchiveError::Compressed(compression)),
        }
    }

    /// Reads an archive in one pass: a thread of its own decodes, and this one walks through what
    /// comes of it. Documents are kept in the catalogue; all other bodies go to `receiver`, which
    /// hashes them, except empty ones and the files `VERSION` of old docker-archives.
    ///
    /// When the receiver breaks, this ends with [`ArchiveError::Stopped`]. `meter` counts the bytes
    /// of the file as they are read. What the receiver was given counts only when this returns `Ok`:
    /// damage that only the last checksum shows is found after the last body.
    pub fn stream(&self, receiver: &mut impl Receiver) -> Result<Catalogue, ArchiveError> {
        stream::stream(self, receiver)
    }

    /// The body of a file of a plain archive, from its byte `from` on; those before it count as
    /// read. Its digest is not verified. A file that [`stream`](Self::stream) found has no place in
    /// the archive: its body is an error on the first read.
    pub fn body<'a>(&'a self, file: &catalogue::File, from: u64) -> Body<'a> {
        Body::new(self, file, from)
    }

    /// Reads some bytes at an offset; 0 at the end of the file.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, InputError> {
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err(InputError::Stopped);
            }
            match self.file.read_at(buf, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(InputError::Failed { offset, cause }),
                Ok(read) => return Ok(read),
            }
        }
    }

    /// Up to `length` bytes at an offset; fewer only at the end of the file.
    fn bytes_at(&self, length: usize, offset: u64) -> Result<Vec<u8>, InputError> {
        let mut bytes = vec![0; length];
        let mut filled = 0;
        while filled < length {
            match self.read_at(&mut bytes[filled..], offset + filled as u64)? {
                0 => break,
                read => filled += read,
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    fn sniff(&self) -> Result<Compression, ArchiveError> {
        let head = self.bytes_at(BLOCK, 0)?;
        if head.is_empty() {
            return Err(ArchiveError::Empty);
        }
        // A header's checksum is better proof than a magic number: a member may be named "BZh1".
        let is_header = head.first_chunk().is_some_and(Header::is_header);
        if is_header || head.iter().all(|byte| *byte == 0) {
            return Ok(Compression::Plain);
        }
        let compressed = Compression::of(|offset| self.bytes_at(8, offset))?;
        match compressed {
            Some(compression) => Ok(compression),
            None if is_ustar(&head) => Ok(Compression::Plain),
            None => Err(ArchiveError::not_tar(&head)),
        }
    }
}

/// Whether a block says that it is a tar header, be it damaged (POSIX ustar, "magic").
fn is_ustar(block: &[u8]) -> bool {
    block.get(257..262) == Some(b"ustar")
}

/// Why an archive cannot be read. A message is whole, its cause included; no message has the
/// archive's own path, which the caller knows.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The file cannot be opened.
    #[error("cannot open the archive: {0}")]
    Open(io::Error),
    /// A directory, a device or a pipe.
    #[error("not a regular file")]
    NotAFile,
    /// Not one byte.
    #[error("the file is empty")]
    Empty,
    /// Neither a tar header nor the magic number of a compression.
    #[error("{}: it begins with {begins}", NotTar(*inside))]
    NotTar {
        /// The compression whose decoded bytes these are; `None` for the file's own.
        inside: Option<Compression>,
        /// The first bytes.
        begins: FirstBytes,
    },
    /// What a web server says instead of the file.
    #[error("not an archive but an HTML page: the download was answered by a web page")]
    WebPage,
    /// An index was asked of a compressed archive.
    #[error("a {0} archive has no index: it is read in one pass")]
    Compressed(Compression),
    /// The compressed stream cannot be decoded.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The file cannot be read.
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
    /// A block that should be a header is none.
    #[error("the tar archive is damaged at byte {offset}: {cause}")]
    Header {
        /// Where in the tar archive, when decompressed.
        offset: u64,
        /// What is wrong with it.
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
    PathTooLong {
        /// The member.
        member: MemberName,
    },
    /// More members than [`limits::MEMBERS_MAX`].
    #[error("the archive has more than {} members", limits::MEMBERS_MAX)]
    TooManyMembers,
    /// More bytes of paths than [`limits::NAMES_MAX`].
    #[error("the paths in the archive take more than {} MiB", limits::NAMES_MAX >> 20)]
    NamesTooLong,
    /// A member with holes.
    #[error(
        "member {member} is a sparse file, which no image has; \
         write the archive without tar's --sparse"
    )]
    Sparse {
        /// The member.
        member: MemberName,
    },
    /// A document that the formats prescribe is longer than [`limits::DOCUMENT_MAX`].
    #[error(
        "{member} is {size} bytes long; a JSON document may have {} at most",
        limits::DOCUMENT_MAX
    )]
    DocumentTooLong {
        /// The member.
        member: MemberName,
        /// Its length in bytes.
        size: u64,
    },
    /// More bytes of documents than [`limits::DOCUMENTS_MAX`].
    #[error(
        "with {member}, the JSON documents in the archive take more than {} MiB",
        limits::DOCUMENTS_MAX >> 20
    )]
    DocumentsTooLong {
        /// The member that was one too many.
        member: MemberName,
    },
}

impl ArchiveError {
    /// What to say of bytes that should have been a tar header.
    fn not_tar(head: &[u8]) -> ArchiveError {
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
    fn inside(self, compression: Compression) -> ArchiveError {
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

struct NotTar(Option<Compression>);

impl fmt::Display for NotTar {
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
