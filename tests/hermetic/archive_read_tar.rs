//! Tar archives as they are found: names, links, types, bodies.

use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use stowd::compression::Compression;
use stowd::digest::Digest;
use stowd::layout::Member;
use stowd::progress::Meter;
use stowd::tar::ArchiveError;

use crate::archive_read_support::*;

fn paths(bytes: &[u8]) -> Vec<String> {
    catalogue(bytes)
        .iter()
        .map(|(path, _)| path.to_owned())
        .collect()
}

#[test]
fn a_body_is_read_at_its_place_and_from_the_middle() {
    let bytes = sample();
    let meter = Meter::default();
    let archive = plain(open_metered(&bytes, meter.clone()).unwrap());
    let catalogue = archive.index().unwrap();
    let mut bodies = 0;
    for (path, member) in catalogue.iter() {
        let Member::File(file) = member else { continue };
        let offset = usize::try_from(file.offset.unwrap()).unwrap();
        let size = usize::try_from(file.size).unwrap();
        let body = &bytes[offset..offset + size];
        match &file.document {
            Some(document) => assert_eq!(&**document, body, "{path}"),
            None => {
                let mut read = Vec::new();
                archive.body(file, 0).read_to_end(&mut read).unwrap();
                assert_eq!(read, body, "{path}");
                bodies += 1;
            }
        }
    }
    assert_eq!(bodies, 3);
    // Headers, documents and bodies, each byte once.
    assert_eq!(meter.bytes(), archive.size());

    let (_, file) = catalogue.file("layer.tar.gz").unwrap();
    for from in [0, 1, file.size - 1, file.size, file.size + 1] {
        let before = meter.bytes();
        let mut rest = Vec::new();
        archive.body(file, from).read_to_end(&mut rest).unwrap();
        assert_eq!(rest.len() as u64, file.size - from.min(file.size));
        assert!(gzip(LAYER).ends_with(&rest));
        // One half of a body that was hashed by the index has counted then.
        assert_eq!(meter.bytes() - before, file.size - file.size / 2);
    }
}

#[test]
fn a_file_that_shrinks_is_an_error_of_its_body() {
    let bytes = tar_of(&[("layer.tar", &[1; 4096]), ("z", b"z")]);
    let file = file_of(&bytes);
    let archive = plain(open_path(file.path(), Meter::default()).unwrap());
    let catalogue = archive.index().unwrap();
    file.as_file().set_len(1024).unwrap();
    let (_, layer) = catalogue.file("layer.tar").unwrap();
    let error = io::read_to_string(archive.body(layer, 0)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    assert_eq!(
        error.to_string(),
        "the archive has become shorter while it was read"
    );
    assert!(matches!(
        archive.index(),
        Err(ArchiveError::Truncated { .. })
    ));
}

#[test]
fn documents_are_kept_and_everything_else_is_offered() {
    let statement = b"{\n  \"_type\": \"https://in-toto.io/Statement/v0.1\"}";
    let bytes = tar_of(&[
        ("manifest.json", b" \n[{}]"),
        ("abc/VERSION", b"1.0"),
        ("abc/json", b"{}"),
        ("repositories", b"{}"),
        ("statement", statement),
        ("text", b"no document"),
        ("empty", b""),
    ]);
    let catalogue = catalogue(&bytes);
    let document = |path| catalogue.file(path).unwrap().1.document.clone();
    assert_eq!(document("manifest.json").as_deref(), Some(&b" \n[{}]"[..]));
    assert!(document("abc/json").is_some());
    assert!(document("repositories").is_some());
    assert_eq!(document("statement"), None);
    assert_eq!(document("text"), None);
    let (_, offered) = streamed(&bytes).unwrap();
    let offered: Vec<_> = offered.iter().map(|body| body.path.as_str()).collect();
    assert_eq!(offered, ["statement", "text"]);
}

#[test]
fn a_leading_dot_a_slash_and_a_detour_are_no_part_of_a_path() {
    let bytes = [
        member("./", b'5', b""),
        member("./index.json", b'0', b"{}"),
        member("/etc/passwd", b'0', b"x"),
        member("a//b/../c", b'0', b"x"),
        member("old", 0, b"x"),
        member("old/", 0, b""),
        member("continuous", b'7', b"x"),
        end(),
    ];
    let expected = ["a/c", "continuous", "etc/passwd", "index.json", "old"];
    assert_eq!(paths(&bytes.concat()), expected);
}

#[test]
fn paths_that_lead_out_are_left_out_and_links_that_do_lead_to_no_file() {
    let bytes = [
        member("../evil", b'0', b"x"),
        member("a/../../evil", b'0', b"{}"),
        member("..", b'0', b"x"),
        link("out", b'2', "../evil"),
        link("absolute", b'2', "/etc/passwd"),
        link("hard", b'1', "../../etc/passwd"),
        link("../link", b'2', "layer.tar"),
        link("nowhere", b'2', ""),
        member("layer.tar", b'0', b"x"),
        end(),
    ];
    let bytes = bytes.concat();
    let links = [
        ("absolute", "/etc/passwd"),
        ("hard", "../../etc/passwd"),
        ("nowhere", ""),
        ("out", "../evil"),
    ];
    let catalogue = catalogue(&bytes);
    for (path, target) in links {
        assert_eq!(catalogue.file(path), None);
        let broken = catalogue.broken_link(path).unwrap();
        assert_eq!(
            (broken.link.as_str(), broken.target.as_str()),
            (path, target)
        );
    }
    assert_eq!(catalogue.len(), links.len() + 1);
    let (_, offered) = streamed(&bytes).unwrap();
    assert_eq!(offered.len(), 1);
}

#[test]
fn backslashes_divide_paths() {
    let bytes = [
        member(r"blobs\sha256\00", b'0', b"x"),
        member(r"..\evil", b'0', b"x"),
        link(r"a\link", b'2', r"..\blobs\sha256\00"),
        end(),
    ];
    let bytes = bytes.concat();
    assert_eq!(paths(&bytes), ["a/link", "blobs/sha256/00"]);
    assert_eq!(
        catalogue(&bytes).file("a/link").unwrap().0,
        "blobs/sha256/00"
    );
}

#[test]
fn links_lead_to_the_file() {
    let bytes = [
        link("a/layer.tar", b'2', "../b/layer.tar"),
        link("./c/layer.tar", b'1', "./b/layer.tar"),
        link("d/layer.tar", b'2', "../a/layer.tar"),
        link("loop", b'2', "loop"),
        link("dangling", b'2', "missing"),
        member("b/layer.tar", b'0', LAYER),
        end(),
    ];
    let catalogue = catalogue(&bytes.concat());
    for path in ["a/layer.tar", "b/layer.tar", "c/layer.tar", "d/layer.tar"] {
        let (found, file) = catalogue.file(path).unwrap();
        assert_eq!(
            (found, file.size),
            ("b/layer.tar", LAYER.len() as u64),
            "{path}"
        );
    }
    assert_eq!(catalogue.file("loop"), None);
    assert_eq!(catalogue.file("dangling"), None);
}

#[test]
fn a_link_has_no_body_whatever_size_it_states() {
    for kind in *b"123456" {
        let mut block = header("odd", kind, 4096);
        block[157..159].copy_from_slice(b"to");
        let bytes = [checksummed(block).to_vec(), member("to", b'0', b"x"), end()].concat();
        assert!(paths(&bytes).contains(&"to".to_owned()), "{}", kind as char);
    }
}

#[test]
fn of_two_members_with_one_path_the_later_counts() {
    let bytes = [member("a", b'0', b"1"), member("a", b'0', b"22"), end()];
    assert_eq!(catalogue(&bytes.concat()).file("a").unwrap().1.size, 2);
}

#[test]
fn directories_devices_and_unknown_types_are_passed_over() {
    let bytes = [
        member("dir", b'5', b""),
        member("device", b'3', b""),
        member("pipe", b'6', b""),
        member("volume", b'V', b""),
        member("unknown", b'Z', &[7; 700]),
        member("file", b'0', b"x"),
        end(),
    ];
    assert_eq!(paths(&bytes.concat()), ["file"]);
}

#[test]
fn long_names_of_gnu_and_pax_are_read() {
    let long = format!("{}/layer.tar", "d".repeat(300));
    let gnu = [
        member("././@LongLink", b'L', format!("{long}\0").as_bytes()),
        member("short", b'0', LAYER),
        member("././@LongLink", b'K', format!("{long}\0").as_bytes()),
        link("link", b'1', "short"),
    ];
    let pax = [
        member("pax", b'x', &record("path", &long)),
        member("short", b'0', LAYER),
        member("pax", b'x', &record("linkpath", &long)),
        link("link", b'1', "short"),
    ];
    let both = [
        member("pax", b'g', &record("comment", "of all that follows")),
        member(
            "pax",
            b'x',
            &[record("path", "no"), record("mtime", "1.5")].concat(),
        ),
        member("././@LongLink", b'L', format!("{long}\0").as_bytes()),
        member("short", b'0', LAYER),
        link("link", b'2', &long[..60]),
    ];
    for members in [&gnu[..], &pax[..]] {
        let bytes = [members.concat(), end()].concat();
        let catalogue = catalogue(&bytes);
        let link = catalogue.file("link").unwrap();
        assert_eq!((link.0, link.1.size), (long.as_str(), LAYER.len() as u64));
    }
    let bytes = [both.concat(), end()].concat();
    assert!(catalogue(&bytes).file(&long).is_some());
}

#[test]
fn archives_of_gnu_tar_are_read_in_all_its_formats() {
    let directory = tempfile::tempdir().unwrap();
    let deep = directory.path().join("x".repeat(90)).join("y".repeat(90));
    std::fs::create_dir_all(&deep).unwrap();
    std::fs::write(deep.join("layer.tar"), LAYER).unwrap();
    std::fs::write(directory.path().join("index.json"), b"{}").unwrap();
    std::fs::hard_link(deep.join("layer.tar"), directory.path().join("zhard")).unwrap();
    std::os::unix::fs::symlink("zhard", directory.path().join("zsymlink")).unwrap();
    for format in ["gnu", "oldgnu", "pax", "ustar", "v7"] {
        let mut command = Command::new("tar");
        command.arg("-c").arg("-C").arg(directory.path());
        command.arg(format!("--format={format}")).arg("--sort=name");
        // ustar has no room for a long target, v7 none for a long name.
        if format == "ustar" {
            command.arg("--hard-dereference");
        }
        if format == "v7" {
            command.args(["index.json", "zhard", "zsymlink"]);
        } else {
            command.arg(".");
        }
        let output = command.output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{format}: {complaint}");
        let catalogue = catalogue(&output.stdout);
        let (_, file) = catalogue.file("zsymlink").unwrap();
        assert_eq!(file.size, LAYER.len() as u64, "{format}");
        assert!(
            catalogue.file("index.json").unwrap().1.document.is_some(),
            "{format}"
        );
    }
}

/// A member in the PAX format 1.0 for sparse files: its name, its length, its map and its bytes.
fn sparse(name: &str, size: usize, runs: &[(usize, &[u8])]) -> Vec<u8> {
    let records = [
        record("GNU.sparse.major", "1"),
        record("GNU.sparse.minor", "0"),
        record("GNU.sparse.name", name),
        record("GNU.sparse.realsize", &size.to_string()),
    ];
    let lines = runs.iter();
    let lines = lines.map(|(at, bytes)| format!("{at}\n{}\n", bytes.len()));
    let mut body = format!("{}\n{}", runs.len(), lines.collect::<String>()).into_bytes();
    body.resize(body.len().next_multiple_of(BLOCK), 0);
    for (_, bytes) in runs {
        body.extend_from_slice(bytes);
    }
    [
        member("pax", b'x', &records.concat()),
        member("GNUSparseFile.0/x", b'0', &body),
    ]
    .concat()
}

#[test]
fn sparse_members_are_read_with_their_holes() {
    let mut layer = vec![0; 300_000];
    layer[700..703].copy_from_slice(b"one");
    layer[200_000..200_512].fill(7);
    let packed = gzip(LAYER);
    let mut document = b"{}".to_vec();
    document.resize(2000, b' ');
    let half = [&b"{}"[..], &[b' '; 998]].concat();
    let bytes = [
        sparse("layer.tar", 300_000, &[(700, b"one"), (200_000, &[7; 512])]),
        sparse("packed", packed.len(), &[(0, &packed)]),
        sparse("holes", 70_000, &[]),
        sparse("index.json", 2000, &[(0, &half), (1000, &[b' '; 1000])]),
        member("after", b'0', b"x"),
        end(),
    ];
    let bytes = bytes.concat();
    let (stream, offered) = streamed(&bytes).unwrap();
    let archive = plain(open(&bytes).unwrap());
    let index = archive.index().unwrap();
    for (path, body) in [
        ("layer.tar", &layer),
        ("packed", &packed),
        ("holes", &vec![0; 70_000]),
        ("after", &b"x".to_vec()),
    ] {
        let (_, file) = index.file(path).unwrap();
        assert_eq!(file.size, body.len() as u64);
        for from in [0, 699, 701, 703, 200_001, file.size] {
            let from = from.min(file.size);
            let mut read = Vec::new();
            archive.body(file, from).read_to_end(&mut read).unwrap();
            assert!(
                read == body[usize::try_from(from).unwrap()..],
                "{path} {from}"
            );
        }
        let body_of = |offered: &&Offered| offered.path == path;
        assert!(
            offered.iter().find(body_of).unwrap().body == *body,
            "{path}"
        );
    }
    assert_eq!(
        index.file("packed").unwrap().1.diff_id,
        Some(Digest::of(LAYER))
    );
    for catalogue in [index, stream] {
        let (_, file) = catalogue.file("index.json").unwrap();
        assert_eq!(file.document.as_deref(), Some(&document[..]));
    }
}

#[test]
fn sparse_members_of_gnu_tar_are_read_in_the_format_of_today() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sparse");
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(10 << 20).unwrap();
    file.write_all_at(LAYER, 5 << 20).unwrap();
    let by_tool = |format: &str, version: &str| {
        let mut tar = Command::new("tar");
        tar.arg("-cSC")
            .arg(directory.path())
            .arg(format!("--format={format}"))
            .arg(format!("--sparse-version={version}"))
            .arg("sparse");
        tar.output().unwrap().stdout
    };
    let (_, offered) = streamed(&by_tool("pax", "1.0")).unwrap();
    assert!(offered[0].body == std::fs::read(&path).unwrap());
    for bytes in [
        [member("sparse", b'S', b""), end()].concat(),
        by_tool("gnu", "1.0"),
        by_tool("pax", "0.1"),
        by_tool("pax", "0.0"),
    ] {
        let error = refusal(&bytes);
        assert!(
            error.contains("sparse is a sparse file of an old format"),
            "{error}"
        );
        assert!(error.contains("bsdtar with --no-read-sparse"), "{error}");
    }
}

#[test]
fn a_map_of_holes_that_does_not_fit_is_refused() {
    let after = |sparse: Vec<u8>| refusal(&[sparse, end()].concat());
    for bad in [
        sparse("bad", 10, &[(8, b"four")]),
        sparse("bad", 100, &[(50, b"four"), (51, b"four")]),
        // Its map says less than there is.
        [
            sparse("bad", 9, &[])[..2 * BLOCK].to_vec(),
            member("x", b'0', b"0\nmore"),
        ]
        .concat(),
        // It has no map.
        [
            sparse("bad", 9, &[])[..2 * BLOCK].to_vec(),
            member("x", b'0', b""),
        ]
        .concat(),
    ] {
        let error = after(bad);
        assert_eq!(
            error,
            "the map of the sparse file bad is damaged, or too long"
        );
    }
    let error = after(sparse("bad", 1 << 50, &[]));
    let bomb = "member bad decompresses to more than 1 GiB and 2048 times the length of the file";
    assert!(error.starts_with(bomb), "{error}");
}

/// Each map is as long as one may be, of one byte and a hole by turns.
#[test]
fn maps_of_holes_are_bounded_together() {
    let runs = (0..90_000)
        .map(|run| (2 * run, &b"x"[..]))
        .collect::<Vec<_>>();
    let members = (0..30).map(|number| sparse(&format!("{number}"), 180_000, &runs));
    let error = refusal(&[members.collect::<Vec<_>>().concat(), end().to_vec()].concat());
    let long =
        "the paths in the archive, and the maps of its sparse members, take more than 32 MiB";
    assert_eq!(error, long);
}

#[test]
fn what_begins_like_a_layer_is_told() {
    let bytes = tar_of(&[("gz", b"\x1f\x8b\x08rest"), ("plain", b"rest")]);
    let catalogue = catalogue(&bytes);
    let encoding = |path| catalogue.file(path).unwrap().1.compression;
    assert_eq!(encoding("gz"), Compression::Gzip);
    assert_eq!(encoding("plain"), Compression::Plain);
}

#[test]
fn a_sink_that_breaks_ends_the_pass() {
    let bytes = gzip(&sample());
    for allowed in 0..3 {
        let mut until = Until { calls: 0, allowed };
        let stopped = in_one_pass(open(&bytes).unwrap()).stream(&mut until);
        assert!(matches!(stopped, Err(ArchiveError::Stopped)));
        assert_eq!(until.calls, allowed + 1);
    }
}

#[test]
fn the_stop_flag_ends_all_reading() {
    let stop = Arc::new(AtomicBool::new(false));
    let open = |bytes: &[u8]| {
        let file = file_of(bytes);
        stowd::tar::open(file.path(), Meter::default(), Arc::clone(&stop))
    };
    let bytes = sample();
    let archive = plain(open(&bytes).unwrap());
    let catalogue = archive.index().unwrap();
    let (_, layer) = catalogue.file("layer.tar.gz").unwrap();
    let packed = COMPRESSIONS.map(|compression| open(&compressed(compression, &bytes)).unwrap());
    stop.store(true, Ordering::Relaxed);
    assert!(matches!(archive.index(), Err(ArchiveError::Stopped)));
    let error = io::copy(&mut archive.body(layer, 0), &mut io::sink()).unwrap_err();
    assert_eq!(error.to_string(), "stopped before the archive was read");
    for archive in packed {
        let archive = in_one_pass(archive);
        let stopped = archive.stream(&mut Discard::default());
        let compression = archive.compression();
        assert!(
            matches!(stopped, Err(ArchiveError::Stopped)),
            "{compression}"
        );
    }
    assert!(matches!(open(&bytes), Err(ArchiveError::Stopped)));
}

#[test]
fn the_digest_of_a_body_is_what_its_sink_answers() {
    let (catalogue, offered) = streamed(&gzip(&sample())).unwrap();
    assert_eq!(offered.len(), 2);
    for body in offered {
        let (_, file) = catalogue.file(&body.path).unwrap();
        assert_eq!(file.digest, Some(Digest::of(&body.body)));
    }
}
