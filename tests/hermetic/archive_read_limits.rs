//! What an archive asks for is held against the limits before it is given.
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;

use stowd::compression::Compression;
use stowd::digest::Digest;
use stowd::layout::limits::DOCUMENTS_MAX;
use stowd::oci::limits::DOCUMENT_MAX;
use stowd::progress::Meter;
use stowd::tar::{ArchiveError, BodySink, OpenArchive, limits};

use crate::archive_read_support::*;

fn open_file(file: &File, meter: Meter) -> OpenArchive {
    use std::os::fd::AsRawFd;
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    open_path(&path, meter).unwrap()
}

/// A zstd archive whose one member begins with `first` and has a gibibyte of zeros.
fn gibibyte_named(name: &str, first: &[u8]) -> File {
    let mut start = header(name, b'0', 1 << 30).to_vec();
    start.extend(first);
    start.resize(MIB + BLOCK, 0);
    let zeros = vec![0; MIB];
    let end = end();
    let parts = std::iter::once(start.as_slice())
        .chain(std::iter::repeat_n(zeros.as_slice(), 1023))
        .chain(std::iter::once(end.as_slice()));
    pipe("zstd", &["-qc1"], parts)
}

const MIB: usize = 1 << 20;

#[test]
fn a_manifest_of_a_gibibyte_is_refused_unread() {
    let meter = Meter::default();
    let archive = open_file(&gibibyte_named("manifest.json", b"[{"), meter.clone());
    let archive = in_one_pass(archive);
    let error = archive
        .stream(&mut Discard::default())
        .unwrap_err()
        .to_string();
    let expected =
        "manifest.json is 1073741824 bytes long; a JSON document may have 8388608 at most";
    assert_eq!(error, expected);
    assert!(
        meter.bytes() <= limits::INPUT_BUFFER as u64,
        "{}",
        meter.bytes()
    );
    for name in [
        "index.json",
        "oci-layout",
        "image/manifest.json",
        "./index.json",
    ] {
        let bytes = header(name, b'0', DOCUMENT_MAX + 1);
        let error = refusal(&bytes);
        assert!(
            error.contains("a JSON document may have 8388608 at most"),
            "{error}"
        );
    }
    // As large as it may be, and a document.
    let mut largest = vec![b' '; usize::try_from(DOCUMENT_MAX).unwrap()];
    largest[0] = b'[';
    let bytes = tar_of(&[("manifest.json", &largest)]);
    assert_eq!(
        catalogue(&bytes).file("manifest.json").unwrap().1.document,
        Some(largest.into())
    );
}

/// Refuses every body.
struct NoBody;

impl BodySink for NoBody {
    fn begin(&mut self, path: &str, _: Option<Digest>, size: u64) -> ControlFlow<()> {
        panic!("{path} begins, of {size} bytes")
    }

    fn take(&mut self, _: &[u8]) -> ControlFlow<()> {
        ControlFlow::Break(())
    }

    fn end(&mut self) -> ControlFlow<(), Digest> {
        ControlFlow::Break(())
    }
}

/// Room would be asked for it: an archive that is cut, or lies, is not one that lacks space.
#[test]
fn a_member_that_is_longer_than_the_archive_may_be_is_not_handed_on() {
    let mut bytes = header("layer.tar", b'0', (8 << 30) - 1).to_vec();
    bytes.resize(MIB, 1);
    let packed = pipe("zstd", &["-qc1"], std::iter::once(bytes.as_slice()));
    let archive = in_one_pass(open_file(&packed, Meter::default()));
    let error = archive.stream(&mut NoBody).unwrap_err();
    assert!(matches!(error, ArchiveError::Truncated { .. }), "{error}");
}

#[test]
fn other_json_of_a_gibibyte_passes_by_in_chunks() {
    let archive = open_file(&gibibyte_named("other.json", b"{"), Meter::default());
    let archive = in_one_pass(archive);
    // A few chunks tell as much as all: each is as long as it may be, but the first bytes, which are
    // looked at, and what they leave of the chunk that they came in.
    let mut until = Until {
        calls: 0,
        allowed: 32 * MIB / limits::CHUNK,
    };
    let stopped = archive.stream(&mut until);
    assert!(matches!(stopped, Err(ArchiveError::Stopped)));
    assert_eq!(until.calls, until.allowed + 1);
}

#[test]
fn documents_together_are_bounded() {
    let mut file = tempfile::tempfile().unwrap();
    let each = DOCUMENT_MAX;
    for n in 0..=DOCUMENTS_MAX / each {
        file.write_all(&header(&format!("{n}.json"), b'0', each))
            .unwrap();
        file.write_all(b"{").unwrap();
        file.seek(SeekFrom::Current(i64::try_from(each).unwrap() - 1))
            .unwrap();
    }
    file.write_all(&end()).unwrap();
    let archive = plain(open_file(&file, Meter::default()));
    let by_index = archive.index().unwrap_err().to_string();
    let expected = "with 8.json, the JSON documents in the archive take more than 64 MiB";
    assert_eq!(by_index, expected);
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    let packed = pipe("zstd", &["-qc1"], std::iter::once(bytes.as_slice()));
    let archive = in_one_pass(open_file(&packed, Meter::default()));
    assert_eq!(
        archive
            .stream(&mut Discard::default())
            .unwrap_err()
            .to_string(),
        expected
    );
}

#[test]
fn a_million_empty_members_are_refused() {
    let thousand = header("empty", b'0', 0).repeat(1000);
    let million = (0..1000).map(|_| thousand.as_slice());
    let archive = open_file(&pipe("zstd", &["-qc1"], million), Meter::default());
    let archive = in_one_pass(archive);
    let error = archive
        .stream(&mut Discard::default())
        .unwrap_err()
        .to_string();
    assert_eq!(error, "the archive has more than 100000 members");
}

#[test]
fn members_of_all_kinds_are_counted() {
    let at_the_limit = [&b"0"[..], b"5", b"g", b"Z"]
        .concat()
        .iter()
        .flat_map(|kind| header("empty", *kind, 0).repeat(limits::MEMBERS_MAX / 4))
        .collect::<Vec<u8>>();
    read(&[at_the_limit.clone(), end()].concat()).unwrap();
    let bytes = [at_the_limit, header("empty", b'5', 0).to_vec(), end()].concat();
    assert!(matches!(read(&bytes), Err(ArchiveError::TooManyMembers)));
}

#[test]
fn long_names_are_refused_before_they_are_read() {
    for kind in *b"LKxg" {
        for size in [limits::EXTENSION_MAX + 1, 1 << 30, 1 << 62] {
            let error = refusal(&header("bomb", kind, size));
            let expected = format!(
                "the tar header at byte 0 announces a long name or pax header of {size} bytes; \
                 at most 1048576 are read"
            );
            assert_eq!(error, expected);
        }
        let error = refusal(&header("cut", kind, limits::EXTENSION_MAX));
        assert!(
            error.starts_with("the tar archive ends early, at byte 512"),
            "{error}"
        );
    }
}

#[test]
fn paths_are_bounded_each_and_together() {
    let file = member("a", b'0', b"");
    let named = |length: usize| {
        let path = "x".repeat(length);
        [member("././@LongLink", b'L', path.as_bytes()), file.clone()].concat()
    };
    let longest = [named(limits::PATH_MAX), end()].concat();
    assert_eq!(catalogue(&longest).len(), 1);
    let error = refusal(&[named(limits::PATH_MAX + 1), end()].concat());
    assert!(
        error.starts_with("the path or link target of member xxx"),
        "{error}"
    );
    assert!(error.ends_with("… is longer than 4096 bytes"), "{error}");
    let target = "x".repeat(limits::PATH_MAX + 1);
    let long_target = member("pax", b'x', &record("linkpath", &target));
    let error = refusal(&[long_target, link("link", b'2', "x"), end()].concat());
    assert_eq!(
        error,
        "the path or link target of member link is longer than 4096 bytes"
    );

    let members = limits::NAMES_MAX / limits::PATH_MAX;
    let within = named(limits::PATH_MAX).repeat(members);
    read(&[within.clone(), end()].concat()).unwrap();
    let error = refusal(&[within, file, end()].concat());
    assert_eq!(
        error,
        "the paths in the archive, and the maps of its sparse members, take more than 32 MiB"
    );
}

/// A zstd frame of `count` blocks of 128 KiB of zeros, 4 bytes each (RFC 8878, 3.1.1).
fn zeros_in_zstd(count: usize) -> Vec<u8> {
    const WINDOW_OF_128_KIB: u8 = 7 << 3;
    let block = |last: u32| (last | 1 << 1 | (128 << 10) << 3).to_le_bytes();
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, WINDOW_OF_128_KIB];
    for n in 1..=count {
        frame.extend(&block(u32::from(n == count))[..3]);
        frame.push(0);
    }
    frame
}

#[test]
fn a_layer_that_is_a_bomb_is_refused_by_name() {
    // 64 GiB of zeros: minutes, were they hashed.
    let bomb = tar_of(&[("layer.tar", &zeros_in_zstd(1 << 19))]);
    let twice = compressed(Compression::Zstd, &bomb);
    assert!(twice.len() < 2000, "{}", twice.len());
    let error = read(&twice).unwrap_err().to_string();
    let expected = "member layer.tar decompresses to more than 1 GiB and 2048 times the length \
                    of the file, as no image does";
    assert_eq!(error, expected);
    // Not more than some, and many of them.
    let some = zeros_in_zstd(1 << 11);
    let names: Vec<_> = (0..8).map(|n| format!("{n}.tar")).collect();
    let files: Vec<_> = names
        .iter()
        .map(|n| (n.as_str(), some.as_slice()))
        .collect();
    let error = read(&compressed(Compression::Zstd, &tar_of(&files))).unwrap_err();
    assert!(
        error.to_string().starts_with("member 4.tar decompresses"),
        "{error}"
    );
    read(&tar_of(&files[..4])).unwrap();
}

#[test]
fn an_archive_that_is_a_bomb_is_refused() {
    // 10 GiB in 320 KiB: what is allowed is 1.6 GiB.
    let mut bytes = zstd::encode_all(&header("layer.tar", b'0', 1 << 40)[..], 1).unwrap();
    bytes.extend(zeros_in_zstd(80 << 10));
    let archive = in_one_pass(open(&bytes).unwrap());
    let error = archive
        .stream(&mut Discard::default())
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("the archive decompresses to more than 1 GiB"),
        "{error}"
    );
}

#[test]
fn zeros_after_the_end_are_bounded() {
    let most = usize::try_from(limits::PADDING_MAX).unwrap();
    let mut bytes = sample();
    bytes.resize(bytes.len() + most, 0);
    read(&bytes).unwrap();
    read(&compressed(Compression::Gzip, &bytes)).unwrap();
    bytes.resize(bytes.len() + (64 << 10), 0);
    let expected = "after the end of the tar archive come more than 16 MiB of zeros";
    assert_eq!(refusal(&bytes), expected);
    let error = read(&compressed(Compression::Zstd, &bytes)).unwrap_err();
    assert_eq!(error.to_string(), expected);

    let mut gzipped = gzip(&sample());
    gzipped.resize(gzipped.len() + most, 0);
    read(&gzipped).unwrap();
    gzipped.push(0);
    let error = read(&gzipped).unwrap_err().to_string();
    assert!(
        error.starts_with("after the end of the gzip stream"),
        "{error}"
    );
}
