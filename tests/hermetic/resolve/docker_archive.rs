//! docker-archives, and the manifests that are made for them.

use serde_json::json;
use stowd::compression::Compression;
use stowd::digest::Digest;
use stowd::layout::{BlobSource, FileMember};

use super::builder::{Archive, blobs, names};

const LAYER: &str = "sha256:79f5d6b0d0546f759a8a73ae638dc001ae1194d2b3f7085ad5882d74beef9bd6";
const LAYER_SIZE: u64 = 1_985_024;

fn layer(size: u64) -> FileMember {
    FileMember {
        size,
        offset: Some(512),
        runs: None,
        digest: None,
        compression: Compression::Plain,
        diff_id: None,
        document: None,
    }
}

fn config(architecture: &str, diff_ids: &[&str]) -> Vec<u8> {
    let config = json!({
        "architecture": architecture,
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    config.to_string().into_bytes()
}

/// Adds a configuration under its usual name, and returns its path.
fn add_config(archive: &mut Archive, architecture: &str, diff_ids: &[&str]) -> String {
    let config = config(architecture, diff_ids);
    let path = format!("{}.json", Digest::of(&config).hex());
    archive.file(&path, &config);
    path
}

fn one_layer() -> Archive {
    let mut archive = Archive::default();
    let config = add_config(&mut archive, "amd64", &[LAYER]);
    archive.put("layer.tar", layer(LAYER_SIZE));
    archive.json(
        "manifest.json",
        &json!([{"Config": config, "RepoTags": ["app:1"], "Layers": ["layer.tar"]}]),
    );
    archive
}

#[test]
fn the_manifest_is_the_one_that_containerd_makes() {
    let mut archive = one_layer();
    for (encoding, media_type) in [
        (
            Compression::Plain,
            "application/vnd.docker.image.rootfs.diff.tar",
        ),
        (
            Compression::Gzip,
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
        ),
        // containerd's importer knows two media types; it looks at the bytes when it unpacks.
        (
            Compression::Zstd,
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
        ),
    ] {
        let compressed = Digest::of(b"compressed");
        let (digest, diff_id) = match encoding {
            Compression::Plain => (None, None),
            _ => (
                Some(compressed.clone()),
                Some(Digest::parse(LAYER).unwrap()),
            ),
        };
        let expected_layer = digest.clone().unwrap_or(Digest::parse(LAYER).unwrap());
        archive.put(
            "layer.tar",
            FileMember {
                compression: encoding,
                digest,
                diff_id,
                ..layer(LAYER_SIZE)
            },
        );
        let image = archive.only_image("host");
        let config = config("amd64", &[LAYER]);
        let expected = format!(
            "{{\"schemaVersion\":2,\"mediaType\":\"application/vnd.docker.distribution.manifest.v2+json\",\
             \"config\":{{\"mediaType\":\"application/vnd.docker.container.image.v1+json\",\
             \"digest\":\"{}\",\"size\":{}}},\"layers\":[{{\"mediaType\":\"{media_type}\",\
             \"digest\":\"{expected_layer}\",\"size\":{LAYER_SIZE}}}]}}",
            Digest::of(&config),
            config.len()
        );
        let manifest = image.blobs.last().unwrap();
        let BlobSource::Document(bytes) = &manifest.source else {
            panic!("{:?}", manifest.source);
        };
        assert_eq!(std::str::from_utf8(bytes).unwrap(), expected);
        assert_eq!(image.target, manifest.descriptor);
        assert_eq!(image.target.digest, Digest::of(expected.as_bytes()));
        assert_eq!(
            manifest.labels["containerd.io/gc.ref.content.config"],
            Digest::of(&config).as_str()
        );
        assert_eq!(
            manifest.labels["containerd.io/gc.ref.content.l.0"],
            expected_layer.as_str()
        );
        assert_eq!(blobs(&image)[..2], [Digest::of(&config), expected_layer]);
        assert_eq!(
            image.blobs[1].source,
            BlobSource::Member("layer.tar".to_owned())
        );
        assert!(image.runs_on_host);
        assert_eq!(names(&image), ["docker.io/library/app:1"]);
    }
}

/// Measured: what `ctr images import` of containerd 1.6.20 makes of an archive of skopeo's, and of
/// the same with compressed layers.
#[test]
fn a_digest_is_the_one_that_ctr_prints() {
    let config = concat!(
        r#"{"created":"2026-11-21T19:57:17.414559671Z","architecture":"amd64","os":"linux","#,
        r#""config":{"Cmd":["/bin/busybox"]},"rootfs":{"type":"layers","diff_ids":["#,
        r#""sha256:79f5d6b0d0546f759a8a73ae638dc001ae1194d2b3f7085ad5882d74beef9bd6"]},"#,
        r#""history":[{"created":"2026-11-21T19:57:17.437253763Z","created_by":"umoci repack"},"#,
        r#"{"created":"2026-11-21T19:57:17.506875646Z","created_by":"umoci config","#,
        r#""empty_layer":true}]}"#,
        "\n"
    );
    let config_digest = "e53f751361526a615de05bc06fcd91309705f502fa1787defd1451df3db3ffd4";
    assert_eq!(Digest::of(config.as_bytes()).hex(), config_digest);
    let compressed = |hex, encoding, size| FileMember {
        digest: Some(Digest::parse(&format!("sha256:{hex}")).unwrap()),
        diff_id: Some(Digest::parse(LAYER).unwrap()),
        compression: encoding,
        ..layer(size)
    };
    for (layer, digest) in [
        (
            layer(LAYER_SIZE),
            "b94ba1fc905cdbd8f2d33fbfe7bb6ffe520267e1b59b81dab4fcdc00075d1126",
        ),
        (
            compressed(
                "b4e5d774548f39133ee9394f8ce75fc2df88d7df60d196c168347695f7369d64",
                Compression::Gzip,
                1_027_708,
            ),
            "7ca11f73065e38d2074ea53c0b80bc582f5caf4a70a33bfb11936d6f07803c2b",
        ),
        (
            compressed(
                "fc4cf79b770b5fb6ac8d54aca1215987dda2e4e16ea9a25e728e23fd296f4ca0",
                Compression::Zstd,
                1_077_673,
            ),
            "bbe037b857523f78ea7e49e7c58130c2c7a4fb961e418ffbb5376109e75a37f1",
        ),
    ] {
        let mut archive = Archive::default();
        let path = format!("{config_digest}.json");
        archive
            .file(&path, config.as_bytes())
            .put("layer.tar", layer);
        archive.json(
            "manifest.json",
            &json!([{"Config": path, "RepoTags": ["app:1"], "Layers": ["layer.tar"]}]),
        );
        assert_eq!(archive.only_image("host").target.digest.hex(), digest);
    }
}

#[test]
fn layers_are_found_through_links_and_listed_as_often_as_they_are_used() {
    let mut archive = Archive::default();
    let config = add_config(&mut archive, "amd64", &[LAYER, LAYER, LAYER]);
    archive.put("aa/layer.tar", layer(LAYER_SIZE));
    archive.link("bb/layer.tar", "aa/layer.tar");
    archive.link("cc/layer.tar", "bb/layer.tar");
    let layers = ["aa/layer.tar", "./bb/layer.tar", "cc/layer.tar"];
    archive.json(
        "manifest.json",
        &json!([{"Config": format!("./{config}"), "RepoTags": ["app:1"], "Layers": layers}]),
    );
    let image = archive.only_image("host");
    assert_eq!(image.blobs.len(), 3);
    assert_eq!(
        image.blobs[1].source,
        BlobSource::Member("aa/layer.tar".to_owned())
    );
    assert_eq!(image.blobs[2].labels.len(), 4);
}

#[test]
fn entries_of_one_image_are_one_image() {
    let mut archive = one_layer();
    let config = format!("{}.json", Digest::of(&config("amd64", &[LAYER])).hex());
    let entry = |tag: &str| json!({"Config": config, "RepoTags": [tag], "Layers": ["layer.tar"]});
    archive.json(
        "manifest.json",
        &json!([entry("a:1"), entry("b:1"), entry("a:1")]),
    );
    let image = archive.only_image("host");
    assert_eq!(
        names(&image),
        ["docker.io/library/a:1", "docker.io/library/b:1"]
    );
}

#[test]
fn an_image_saved_by_its_identifier_has_no_name() {
    for tags in [json!(null), json!([])] {
        let mut archive = one_layer();
        let config = format!("{}.json", Digest::of(&config("amd64", &[LAYER])).hex());
        archive.json(
            "manifest.json",
            &json!([{"Config": config, "RepoTags": tags, "Layers": ["layer.tar"]}]),
        );
        let problem = archive.only_problem("host").to_string();
        let start = format!("the image of {config:?}: it has no usable name; name it");
        assert!(problem.starts_with(&start), "{problem}");
    }
}

#[test]
fn a_layer_that_is_not_the_configurations_is_refused_with_both_digests() {
    let found = Digest::of(b"other");
    for file in [
        FileMember {
            digest: Some(found.clone()),
            ..layer(LAYER_SIZE)
        },
        FileMember {
            digest: Some(Digest::of(b"compressed")),
            diff_id: Some(found.clone()),
            compression: Compression::Gzip,
            ..layer(LAYER_SIZE)
        },
    ] {
        let mut archive = one_layer();
        archive.put("layer.tar", file);
        assert_eq!(
            archive.only_problem("host").to_string(),
            format!(
                "docker.io/library/app:1: \"layer.tar\" holds, decompressed, the layer {found}, but \
                 must hold {LAYER}"
            )
        );
    }
    // The reader could not decompress it.
    for digest in [None, Some(Digest::of(b"compressed"))] {
        let mut archive = one_layer();
        archive.put(
            "layer.tar",
            FileMember {
                compression: Compression::Zstd,
                digest,
                ..layer(LAYER_SIZE)
            },
        );
        assert_eq!(
            archive.only_problem("host").to_string(),
            "docker.io/library/app:1: the layer \"layer.tar\" is damaged: it cannot be decompressed"
        );
    }
}

#[test]
fn a_layer_among_blobs_has_the_digest_of_its_path() {
    let config = format!("{}.json", Digest::of(&config("amd64", &[LAYER])).hex());
    let compressed = Digest::of(b"compressed");
    let plain = Digest::parse(LAYER).unwrap();
    for (claimed, encoding) in [
        (&plain, Compression::Plain),
        (&compressed, Compression::Gzip),
    ] {
        let mut archive = one_layer();
        let path = format!("blobs/sha256/{}", claimed.hex());
        archive.put(
            &path,
            FileMember {
                compression: encoding,
                ..layer(LAYER_SIZE)
            },
        );
        archive.json(
            "manifest.json",
            &json!([{"Config": config, "RepoTags": ["app:1"], "Layers": [path]}]),
        );
        let image = archive.only_image("host");
        assert_eq!(image.blobs[1].descriptor.digest, *claimed);
        archive.put(&path, layer(LAYER_SIZE));
        let resolution = archive.resolve("host").unwrap();
        assert_eq!(
            resolution.images.len(),
            usize::from(encoding == Compression::Plain)
        );
    }
}

#[test]
fn a_configuration_that_is_not_what_its_name_says_is_refused() {
    let mut archive = one_layer();
    let good = config("amd64", &[LAYER]);
    let path = format!("{}.json", Digest::of(&good).hex());
    let mut bad = good.clone();
    bad[20] ^= 1;
    archive.file(&path, &bad);
    assert_eq!(
        archive.only_problem("host").to_string(),
        format!(
            "docker.io/library/app:1: {path:?} has the digest {}, but must have {}",
            Digest::of(&bad),
            Digest::of(&good)
        )
    );
    archive.file(&path, b"\x1f\x8b");
    assert!(
        archive
            .only_problem("host")
            .to_string()
            .contains("is no JSON document")
    );
    // A name without a digest proves nothing, and is no fault.
    let entry = json!([{"Config": "config", "RepoTags": ["app:1"], "Layers": ["layer.tar"]}]);
    archive.json("manifest.json", &entry).file("config", &good);
    archive.only_image("host");
    archive.file("config", b"{\"rootfs\": 1}");
    let problem = archive.only_problem("host").to_string();
    assert!(
        problem.contains("\"config\", line 1, column 12: invalid type"),
        "{problem}"
    );
}

#[test]
fn what_manifest_json_names_must_be_there() {
    let mut archive = one_layer();
    let config = add_config(&mut archive, "amd64", &[LAYER, LAYER]);
    let entry = |config: &str, layers: serde_json::Value| json!([{"Config": config, "RepoTags": ["app:1"], "Layers": layers}]);
    for (entry, problem) in [
        (
            entry("gone.json", json!([])),
            "the archive has no file \"gone.json\", its configuration".to_owned(),
        ),
        (
            entry(&config, json!(["layer.tar", "../gone\n"])),
            format!(
                r#"the archive has no file "../gone\n", its layer, and the store no layer {LAYER}"#
            ),
        ),
        (
            entry(&config, json!(["layer.tar"])),
            format!("manifest.json lists 1 layers, but the configuration {config:?} has 2"),
        ),
        (
            entry(&config, json!(null)),
            format!("manifest.json lists 0 layers, but the configuration {config:?} has 2"),
        ),
    ] {
        archive.json("manifest.json", &entry);
        let found = archive.only_problem("host").to_string();
        assert_eq!(found, format!("docker.io/library/app:1: {problem}"));
    }
    let bad = add_config(&mut archive, "amd64", &["md5:1"]);
    archive.json("manifest.json", &entry(&bad, json!(["layer.tar"])));
    assert!(
        archive
            .only_problem("host")
            .to_string()
            .contains("\"md5:1\" is not a digest")
    );
}

#[test]
fn platforms_are_those_of_the_configurations() {
    let mut archive = Archive::default();
    let amd64 = add_config(&mut archive, "amd64", &[]);
    let arm64 = add_config(&mut archive, "arm64", &[]);
    let unsaid = add_config(&mut archive, "", &[]);
    let entry =
        |config: &str, tag: &str| json!({"Config": config, "RepoTags": [tag], "Layers": []});
    archive.json("manifest.json", &json!([entry(&arm64, "a:1")]));
    assert_eq!(
        archive.resolve("host").unwrap_err().to_string(),
        "none of its images is for a wanted platform: it has linux/arm64, and wanted is linux/amd64"
    );
    assert!(!archive.only_image("linux/arm64").runs_on_host);
    archive.json(
        "manifest.json",
        &json!([
            entry(&amd64, "a:1"),
            entry(&arm64, "b:1"),
            entry(&arm64, "a:1"),
            entry(&unsaid, "c:1")
        ]),
    );
    let resolution = archive.resolve("host").unwrap();
    let found: Vec<_> = resolution.images.iter().flat_map(names).collect();
    assert_eq!(found, ["docker.io/library/a:1", "docker.io/library/c:1"]);
    assert!(resolution.images.iter().all(|image| image.runs_on_host));
    assert_eq!(resolution.problems, []);
    let notes = resolution.notes.iter().map(ToString::to_string);
    assert_eq!(
        notes.collect::<Vec<_>>()[..1],
        ["docker.io/library/b:1: it is for linux/arm64, and wanted is linux/amd64"]
    );
}

#[test]
fn an_archive_may_ask_for_only_so_much() {
    let mut archive = one_layer();
    let config = format!("{}.json", Digest::of(&config("amd64", &[LAYER])).hex());
    let tags: Vec<String> = (0..1000).map(|i| format!("app:{i}")).collect();
    let entry = json!({"Config": config, "RepoTags": tags, "Layers": ["layer.tar"]});
    archive.json("manifest.json", &json!(vec![entry; 120]));
    let resolution = archive.resolve("host").unwrap();
    assert_eq!(resolution.images.len(), 1);
    assert_eq!(resolution.images[0].names.len(), 1000);
    assert_eq!(resolution.problems.len(), 21);
    assert!(
        resolution.problems[0]
            .to_string()
            .contains("more than 100000 manifests, layers and names")
    );
}
