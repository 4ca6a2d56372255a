//! The decoder of a compressed archive.
//!
//! All decoders take concatenated members. The end of the decoded bytes is only reported when the
//! compressed stream is whole: its last checksum was right and nothing but padding follows.

use std::io::{self, BufRead, BufReader, Read};

use liblzma::stream::{CONCATENATED, Stream};

use super::decode_error::DecodeError;
use super::gzip::GzipReader;
use super::limits;
use super::lz4_frames::Lz4Reader;
use crate::compression::Compression;

/// Decodes a stream. An error of the stream itself is an [`io::Error`] around a [`DecodeError`];
/// errors of the input pass through as they are.
pub(super) struct Decoder<R: Read> {
    compression: Compression,
    format: StreamDecoder<BufReader<Marked<R>>>,
}

enum StreamDecoder<B: BufRead> {
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
            Compression::Plain => StreamDecoder::Plain(input),
            Compression::Gzip => StreamDecoder::Gzip(GzipReader::new(input)),
            Compression::Zstd => {
                let mut decoder =
                    zstd::stream::read::Decoder::with_buffer(input).map_err(refused)?;
                decoder
                    .window_log_max(limits::ZSTD_WINDOW_LOG_MAX)
                    .map_err(refused)?;
                StreamDecoder::Zstd(decoder)
            }
            Compression::Lz4 => StreamDecoder::Lz4(Box::new(Lz4Reader::new(input))),
            Compression::Bzip2 => StreamDecoder::Bzip2(bzip2::bufread::MultiBzDecoder::new(input)),
            Compression::Xz => {
                let stream = Stream::new_stream_decoder(limits::XZ_MEMORY_MAX, CONCATENATED)
                    .map_err(|error| refused(error.into()))?;
                StreamDecoder::Xz(liblzma::bufread::XzDecoder::new_stream(input, stream))
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
            StreamDecoder::Plain(input) => input.read(buf),
            StreamDecoder::Gzip(decoder) => decoder.read(buf),
            StreamDecoder::Zstd(decoder) => decoder.read(buf),
            StreamDecoder::Lz4(decoder) => decoder.read(buf),
            StreamDecoder::Bzip2(decoder) => decoder.read(buf),
            StreamDecoder::Xz(decoder) => decoder.read(buf),
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
