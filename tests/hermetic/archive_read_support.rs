//! Builds archives in memory and reads them.
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use stowd::compression::Compression;
use stowd::digest::{Digest, Hasher};
use stowd::layout::{Catalogue, Member};
use stowd::progress::Meter;
use stowd::tar::{ArchiveError, BodySink, CompressedArchive, OpenArchive, PlainArchive};
use tempfile::NamedTempFile;

pub(crate) const BLOCK: usize = 512;

/// A header with a right checksum.
pub(crate) fn header(name: &str, kind: u8, size: u64) -> [u8; BLOCK] {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(tar::EntryType::new(kind));
    header.set_mode(0o644);
    header.set_size(size);
    checksummed(*header.as_bytes())
}

/// The block with the checksum that it should have.
pub(crate) fn checksummed(mut block: [u8; BLOCK]) -> [u8; BLOCK] {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().copied().map(u32::from).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// A member: header, body, padding.
pub(crate) fn member(name: &str, kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = header(name, kind, body.len() as u64).to_vec();
    bytes.extend_from_slice(body);
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes
}

/// A link, symbolic or hard.
pub(crate) fn link(name: &str, kind: u8, target: &str) -> Vec<u8> {
    let mut block = header(name, kind, 0);
    block[157..157 + target.len()].copy_from_slice(target.as_bytes());
    checksummed(block).to_vec()
}

pub(crate) fn record(key: &str, value: &str) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let length = (rest..).find(|n| n.to_string().len() + rest == *n).unwrap();
    format!("{length} {key}={value}\n").into_bytes()
}

pub(crate) fn end() -> Vec<u8> {
    vec![0; 2 * BLOCK]
}

/// An archive of regular files, as the `tar` crate writes it.
pub(crate) fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, body) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(body.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, *body).unwrap();
    }
    builder.into_inner().unwrap()
}

pub(crate) const LAYER: &[u8] = b"\x7fELF, and so on: a layer";

/// A small archive with documents, a blob, a compressed layer and a link.
pub(crate) fn sample() -> Vec<u8> {
    let blob = format!("blobs/sha256/{}", Digest::of(LAYER).hex());
    let packed = gzip(LAYER);
    let mut bytes = tar_of(&[
        ("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#),
        (&blob, LAYER),
        ("layer.tar.gz", &packed),
        ("empty", b""),
        ("index.json", br#"{"schemaVersion":2,"manifests":[]}"#),
    ]);
    bytes.truncate(bytes.len() - 2 * BLOCK);
    bytes.extend(link("link", b'2', "layer.tar.gz"));
    bytes.extend(end());
    bytes
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) const COMPRESSIONS: [Compression; 5] = [
    Compression::Gzip,
    Compression::Zstd,
    Compression::Lz4,
    Compression::Bzip2,
    Compression::Xz,
];

/// Compressed by the Rust crates, with a checksum where the format has one.
pub(crate) fn compressed(compression: Compression, bytes: &[u8]) -> Vec<u8> {
    match compression {
        Compression::Plain => bytes.to_vec(),
        Compression::Gzip => gzip(bytes),
        Compression::Zstd => {
            let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
            encoder.include_checksum(true).unwrap();
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Lz4 => {
            let info = lz4_flex::frame::FrameInfo::new().content_checksum(true);
            let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Bzip2 => {
            let mut out = Vec::new();
            bzip2::read::BzEncoder::new(bytes, bzip2::Compression::best())
                .read_to_end(&mut out)
                .unwrap();
            out
        }
        Compression::Xz => {
            let mut out = Vec::new();
            liblzma::read::XzEncoder::new(bytes, 1)
                .read_to_end(&mut out)
                .unwrap();
            out
        }
    }
}

/// Compressed by the usual tool of the format.
pub(crate) fn compressed_by_tool(compression: Compression, bytes: &[u8]) -> Vec<u8> {
    match compression {
        Compression::Plain => bytes.to_vec(),
        Compression::Gzip => run("gzip", &["-c"], bytes),
        Compression::Zstd => run("zstd", &["-qc"], bytes),
        Compression::Lz4 => run("lz4", &["-qc"], bytes),
        Compression::Bzip2 => run("bzip2", &["-c"], bytes),
        Compression::Xz => run("xz", &["-c"], bytes),
    }
}

/// What a tool makes of its standard input.
pub(crate) fn run(tool: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(input).unwrap();
    file.rewind().unwrap();
    let output = Command::new(tool)
        .args(arguments)
        .stdin(Stdio::from(file))
        .output()
        .unwrap_or_else(|error| panic!("{tool} is needed for this test: {error}"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool}: {complaint}");
    output.stdout
}

/// A file of these bytes, open as an archive. The file's name lies about all of them.
pub(crate) fn open(bytes: &[u8]) -> Result<OpenArchive, ArchiveError> {
    open_metered(bytes, Meter::default())
}

pub(crate) fn open_metered(bytes: &[u8], meter: Meter) -> Result<OpenArchive, ArchiveError> {
    let file = file_of(bytes);
    // The file is gone when this returns; the archive has it open.
    open_path(file.path(), meter)
}

pub(crate) fn open_path(path: &Path, meter: Meter) -> Result<OpenArchive, ArchiveError> {
    stowd::tar::open(path, meter, Arc::default())
}

/// The archive, which must be a plain one.
pub(crate) fn plain(archive: OpenArchive) -> PlainArchive {
    match archive {
        OpenArchive::Plain(archive) => archive,
        OpenArchive::Compressed(archive) => panic!("it is compressed: {archive:?}"),
    }
}

/// The archive, which must be a compressed one.
pub(crate) fn in_one_pass(archive: OpenArchive) -> CompressedArchive {
    match archive {
        OpenArchive::Compressed(archive) => archive,
        OpenArchive::Plain(archive) => panic!("it is plain: {archive:?}"),
    }
}

/// How an archive is compressed.
pub(crate) fn compression_of(archive: &OpenArchive) -> Compression {
    match archive {
        OpenArchive::Plain(_) => Compression::Plain,
        OpenArchive::Compressed(archive) => archive.compression(),
    }
}

pub(crate) fn file_of(bytes: &[u8]) -> NamedTempFile {
    let mut file = tempfile::Builder::new()
        .suffix(".tar.rar")
        .tempfile()
        .unwrap();
    file.write_all(bytes).unwrap();
    file
}

/// What a tool makes of parts that need not be in memory together.
pub(crate) fn pipe<'a>(
    tool: &str,
    arguments: &[&str],
    parts: impl Iterator<Item = &'a [u8]>,
) -> File {
    let output = tempfile::tempfile().unwrap();
    let mut child = Command::new(tool)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::from(output.try_clone().unwrap()))
        .spawn()
        .unwrap_or_else(|error| panic!("{tool} is needed for this test: {error}"));
    let mut input = child.stdin.take().unwrap();
    parts.for_each(|part| input.write_all(part).unwrap());
    drop(input);
    assert!(child.wait().unwrap().success());
    output
}

/// Reads an archive the way that its compression asks for.
pub(crate) fn read(bytes: &[u8]) -> Result<Catalogue, ArchiveError> {
    match open(bytes)? {
        OpenArchive::Plain(archive) => archive.index(),
        OpenArchive::Compressed(archive) => archive.stream(&mut Discard::default()),
    }
}

/// The catalogue of a plain archive, which must be the same both ways.
pub(crate) fn catalogue(bytes: &[u8]) -> Catalogue {
    let index = plain(open(bytes).unwrap()).index().unwrap();
    let (stream, _) = streamed(bytes).unwrap();
    assert_eq!(comparable(&index), comparable(&stream));
    index
}

/// Why neither way leads through these bytes of a tar archive, plain and compressed.
pub(crate) fn refusal(bytes: &[u8]) -> String {
    let stream = match streamed(bytes) {
        Ok((catalogue, _)) => panic!("the stream was read: {catalogue:?}"),
        Err(error) => error.to_string(),
    };
    match read(bytes) {
        Ok(catalogue) => panic!("the index was read: {catalogue:?}"),
        Err(error) => assert_eq!(error.to_string(), stream),
    }
    assert!(stream.len() < 400, "an error is a line: {stream}");
    assert!(!stream.contains('\n'), "an error is a line: {stream}");
    stream
}

/// A catalogue without what only one of the two ways can know.
pub(crate) fn comparable(catalogue: &Catalogue) -> Vec<(String, Member)> {
    let members = catalogue.iter().map(|(path, member)| {
        let mut member = member.clone();
        if let Member::File(file) = &mut member {
            file.offset = None;
            file.digest = None;
        }
        (path.to_owned(), member)
    });
    members.collect()
}

/// A body that a sink was given.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Offered {
    pub(crate) path: String,
    pub(crate) claimed: Option<Digest>,
    pub(crate) body: Vec<u8>,
}

/// Takes everything, and keeps nothing but the digest.
#[derive(Default)]
pub(crate) struct Discard(Hasher);

impl BodySink for Discard {
    fn begin(&mut self, _: &str, _: Option<Digest>, _: u64) -> ControlFlow<()> {
        self.0 = Hasher::default();
        ControlFlow::Continue(())
    }

    fn take(&mut self, bytes: &[u8]) -> ControlFlow<()> {
        self.0.update(bytes);
        ControlFlow::Continue(())
    }

    fn end(&mut self) -> ControlFlow<(), Digest> {
        ControlFlow::Continue(std::mem::take(&mut self.0).finish())
    }
}

/// Takes so many calls, and breaks then.
pub(crate) struct Until {
    pub(crate) calls: usize,
    pub(crate) allowed: usize,
}

impl Until {
    fn call<T>(&mut self, value: T) -> ControlFlow<(), T> {
        self.calls += 1;
        if self.calls > self.allowed {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(value)
        }
    }
}

impl BodySink for Until {
    fn begin(&mut self, _: &str, _: Option<Digest>, _: u64) -> ControlFlow<()> {
        self.call(())
    }

    fn take(&mut self, _: &[u8]) -> ControlFlow<()> {
        self.call(())
    }

    fn end(&mut self) -> ControlFlow<(), Digest> {
        self.call(Digest::of(b""))
    }
}

/// Keeps everything, and holds the calls against what they promise.
#[derive(Default)]
pub(crate) struct Recorder {
    offered: Vec<Offered>,
    expected: Option<u64>,
}

impl BodySink for Recorder {
    fn begin(&mut self, path: &str, claimed: Option<Digest>, size: u64) -> ControlFlow<()> {
        let before = self.expected.replace(size);
        assert_eq!(before, None, "{path} begins inside a body");
        self.offered.push(Offered {
            path: path.to_owned(),
            claimed,
            body: Vec::new(),
        });
        ControlFlow::Continue(())
    }

    fn take(&mut self, bytes: &[u8]) -> ControlFlow<()> {
        assert!(!bytes.is_empty() && bytes.len() <= stowd::tar::limits::CHUNK);
        let offered = self.offered.last_mut().unwrap();
        offered.body.extend_from_slice(bytes);
        ControlFlow::Continue(())
    }

    fn end(&mut self) -> ControlFlow<(), Digest> {
        let body = &self.offered.last().unwrap().body;
        assert_eq!(self.expected.take(), Some(body.len() as u64));
        ControlFlow::Continue(Digest::of(body))
    }
}

/// Reads in one pass: the bytes of a plain archive are compressed before.
pub(crate) fn streamed(bytes: &[u8]) -> Result<(Catalogue, Vec<Offered>), ArchiveError> {
    let mut recorder = Recorder::default();
    let archive = match open(bytes) {
        Ok(OpenArchive::Compressed(archive)) => archive,
        _ => in_one_pass(open(&compressed(Compression::Lz4, bytes))?),
    };
    let catalogue = archive.stream(&mut recorder)?;
    assert_eq!(recorder.expected, None, "a body has no end");
    Ok((catalogue, recorder.offered))
}
