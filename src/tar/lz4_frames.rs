//! Reads all frames of an LZ4 file (lz4_Frame_format.md), skippable ones left out.
//!
//! The decoder underneath takes a file that is cut between two blocks for a whole one, and stops
//! at a skippable frame. So the structure of the frames is read here, and the decoder is given one
//! frame at a time.

use std::io::{self, Read};

use lz4_flex::frame::FrameDecoder;

use super::decode_error::DecodeError;
use crate::compression::{Compression, LZ4_LEGACY_MAGIC, LZ4_MAGIC, skippable_frame};

/// Decodes frame after frame.
pub(super) struct Lz4Reader<R: Read> {
    /// `None` only while a frame is replaced by the next.
    decoder: Option<FrameDecoder<OneFrame<R>>>,
}

impl<R: Read> Lz4Reader<R> {
    pub(super) fn new(input: R) -> Self {
        let decoder = Some(FrameDecoder::new(OneFrame::new(input)));
        Self { decoder }
    }
}

impl<R: Read> Read for Lz4Reader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        while let Some(decoder) = &mut self.decoder {
            let read = decoder.read(buf)?;
            if read > 0 {
                return Ok(read);
            }
            // 0 is the end of a frame, or a block that decodes to nothing.
            match decoder.get_ref().expected {
                FramePart::Frame => return Ok(0),
                FramePart::Nothing => {}
                _ => continue,
            }
            // A new decoder, for a frame may have larger blocks than the one before.
            self.decoder = self
                .decoder
                .take()
                .map(|decoder| FrameDecoder::new(OneFrame::new(decoder.into_inner().input)));
        }
        Ok(0)
    }
}

/// The bytes of one frame, then an end; or an end at once, where there is no further frame.
struct OneFrame<R> {
    input: R,
    expected: FramePart,
    /// What has been read of the input to see its structure, and not yet been handed on.
    pending: io::Cursor<Vec<u8>>,
    block_checksum: bool,
    content_checksum: bool,
}

#[derive(Debug, Clone, Copy)]
enum FramePart {
    Frame,
    Block,
    BlockData(u64),
    Nothing,
}

impl<R: Read> OneFrame<R> {
    fn new(input: R) -> Self {
        Self {
            input,
            expected: FramePart::Frame,
            pending: io::Cursor::default(),
            block_checksum: false,
            content_checksum: false,
        }
    }

    /// Reads the next part of the structure into `pending`.
    fn advance(&mut self) -> io::Result<()> {
        let mut part = Vec::with_capacity(19);
        self.expected = match self.expected {
            FramePart::Frame => {
                if !self.skip_to_frame(&mut part)? {
                    return Ok(());
                }
                // The descriptor: flags, block size, perhaps a length and a dictionary, a checksum.
                self.fill(&mut part, 2)?;
                let flags = part[4];
                self.block_checksum = flags & 0x10 != 0;
                self.content_checksum = flags & 0x04 != 0;
                let length = if flags & 0x08 != 0 { 8 } else { 0 };
                let dictionary = if flags & 0x01 != 0 { 4 } else { 0 };
                self.fill(&mut part, length + dictionary + 1)?;
                FramePart::Block
            }
            FramePart::Block => {
                self.fill(&mut part, 4)?;
                match u32_of(&part) {
                    0 => {
                        self.fill(&mut part, if self.content_checksum { 4 } else { 0 })?;
                        FramePart::Nothing
                    }
                    // The highest bit says whether the block is compressed.
                    size => FramePart::BlockData(
                        u64::from(size & 0x7fff_ffff) + if self.block_checksum { 4 } else { 0 },
                    ),
                }
            }
            other => other,
        };
        self.pending = io::Cursor::new(part);
        Ok(())
    }

    /// Reads the magic number of the next frame that has data; `false` at the end of the input.
    fn skip_to_frame(&mut self, magic: &mut Vec<u8>) -> io::Result<bool> {
        loop {
            magic.clear();
            if (&mut self.input).take(4).read_to_end(magic)? == 0 {
                return Ok(false);
            }
            match magic.first_chunk::<4>() {
                None => return Err(error(DecodeError::Truncated(Compression::Lz4))),
                Some(&LZ4_MAGIC) => return Ok(true),
                Some(&LZ4_LEGACY_MAGIC) => {
                    return Err(error(DecodeError::Corrupt {
                        compression: Compression::Lz4,
                        cause: "it is in lz4's legacy format, which has neither an end nor a \
                                checksum; recompress it without -l"
                            .to_owned(),
                    }));
                }
                Some(_) => {}
            }
            let magic_only = [magic.as_slice(), &[0; 4]].concat();
            if skippable_frame(&magic_only).is_none() {
                return Err(error(DecodeError::Trailing(Compression::Lz4)));
            }
            let mut length = Vec::new();
            self.fill(&mut length, 4)?;
            let length = u64::from(u32_of(&length));
            let skipped = io::copy(&mut (&mut self.input).take(length), &mut io::sink())?;
            if skipped < length {
                return Err(error(DecodeError::Truncated(Compression::Lz4)));
            }
        }
    }

    fn fill(&mut self, part: &mut Vec<u8>, length: u64) -> io::Result<()> {
        let read = (&mut self.input).take(length).read_to_end(part)?;
        if (read as u64) < length {
            return Err(error(DecodeError::Truncated(Compression::Lz4)));
        }
        Ok(())
    }
}

impl<R: Read> Read for OneFrame<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.pending.read(buf)?;
            if read > 0 || buf.is_empty() {
                return Ok(read);
            }
            match self.expected {
                FramePart::BlockData(0) => self.expected = FramePart::Block,
                FramePart::BlockData(left) => {
                    let wanted = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    let read = self.input.read(&mut buf[..wanted])?;
                    if read == 0 {
                        return Err(error(DecodeError::Truncated(Compression::Lz4)));
                    }
                    self.expected = FramePart::BlockData(left - read as u64);
                    return Ok(read);
                }
                FramePart::Nothing => return Ok(0),
                FramePart::Frame | FramePart::Block => {
                    self.advance()?;
                    if self.pending.get_ref().is_empty() {
                        return Ok(0);
                    }
                }
            }
        }
    }
}

fn u32_of(bytes: &[u8]) -> u32 {
    bytes
        .first_chunk::<4>()
        .map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

/// Not of the kind `UnexpectedEof`, which the decoder takes for an end between two blocks.
fn error(fault: DecodeError) -> io::Error {
    io::Error::other(fault)
}
