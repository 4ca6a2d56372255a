//! How an archive file is compressed, told by its first bytes, and the decoder for it.
//!
//! All decoders take concatenated members. The end of the decoded bytes is only reported when the
//! compressed stream is whole: its last checksum was right and nothing but padding follows.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};

use liblzma::stream::{CONCATENATED, Stream};

use super::gzip::GzipReader;
use super::limits;
use super::lz4_frames::Lz4Reader;

/// How an archive file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    Plain,
    /// gzip (RFC 1952).
    Gzip,
    /// Zstandard (RFC 8878).
    Zstd,
    /// The LZ4 frame format (lz4_Frame_format.md of the lz4 project).
    Lz4,
    /// bzip2.
    Bzip2,
    /// The .xz file format.
    Xz,
}

/// Frames that hold no data, in zstd (RFC 8878, 3.1.2) as in LZ4: the first byte may be 0x50 to
/// 0x5f.
const SKIPPABLE: [u8; 3] = [0x2a, 0x4d, 0x18];

/// Skippable frames are looked past this often to find the first that is none.
const SKIPPABLE_FRAMES_MAX: usize = 64;

impl Compression {
    /// Tells a compressed stream by its magic number; `None` for all else. `at` reads up to 8 bytes
    /// at an offset of the file: a skippable frame may begin a zstd stream or an LZ4 stream, and
    /// the frame after it tells which.
    pub(super) fn of<E>(
        mut at: impl FnMut(u64) -> Result<Vec<u8>, E>,
    ) -> Result<Option<Compression>, E> {
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

    fn by_magic(head: &[u8]) -> Option<Compression> {
        match head {
            [0x1f, 0x8b, ..] => Some(Compression::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Compression::Zstd),
            // The second is the format of before 2013, which the decoder refuses by name.
            [0x04, 0x22, 0x4d, 0x18, ..] | [0x02, 0x21, 0x4c, 0x18, ..] => Some(Compression::Lz4),
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Some(Compression::Bzip2),
            [0xfd, b'7', b'z', b'X', b'Z', 0x00, ..] => Some(Compression::Xz),
            _ => None,
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Compression::Plain => "tar",
            Compression::Gzip => "gzip",
            Compression::Zstd => "zstd",
            Compression::Lz4 => "lz4",
            Compression::Bzip2 => "bzip2",
            Compression::Xz => "xz",
        })
    }
}

/// The length of the skippable frame that begins here, its 8 bytes of header included.
pub(super) fn skippable_frame(head: &[u8]) -> Option<u64> {
    let [first, a, b, c, length @ ..] = head else {
        return None;
    };
    let length = length.first_chunk::<4>()?;
    (first & 0xf0 == 0x50 && [*a, *b, *c] == SKIPPABLE)
        .then(|| 8 + u64::from(u32::from_le_bytes(*length)))
}

/// Why a compressed stream cannot be decoded. Every message names the compression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The file ends inside the stream.
    #[error("the {0} stream ends early: the file was cut, or is still being written")]
    Truncated(Compression),
    /// The stream is well-formed, but not what was compressed.
    #[error("a checksum of the {0} stream is wrong: the file is damaged")]
    Checksum(Compression),
    /// The window is larger than [`limits::ZSTD_WINDOW_LOG_MAX`].
    #[error(
        "the zstd stream needs a window of more than {} MiB; recompress it with --long={} or less",
        1 << (limits::ZSTD_WINDOW_LOG_MAX - 20),
        limits::ZSTD_WINDOW_LOG_MAX
    )]
    Window,
    /// The dictionary is larger than [`limits::XZ_MEMORY_MAX`] allows.
    #[error(
        "the xz stream needs more than {} MiB of memory to decompress; recompress it with -9 or less",
        limits::XZ_MEMORY_MAX >> 20
    )]
    Memory,
    /// Bytes that are neither padding nor a further member.
    #[error("after the end of the {0} stream come bytes that do not belong to it")]
    Trailing(Compression),
    /// Anything else that the format forbids, in the decoder's own words.
    #[error("the {compression} stream is damaged: {cause}")]
    Corrupt {
        /// The format.
        compression: Compression,
        /// What the decoder says.
        cause: String,
    },
}

impl DecodeError {
    /// Reads the decoder's mind: the crates report by kinds of [`io::Error`] and by words.
    fn new(compression: Compression, error: &io::Error) -> Self {
        let cause = error.to_string();
        // The words are those of flate2, libzstd (ZSTD_getErrorName), lz4_flex and liblzma in turn;
        // tests hold each against the decoder.
        if error.kind() == io::ErrorKind::UnexpectedEof {
            DecodeError::Truncated(compression)
        } else if cause.to_lowercase().contains("checksum") {
            DecodeError::Checksum(compression)
        } else if cause.contains("requires too much memory") {
            DecodeError::Window
        } else if cause == "memory limit reached" {
            DecodeError::Memory
        } else {
            DecodeError::Corrupt { compression, cause }
        }
    }
}

/// Decodes a stream. An error of the stream itself is an [`io::Error`] around a [`DecodeError`];
/// errors of the input pass through as they are.
pub(super) struct Decoder<R: Read> {
    compression: Compression,
    format: Format<BufReader<Marked<R>>>,
}

enum Format<B: BufRead> {
    Plain(B),
    Gzip(GzipReader<B>),
    Zstd(zstd::stream::read::Decoder<'static, B>),
    Lz4(Box<Lz4Reader<B>>),
    Bzip2(bzip2::bufread::MultiBzDecoder<B>),
    Xz(liblzma::bufread::XzDecoder<B>),
}

impl<R: Read> Decoder<R> {
    /// A decoder at the beginning of its stream.
    pub(super) fn new(compression: Compression, input: R) -> Result<Self, DecodeError> {
        let input = BufReader::with_capacity(limits::INPUT_BUFFER, Marked(input));
        let refused = |error: io::Error| DecodeError::new(compression, &error);
        let format = match compression {
            Compression::Plain => Format::Plain(input),
            Compression::Gzip => Format::Gzip(GzipReader::new(input)),
            Compression::Zstd => {
                let mut decoder =
                    zstd::stream::read::Decoder::with_buffer(input).map_err(refused)?;
                decoder
                    .window_log_max(limits::ZSTD_WINDOW_LOG_MAX)
                    .map_err(refused)?;
                Format::Zstd(decoder)
            }
            Compression::Lz4 => Format::Lz4(Box::new(Lz4Reader::new(input))),
            Compression::Bzip2 => Format::Bzip2(bzip2::bufread::MultiBzDecoder::new(input)),
            Compression::Xz => {
                let stream = Stream::new_stream_decoder(limits::XZ_MEMORY_MAX, CONCATENATED)
                    .map_err(|error| refused(error.into()))?;
                Format::Xz(liblzma::bufread::XzDecoder::new_stream(input, stream))
            }
        };
        Ok(Self {
            compression,
            format,
        })
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = match &mut self.format {
            Format::Plain(input) => input.read(buf),
            Format::Gzip(decoder) => decoder.read(buf),
            Format::Zstd(decoder) => decoder.read(buf),
            Format::Lz4(decoder) => decoder.read(buf),
            Format::Bzip2(decoder) => decoder.read(buf),
            Format::Xz(decoder) => decoder.read(buf),
        };
        read.map_err(|error| match InputFailed::unwrap(error) {
            Ok(input) => input,
            Err(error) => match error.get_ref() {
                Some(inner) if inner.is::<DecodeError>() => error,
                _ => io::Error::other(DecodeError::new(self.compression, &error)),
            },
        })
    }
}

/// Marks errors of the input, to tell them from the decoder's own.
struct Marked<R>(R);

#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct InputFailed(io::Error);

impl InputFailed {
    fn unwrap(error: io::Error) -> Result<io::Error, io::Error> {
        error
            .downcast::<InputFailed>()
            .map(|InputFailed(input)| input)
    }
}

impl<R: Read> Read for Marked<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0
            .read(buf)
            .map_err(|error| io::Error::other(InputFailed(error)))
    }
}
