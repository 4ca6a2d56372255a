//! The digest of what a body decompresses to, taken while its bytes pass by.
//!
//! A docker-archive names its layers by it (`rootfs.diff_ids` of the configuration), also where the
//! layers in it are compressed, as crane and ko write them. The manifests of an OCI layout name its
//! blobs by the digests of their own bytes.

use std::io::{self, Write};

use flate2::write::MultiGzDecoder;
use zstd::stream::raw;
use zstd::stream::zio;

use super::error::ArchiveError;
use super::expansion::{Expansion, Halt};
use super::limits;
use super::member_name::MemberName;
use crate::compression::Compression;
use crate::digest::{Digest, Hasher};
use crate::layout::claimed_digest;

/// The digest of a compressed layer, decompressed.
pub(super) struct DiffId<'a> {
    member: &'a MemberName,
    unpacked: UnpackedDigest<'a>,
}

impl<'a> DiffId<'a> {
    /// For the body of the member at `path`, whose name in messages is `member`; `None` for a
    /// blob of an OCI layout, and where nothing is compressed.
    pub(super) fn new(
        member: &'a MemberName,
        path: &str,
        compression: Compression,
        expansion: &'a Expansion,
    ) -> Option<Self> {
        match claimed_digest(path) {
            None => UnpackedDigest::new(compression, expansion)
                .map(|unpacked| Self { member, unpacked }),
            Some(_) => None,
        }
    }

    /// Takes the next bytes. That they decompress to too much is an error.
    pub(super) fn update(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        let updated = self.unpacked.update(bytes);
        updated.map_err(|halt| halt.error(Some(self.member)))
    }

    /// The digest; `None` where nothing could be decompressed.
    pub(super) fn finish(self) -> Result<Option<Digest>, ArchiveError> {
        let finished = self.unpacked.finish();
        finished.map_err(|halt| halt.error(Some(self.member)))
    }
}

/// Decompresses what it is given and hashes that, in bounded memory: a window, nothing else.
struct UnpackedDigest<'a> {
    /// `None` once a decoder has failed.
    format: Option<LayerDecoder<'a>>,
}

enum LayerDecoder<'a> {
    Gzip(Box<MultiGzDecoder<Counted<'a>>>),
    Zstd(Box<zio::Writer<Counted<'a>, raw::Decoder<'static>>>),
}

impl<'a> UnpackedDigest<'a> {
    /// For bytes in this compression; `None` where there is nothing to decompress.
    fn new(compression: Compression, expansion: &'a Expansion) -> Option<Self> {
        let hasher = Counted {
            hasher: Hasher::default(),
            expansion,
        };
        let format = match compression {
            Compression::Gzip => Some(LayerDecoder::Gzip(Box::new(MultiGzDecoder::new(hasher)))),
            Compression::Zstd => zstd_decoder()
                .ok()
                .map(|decoder| LayerDecoder::Zstd(Box::new(zio::Writer::new(hasher, decoder)))),
            _ => return None,
        };
        Some(Self { format })
    }

    /// Takes the next bytes. What cannot be decompressed is remembered, and shows in
    /// [`finish`](Self::finish).
    fn update(&mut self, bytes: &[u8]) -> Result<(), Halt> {
        let written = match &mut self.format {
            None => return Ok(()),
            Some(LayerDecoder::Gzip(decoder)) => decoder.write_all(bytes),
            Some(LayerDecoder::Zstd(decoder)) => decoder.write_all(bytes),
        };
        match written.map_err(halt) {
            Ok(()) => Ok(()),
            Err(Some(halt)) => Err(halt),
            Err(None) => {
                self.format = None;
                Ok(())
            }
        }
    }

    /// The digest; `None` where the bytes are no whole stream of their compression.
    fn finish(self) -> Result<Option<Digest>, Halt> {
        let finished = match self.format {
            None => return Ok(None),
            Some(LayerDecoder::Gzip(decoder)) => decoder.finish(),
            Some(LayerDecoder::Zstd(mut decoder)) => {
                decoder.finish().map(|()| decoder.into_inner().0)
            }
        };
        match finished.map_err(halt) {
            Ok(counted) => Ok(Some(counted.hasher.finish())),
            Err(Some(halt)) => Err(halt),
            Err(None) => Ok(None),
        }
    }
}

fn zstd_decoder() -> io::Result<raw::Decoder<'static>> {
    let mut decoder = raw::Decoder::new()?;
    decoder.set_parameter(raw::DParameter::WindowLogMax(limits::ZSTD_WINDOW_LOG_MAX))?;
    Ok(decoder)
}

/// Hashes what a decoder makes, and halts it where that is too much: one call of it may make
/// gibibytes.
struct Counted<'a> {
    hasher: Hasher,
    expansion: &'a Expansion,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.expansion
            .count(bytes.len() as u64)
            .map_err(io::Error::other)?;
        self.hasher.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether a decoder failed because it was halted.
fn halt(error: io::Error) -> Option<Halt> {
    error.downcast::<Halt>().ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use super::*;

    fn unpacked(compression: Compression, bytes: &[u8], step: usize) -> Option<Digest> {
        let expansion = Expansion::new(1, Arc::default());
        let mut digest = UnpackedDigest::new(compression, &expansion).unwrap();
        for chunk in bytes.chunks(step) {
            digest.update(chunk).unwrap();
        }
        digest.finish().unwrap()
    }

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(data: &[u8]) -> Vec<u8> {
        zstd::encode_all(data, 3).unwrap()
    }

    const DATA: &[u8] = b"a layer, a layer, a layer, a layer";

    #[test]
    fn the_digest_is_that_of_the_decompressed_bytes() {
        let twice = Digest::of(&[DATA, DATA].concat());
        for step in [1, 7, 4096] {
            let whole = [gzip(DATA), gzip(DATA)].concat();
            assert_eq!(
                unpacked(Compression::Gzip, &whole, step).as_ref(),
                Some(&twice)
            );
            let whole = [zstd(DATA), zstd(DATA)].concat();
            assert_eq!(
                unpacked(Compression::Zstd, &whole, step).as_ref(),
                Some(&twice)
            );
        }
    }

    #[test]
    fn what_is_cut_or_damaged_has_none() {
        for (encoding, whole) in [
            (Compression::Gzip, gzip(DATA)),
            (Compression::Zstd, zstd(DATA)),
        ] {
            for length in 0..whole.len() {
                assert_eq!(unpacked(encoding, &whole[..length], 4096), None, "{length}");
            }
            let mut garbled = whole.clone();
            garbled[whole.len() / 2] ^= 0x55;
            assert_ne!(unpacked(encoding, &garbled, 4096), Some(Digest::of(DATA)));
            let trailing = [whole, b"more".to_vec()].concat();
            assert_eq!(unpacked(encoding, &trailing, 4096), None);
        }
        let expansion = Expansion::new(1, Arc::default());
        assert!(UnpackedDigest::new(Compression::Plain, &expansion).is_none());
    }

    #[test]
    fn a_decoder_is_halted_in_the_middle_of_one_call() {
        for (encoding, whole) in [
            (Compression::Gzip, gzip(DATA)),
            (Compression::Zstd, zstd(DATA)),
        ] {
            let stop = Arc::new(AtomicBool::new(true));
            let stopped = Expansion::new(1, stop);
            let mut digest = UnpackedDigest::new(encoding, &stopped).unwrap();
            let halted = digest.update(&whole).and_then(|()| digest.finish());
            assert_eq!(halted, Err(Halt::Stopped));

            let exhausted = Expansion::new(0, Arc::default());
            exhausted.count((1 << 30) - 5).unwrap();
            let mut digest = UnpackedDigest::new(encoding, &exhausted).unwrap();
            let halted = digest.update(&whole).and_then(|()| digest.finish());
            assert_eq!(halted, Err(Halt::TooMuch));
        }
    }
}
