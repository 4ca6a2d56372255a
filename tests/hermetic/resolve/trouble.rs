//! What people's archives had in them: each comes from a public report.

use serde_json::{Value, json};
use stowd::compression::Compression;
use stowd::digest::Digest;
use stowd::layout::{BlobSource, FileMember, Member};

use super::builder::{
    Archive, OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, Store, blob_path, blobs, descriptor,
    digest_of, named, names, on,
};

const GZIP: &[u8] = b"\x1f\x8b\x08 a layer";
const XZ: &[u8] = b"\xfd7zXZ\0 a layer";

fn error(archive: &Archive) -> String {
    archive.resolve("host").unwrap_err().to_string()
}

/// A docker-archive of one image, with these paths in place of its two layers.
fn docker(layers: [&str; 2]) -> (Archive, [Digest; 2]) {
    let mut archive = Archive::default();
    let diff_ids = [b"layer 1", b"layer 2"].map(|layer| Digest::of(layer));
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    archive.json("config.json", &config);
    archive.json(
        "manifest.json",
        &json!([{"Config": "/config.json", "RepoTags": ["app:1"], "Layers": layers}]),
    );
    (archive, diff_ids)
}

#[test]
fn paths_in_documents_are_normalised_as_those_of_members_are() {
    for top in ["", "bundle/"] {
        for layers in [
            ["/1.tar", "/2.tar"],
            ["./1.tar", "x/../2.tar"],
            [r".\1.tar", "//2.tar"],
            // From the root of the archive, although the layout is in a directory.
            ["/bundle/1.tar", r"bundle\2.tar"],
        ] {
            let (bare, diff_ids) = docker(layers);
            let mut archive = Archive {
                top,
                ..Archive::default()
            };
            for (path, member) in bare.catalogue.iter() {
                let Member::File(file) = member else { panic!() };
                archive.put(path, file.clone());
            }
            if top.is_empty() && layers[0].contains("bundle") {
                continue;
            }
            archive.file("1.tar", b"layer 1").file("2.tar", b"layer 2");
            let image = archive.only_image("host");
            assert_eq!(blobs(&image)[1..3], diff_ids, "{top}{layers:?}");
        }
    }
}

#[test]
fn a_layer_that_the_store_has_counts_by_what_it_decompresses_to() {
    let (mut archive, diff_ids) = docker(["", "2/layer.tar"]);
    archive.file("2/layer.tar", b"layer 2");
    let problem = archive.only_problem("host").to_string();
    let left_out = "docker.io/library/app:1: the layer was left out when the archive was saved";
    assert!(problem.starts_with(left_out), "{problem}");
    assert!(problem.contains(diff_ids[0].as_str()), "{problem}");

    let (archive, diff_ids) = docker(["gone/layer.tar", "2/layer.tar"]);
    let mut has = Archive::default();
    let in_store = has.blob(OCI_LAYER, b"layer 1");
    let resolution = archive.resolve_with(&Store::of(&has), "host").unwrap();
    let problem = resolution.problems[0].to_string();
    let expected = format!(
        r#"the archive has no file "2/layer.tar", its layer, and the store no layer {}"#,
        diff_ids[1]
    );
    assert!(problem.ends_with(&expected), "{problem}");

    has.blob(OCI_LAYER, b"layer 2");
    let resolution = archive.resolve_with(&Store::of(&has), "host").unwrap();
    let image = &resolution.images[0];
    assert_eq!(blobs(image)[1..3], diff_ids);
    assert_eq!(image.blobs[1].source, BlobSource::Store(None));
    assert_eq!(
        image.blobs[1].descriptor.size,
        in_store["size"].as_u64().unwrap()
    );
}

#[test]
fn a_link_that_leads_to_no_file_is_told() {
    let advice = "make the archive with `tar -h --hard-dereference`";
    let (mut archive, _) = docker(["1/layer.tar", "2.tar"]);
    archive
        .link("1/layer.tar", "cache/1")
        .file("2.tar", b"layer 2");
    let problem = archive.only_problem("host").to_string();
    let link = r#""1/layer.tar" is a link to "cache/1", which leads to no file of the archive"#;
    assert!(
        problem.contains(link) && problem.contains(advice),
        "{problem}"
    );

    let out = |archive: &mut Archive, path: &str| {
        let target = "../../../cache/x".to_owned();
        archive
            .catalogue
            .insert(path.to_owned(), Member::LinkOut(target));
    };
    // A manifest, a configuration, a layer of an OCI layout, and the directory of all blobs.
    let mut whole = Archive::default();
    let image = whole.image("amd64", "a");
    whole.layout(&[named(&image, "app:1")]);
    let config = json!({"architecture": "amd64", "os": "linux", "made": "a"});
    let config = descriptor(OCI_CONFIG, config.to_string().as_bytes());
    for blob in [&image, &config] {
        let mut archive = whole.without(blob);
        out(&mut archive, &blob_path(blob));
        let problem = archive.only_problem("host").to_string();
        let link = format!(
            r#"in the store: "{}" is a link to "../../../cache/x""#,
            blob_path(blob)
        );
        assert!(
            problem.contains(&link) && problem.contains(advice),
            "{problem}"
        );
    }
    let layer = descriptor(OCI_LAYER, b"layer a");
    let mut archive = whole.without(&layer);
    out(&mut archive, &blob_path(&layer));
    let found = archive.only_image("host");
    let BlobSource::Store(Some(link)) = &found.blobs[1].source else {
        panic!("{:?}", found.blobs[1].source);
    };
    assert_eq!(link.link, blob_path(&layer));

    let mut archive = Archive::default();
    out(&mut archive, "index.json");
    assert!(
        error(&archive).contains(r#""index.json" is a link to"#),
        "{}",
        error(&archive)
    );
    let mut archive = Archive::default();
    archive.link("manifest.json", "layer").file("layer", GZIP);
    let problem = error(&archive);
    let link = r#""manifest.json" is a link to "layer", which is no JSON document: "#;
    assert!(
        problem.starts_with(link) && problem.contains(advice),
        "{problem}"
    );
}

#[test]
fn the_directory_of_the_blobs_may_be_a_link_in_the_archive() {
    let mut whole = Archive::default();
    let image = whole.image("amd64", "a");
    whole.layout(&[named(&image, "app:1")]);
    let mut archive = Archive::default();
    for (path, member) in whole.catalogue.iter() {
        let path = path.replace("blobs/", "store/");
        archive.catalogue.insert(path, member.clone());
    }
    archive.link("blobs", "store");
    assert_eq!(
        names(&archive.only_image("host")),
        ["docker.io/library/app:1"]
    );
}

fn with_compression(archive: &mut Archive, path: &str, bytes: &[u8]) {
    let compression = match bytes {
        GZIP => Compression::Gzip,
        XZ => Compression::Xz,
        b"\x28\xb5\x2f\xfd" => Compression::Zstd,
        _ => Compression::Plain,
    };
    archive.put(
        path,
        FileMember {
            size: bytes.len() as u64,
            offset: Some(512),
            runs: None,
            digest: None,
            compression,
            diff_id: None,
            document: None,
        },
    );
}

/// An image whose one layer has these bytes and this media type.
fn layered(media_type: &str, bytes: &[u8], config: &str) -> Archive {
    let mut archive = Archive::default();
    let config = archive.json_blob(config, &json!({"architecture": "amd64", "os": "linux"}));
    let layer = archive.blob(media_type, bytes);
    with_compression(&mut archive, &blob_path(&layer), bytes);
    let image = archive.manifest(&config, &[layer]);
    archive.layout(&[named(&image, "app:1")]);
    archive
}

#[test]
fn a_layer_that_containerd_could_not_unpack_is_refused() {
    const OCI: &str = "application/vnd.oci.image.layer.v1.tar";
    const FOREIGN: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar";
    const DOCKER: &str = "application/vnd.docker.image.rootfs.diff.tar";
    const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";
    const PLAIN: &[u8] = b"a layer";
    let gzip = |base: &str| format!("{base}+gzip");
    // containerd trusts OCI's type for a plain tar, and none for another compression.
    for (media_type, bytes, words) in [
        (
            OCI.to_owned(),
            GZIP,
            "is gzip, its media type says plain tar: push or build it again",
        ),
        (
            OCI.to_owned(),
            ZSTD,
            "is zstd, its media type says plain tar: push or build it again",
        ),
        (
            FOREIGN.to_owned(),
            GZIP,
            "is gzip, its media type says plain tar",
        ),
        (
            OCI.to_owned(),
            XZ,
            "is compressed with xz, which containerd does not unpack",
        ),
        (
            gzip(OCI),
            XZ,
            "is compressed with xz, which containerd does not unpack",
        ),
        (
            DOCKER.to_owned(),
            XZ,
            "is compressed with xz, which containerd does not unpack",
        ),
    ] {
        let problem = layered(&media_type, bytes, OCI_CONFIG).only_problem("host");
        let problem = problem.to_string();
        let layer = format!("layer {}", Digest::of(bytes));
        assert!(
            problem.contains(&layer) && problem.contains(words),
            "{problem}"
        );
    }
    // Everywhere else it looks at the bytes.
    for (media_type, bytes, note) in [
        (gzip(OCI), PLAIN, "is plain tar, its media type says gzip"),
        (gzip(OCI), ZSTD, "is zstd, its media type says gzip"),
        (
            format!("{OCI}+zstd"),
            GZIP,
            "is gzip, its media type says zstd",
        ),
        (
            DOCKER.to_owned(),
            GZIP,
            "is gzip, its media type says plain tar",
        ),
        (
            format!("{DOCKER}.gzip"),
            ZSTD,
            "is zstd, its media type says gzip",
        ),
    ] {
        let archive = layered(&media_type, bytes, OCI_CONFIG);
        let resolution = archive.resolve("host").unwrap();
        assert_eq!((resolution.images.len(), resolution.problems.len()), (1, 0));
        let note = format!(
            "layer {} {note}: containerd unpacks it all the same",
            Digest::of(bytes)
        );
        assert_eq!(resolution.notes[0].to_string(), note);
    }
    // Right, encrypted, and of what is no image.
    for (media_type, bytes, config) in [
        (OCI.to_owned(), PLAIN, OCI_CONFIG),
        (gzip(OCI), GZIP, OCI_CONFIG),
        (DOCKER.to_owned(), PLAIN, OCI_CONFIG),
        (format!("{OCI}+gzip+encrypted"), PLAIN, OCI_CONFIG),
        (OCI.to_owned(), GZIP, "application/vnd.oci.empty.v1+json"),
    ] {
        let resolution = layered(&media_type, bytes, config).resolve("host").unwrap();
        assert_eq!(
            (resolution.images.len(), resolution.notes.len()),
            (1, 0),
            "{media_type}"
        );
    }
}

#[test]
fn a_docker_archive_has_no_layers_that_containerd_does_not_unpack() {
    let (mut archive, _) = docker(["1.tar.xz", "2.tar"]);
    archive.file("2.tar", b"layer 2");
    with_compression(&mut archive, "1.tar.xz", XZ);
    assert_eq!(
        archive.only_problem("host").to_string(),
        "docker.io/library/app:1: layer \"1.tar.xz\" is compressed with xz, which containerd does \
         not unpack; push or build it again with gzip or zstd"
    );
}

#[test]
fn a_descriptor_of_a_media_type_that_is_not_known_is_ignored_unless_it_has_a_name() {
    let mut archive = Archive::default();
    let image = archive.image("amd64", "a");
    let other = archive.blob("application/xml", b"<component/>");
    let gone = descriptor("application/vnd.example", b"gone");
    let tagged = super::builder::annotated(
        &descriptor("application/vnd.other", b"other"),
        "org.opencontainers.image.ref.name",
        "latest",
    );
    archive.layout(&[other.clone(), named(&image, "app:1"), gone, tagged]);
    let resolution = archive.resolve("host").unwrap();
    assert_eq!((resolution.images.len(), resolution.problems.len()), (1, 0));
    archive.layout(&[named(&image, "app:1"), named(&other, "other:1")]);
    assert_eq!(archive.resolve("host").unwrap().problems.len(), 1);
    archive.layout(&[other]);
    assert!(
        archive
            .only_problem("host")
            .to_string()
            .contains("application/xml")
    );
}

#[test]
fn what_is_no_archive_of_images_is_called_what_it_is() {
    let file_system = "no images in it: this is a container's file system (docker export); use \
                       docker save, which writes images";
    for files in [
        &[".dockerenv", "bin/sh", "etc/hostname"][..],
        &["etc/passwd", "usr/bin/sh", "run/.containerenv"],
        &["rootfs/etc/passwd", "rootfs/bin/sh"],
        // A node that has images.
        &[
            "etc/passwd",
            "usr/x",
            "var/images/oci-layout",
            "var/images/index.json",
        ],
    ] {
        let mut archive = Archive::default();
        for path in files {
            archive.file(path, b"x");
        }
        assert_eq!(error(&archive), file_system);
    }
    let manifest =
        json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": {}, "layers": []});
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []});
    for (top, document) in [("", &manifest), ("all_images/", &index)] {
        let mut archive = Archive {
            top,
            ..Archive::default()
        };
        archive.file("version", b"Directory Transport Version: 1.1\n");
        archive.json("manifest.json", document);
        let error = error(&archive);
        assert!(
            error.contains("the layout of skopeo's dir: transport"),
            "{error}"
        );
        assert!(
            error.contains("skopeo copy dir:DIRECTORY oci-archive:"),
            "{error}"
        );
    }
}

#[test]
fn the_names_in_a_package_of_zarf_are_where_it_writes_them() {
    let name = "example.com/app:1";
    let with_base = |image: &Value| {
        super::builder::annotated(image, "org.opencontainers.image.base.name", name)
    };
    let mut archive = Archive {
        top: "images/",
        ..Archive::default()
    };
    let image = archive.image("amd64", "a");
    archive.layout(&[with_base(&image)]);
    archive.top = "";
    // Elsewhere it is the name of another image.
    assert!(
        archive
            .only_problem("host")
            .to_string()
            .contains("no usable name")
    );
    archive.file("zarf.yaml", b"kind: ZarfPackageConfig");
    assert_eq!(names(&archive.only_image("host")), [name]);
}

#[test]
fn names_are_bounded_by_image_and_by_archive() {
    let mut archive = Archive::default();
    let images = (0..5).map(|number| archive.image("amd64", &number.to_string()));
    let images = images.collect::<Vec<_>>();
    let saved = |image: &Value, tags: std::ops::Range<usize>| {
        tags.map(|tag| named(image, &format!("app:{tag}")))
            .collect::<Vec<_>>()
    };
    archive.layout(&saved(&images[0], 0..1000));
    assert_eq!(archive.only_image("host").names.len(), 1000);
    archive.layout(&saved(&images[0], 0..1001));
    assert_eq!(
        archive.only_problem("host").to_string(),
        "docker.io/library/app:0 (and 1000 more names): it has 1001 names, and an image may have \
         1000 in an archive"
    );
    let all = images.iter().zip([0, 1000, 2000, 3000, 4000]);
    let all = all.flat_map(|(image, from)| saved(image, from..from + 810));
    archive.layout(&all.take(4096).collect::<Vec<_>>());
    let resolution = archive.resolve("host").unwrap();
    assert_eq!(resolution.images.len(), 4);
    assert_eq!(
        resolution.problems[0].to_string(),
        "docker.io/library/app:4000 (and 809 more names): with it, the images of the archive \
         together have more than 4000 names; make several archives of it"
    );
}

#[test]
fn what_needs_a_feature_of_the_system_is_not_for_the_host() {
    let mut archive = Archive::default();
    let (erofs, tar) = (
        archive.image("amd64", "erofs"),
        archive.image("amd64", "tar"),
    );
    let mut needing = on(&erofs, "linux", "amd64");
    needing["platform"]["os.features"] = json!(["erofs"]);
    for order in [[&needing, &tar], [&tar, &needing]] {
        let index = archive.index(&order.map(Clone::clone));
        archive.layout(&[named(&index, "app:1")]);
        let found = blobs(&archive.only_image("host"));
        assert!(found.contains(&digest_of(&tar)) && !found.contains(&digest_of(&erofs)));
        assert_eq!(blobs(&archive.only_image("all")).len(), 7);
    }
    let index = archive.index(&[needing]);
    archive.layout(&[named(&index, "app:1")]);
    assert_eq!(
        error(&archive),
        "none of its images is for a wanted platform: it has linux(+erofs)/amd64, and wanted is \
         linux/amd64"
    );
    // None are needed.
    for none in [json!([]), json!(null), json!([""])] {
        let mut plain = on(&tar, "linux", "amd64");
        plain["platform"]["os.features"] = none;
        let index = archive.index(&[plain]);
        archive.layout(&[named(&index, "app:1")]);
        archive.only_image("host");
    }
    // The configuration tells it where the index does not.
    let config = json!({"architecture": "amd64", "os": "linux", "os.features": ["erofs"]});
    let config = archive.json_blob(OCI_CONFIG, &config);
    let manifest = archive.manifest(&config, &[]);
    let index = archive.index(&[manifest, on(&tar, "linux", "amd64")]);
    archive.layout(&[named(&index, "app:1")]);
    assert!(blobs(&archive.only_image("host")).contains(&digest_of(&tar)));
}
