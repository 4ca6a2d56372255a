//! The digests of a body, taken while its bytes pass by: its own, and that of what it decompresses
//! to.
//!
//! A docker-archive tells its layers by the latter (`rootfs.diff_ids` of the configuration), also
//! where the layers in it are compressed, as crane and ko write them. The blobs of an OCI layout
//! have manifests for that.

use std::io::{self, Write};

use flate2::write::MultiGzDecoder;
use zstd::stream::raw;
use zstd::stream::zio;

use super::catalogue::Encoding;
use super::{limits, member_path};
use crate::digest::{Digest, Hasher};

/// Hashes a body in both ways.
pub(super) struct BodyDigests {
    packed: Hasher,
    unpacked: Option<UnpackedDigest>,
}

impl BodyDigests {
    /// For the body of the member at `path`.
    pub(super) fn new(path: &str, encoding: Encoding) -> Self {
        let packed = Hasher::default();
        let unpacked = match member_path::claimed_digest(path) {
            None => UnpackedDigest::new(encoding),
            Some(_) => None,
        };
        Self { packed, unpacked }
    }

    /// Whether this body is a compressed layer, whose decompressed digest is wanted.
    pub(super) fn unpacks(&self) -> bool {
        self.unpacked.is_some()
    }

    /// Takes the next bytes.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.packed.update(bytes);
        if let Some(unpacked) = &mut self.unpacked {
            unpacked.update(bytes);
        }
    }

    /// The digest of the body, and that of what it decompresses to: `None` where nothing was to
    /// be decompressed, or could not be.
    pub(super) fn finish(self) -> (Digest, Option<Digest>) {
        let unpacked = self.unpacked.and_then(UnpackedDigest::finish);
        (self.packed.finish(), unpacked)
    }
}

/// Decompresses what it is given and hashes that, in bounded memory: a window, nothing else.
struct UnpackedDigest {
    /// `None` once the bytes have shown not to be what they began as.
    format: Option<Format>,
}

enum Format {
    Gzip(Box<MultiGzDecoder<Hasher>>),
    Zstd(Box<zio::Writer<Hasher, raw::Decoder<'static>>>),
}

impl UnpackedDigest {
    /// For bytes in this encoding; `None` where there is nothing to decompress.
    fn new(encoding: Encoding) -> Option<Self> {
        let format = match encoding {
            Encoding::Plain => return None,
            Encoding::Gzip => Some(Format::Gzip(Box::new(MultiGzDecoder::new(
                Hasher::default(),
            )))),
            Encoding::Zstd => zstd_hasher()
                .ok()
                .map(|writer| Format::Zstd(Box::new(writer))),
        };
        Some(Self { format })
    }

    /// Takes the next bytes. What cannot be decompressed is remembered, and shows in
    /// [`finish`](Self::finish).
    fn update(&mut self, bytes: &[u8]) {
        let written = match &mut self.format {
            None => return,
            Some(Format::Gzip(decoder)) => decoder.write_all(bytes),
            Some(Format::Zstd(decoder)) => decoder.write_all(bytes),
        };
        if written.is_err() {
            self.format = None;
        }
    }

    /// The digest; `None` where the bytes are no whole stream of their encoding.
    fn finish(self) -> Option<Digest> {
        match self.format? {
            Format::Gzip(decoder) => Some(decoder.finish().ok()?.finish()),
            Format::Zstd(mut decoder) => {
                decoder.finish().ok()?;
                Some(decoder.into_inner().0.finish())
            }
        }
    }
}

fn zstd_hasher() -> io::Result<zio::Writer<Hasher, raw::Decoder<'static>>> {
    let mut decoder = raw::Decoder::new()?;
    decoder.set_parameter(raw::DParameter::WindowLogMax(limits::ZSTD_WINDOW_LOG_MAX))?;
    Ok(zio::Writer::new(Hasher::default(), decoder))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpacked(encoding: Encoding, bytes: &[u8], step: usize) -> Option<Digest> {
        let mut digest = UnpackedDigest::new(encoding).unwrap();
        bytes.chunks(step).for_each(|chunk| digest.update(chunk));
        digest.finish()
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
                unpacked(Encoding::Gzip, &whole, step).as_ref(),
                Some(&twice)
            );
            let whole = [zstd(DATA), zstd(DATA)].concat();
            assert_eq!(
                unpacked(Encoding::Zstd, &whole, step).as_ref(),
                Some(&twice)
            );
        }
    }

    #[test]
    fn what_is_cut_or_damaged_has_none() {
        for (encoding, whole) in [(Encoding::Gzip, gzip(DATA)), (Encoding::Zstd, zstd(DATA))] {
            for length in 0..whole.len() {
                assert_eq!(unpacked(encoding, &whole[..length], 4096), None, "{length}");
            }
            let mut garbled = whole.clone();
            garbled[whole.len() / 2] ^= 0x55;
            assert_ne!(unpacked(encoding, &garbled, 4096), Some(Digest::of(DATA)));
            let trailing = [whole, b"more".to_vec()].concat();
            assert_eq!(unpacked(encoding, &trailing, 4096), None);
        }
        assert!(UnpackedDigest::new(Encoding::Plain).is_none());
    }
}
