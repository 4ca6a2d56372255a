//! Every compression, made by the crates and by the usual tools, is told by its bytes and read.
#![allow(clippy::unwrap_used)]

use std::io::Write;

use stowd::compression::Compression;
use stowd::digest::Digest;
use stowd::layout::Member;
use stowd::progress::Meter;
use stowd::tar::{ArchiveError, limits};

use crate::archive_read_support::*;

#[test]
fn every_compression_yields_the_same_catalogue_whatever_the_name_says() {
    let plain = sample();
    let expected = comparable(&catalogue(&plain));
    assert_eq!(expected.len(), 6);
    for compression in COMPRESSIONS {
        for bytes in [
            compressed(compression, &plain),
            compressed_by_tool(compression, &plain),
        ] {
            let meter = Meter::default();
            let archive = in_one_pass(open_metered(&bytes, meter.clone()).unwrap());
            assert_eq!(archive.compression(), compression);
            assert_eq!(archive.size(), bytes.len() as u64);
            let (read, offered) = streamed(&bytes).unwrap();
            assert_eq!(comparable(&read), expected, "{compression}");
            let paths: Vec<_> = offered.iter().map(|body| body.path.as_str()).collect();
            let blob = format!("blobs/sha256/{}", Digest::of(LAYER).hex());
            assert_eq!(paths, [blob.as_str(), "layer.tar.gz"], "{compression}");
            assert_eq!(offered[0].claimed, Some(Digest::of(LAYER)));
            assert_eq!(offered[0].body, LAYER);
            assert_eq!(offered[1].claimed, None);
            for (path, member) in read.iter() {
                if let Member::File(file) = member {
                    assert!(file.digest.is_some(), "{path}");
                }
            }
            archive.stream(&mut Discard::default()).unwrap();
            assert_eq!(meter.bytes(), archive.size(), "{compression}");
        }
    }
}

#[test]
fn a_suffix_that_lies_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    for compression in COMPRESSIONS {
        for name in ["a.tar", "a.tar.gz", "a.tar.zst", "a.tar.xz", "a.txt"] {
            let path = directory.path().join(name);
            std::fs::write(&path, compressed(compression, &sample())).unwrap();
            let archive = open_path(&path, Meter::default()).unwrap();
            assert_eq!(compression_of(&archive), compression);
        }
    }
}

#[test]
fn concatenated_members_are_one_stream() {
    let plain = sample();
    let expected = comparable(&catalogue(&plain));
    let (first, second) = plain.split_at(1000);
    for compression in COMPRESSIONS {
        let halves = [
            compressed(compression, first),
            compressed_by_tool(compression, second),
        ];
        let read = read(&halves.concat()).unwrap();
        assert_eq!(comparable(&read), expected, "{compression}");
    }
}

#[test]
fn zeros_after_a_gzip_member_are_padding() {
    let mut bytes = gzip(&sample());
    bytes.resize(bytes.len() + 2 * limits::INPUT_BUFFER, 0);
    read(&bytes).unwrap();
    bytes.push(1);
    let error = read(&bytes).unwrap_err().to_string();
    let expected = "after the end of the gzip stream come bytes that do not belong to it";
    assert_eq!(error, expected);
}

#[test]
fn what_follows_a_compressed_stream_is_refused() {
    for compression in COMPRESSIONS {
        let mut bytes = compressed(compression, &sample());
        bytes.extend(b"and more");
        let error = read(&bytes).unwrap_err();
        assert!(
            matches!(error, ArchiveError::Decode(_)),
            "{compression}: {error}"
        );
    }
}

fn skippable(first: u8, length: usize) -> Vec<u8> {
    let mut frame = vec![first, 0x2a, 0x4d, 0x18];
    frame.extend(u32::try_from(length).unwrap().to_le_bytes());
    frame.resize(frame.len() + length, 0x42);
    frame
}

#[test]
fn skippable_frames_hold_nothing_and_tell_nothing() {
    let plain = sample();
    let expected = comparable(&catalogue(&plain));
    let (first, second) = plain.split_at(1000);
    for compression in [Compression::Zstd, Compression::Lz4] {
        let bytes = [
            skippable(0x50, 0),
            skippable(0x5f, 5000),
            compressed(compression, first),
            skippable(0x57, 10),
            compressed(compression, second),
            skippable(0x50, 3),
        ];
        let bytes = bytes.concat();
        assert_eq!(compression_of(&open(&bytes).unwrap()), compression);
        assert_eq!(comparable(&read(&bytes).unwrap()), expected);
    }
    // Nothing but skippable frames, in more than one way.
    for bytes in [
        skippable(0x50, 9),
        skippable(0x50, 0).repeat(100),
        skippable(0x50, 9)[..10].to_vec(),
    ] {
        let error = open(&bytes).unwrap_err();
        assert!(matches!(error, ArchiveError::NotTar { .. }), "{error}");
    }
}

#[test]
fn lz4_frames_of_all_shapes_are_read() {
    // More than one block of each size, with and without links between them and checksums.
    let mut body = Vec::new();
    (0_u32..400_000).for_each(|n| body.extend(n.wrapping_mul(2_654_435_761).to_le_bytes()));
    let plain = tar_of(&[("layer.tar", &body), ("empty", b"")]);
    let expected = comparable(&read(&plain).unwrap());
    let shapes: [&[&str]; 6] = [
        &["-B4"],
        &["-B7", "-BD"],
        &["-B4", "-BD", "-BX"],
        &["-BX", "--no-frame-crc"],
        &["--content-size", "-9"],
        &["-B5", "-BX", "--content-size"],
    ];
    let mut all = Vec::new();
    for shape in shapes {
        let bytes = run("lz4", &[&["-qc"], shape].concat(), &plain);
        let read = read(&bytes).unwrap();
        assert_eq!(comparable(&read), expected, "{shape:?}");
        all.extend(bytes);
    }
    // Frames whose blocks differ in size, one after the other: more than one archive.
    let error = read(&all).unwrap_err();
    assert!(matches!(error, ArchiveError::Trailing { offset } if offset == plain.len() as u64));
}

#[test]
fn the_legacy_format_of_lz4_is_refused_by_name() {
    let error = read(&run("lz4", &["-lqc"], &sample()))
        .unwrap_err()
        .to_string();
    assert!(error.contains("legacy format"), "{error}");
    assert!(error.contains("recompress it without -l"), "{error}");
}

#[test]
fn zstd_windows_are_bounded() {
    let plain = tar_of(&[("layer.tar", &vec![7; 3 << 20])]);
    read(&run("zstd", &["-qc", "--long=27"], &plain)).unwrap();
    let error = read(&run("zstd", &["-qc", "--long=31"], &plain))
        .unwrap_err()
        .to_string();
    let expected = "the zstd stream needs a window of more than 128 MiB; \
                    recompress it with --long=27 or less";
    assert_eq!(error, expected);
}

#[test]
fn the_memory_of_xz_is_bounded() {
    let mut bytes = compressed(Compression::Xz, &sample());
    // The block header after the 12 bytes of stream header: size, flags, LZMA2, one byte of
    // properties, the dictionary's size (xz-file-format.txt, 3.1 and 5.3.1).
    assert_eq!(bytes[12..16], [2, 0, 0x21, 1]);
    bytes[16] = 32;
    let mut crc = flate2::Crc::new();
    crc.update(&bytes[12..20]);
    bytes[20..24].copy_from_slice(&crc.sum().to_le_bytes());
    let error = read(&bytes).unwrap_err().to_string();
    let expected = "the xz stream needs more than 128 MiB of memory to decompress; \
                    recompress it with -9 or less";
    assert_eq!(error, expected);
    read(&run("xz", &["-9c"], &sample())).unwrap();
}

#[test]
fn compressed_layers_outside_of_blobs_have_both_digests() {
    let blob = format!("blobs/sha256/{}", Digest::of(&gzip(LAYER)).hex());
    let zstd = compressed(Compression::Zstd, LAYER);
    let cut = &gzip(LAYER)[..20];
    let plain = tar_of(&[
        ("a.tar.gz", &gzip(LAYER)),
        ("b.tar.gz", &[gzip(&LAYER[..5]), gzip(&LAYER[5..])].concat()),
        ("c.tar.gz", &zstd),
        ("cut.tar.gz", cut),
        (&blob, &gzip(LAYER)),
        ("plain", LAYER),
    ]);
    let index = catalogue(&plain);
    let file = |path: &str| index.file(path).unwrap().1.clone();
    for path in ["a.tar.gz", "b.tar.gz", "c.tar.gz"] {
        assert_eq!(file(path).diff_id, Some(Digest::of(LAYER)), "{path}");
        assert!(file(path).digest.is_some(), "{path}");
    }
    assert_eq!(file("a.tar.gz").digest, Some(Digest::of(&gzip(LAYER))));
    assert_eq!(file("c.tar.gz").digest, Some(Digest::of(&zstd)));
    assert_eq!(file("c.tar.gz").compression, Compression::Zstd);
    // It cannot be decompressed: a search for its diff_id finds none.
    assert_eq!(file("cut.tar.gz").digest, Some(Digest::of(cut)));
    assert_eq!(file("cut.tar.gz").diff_id, None);
    assert_eq!(file(&blob).compression, Compression::Gzip);
    assert_eq!((file(&blob).digest, file(&blob).diff_id), (None, None));
    assert_eq!((file("plain").digest, file("plain").diff_id), (None, None));
    assert_eq!(file("plain").compression, Compression::Plain);
}

#[test]
fn what_is_no_archive_is_called_what_it_is() {
    let message = |bytes: &[u8]| open(bytes).unwrap_err().to_string();
    assert_eq!(message(b""), "the file is empty");
    assert_eq!(
        message(b"PK\x03\x04 and more"),
        "not a tar archive, nor one compressed with gzip, zstd, lz4, bzip2 or xz: \
         it begins with 50 4b 03 04 20 61 6e 64 (\"PK\\x03\\x04 and\")"
    );
    for page in ["<!DOCTYPE html><html>", "\n <html lang=en>"] {
        let expected = "not an archive but an HTML page: the download was answered by a web page";
        assert_eq!(message(page.as_bytes()), expected);
    }
    for compression in COMPRESSIONS {
        let inner = compressed(compression, &[b'x'; 1000]);
        assert_eq!(
            read(&inner).unwrap_err().to_string(),
            format!(
                "the {compression} stream holds no tar archive: \
                 it begins with 78 78 78 78 78 78 78 78 (\"xxxxxxxx\")"
            )
        );
        let nothing = read(&compressed(compression, b"")).unwrap_err().to_string();
        assert!(
            nothing.starts_with("the tar archive ends early, at byte 0:"),
            "{nothing}"
        );
    }
    let directory = tempfile::tempdir().unwrap();
    let refused = |path| open_path(path, Meter::default()).unwrap_err();
    assert!(matches!(refused(directory.path()), ArchiveError::NotAFile));
    let missing = refused(&directory.path().join("missing"));
    assert!(
        matches!(&missing, ArchiveError::Open(cause) if cause.kind() == std::io::ErrorKind::NotFound)
    );
    assert!(
        missing
            .to_string()
            .starts_with("cannot open the archive: No such file"),
        "{missing}"
    );
}

#[test]
fn a_member_that_is_named_like_a_magic_number_is_a_member() {
    for name in ["BZh1", "\x1f8b"] {
        let bytes = tar_of(&[(name, LAYER)]);
        assert_eq!(compression_of(&open(&bytes).unwrap()), Compression::Plain);
    }
}

/// Which of the two ways an archive is read is told by its type. What the types cannot tell apart is a
/// file of another archive's catalogue.
#[test]
fn a_file_of_a_compressed_archive_has_no_place_in_a_plain_one() {
    let archive = in_one_pass(open(&gzip(&sample())).unwrap());
    let catalogue = archive.stream(&mut Discard::default()).unwrap();
    let (_, file) = catalogue.file("layer.tar.gz").unwrap();
    let plain = plain(open(&sample()).unwrap());
    let error = std::io::read_to_string(plain.body(file, 0)).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::Unsupported);
}

#[test]
fn a_named_pipe_is_refused_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.tar");
    run("mkfifo", &[path.to_str().unwrap()], b"");
    let error = open_path(&path, Meter::default()).unwrap_err();
    assert_eq!(error.to_string(), "not a regular file");
}

#[test]
fn a_read_that_fails_says_where() {
    // A regular file whose first page cannot be read.
    let error = open_path("/proc/self/mem".as_ref(), Meter::default()).unwrap_err();
    let error = error.to_string();
    let expected = "cannot read the archive at byte 0: Input/output error";
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn a_file_that_is_written_to_shows_in_the_open_file() {
    let mut file = file_of(&sample());
    let archive = plain(open_path(file.path(), Meter::default()).unwrap());
    assert_eq!(archive.file().metadata().unwrap().len(), archive.size());
    file.write_all(b"more").unwrap();
    assert_eq!(archive.file().metadata().unwrap().len(), archive.size() + 4);
}
