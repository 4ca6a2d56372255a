//! Hundreds of bad archives among a few good ones: each fails with one line that says why, nothing of
//! it is named or kept, and the good ones are there.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use serde_json::json;

use crate::made::{Body, Made, append, recipe};
use crate::raw::bytes;
use crate::support::{
    Generation, Setup, Store, compressed, fixture, foreign_architecture, on_the_reference_in_turn,
    reference, shell,
};

const SOON: Duration = Duration::from_secs(180);

/// In MiB. What an archive may ask for at most is in the `limits` of `tar`, `layout` and `oci`.
const MEMORY: u64 = 200;

const MIB: u64 = 1 << 20;

/// The images directory, and what must come of the files in it.
struct Cases {
    dir: PathBuf,
    /// Where files are made before they are compressed.
    scratch: tempfile::TempDir,
    /// Each bad file, with the words of which one must be in its line.
    bad: Vec<(String, Vec<String>)>,
    /// The images that must be there.
    names: BTreeSet<String>,
    seed: u64,
}

impl Cases {
    fn bad(&mut self, file: &str, bytes: &[u8], words: &[&str]) {
        fs::write(self.dir.join(file), bytes).unwrap();
        self.is_bad(file, words);
    }

    fn is_bad(&mut self, file: &str, words: &[&str]) {
        self.bad.push((
            file.to_owned(),
            words.iter().map(|&word| word.to_owned()).collect(),
        ));
    }

    fn seed(&mut self) -> u64 {
        self.seed += 1;
        self.seed
    }

    fn compressed(&self, bytes: &[u8], kind: &str) -> Vec<u8> {
        let file = self.scratch.path().join("plain");
        fs::write(&file, bytes).unwrap();
        compressed(&file, kind)
    }

    /// The archive plain and as gzip: they are read in different ways.
    fn bad_both_ways(&mut self, file: &str, make: impl Fn(u64) -> Made, words: &[&str]) {
        let plain = make(self.seed()).tar();
        self.bad(&format!("{file}.tar"), &plain, words);
        let streamed = make(self.seed()).tar();
        let streamed = self.compressed(&streamed, "gz");
        self.bad(&format!("{file}.tar.gz"), &streamed, words);
    }
}

fn bad_archives_fail_alone(generation: &Generation) {
    let setup = Setup::new(generation);
    let mut cases = Cases {
        dir: setup.images(),
        scratch: tempfile::tempdir().unwrap(),
        bad: Vec::new(),
        names: BTreeSet::new(),
        seed: 1000,
    };
    for good in [
        "umoci.tar",
        "skopeo-docker-short.tar.gz",
        "buildah-oci.tar.zst",
    ] {
        let good = fixture(good);
        setup.stow(&good.path);
        cases.names.extend(good.names);
    }
    cut_archives(&mut cases);
    damaged_streams(&mut cases);
    damaged_archives(&mut cases);
    wrong_documents(&mut cases);
    halves(&mut cases);
    bombs(&mut cases);
    other_files(&mut cases);
    not_files(&mut cases);

    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    let peak = stowd.peak_memory();
    println!(
        "{} bad archives, containerd {}: {peak} MiB",
        cases.bad.len(),
        generation.name
    );
    assert!(peak < MEMORY, "{peak} MiB");

    let mut wrong = Vec::new();
    for (file, words) in &cases.bad {
        let outcomes = stowd.outcomes(file);
        let told = outcomes.len() == 1
            && outcomes[0].contains(" failed /")
            && words.iter().any(|words| outcomes[0].contains(words));
        if !told {
            wrong.push(format!("{file}: {words:?}: {outcomes:#?}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        cases.bad.len(),
        wrong.join("\n")
    );
    // One of the good ones has a name that tries to be a line of its own.
    let failures = stowd.lines(" failed /");
    let first = failures.iter().filter(|line| !line.contains("(attempt 2)"));
    assert_eq!(first.count(), cases.bad.len());
    let log = stowd.log();
    let forged = log.lines().find(|line| line.starts_with("lines failed"));
    assert_eq!(forged, None);

    let store = stowd.store();
    let tags = store
        .images()
        .into_keys()
        .filter(|name| !name.contains('@'));
    assert_eq!(tags.collect::<BTreeSet<_>>(), cases.names);
    stowd.wait_until(SOON, "nothing is left over between two tries", |stowd| {
        is_tidy(&stowd.store())
    });
    assert_eq!(stowd.stop(), Some(0));
}

/// Whether there is nothing but what images need. While a failed entry is tried again there is more.
fn is_tidy(store: &Store) -> bool {
    store.collect_garbage();
    let blobs = store.blobs().into_keys().collect::<BTreeSet<_>>();
    store.leases().is_empty() && store.ingests().is_empty() && blobs == store.closure()
}

on_the_reference_in_turn!(bad_archives_fail_alone);

#[test]
fn a_file_name_forges_no_notification() {
    let setup = Setup::new(&reference());
    let large = fixture("large.tar.zst");
    setup.stow_as(&large.path, "sly\nREADY=1\nX=.tar.zst");
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    let told = stowd.notify.messages();
    assert!(
        told.iter().any(|message| message.contains("sly")),
        "{told:?}"
    );
    assert!(
        !told.iter().any(|message| message.starts_with("X=")),
        "{told:?}"
    );
    assert_eq!(
        told.iter().filter(|message| *message == "READY=1").count(),
        1,
        "{told:?}"
    );
    assert!(stowd.store().images().contains_key(&large.names[0]));
}

/// Real archives, cut at 50 places each, the last byte and the first among them.
fn cut_archives(cases: &mut Cases) {
    let oci = fixture("pause.tar").path;
    let docker = cases.scratch.path().join("docker.tar");
    let source = format!("oci-archive:{}", oci.display());
    let target = format!(
        "docker-archive:{}:registry.stowd.test/cut:1",
        docker.display()
    );
    shell(
        "skopeo --insecure-policy --tmpdir \"$3\" copy -q \"$1\" \"$2\"",
        &[Path::new(&source), Path::new(&target), cases.scratch.path()],
    );
    let (oci, docker) = (fs::read(oci).unwrap(), fs::read(docker).unwrap());
    let forms = [
        ("oci", &oci, ""),
        ("oci", &oci, "gz"),
        ("docker", &docker, ""),
        ("docker", &docker, "zst"),
    ];
    for (format, plain, kind) in forms {
        let whole = match kind {
            // What follows the two blocks of zeros may be missing.
            "" => {
                let last = plain.iter().rposition(|byte| *byte != 0).unwrap() + 1;
                plain[..last.next_multiple_of(512) + 1024].to_vec()
            }
            kind => cases.compressed(plain, kind),
        };
        let places = (0..48).map(|place| 1 + place * (whole.len() - 1) / 48);
        for (number, place) in places.chain([whole.len() - 2, whole.len() - 1]).enumerate() {
            let suffix = if kind.is_empty() {
                String::new()
            } else {
                format!(".{kind}")
            };
            let words: &[&str] = if place < 512 {
                &["ends early", "not a tar archive"]
            } else {
                &["ends early"]
            };
            cases.bad(
                &format!("cut-{format}-{number:02}.tar{suffix}"),
                &whole[..place],
                words,
            );
        }
    }
}

/// One bit of the last bytes, where the checksums are, and one in the middle.
fn damaged_streams(cases: &mut Cases) {
    let image = recipe(1, "registry.stowd.test/bad/stream:1").oci().tar();
    for (kind, checksum_ends) in [("gz", 4), ("gz", 0), ("zst", 0), ("lz4", 0)] {
        let mut bytes = cases.compressed(&image, kind);
        let at = bytes.len() - 1 - checksum_ends;
        bytes[at] ^= 0x10;
        let words = format!("a checksum of the {} stream is wrong", stream(kind));
        cases.bad(
            &format!("checksum-{checksum_ends}.tar.{kind}"),
            &bytes,
            &[&words],
        );
    }
    for kind in ["gz", "zst", "lz4", "bz2", "xz"] {
        let mut bytes = cases.compressed(&image, kind);
        let at = bytes.len() / 2;
        bytes[at] ^= 0x10;
        let words = format!("the {} stream", stream(kind));
        let checksum = format!("a checksum of {words}");
        // bzip2 hands a block out before it has seen the block's checksum.
        let words = [
            checksum,
            format!("{words} is damaged"),
            format!("{words} ends early"),
            "the bzip2 stream holds no tar archive".to_owned(),
        ];
        let words = words.each_ref().map(String::as_str);
        cases.bad(&format!("bit.tar.{kind}"), &bytes, &words);

        let mut bytes = cases.compressed(&image, kind);
        bytes.extend_from_slice(b"and something else");
        let words = ["come bytes that do not belong to it", "is damaged"];
        cases.bad(&format!("trailing.tar.{kind}"), &bytes, &words);

        let page = format!("<html><body>Not Found{}</body></html>", " ".repeat(600));
        let page = cases.compressed(page.as_bytes(), kind);
        cases.bad(&format!("page-in.tar.{kind}"), &page, &["HTML page"]);
        let noise = cases.compressed(&bytes_of(2000), kind);
        let words = format!("the {} stream holds no tar archive", stream(kind));
        cases.bad(&format!("noise-in.tar.{kind}"), &noise, &[&words]);
        let nothing = cases.compressed(b"", kind);
        let words = format!("the {} stream holds no tar archive", stream(kind));
        cases.bad(
            &format!("nothing-in.tar.{kind}"),
            &nothing,
            &[&words, "ends early", "empty"],
        );
    }
}

fn stream(kind: &str) -> &str {
    match kind {
        "gz" => "gzip",
        "zst" => "zstd",
        "bz2" => "bzip2",
        other => other,
    }
}

fn bytes_of(length: usize) -> Vec<u8> {
    // The first byte of no compression and no text.
    let mut noise = bytes(7, length);
    noise[0] = 0xee;
    noise
}

/// One bit of a header, of a document, of a layer; members that are missing.
fn damaged_archives(cases: &mut Cases) {
    let name = "registry.stowd.test/bad/damaged:1";
    let oci = |seed| recipe(seed, name).oci();
    let docker = |seed| recipe(seed, name).docker();
    for (format, made) in [("oci", oci(10)), ("docker", docker(11))] {
        let good = made.tar();
        // The body of oci-layout fills one block.
        let second = 2 * 512;
        for (at, number) in [(3, 0), (130, 1), (150, 2), (second + 4, 3)] {
            let mut bytes = good.clone();
            bytes[at] ^= 0x04;
            // A header that is hit in the middle of the archive may be read as a size.
            let words = ["the checksum of the tar header is wrong"];
            if at < 512 || format == "oci" {
                cases.bad(
                    &format!("bit-in-header-{format}-{number}.tar"),
                    &bytes,
                    &words,
                );
            }
        }
    }
    cases.bad_both_ways(
        "bit-in-index",
        |seed| oci(seed).with("index.json", Body::File(b"{\"manifests\": [}".to_vec())),
        &["\"index.json\", line 1, column 16: "],
    );
    cases.bad_both_ways(
        "bit-in-manifest",
        |seed| {
            let made = oci(seed);
            let path = made.manifest.clone();
            made.flipped(&path)
        },
        &["has the digest sha256:"],
    );
    cases.bad_both_ways(
        "bit-in-config",
        |seed| {
            let made = oci(seed);
            let path = made.config.clone();
            made.flipped(&path)
        },
        &["has the digest sha256:"],
    );
    cases.bad_both_ways(
        "bit-in-layer",
        |seed| {
            let made = oci(seed);
            let path = made.layer.clone();
            made.flipped(&path)
        },
        &["has the digest sha256:", "have the digest sha256:"],
    );
    cases.bad_both_ways(
        "bit-in-saved-layer",
        |seed| {
            let made = docker(seed);
            let path = made.layer.clone();
            made.flipped(&path)
        },
        &[
            "have the digest sha256:",
            "must have sha256:",
            "must hold sha256:",
            "has the digest sha256:",
        ],
    );
    cases.bad_both_ways(
        "bit-in-saved-gzip-layer",
        |seed| {
            let mut recipe = recipe(seed, name);
            recipe.gzip = true;
            let made = recipe.docker();
            let path = made.layer.clone();
            made.flipped(&path)
        },
        &[
            "must hold sha256:",
            "gzip",
            "have the digest",
            "has the digest",
        ],
    );
    cases.bad_both_ways("no-manifest", |seed| { let made = oci(seed); let path = made.manifest.clone(); made.without(&path) }, &["(application/vnd.oci.image.manifest.v1+json) is neither in the archive nor in the store"]);
    cases.bad_both_ways(
        "no-config",
        |seed| {
            let made = oci(seed);
            let path = made.config.clone();
            made.without(&path)
        },
        &["is neither in the archive nor in the store"],
    );
    cases.bad_both_ways(
        "no-layer",
        |seed| {
            let made = oci(seed);
            let path = made.layer.clone();
            made.without(&path)
        },
        &["is neither in the archive nor in the store"],
    );
    cases.bad_both_ways(
        "no-index",
        |seed| oci(seed).without("index.json"),
        &["but not index.json, which lists the images of an OCI layout"],
    );
    cases.bad_both_ways(
        "no-saved-layer",
        |seed| {
            let made = docker(seed);
            let path = made.layer.clone();
            made.without(&path)
        },
        &["the archive has no file"],
    );
    cases.bad_both_ways(
        "no-saved-config",
        |seed| {
            let made = docker(seed);
            let path = made.config.clone();
            made.without(&path)
        },
        &["the archive has no file"],
    );
    cases.bad_both_ways(
        "no-saved-manifest",
        |seed| docker(seed).without("manifest.json"),
        &["neither index.json (an OCI layout) nor manifest.json (a docker-archive)"],
    );
    cases.bad_both_ways(
        "link-out",
        |seed| {
            let made = docker(seed);
            let path = made.layer.clone();
            made.with(&path, Body::Symlink("/etc/passwd".to_owned()))
        },
        &["the archive has no file"],
    );
    cases.bad_both_ways(
        "link-up",
        |seed| {
            let made = docker(seed);
            let path = made.layer.clone();
            made.with(&path, Body::Symlink("../../../../etc/passwd".to_owned()))
        },
        &["the archive has no file"],
    );
    cases.bad_both_ways(
        "link-loop",
        |seed| {
            let made = docker(seed);
            let path = made.layer.clone();
            made.with(&path, Body::Symlink(path.clone()))
        },
        &["the archive has no file"],
    );

    let two = [oci(20).tar(), oci(21).tar()].concat();
    cases.bad(
        "joined.tar",
        &two,
        &["after the end of the tar archive, at byte"],
    );
    let two = cases.compressed(&two, "zst");
    cases.bad(
        "joined.tar.zst",
        &two,
        &["after the end of the tar archive, at byte"],
    );
    let mut nested = tar::Builder::new(Vec::new());
    append(&mut nested, "one.tar", &oci(22).tar());
    append(&mut nested, "two.tar.gz", b"");
    cases.bad(
        "nested.tar",
        &nested.into_inner().unwrap(),
        &["it is a tar of archives (\"one.tar\", \"two.tar.gz\")"],
    );
    cases.bad(
        "sparse.tar",
        &sparse_member(cases.scratch.path()),
        &["is a sparse file"],
    );
}

/// A tar with holes, by GNU tar.
fn sparse_member(scratch: &Path) -> Vec<u8> {
    shell(
        "cd \"$1\" && truncate -s 1M index.json && tar --sparse -cf - index.json && rm index.json",
        &[scratch],
    )
}

/// Whole bytes, wrong meaning.
fn wrong_documents(cases: &mut Cases) {
    let name = "registry.stowd.test/bad/document:1";
    macro_rules! bad {
        ($file:literal, $format:ident, $part:ident, $change:expr, $words:expr) => {
            let make = |seed| {
                let mut recipe = recipe(seed, name);
                recipe.$part = $change;
                recipe.$format()
            };
            cases.bad_both_ways($file, make, $words);
        };
    }
    bad!(
        "wrong-size",
        oci,
        manifest,
        |m| m["layers"][0]["size"] = json!(7),
        &["bytes long, but sha256:"]
    );
    bad!(
        "wrong-digest",
        oci,
        manifest,
        |m| m["layers"][0]["digest"] = json!(format!("sha256:{}", "0".repeat(64))),
        &["is neither in the archive nor in the store"]
    );
    bad!(
        "no-digest",
        oci,
        manifest,
        |m| m["layers"][0]["digest"] = json!("../../../etc/passwd"),
        &["is not a digest of the form sha256:"]
    );
    bad!(
        "sha1",
        oci,
        manifest,
        |m| m["config"]["digest"] = json!("sha1:0000"),
        &["is not a digest of the form sha256:"]
    );
    bad!(
        "size-below-zero",
        oci,
        manifest,
        |m| m["layers"][0]["size"] = json!(-1),
        &["line 1, column"]
    );
    bad!(
        "huge-size",
        oci,
        manifest,
        |m| m["layers"][0]["size"] = json!(u64::MAX),
        &["bytes long, but sha256:", "line 1, column"]
    );
    bad!(
        "layers-are-no-list",
        oci,
        manifest,
        |m| m["layers"] = json!("all"),
        &["line 1, column"]
    );
    bad!(
        "no-images",
        oci,
        index,
        |i| i["manifests"] = json!([]),
        &["lists no images"]
    );
    bad!(
        "saved-no-images",
        docker,
        index,
        |i| *i = json!([]),
        &["lists no images"]
    );
    bad!(
        "index-is-no-object",
        oci,
        index,
        |i| *i = json!([1, 2]),
        &["\"index.json\", line 1, column"]
    );
    bad!(
        "saved-is-no-list",
        docker,
        index,
        |i| *i = json!({}),
        &["\"manifest.json\", line 1, column"]
    );
    bad!(
        "media-type",
        oci,
        index,
        |i| i["manifests"][0]["mediaType"] = json!("text/html"),
        &["its media type is \"text/html\""]
    );
    bad!(
        "empty-index",
        oci,
        index,
        |i| i["manifests"][0]["mediaType"] = json!("application/vnd.oci.image.index.v1+json"),
        &["should be"]
    );
    bad!(
        "schema-1",
        oci,
        index,
        |i| i["manifests"][0]["mediaType"] =
            json!("application/vnd.docker.distribution.manifest.v1+prettyjws"),
        &["schema 1"]
    );
    bad!(
        "nameless",
        oci,
        index,
        |i| i["manifests"][0]["annotations"] = json!({}),
        &["it has no usable name"]
    );
    bad!(
        "bad-name",
        oci,
        index,
        |i| i["manifests"][0]["annotations"]["io.containerd.image.name"] = json!("UPPER/Case:1"),
        &["it has no usable name"]
    );
    bad!(
        "hostile-name",
        oci,
        index,
        |i| i["manifests"][0]["annotations"]["io.containerd.image.name"] =
            json!("a\nfailed entry=/x \u{1b}[31m"),
        &["it has no usable name"]
    );
    bad!(
        "saved-bad-name",
        docker,
        index,
        |i| i[0]["RepoTags"] = json!(["<none>:<none>"]),
        &["it has no usable name"]
    );
    bad!(
        "too-many-layers",
        docker,
        index,
        |i| {
            let layer = i[0]["Layers"][0].clone();
            i[0]["Layers"] = json!([layer, layer]);
        },
        &["manifest.json lists 2 layers, but the configuration"]
    );
    // Without the layer: one that came with a compressed archive is in the store by then.
    let path_up = |seed: u64| {
        let mut recipe = recipe(seed, "registry.stowd.test/bad/document:1");
        recipe.index = |i| i[0]["Layers"] = json!(["../../../../../etc/passwd"]);
        let made = recipe.docker();
        let layer = made.layer.clone();
        made.without(&layer)
    };
    cases.bad_both_ways("path-up", path_up, &["the archive has no file"]);
    bad!(
        "absolute-path",
        docker,
        index,
        |i| i[0]["Config"] = json!("/etc/passwd"),
        &["the archive has no file"]
    );
    bad!(
        "wrong-diff-id",
        docker,
        config,
        |c| c["rootfs"]["diff_ids"][0] = json!(format!("sha256:{}", "1".repeat(64))),
        &[
            "must hold sha256:",
            "must have sha256:",
            "but must",
            "has the digest",
            "not sha256:1111"
        ]
    );
    bad!(
        "foreign",
        oci,
        config,
        |c| c["architecture"] = json!(foreign_architecture()),
        &["none of its images is for a wanted platform"]
    );
    bad!(
        "saved-foreign",
        docker,
        config,
        |c| c["architecture"] = json!(foreign_architecture()),
        &["none of its images is for a wanted platform"]
    );
    bad!(
        "other-system",
        oci,
        config,
        |c| c["os"] = json!("windows"),
        &["none of its images is for a wanted platform"]
    );
    cases.bad_both_ways(
        "version",
        |seed| {
            recipe(seed, name).oci().with(
                "oci-layout",
                Body::File(b"{\"imageLayoutVersion\":\"2.0.0\"}".to_vec()),
            )
        },
        &["says version \"2.0.0\"; 1.0.0 is known"],
    );
    cases.bad_both_ways(
        "deep",
        |seed| {
            recipe(seed, name).oci().with(
                "index.json",
                Body::File(
                    b"{\"manifests\":"
                        .iter()
                        .copied()
                        .chain(vec![b'['; 100_000])
                        .collect(),
                ),
            )
        },
        &["recursion limit", "invalid type"],
    );
    cases.bad_both_ways(
        "not-utf-8",
        |seed| {
            recipe(seed, name).oci().with(
                "index.json",
                Body::File(b"{\"manifests\": [{\"digest\": \"\xff\xfe\"}]}".to_vec()),
            )
        },
        &["\"index.json\", line 1, column"],
    );
    cases.bad_both_ways(
        "empty-document",
        |seed| {
            recipe(seed, name)
                .oci()
                .with("index.json", Body::File(Vec::new()))
        },
        &["\"index.json\" is no JSON document"],
    );
    cases.bad_both_ways(
        "repositories",
        |seed| {
            let mut made = recipe(seed, name).docker().without("manifest.json");
            made.add("repositories", b"{}");
            made
        },
        &["saved by a Docker before 1.10"],
    );
}

/// One bad image and one good one: the good one is there.
fn halves(cases: &mut Cases) {
    let bad = "registry.stowd.test/bad/half:1";
    for (number, kind) in ["", "gz", "zst"].into_iter().enumerate() {
        let good = [
            "registry.stowd.test/half/oci-0:1",
            "registry.stowd.test/half/oci-1:1",
            "registry.stowd.test/half/oci-2:1",
        ][number];
        let broken = recipe(cases.seed(), bad).oci();
        let layer = broken.layer.clone();
        let both = broken
            .without(&layer)
            .and(recipe(cases.seed(), good).oci(), "index.json")
            .tar();
        let both = cases.compressed(&both, kind);
        cases.bad(
            &format!("half-oci-{number}.tar"),
            &both,
            &["registry.stowd.test/bad/half:1: blob sha256:"],
        );
        cases.names.insert(good.to_owned());

        let good = [
            "registry.stowd.test/half/docker-0:1",
            "registry.stowd.test/half/docker-1:1",
            "registry.stowd.test/half/docker-2:1",
        ][number];
        let broken = recipe(cases.seed(), bad).docker();
        let layer = broken.layer.clone();
        let both = broken
            .flipped(&layer)
            .and(recipe(cases.seed(), good).docker(), "manifest.json")
            .tar();
        let both = cases.compressed(&both, kind);
        cases.bad(
            &format!("half-docker-{number}.tar"),
            &both,
            &["registry.stowd.test/bad/half:1: "],
        );
        cases.names.insert(good.to_owned());
    }
}

/// What is small on the disk and large in memory.
fn bombs(cases: &mut Cases) {
    for document in ["index.json", "manifest.json", "./oci-layout"] {
        let header = header(document, 1024 * MIB);
        let short = document.trim_start_matches("./").replace(".json", "");
        let file = format!("zeros-{short}.tar");
        let mut sparse = fs::File::create(cases.dir.join(&file)).unwrap();
        sparse.write_all(&header).unwrap();
        sparse.set_len(1024 * MIB + 512 + 1024).unwrap();
        let words = "is 1073741824 bytes long; a JSON document may have 8388608 at most";
        cases.is_bad(&file, &[words]);
        let path = cases.dir.join(&file);
        if document == "index.json" {
            fs::write(cases.dir.join("zeros.tar.zst"), compressed(&path, "zst")).unwrap();
            cases.is_bad("zeros.tar.zst", &[words]);
        }
    }
    // Each as long as a document may be, and together more than an archive may have.
    let mut many = tar::Builder::new(Vec::new());
    for number in 0..9 {
        let mut document = vec![b' '; 8 << 20];
        document[0] = b'{';
        append(&mut many, &format!("blobs/sha256/{number:064}"), &document);
    }
    let many = cases.compressed(&many.into_inner().unwrap(), "gz");
    cases.bad(
        "documents.tar.gz",
        &many,
        &["the JSON documents in the archive take more than 64 MiB"],
    );

    let mut members = Vec::new();
    for number in 0..100_000 {
        members.extend_from_slice(&header(&format!("empty-{number}"), 0));
    }
    let last = header("empty", 0);
    for _ in 0..900_000 {
        members.extend_from_slice(&last);
    }
    members.extend_from_slice(&[0; 1024]);
    let members = cases.compressed(&members, "zst");
    cases.bad(
        "million.tar.zst",
        &members,
        &["the archive has more than 100000 members"],
    );

    // A name that is as long as the archive.
    let mut long = header("././@LongLink", 1024 * MIB);
    long[156] = b'L';
    checksum(&mut long);
    long.resize(100_000, b'x');
    cases.bad(
        "long-name.tar",
        &long,
        &["announces a long name or pax header of 1073741824 bytes"],
    );
    let mut negative = header("index.json", 0);
    negative[124..136].fill(0xff);
    checksum(&mut negative);
    cases.bad(
        "negative-size.tar",
        &negative,
        &["the tar header says a negative size"],
    );
}

/// A tar header of a file, made quickly.
fn header(path: &str, size: u64) -> Vec<u8> {
    let mut block = vec![0; 512];
    block[..path.len()].copy_from_slice(path.as_bytes());
    block[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
    block[156] = b'0';
    block[257..265].copy_from_slice(b"ustar\x0000");
    checksum(&mut block);
    block
}

fn checksum(block: &mut [u8]) {
    block[148..156].fill(b' ');
    let sum = block[..512]
        .iter()
        .map(|byte| u32::from(*byte))
        .sum::<u32>();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// What was never an archive.
fn other_files(cases: &mut Cases) {
    cases.bad("empty.tar", b"", &["the file is empty"]);
    cases.bad("zeros.tar", &[0; 10_240], &["it is empty"]);
    cases.bad("one-block.tar", &[0; 512], &["ends early"]);
    cases.bad(
        "page.tar",
        b"<!DOCTYPE html>\n<html><body>404</body></html>\n",
        &["not an archive but an HTML page"],
    );
    cases.bad(
        "page.tar.gz",
        b"  <html>\n",
        &["not an archive but an HTML page"],
    );
    cases.bad(
        "noise.tar",
        &bytes_of(100_000),
        &["not a tar archive, nor one compressed"],
    );
    cases.bad("zip.tar", b"PK\x03\x04 and so on", &["not a tar archive, nor one compressed with gzip, zstd, lz4, bzip2 or xz: it begins with 50 4b 03 04"]);
    cases.bad(
        "magic.tar.gz",
        &[0x1f, 0x8b],
        &["the gzip stream ends early"],
    );
    cases.bad(
        "magic.tar.zst",
        &[0x28, 0xb5, 0x2f, 0xfd],
        &["the zstd stream ends early"],
    );
    cases.bad(
        "list.txt",
        b"127.0.0.1:1/list:1\n",
        &["line 1: 127.0.0.1:1/list:1: "],
    );
    let mut files = tar::Builder::new(Vec::new());
    append(&mut files, "etc/passwd", b"root");
    cases.bad(
        "files.tar",
        &files.into_inner().unwrap(),
        &["no images in it: neither index.json (an OCI layout) nor manifest.json"],
    );
}

/// What is no file, and names that are hard to say.
fn not_files(cases: &mut Cases) {
    let dir = cases.dir.clone();
    let mode = Mode::from_raw_mode(0o600);
    mknodat(CWD, dir.join("fifo.tar"), FileType::Fifo, mode, 0).unwrap();
    mknodat(
        CWD,
        dir.join("null.tar"),
        FileType::CharacterDevice,
        mode,
        makedev(1, 3),
    )
    .unwrap();
    drop(UnixListener::bind(dir.join("socket.tar")).unwrap());
    symlink("nowhere", dir.join("dangling.tar")).unwrap();
    cases.is_bad(
        "dangling.tar",
        &["cannot be read: No such file or directory"],
    );
    for (link, target) in [("loop-1.tar", "loop-2.tar"), ("loop-2.tar", "loop-1.tar")] {
        symlink(target, dir.join(link)).unwrap();
        cases.is_bad(link, &["cannot be read: Too many levels of symbolic links"]);
    }
    fs::create_dir_all(dir.join("directory.tar/deeper")).unwrap();
    symlink("..", dir.join("directory.tar/deeper/up")).unwrap();
    symlink(".", dir.join("here")).unwrap();
    let mut good = |path: &Path, name: &'static str| {
        let made = recipe(cases.seed(), name).oci().tar();
        fs::write(path, made).unwrap();
        cases.names.insert(name.to_owned());
    };
    good(
        &dir.join("directory.tar/deeper/good.tar"),
        "registry.stowd.test/good/deep:1",
    );
    good(
        &dir.join(OsStr::from_bytes(b"caf\xe9.tar")),
        "registry.stowd.test/good/latin:1",
    );
    good(
        &dir.join("two\nlines failed entry=x \x1b[31m.tar"),
        "registry.stowd.test/good/lines:1",
    );
    good(&dir.join("outside"), "registry.stowd.test/good/linked:1");
    symlink("outside", dir.join("linked.tar")).unwrap();
    let long = format!("{}.tar", "n".repeat(251));
    good(&dir.join(long), "registry.stowd.test/good/long:1");
}
