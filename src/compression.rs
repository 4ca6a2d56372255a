//! How files are compressed: the magic numbers that tell it, and the suffixes of file names that
//! promise it. The one place for both.
//!
//! The magic numbers are those of the formats' specifications: RFC 1952, RFC 8878,
//! lz4_Frame_format.md, the bzip2 manual, xz-file-format.txt.

use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Compression {
    /// Not at all.
    Plain,
    /// gzip (RFC 1952).
    Gzip,
    /// Zstandard (RFC 8878).
    Zstd,
    /// The LZ4 frame format (lz4_Frame_format.md of the lz4 project).
    Lz4,
    Bzip2,
    /// The .xz file format.
    Xz,
}

/// The first bytes of a gzip member.
pub(crate) const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The first bytes of an LZ4 frame.
pub(crate) const LZ4_MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];

/// The first bytes of the LZ4 format of before 2013, which has neither an end nor a checksum.
pub(crate) const LZ4_LEGACY_MAGIC: [u8; 4] = [0x02, 0x21, 0x4c, 0x18];

/// Frames that hold no data, in zstd (RFC 8878, 3.1.2) as in LZ4: the first byte may be 0x50 to
/// 0x5f.
const SKIPPABLE: [u8; 3] = [0x2a, 0x4d, 0x18];

/// Skippable frames are looked past this often to find the first that is none.
const SKIPPABLE_FRAMES_MAX: usize = 64;

/// What follows the level in a bzip2 stream: the mark of its first block, or that of its end.
const BZIP2_MARKS: [[u8; 4]; 2] = [[0x31, 0x41, 0x59, 0x26], [0x17, 0x72, 0x45, 0x38]];

impl Compression {
    const ALL: [Self; 6] = [
        Self::Plain,
        Self::Gzip,
        Self::Zstd,
        Self::Lz4,
        Self::Bzip2,
        Self::Xz,
    ];

    /// What the names of archives end in that are compressed so, in lower case. The first is the one
    /// to recommend.
    pub(crate) fn suffixes(self) -> &'static [&'static str] {
        match self {
            Self::Plain => &[".tar"],
            Self::Gzip => &[".tar.gz", ".tgz"],
            Self::Zstd => &[".tar.zst", ".tzst"],
            Self::Lz4 => &[".tar.lz4"],
            Self::Bzip2 => &[".tar.bz2", ".tbz", ".tbz2"],
            Self::Xz => &[".tar.xz", ".txz"],
        }
    }

    /// Tells a compressed stream by its first bytes; `None` for all else. `at` reads up to 8 bytes
    /// at an offset of the file: a skippable frame may begin a zstd stream or an LZ4 stream, and
    /// the frame after it tells which.
    pub(crate) fn of_stream<E>(
        mut at: impl FnMut(u64) -> Result<Vec<u8>, E>,
    ) -> Result<Option<Self>, E> {
        let mut offset = 0;
        for _ in 0..SKIPPABLE_FRAMES_MAX {
            let head = at(offset)?;
            match skippable_frame(&head) {
                Some(length) => offset += length,
                None => return Ok(Self::by_magic(&head)),
            }
        }
        Ok(None)
    }

    /// Tells the compression of bytes that should be text: "BZh1" alone could begin a word.
    pub(crate) fn in_place_of_text(bytes: &[u8]) -> Option<Self> {
        match Self::by_magic(bytes)? {
            Self::Bzip2 => {
                let mark = bytes.get(4..8);
                let is_stream = BZIP2_MARKS.iter().any(|known| mark == Some(&known[..]));
                is_stream.then_some(Self::Bzip2)
            }
            other => Some(other),
        }
    }

    /// Tells the compression of a layer by its first bytes, as containerd does. A tar archive may begin
    /// with a name of any letters: "BZh1" alone is one.
    pub(crate) fn of_layer(head: &[u8]) -> Self {
        match Self::in_place_of_text(head) {
            // The third byte is the method: containerd looks at it.
            Some(Self::Gzip) if head.get(2) != Some(&0x08) => Self::Plain,
            Some(compression) => compression,
            // containerd, too, takes a skippable frame for zstd.
            None if skippable_frame(head).is_some() => Self::Zstd,
            None => Self::Plain,
        }
    }

    fn by_magic(head: &[u8]) -> Option<Self> {
        match head {
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstd),
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Some(Self::Bzip2),
            [0xfd, b'7', b'z', b'X', b'Z', 0x00, ..] => Some(Self::Xz),
            _ if head.starts_with(&GZIP_MAGIC) => Some(Self::Gzip),
            // The decoder refuses the second by name.
            _ if head.starts_with(&LZ4_MAGIC) || head.starts_with(&LZ4_LEGACY_MAGIC) => {
                Some(Self::Lz4)
            }
            _ => None,
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "tar",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Lz4 => "lz4",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
        })
    }
}

/// The length of the skippable frame that begins here, its 8 bytes of header included.
pub(crate) fn skippable_frame(head: &[u8]) -> Option<u64> {
    let [first, a, b, c, length @ ..] = head else {
        return None;
    };
    let length = length.first_chunk::<4>()?;
    (first & 0xf0 == 0x50 && [*a, *b, *c] == SKIPPABLE)
        .then(|| 8 + u64::from(u32::from_le_bytes(*length)))
}

/// Whether a block says that it is a tar header, be it damaged (POSIX ustar, "magic").
pub(crate) fn is_ustar(block: &[u8]) -> bool {
    block.get(257..262) == Some(b"ustar")
}

/// What a file begins like whose name does not promise an archive; `None`: like none.
pub(crate) fn of_misnamed(head: &[u8]) -> Option<Compression> {
    let is_tar = is_ustar(head).then_some(Compression::Plain);
    is_tar.or_else(|| Compression::in_place_of_text(head))
}

/// A name under which an archive would count that is called `name` now.
pub(crate) fn archive_name(name: &str, compression: Compression) -> String {
    let end = name.to_ascii_lowercase().find(".tar").unwrap_or(name.len());
    format!("{}{}", &name[..end], compression.suffixes()[0])
}

/// Whether a file name promises an archive, in any case of letters. Its bytes may say otherwise.
pub(crate) fn is_archive_name(name: &[u8]) -> bool {
    Compression::ALL
        .iter()
        .flat_map(|compression| compression.suffixes())
        .any(|suffix| {
            let start = name.len().checked_sub(suffix.len());
            start.is_some_and(|start| name[start..].eq_ignore_ascii_case(suffix.as_bytes()))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_name_is_that_of_an_archive_in_any_case() {
        for suffix in [
            ".tar", ".tar.gz", ".tgz", ".tar.zst", ".tzst", ".tar.lz4", ".tar.bz2", ".tbz",
            ".tbz2", ".tar.xz", ".txz",
        ] {
            assert!(is_archive_name(format!("a{suffix}").as_bytes()), "{suffix}");
            let loud = format!("A{}", suffix.to_uppercase());
            assert!(is_archive_name(loud.as_bytes()), "{loud}");
        }
        for other in ["", "tar", "footar", "a.zip", "a.tar.sig", "footar.zst"] {
            assert!(!is_archive_name(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn layers_are_told_by_how_they_begin() {
        for (head, compression) in [
            (&b"\x1f\x8b\x08\x00"[..], Compression::Gzip),
            (b"\x28\xb5\x2f\xfd", Compression::Zstd),
            (b"\x50\x2a\x4d\x18\x04\0\0\0", Compression::Zstd),
            (b"\xfd7zXZ\0", Compression::Xz),
            (b"BZh91AY&SY", Compression::Bzip2),
            (b"\x04\x22\x4d\x18", Compression::Lz4),
            (b"\x1f\x8b", Compression::Plain),
            (b"BZh9/app", Compression::Plain),
            (b"", Compression::Plain),
        ] {
            assert_eq!(Compression::of_layer(head), compression, "{head:?}");
        }
    }

    #[test]
    fn a_name_that_would_count_is_told() {
        for (name, compression, better) in [
            ("a.tar.zstd", Compression::Zstd, "a.tar.zst"),
            ("a.img", Compression::Plain, "a.img.tar"),
            ("A.TAR", Compression::Gzip, "A.tar.gz"),
            ("größe", Compression::Xz, "größe.tar.xz"),
        ] {
            assert_eq!(archive_name(name, compression), better);
            assert!(is_archive_name(better.as_bytes()));
        }
    }

    #[test]
    fn a_word_is_no_stream() {
        let told = Compression::in_place_of_text;
        assert_eq!(told(b"BZh1 is a word"), None);
        assert_eq!(told(b"BZh91AY&SY"), Some(Compression::Bzip2));
        assert_eq!(told(b"\x1f\x8b"), Some(Compression::Gzip));
    }
}
