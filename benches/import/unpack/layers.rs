//! The layers in an archive, found by their first bytes.

use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::options::Layers;
use crate::tar_bodies::{Body, bodies};

/// What is read at once.
const PART: usize = 1 << 20;

/// One layer.
#[derive(Debug)]
pub(super) struct Layer {
    body: Body,
    kind: Layers,
}

/// Of a plain archive; the longest first.
pub(super) fn layers(archive: &Path) -> Vec<Layer> {
    let layers = bodies(archive).into_iter();
    let layers = layers.filter_map(|body| kind(&body).map(|kind| Layer { body, kind }));
    let mut layers = layers.collect::<Vec<_>>();
    layers.sort_by_key(|layer| std::cmp::Reverse(layer.body.length));
    layers
}

impl Layer {
    pub(super) fn is_compressed(&self) -> bool {
        self.kind != Layers::Plain
    }

    /// Its tar.
    pub(super) fn plain(&self) -> Box<dyn Read> {
        let bytes = BufReader::with_capacity(
            PART,
            BodyReader {
                body: self.body.clone(),
                at: 0,
            },
        );
        match self.kind {
            Layers::Plain => Box::new(bytes),
            Layers::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(bytes)),
            Layers::Zstd => {
                let decoder = zstd::stream::read::Decoder::with_buffer(bytes);
                Box::new(decoder.expect("a decoder"))
            }
        }
    }
}

/// What a body is, if it is a layer: gzip and zstd begin with a number, a tar has `ustar` in its first header.
fn kind(body: &Body) -> Option<Layers> {
    let mut head = [0; 262];
    let length = body.length.min(head.len() as u64) as usize;
    let head = &mut head[..length];
    body.file
        .read_exact_at(head, body.offset)
        .expect("an archive");
    match &*head {
        [0x1f, 0x8b, ..] => Some(Layers::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Layers::Zstd),
        head if head.ends_with(b"ustar") => Some(Layers::Plain),
        _ => None,
    }
}

struct BodyReader {
    body: Body,
    at: u64,
}

impl Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.body.length - self.at).unwrap_or(usize::MAX);
        let room = buffer.len().min(left);
        let offset = self.body.offset + self.at;
        let read = self.body.file.read_at(&mut buffer[..room], offset)?;
        self.at += read as u64;
        Ok(read)
    }
}
