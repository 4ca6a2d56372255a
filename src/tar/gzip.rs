//! Reads all members of a gzip file (RFC 1952), and the zeros that may pad it.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;

use super::decode_error::DecodeError;
use super::limits;
use crate::compression::{Compression, GZIP_MAGIC};

/// Decodes member after member. Zeros after the last one are padding, as for gzip(1) (tape drives
/// and block devices leave them); anything else there is an error, where gzip(1) only warns.
pub(super) struct GzipReader<B> {
    state: GzipState<B>,
}

enum GzipState<B> {
    /// Before a member, or at the end.
    Between(B),
    Member(Box<GzDecoder<B>>),
    /// Only while a state is being replaced.
    Taken,
}

impl<B: BufRead> GzipReader<B> {
    pub(super) fn new(input: B) -> Self {
        let state = GzipState::Member(Box::new(GzDecoder::new(input)));
        Self { state }
    }
}

impl<B: BufRead> Read for GzipReader<B> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        loop {
            match &mut self.state {
                GzipState::Member(decoder) => match decoder.read(buf)? {
                    0 => {
                        if let GzipState::Member(decoder) = self.take() {
                            self.state = GzipState::Between(decoder.into_inner());
                        }
                    }
                    read => return Ok(read),
                },
                GzipState::Between(input) => {
                    let first = input.fill_buf()?.first().copied();
                    match first {
                        None => return Ok(0),
                        Some(0) => return skip_zeros(input).map(|()| 0),
                        Some(first) if first == GZIP_MAGIC[0] => {
                            if let GzipState::Between(input) = self.take() {
                                self.state = GzipState::Member(Box::new(GzDecoder::new(input)));
                            }
                        }
                        Some(_) => return Err(trailing()),
                    }
                }
                GzipState::Taken => return Ok(0),
            }
        }
    }
}

impl<B> GzipReader<B> {
    fn take(&mut self) -> GzipState<B> {
        std::mem::replace(&mut self.state, GzipState::Taken)
    }
}

fn skip_zeros(input: &mut impl BufRead) -> io::Result<()> {
    let mut zeros = 0;
    loop {
        let bytes = input.fill_buf()?;
        if bytes.is_empty() {
            return Ok(());
        }
        let length = bytes.len();
        zeros += length as u64;
        if zeros > limits::PADDING_MAX || bytes.iter().any(|byte| *byte != 0) {
            return Err(trailing());
        }
        input.consume(length);
    }
}

fn trailing() -> io::Error {
    io::Error::other(DecodeError::Trailing(Compression::Gzip))
}
