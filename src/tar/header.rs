//! One header of a tar archive: a block of 512 bytes (POSIX ustar and pax, GNU tar's manual,
//! "Basic Tar Format"), and the records of a pax header. Pure.

use super::limits;

/// A block: headers fill one, bodies are padded to whole ones.
pub(super) const BLOCK: usize = 512;

/// What a header says, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The bytes of its path, without a long name that may come before it.
    pub(super) path: Vec<u8>,
    /// The bytes of the link's target, where it is a link.
    pub(super) target: Vec<u8>,
    /// The length of what follows in the archive, without padding.
    pub(super) size: u64,
    pub(super) kind: HeaderKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderKind {
    File,
    HardLink,
    Symlink,
    /// Directories, devices, and unknown types.
    Other,
    Sparse,
    /// GNU: the body is the path of the next member.
    LongName,
    /// GNU: the body is the link target of the next member.
    LongTarget,
    /// pax: the body is records for the next member.
    Records,
    /// pax: the body is records for all members that follow.
    GlobalRecords,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The sum over the block is not the one that is written in it.
    #[error("the checksum of the tar header is wrong")]
    Checksum,
    /// A size below zero.
    #[error("the tar header says a negative size")]
    NegativeSize,
    /// A size that no file can have.
    #[error("the tar header says a size of more than 8 EiB")]
    HugeSize,
    /// A size that is not written in digits.
    #[error("the size in the tar header is not a number")]
    NoNumber,
    /// The body of a pax header is not `length key=value\n`, again and again.
    #[error("the pax header is malformed")]
    Records,
    /// A global pax header that would rename or resize every member after it.
    #[error("a global pax header sets {0:?}, which only a header of one member may")]
    Global(&'static str),
}

/// The largest size: what fits a file offset.
const SIZE_MAX: u64 = i64::MAX as u64;

impl Header {
    /// Whether this block has the checksum of a header.
    pub(super) fn is_header(block: &[u8; BLOCK]) -> bool {
        // The checksum is taken with its own field as spaces.
        let field = 148..156;
        let sum: u64 = block
            .iter()
            .enumerate()
            .map(|(at, byte)| if field.contains(&at) { b' ' } else { *byte })
            .map(u64::from)
            .sum();
        octal(&block[field]) == Some(sum)
    }

    /// Reads a block that is not all zeros.
    pub(super) fn parse(block: &[u8; BLOCK]) -> Result<Header, HeaderError> {
        if !Self::is_header(block) {
            return Err(HeaderError::Checksum);
        }
        let raw = ::tar::Header::from_byte_slice(block);
        let path = raw.path_bytes().into_owned();
        let kind = match block[156] {
            // Before POSIX, a directory is a file whose name ends with a slash.
            0 if path.ends_with(b"/") => HeaderKind::Other,
            0 | b'0' | b'7' => HeaderKind::File,
            b'1' => HeaderKind::HardLink,
            b'2' => HeaderKind::Symlink,
            b'S' => HeaderKind::Sparse,
            b'L' => HeaderKind::LongName,
            b'K' => HeaderKind::LongTarget,
            b'x' => HeaderKind::Records,
            b'g' => HeaderKind::GlobalRecords,
            _ => HeaderKind::Other,
        };
        // Links, devices, directories and pipes have no body, whatever size they state (as in Go's
        // reader and GNU tar).
        let size = match block[156] {
            b'1'..=b'6' => 0,
            _ => number(&block[124..136])?,
        };
        Ok(Header {
            path,
            target: raw.link_name_bytes().unwrap_or_default().into_owned(),
            size,
            kind,
        })
    }
}

/// A numeric field: octal digits, or binary where the first bit is set (GNU).
fn number(field: &[u8]) -> Result<u64, HeaderError> {
    let (first, rest) = field.split_first().ok_or(HeaderError::NoNumber)?;
    if first & 0x80 == 0 {
        // At most 12 digits of 3 bits: never more than SIZE_MAX.
        return octal(field).ok_or(HeaderError::NoNumber);
    }
    if first & 0x40 != 0 {
        return Err(HeaderError::NegativeSize);
    }
    let mut value = u64::from(first & 0x3f);
    for byte in rest {
        if value > SIZE_MAX >> 8 {
            return Err(HeaderError::HugeSize);
        }
        value = value << 8 | u64::from(*byte);
    }
    Ok(value)
}

/// Octal digits between spaces and zero bytes; an empty field is 0.
fn octal(field: &[u8]) -> Option<u64> {
    let is_pad = |byte: &u8| matches!(byte, b' ' | 0);
    let start = field.iter().position(|byte| !is_pad(byte)).unwrap_or(0);
    let digits = &field[start..];
    let end = digits.iter().position(is_pad).unwrap_or(digits.len());
    let (digits, padding) = digits.split_at(end);
    if !padding.iter().all(is_pad) {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, digit| match digit {
        b'0'..=b'7' => Some(value << 3 | u64::from(digit - b'0')),
        _ => None,
    })
}

/// What the records of a pax header say of the next member, as far as it matters here.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct PaxRecords {
    pub(super) path: Option<Vec<u8>>,
    pub(super) target: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    /// That it is a sparse file.
    pub(super) sparse: Option<SparseRecords>,
}

/// What they say of a sparse member.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SparseRecords {
    /// The format that its map has: 1.0 is the one that the usual tools write.
    major: Option<u64>,
    minor: Option<u64>,
    /// The length of the file.
    real_size: Option<u64>,
}

impl SparseRecords {
    /// The length of the file, if its format is 1.0.
    pub(super) fn length(&self) -> Option<u64> {
        let is_read = (self.major, self.minor) == (Some(1), Some(0));
        self.real_size.filter(|_| is_read)
    }
}

impl PaxRecords {
    /// Reads `length key=value\n` records, where the length is that of the whole record.
    pub(super) fn parse(mut rest: &[u8]) -> Result<PaxRecords, HeaderError> {
        let mut records = PaxRecords::default();
        let mut real_path = None;
        while !rest.is_empty() {
            let (record, after) = split_record(rest).ok_or(HeaderError::Records)?;
            rest = after;
            let equals = record.iter().position(|byte| *byte == b'=');
            let (key, value) = record.split_at(equals.ok_or(HeaderError::Records)?);
            let value = &value[1..];
            // An empty value takes back what an earlier header said.
            let text = (!value.is_empty()).then(|| value.to_vec());
            if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
                let sparse = records.sparse.get_or_insert_default();
                match key {
                    b"major" => sparse.major = Some(decimal(value)?),
                    b"minor" => sparse.minor = Some(decimal(value)?),
                    b"realsize" => sparse.real_size = Some(decimal(value)?),
                    b"name" => real_path = text,
                    _ => {}
                }
                continue;
            }
            match key {
                b"path" => records.path = text,
                b"linkpath" => records.target = text,
                b"size" => records.size = text.map(|text| decimal(&text)).transpose()?,
                _ => {}
            }
        }
        // The path of a sparse member is one for tools that cannot read it.
        records.path = real_path.or(records.path);
        Ok(records)
    }

    /// Refuses records that may stand before one member only.
    pub(super) fn check_global(&self) -> Result<(), HeaderError> {
        let PaxRecords {
            path,
            target,
            size,
            sparse,
        } = self;
        match (path, target, size, sparse) {
            (None, None, None, None) => Ok(()),
            (Some(_), ..) => Err(HeaderError::Global("path")),
            (_, Some(_), ..) => Err(HeaderError::Global("linkpath")),
            (_, _, Some(_), _) => Err(HeaderError::Global("size")),
            _ => Err(HeaderError::Global("GNU.sparse")),
        }
    }
}

/// The first record, without its length and its newline, and what follows it.
fn split_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = bytes.iter().take(20).position(|byte| *byte == b' ')?;
    let length = usize::try_from(decimal(&bytes[..space]).ok()?).ok()?;
    let (record, after) = bytes.split_at_checked(length)?;
    let record = record.get(space + 1..)?.strip_suffix(b"\n")?;
    Some((record, after))
}

pub(super) fn decimal(digits: &[u8]) -> Result<u64, HeaderError> {
    if digits.first() == Some(&b'-') {
        return Err(HeaderError::NegativeSize);
    }
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(HeaderError::NoNumber);
    }
    digits
        .iter()
        .try_fold(0_u64, |value, digit| {
            value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
        })
        .filter(|value| *value <= SIZE_MAX)
        .ok_or(HeaderError::HugeSize)
}

/// A path or a target as text, up to its first zero byte; `None` where it is longer than
/// [`limits::PATH_MAX`]. Image formats name their members in ASCII, so that a path that is not
/// UTF-8 is never asked for.
pub(super) fn text(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().position(|byte| *byte == 0);
    let bytes = &bytes[..end.unwrap_or(bytes.len())];
    (bytes.len() <= limits::PATH_MAX).then(|| String::from_utf8_lossy(bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_octal_or_binary() {
        for (field, size) in [
            (&b"00000000017\0"[..], Ok(15)),
            (b"        17 \0", Ok(15)),
            (b"777777777777", Ok((1 << 36) - 1)),
            (b"\0\0\0\0\0\0\0\0\0\0\0\0", Ok(0)),
            (b"\x80\0\0\0\0\0\0\x02\0\0\0\0", Ok(2 << 32)),
            (b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", Ok(SIZE_MAX)),
            (b"\x80\0\0\0\x80\0\0\0\0\0\0\0", Err(HeaderError::HugeSize)),
            (b"\x80\x01\0\0\0\0\0\0\0\0\0\0", Err(HeaderError::HugeSize)),
            (
                b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
                Err(HeaderError::NegativeSize),
            ),
            (b"-0000000017\0", Err(HeaderError::NoNumber)),
            (b"0000000001x\0", Err(HeaderError::NoNumber)),
            (b"0000 000017\0", Err(HeaderError::NoNumber)),
        ] {
            assert_eq!(
                number(field),
                size,
                "{:?}",
                field.escape_ascii().to_string()
            );
        }
    }

    #[test]
    fn records_are_read_by_their_length() {
        let records = PaxRecords::parse(b"12 path=a/b\n25 SCHILY.xattr.x=a\nb=c\n\n11 size=12\n");
        let records = records.unwrap();
        assert_eq!(records.path.as_deref(), Some(&b"a/b"[..]));
        assert_eq!(records.size, Some(12));
        assert_eq!(records.sparse, None);
    }

    #[test]
    fn a_sparse_member_has_another_name_and_length_than_it_seems() {
        let parse = |records: &[&[u8]]| PaxRecords::parse(&records.concat()).unwrap();
        let whole: [&[u8]; 5] = [
            b"22 GNU.sparse.major=1\n",
            b"22 GNU.sparse.minor=0\n",
            b"21 GNU.sparse.name=a\n",
            b"26 GNU.sparse.realsize=77\n",
            b"10 path=b\n",
        ];
        let records = parse(&whole);
        assert_eq!(records.path.as_deref(), Some(&b"a"[..]));
        assert_eq!(records.sparse.unwrap().length(), Some(77));
        // The formats 0.0 and 0.1, and one that is not whole.
        for part in [&whole[1..], &whole[..3], &[b"24 GNU.sparse.map=0,512\n"]] {
            assert_eq!(parse(part).sparse.unwrap().length(), None);
        }
    }

    #[test]
    fn records_that_lie_about_themselves_are_refused() {
        for bad in [
            &b"path=a\n"[..],
            b"99 path=a\n",
            b"8 path=a\n",
            b"0 path=a\n",
            b"10 path=a",
            b"7 path\n",
            b" 9 path=a\n",
            b"18446744073709551616 path=a\n",
            b"\0\0\0",
        ] {
            assert_eq!(PaxRecords::parse(bad), Err(HeaderError::Records), "{bad:?}");
        }
        assert_eq!(
            PaxRecords::parse(b"11 size=-1\n"),
            Err(HeaderError::NegativeSize)
        );
        assert_eq!(
            PaxRecords::parse(b"11 size=1x\n"),
            Err(HeaderError::NoNumber)
        );
        let huge = b"28 size=9223372036854775808\n";
        assert_eq!(PaxRecords::parse(huge), Err(HeaderError::HugeSize));
    }

    #[test]
    fn a_global_header_may_not_rename() {
        let check = |records: &[u8]| PaxRecords::parse(records).unwrap().check_global();
        assert_eq!(check(b"18 comment=abcdef\n"), Ok(()));
        assert_eq!(check(b"10 path=a\n"), Err(HeaderError::Global("path")));
        assert_eq!(
            check(b"14 linkpath=a\n"),
            Err(HeaderError::Global("linkpath"))
        );
        assert_eq!(check(b"10 size=1\n"), Err(HeaderError::Global("size")));
        let sparse = check(b"22 GNU.sparse.major=1\n");
        assert_eq!(sparse, Err(HeaderError::Global("GNU.sparse")));
    }
}
