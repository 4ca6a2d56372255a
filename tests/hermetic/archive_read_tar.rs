//! Tar archives as they are found: names, links, types, bodies.

use std::io::{self, Read};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use stowd::compression::Encoding;
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
fn paths_and_links_that_lead_out_are_left_out() {
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
    assert_eq!(paths(&bytes), ["layer.tar"]);
    let (_, offered) = streamed(&bytes).unwrap();
    assert_eq!(offered.len(), 1);
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

#[test]
fn sparse_members_are_refused_by_name() {
    let old = [member("sparse", b'S', b""), end()].concat();
    let records = [
        record("GNU.sparse.major", "1"),
        record("GNU.sparse.name", "real"),
    ]
    .concat();
    let pax = [
        member("pax", b'x', &records),
        member("sparse", b'0', b"x"),
        end(),
    ]
    .concat();
    let directory = tempfile::tempdir().unwrap();
    let file = std::fs::File::create(directory.path().join("sparse")).unwrap();
    file.set_len(10 << 20).unwrap();
    let by_tool = |format: &str| {
        let mut tar = Command::new("tar");
        tar.arg("-cSC")
            .arg(directory.path())
            .arg(format!("--format={format}"))
            .arg("sparse");
        tar.output().unwrap().stdout
    };
    for bytes in [old, pax, by_tool("gnu"), by_tool("pax")] {
        let error = refusal(&bytes);
        assert!(error.contains("sparse is a sparse file"), "{error}");
        assert!(error.contains("without tar's --sparse"), "{error}");
    }
}

#[test]
fn what_begins_like_a_layer_is_told() {
    let bytes = tar_of(&[("gz", b"\x1f\x8b\x08rest"), ("plain", b"rest")]);
    let catalogue = catalogue(&bytes);
    let encoding = |path| catalogue.file(path).unwrap().1.encoding;
    assert_eq!(encoding("gz"), Encoding::Gzip);
    assert_eq!(encoding("plain"), Encoding::Plain);
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
