//! Image lists: `.txt` files with the name of one image to pull on each line.
//!
//! ```text
//! # what the cluster needs
//! alpine:3
//! registry.example/team/app@sha256:…   # pinned
//! ```
//!
//! Blank lines, comments from `#` on (no name has one in it), CRLF, tabs and spaces around a name and
//! a byte-order mark are fine. A line that is wrong costs itself alone; a file that is no list at all
//! is one error, not one a line. A file of checksums or of prose is plainly no list, and no failure.

use std::collections::HashSet;

use crate::compression::{Compression, is_ustar};
use crate::naming::{Reference, ReferenceError};
use crate::one_line::{cut, lossy};

/// The longest file that is read, in bytes. A reader may stop at `LIST_MAX + 1`.
pub const LIST_MAX: u64 = 4 << 20;

/// The most images in one list.
pub const IMAGES_MAX: usize = 10_000;

/// The most wrong lines: a file with more of them is something else.
pub const PROBLEMS_MAX: usize = 1_000;

/// The longest line in bytes, its comment and the blanks around it left out. Names end long before.
pub const LINE_MAX: usize = 4096;

/// How many digits a checksum has: MD5, SHA-1, and SHA-2 of each length.
const CHECKSUMS: [usize; 6] = [32, 40, 56, 64, 96, 128];

/// How many characters of a wrong line its error repeats.
const SHOWN: usize = 80;

/// What a list says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageList {
    /// The images in the order of the file, each once, however often and in whatever forms it is named.
    pub lines: Vec<Line>,
    /// The lines that name none, in the order of the file.
    pub problems: Vec<LineProblem>,
}

/// An image to pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The first line that names it, from 1.
    pub number: usize,
    /// The name in its [canonical](Reference::canonical) form, under which containerd keeps it.
    pub reference: Reference,
}

/// A line that names no image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {number}: {cause}")]
pub struct LineProblem {
    /// Which line, from 1.
    pub number: usize,
    pub cause: LineError,
}

/// Why a line names no image. Fits in a line, whatever the list has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// Not the name of an image.
    #[error(transparent)]
    Name(#[from] ReferenceError),
    /// Something follows the name.
    #[error("{second:?} follows {first:?}: one name a line; a comment begins with '#'")]
    Words {
        /// The first word.
        first: String,
        /// What follows it.
        second: String,
    },
    /// A character that no text has.
    #[error("it has the control character {0:?} in it")]
    Control(char),
    #[error("{0:?} is not text in UTF-8")]
    NotUtf8(String),
    #[error("it is {bytes} bytes long and begins with {beginning:?}: no image has such a name")]
    TooLong { bytes: usize, beginning: String },
}

/// Why a file is no list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    #[error("longer than {} MiB: this is no list of images", LIST_MAX >> 20)]
    TooLong,
    /// More than [`IMAGES_MAX`].
    #[error("more than {IMAGES_MAX} images; make several lists of it")]
    TooManyImages,
    /// More wrong lines than [`PROBLEMS_MAX`].
    #[error(
        "more than {PROBLEMS_MAX} of its lines name no image, so it is no list of images; the first is {first}"
    )]
    TooManyProblems { first: LineProblem },
    /// Prose, or checksums: some lines are of that kind, and most name no image.
    #[error("{wrong} of its {lines} lines name no image; the first is {first}")]
    NoList {
        /// The lines that are neither blank nor comments.
        lines: usize,
        /// Those of them that name no image.
        wrong: usize,
        first: LineProblem,
    },
    /// An archive under the name of a list.
    #[error("this looks like {kind}, not like a list of images; name it {suffix}")]
    Archive {
        /// What it looks like, with its article.
        kind: &'static str,
        /// What the name of such a file ends in.
        suffix: &'static str,
    },
    /// A zip file, which stowd does not read under any name.
    #[error("this looks like a zip file, not like a list of images; unpack it")]
    Zip,
    /// It begins with the byte-order mark of UTF-16.
    #[error("this looks like text in UTF-16; save it as UTF-8")]
    Utf16,
    /// It has NUL bytes.
    #[error("this looks like a binary file (byte {at} is NUL); a list of images is text in UTF-8")]
    Binary {
        /// The first NUL, from 1.
        at: usize,
    },
}

impl ImageList {
    /// Reads the bytes of a list. One without a name is a list too: there is nothing to pull.
    pub fn parse(bytes: &[u8]) -> Result<Self, ListError> {
        if bytes.len() as u64 > LIST_MAX {
            return Err(ListError::TooLong);
        }
        if let Some(error) = other_than_text(bytes) {
            return Err(error);
        }
        let mut list = Self::default();
        let mut seen = HashSet::new();
        // How many lines name an image, how many do not, and whether some are plainly no names.
        let (mut right, mut wrong, mut has_prose) = (0_usize, 0_usize, false);
        for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let number = index + 1;
            match read(line) {
                Ok(None) => {}
                Ok(Some(reference)) => {
                    right += 1;
                    if !seen.insert(reference.clone()) {
                        continue;
                    }
                    if list.lines.len() == IMAGES_MAX {
                        return Err(ListError::TooManyImages);
                    }
                    list.lines.push(Line { number, reference });
                }
                Err(cause) => {
                    wrong += 1;
                    has_prose |= is_prose(line);
                    // A megabyte of one-letter lines must not become a million errors.
                    if list.problems.len() < PROBLEMS_MAX {
                        list.problems.push(LineProblem { number, cause });
                    }
                }
            }
        }
        if wrong > right && has_prose {
            return Err(ListError::NoList {
                lines: wrong + right,
                wrong,
                first: list.problems.swap_remove(0),
            });
        }
        if wrong > PROBLEMS_MAX {
            let first = list.problems.swap_remove(0);
            return Err(ListError::TooManyProblems { first });
        }
        Ok(list)
    }
}

/// What one line names, if anything.
fn read(line: &[u8]) -> Result<Option<Reference>, LineError> {
    // The comment goes first: it may hold anything, in any encoding.
    let named = line.split(|byte| *byte == b'#').next().unwrap_or(line);
    // Not only before the first line: `cat` leaves the marks of its files inside.
    let named = named.strip_prefix(b"\xef\xbb\xbf").unwrap_or(named);
    let named = named.trim_ascii();
    if named.len() > LINE_MAX {
        return Err(LineError::TooLong {
            bytes: named.len(),
            beginning: excerpt(&lossy(named, SHOWN)),
        });
    }
    let text = std::str::from_utf8(named)
        .map_err(|_| LineError::NotUtf8(excerpt(&lossy(named, SHOWN))))?
        .trim();
    if let Some(control) = text.chars().find(|c| c.is_control() && *c != '\t') {
        return Err(LineError::Control(control));
    }
    match text.split_once(char::is_whitespace) {
        Some((first, second)) => Err(LineError::Words {
            first: excerpt(first),
            second: excerpt(second.trim_start()),
        }),
        None if text.is_empty() => Ok(None),
        None => Ok(Some(Reference::parse(text)?.canonical())),
    }
}

/// Whether a line that names no image was not meant to: a checksum and the name of its file, a tag of
/// HTML, or a sentence. Of three words or more the first would be a name, where names were meant.
fn is_prose(line: &[u8]) -> bool {
    let text = lossy(line, LINE_MAX);
    let mut words = text.split_whitespace();
    let Some(first) = words.next() else {
        return false;
    };
    let more = words.count();
    let is_hex = first.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_checksum = is_hex && CHECKSUMS.contains(&first.len());
    let is_name = || first.contains([':', '/', '@']) && Reference::parse(first).is_ok();
    first.starts_with('<') || (more >= 1 && is_checksum) || (more >= 2 && !is_name())
}

fn excerpt(text: &str) -> String {
    cut(text, SHOWN).into_owned()
}

/// What a file is whose bytes are those of no list.
fn other_than_text(bytes: &[u8]) -> Option<ListError> {
    let archive = |compression: Compression| {
        let kind = match compression {
            Compression::Plain => "a tar archive",
            Compression::Gzip => "a gzip archive",
            Compression::Zstd => "a zstd archive",
            Compression::Lz4 => "an lz4 archive",
            Compression::Bzip2 => "a bzip2 archive",
            Compression::Xz => "an xz archive",
        };
        let suffix = compression.suffixes()[0];
        Some(ListError::Archive { kind, suffix })
    };
    if let Some(compression) = Compression::in_place_of_text(bytes) {
        return archive(compression);
    }
    match bytes {
        [b'P', b'K', 0x03, 0x04, ..] => Some(ListError::Zip),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some(ListError::Utf16),
        _ if is_ustar(bytes) => archive(Compression::Plain),
        _ => {
            let nul = bytes.iter().position(|byte| *byte == 0)?;
            Some(ListError::Binary { at: nul + 1 })
        }
    }
}
