//! Decompression into nothing.

use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::processors;
use crate::archives::{Archive, Packing};
use crate::options::Input;
use crate::page_cache;

/// What is read and decompressed at once.
const PART: usize = 1 << 20;

/// Something that decompresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decoder {
    /// The libraries that stowd has.
    Libraries,
    /// A program that understands `-dc FILE`.
    Program(&'static str),
}

impl fmt::Display for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Libraries => write!(f, "decompress, by stowd's libraries"),
            Self::Program(program) => write!(f, "decompress, by `{program} -dc`"),
        }
    }
}

/// What there is for these archives; nothing when none of them is compressed.
pub(super) fn at_hand(archives: &[Archive]) -> Vec<Decoder> {
    let programs: &[&str] = match archives {
        [archive] => programs(archive.packing()),
        // Of several formats: the libraries know them all.
        _ => &[],
    };
    if archives.iter().all(|one| one.packing() == Packing::Plain) {
        return Vec::new();
    }
    let programs = programs.iter().filter(|program| is_on_path(program));
    let programs = programs.map(|program| Decoder::Program(program));
    [Decoder::Libraries].into_iter().chain(programs).collect()
}

fn programs(packing: Packing) -> &'static [&'static str] {
    match packing {
        Packing::Plain => &[],
        Packing::Zstd => &["zstd"],
        Packing::Gzip => &["gzip", "pigz", "igzip"],
    }
}

fn is_on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// Decompresses all that is compressed, several at once if there are several.
pub(super) fn decode(decoder: Decoder, archives: &[Archive], input: Input) -> Duration {
    page_cache::prepare(archives, input);
    let began = Instant::now();
    processors::on_all(archives, |_, archive| match decoder {
        Decoder::Libraries => library(archive),
        Decoder::Program(program) => run(program, archive),
    });
    began.elapsed()
}

fn library(archive: &Archive) {
    let file = File::open(&archive.path).expect("an archive");
    let file = BufReader::with_capacity(PART, file);
    match archive.packing() {
        Packing::Plain => {}
        Packing::Zstd => drain(zstd::stream::read::Decoder::with_buffer(file).expect("a decoder")),
        Packing::Gzip => drain(flate2::bufread::MultiGzDecoder::new(file)),
    }
}

fn drain(mut reader: impl Read) {
    let mut part = vec![0; PART];
    while reader.read(&mut part).expect("a sound archive") > 0 {}
}

fn run(program: &str, archive: &Archive) {
    let status = Command::new(program)
        .arg("-dc")
        .arg(&archive.path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status();
    let status = status.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(status.success(), "{program}: {status}");
}
