//! OCI layouts: platforms, what is needed, and the labels that keep it.

use serde_json::json;
use stowd::digest::Digest;
use stowd::layout::{BlobSource, Fault};

use super::builder::{
    Archive, OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, Store, blob_path, blobs, descriptor,
    digest_of, named, on,
};

/// An image for amd64 and arm64, and its parts.
struct MultiPlatform {
    archive: Archive,
    amd64: serde_json::Value,
    arm64: serde_json::Value,
    index: serde_json::Value,
}

fn multi_platform() -> MultiPlatform {
    let mut archive = Archive::default();
    let amd64 = archive.image("amd64", "a");
    let arm64 = archive.image("arm64", "b");
    let index = archive.index(&[on(&arm64, "linux", "arm64"), on(&amd64, "linux", "amd64")]);
    archive.layout(&[named(&index, "app:1")]);
    MultiPlatform {
        archive,
        amd64,
        arm64,
        index,
    }
}

#[test]
fn blobs_come_children_first_with_what_keeps_them_alive() {
    let mut archive = Archive::default();
    let config = archive.json_blob(OCI_CONFIG, &json!({"architecture": "amd64", "os": "linux"}));
    let layer = archive.blob(OCI_LAYER, b"layer");
    let image = archive.manifest(&config, &[layer.clone(), layer.clone()]);
    archive.layout(&[named(&image, "app:1")]);
    let image_found = archive.only_image("host");
    assert_eq!(
        blobs(&image_found),
        [&config, &layer, &image].map(digest_of)
    );
    assert_eq!(image_found.target, image_found.blobs[2].descriptor);
    assert!(image_found.runs_on_host);
    let [found_config, found_layer, manifest] = &image_found.blobs[..] else {
        panic!("{:?}", image_found.blobs);
    };
    assert!(matches!(&found_config.source, BlobSource::Document(bytes) if bytes.starts_with(b"{")));
    assert_eq!(found_layer.source, BlobSource::Member(blob_path(&layer)));
    assert!(matches!(&manifest.source, BlobSource::Document(bytes)
        if Digest::of(bytes) == digest_of(&image)));
    // As containerd labels them (images.ChildGCLabels).
    let labels: Vec<_> = manifest
        .labels
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    assert_eq!(
        labels,
        [
            (
                "containerd.io/gc.ref.content.config",
                digest_of(&config).as_str()
            ),
            (
                "containerd.io/gc.ref.content.l.0",
                digest_of(&layer).as_str()
            ),
            (
                "containerd.io/gc.ref.content.l.1",
                digest_of(&layer).as_str()
            ),
        ]
    );
    assert!(found_config.labels.is_empty() && found_layer.labels.is_empty());
}

#[test]
fn of_an_index_the_best_match_is_taken_and_all_children_are_labelled() {
    let MultiPlatform {
        archive,
        amd64,
        arm64,
        index,
    } = multi_platform();
    let image = archive.only_image("host");
    assert_eq!(image.target.digest, digest_of(&index));
    assert_eq!(image.blobs.len(), 4);
    assert!(blobs(&image).contains(&digest_of(&amd64)));
    assert!(!blobs(&image).contains(&digest_of(&arm64)));
    let labels = &image.blobs.last().unwrap().labels;
    assert_eq!(
        labels["containerd.io/gc.ref.content.m.0"],
        digest_of(&arm64).as_str()
    );
    assert_eq!(
        labels["containerd.io/gc.ref.content.m.1"],
        digest_of(&amd64).as_str()
    );
    assert_eq!(labels.len(), 2);

    assert_eq!(archive.only_image("all").blobs.len(), 7);
    assert_eq!(archive.only_image("host linux/arm64").blobs.len(), 7);
    let image = archive.only_image("linux/arm64");
    assert!(!image.runs_on_host);
    assert_eq!(image.blobs.len(), 4);
}

#[test]
fn other_platforms_may_be_missing() {
    let MultiPlatform {
        archive,
        amd64,
        arm64,
        ..
    } = multi_platform();
    let archive = archive.without(&arm64);
    let image = archive.only_image("host");
    assert!(blobs(&image).contains(&digest_of(&amd64)));
    // Wanted, its manifest is asked of the store, and nothing else is.
    let store = Store::default();
    let resolution = archive.resolve_with(&store, "all").unwrap();
    assert_eq!(store.asked(), [digest_of(&arm64)]);
    assert_eq!(resolution.images, []);
    assert!(matches!(&resolution.problems[0].fault,
        Fault::MissingBlob { digest, .. } if *digest == digest_of(&arm64)));
}

#[test]
fn a_foreign_image_is_a_note_and_a_foreign_archive_an_error() {
    let MultiPlatform {
        mut archive, index, ..
    } = multi_platform();
    let error = archive.resolve("linux/s390x").unwrap_err().to_string();
    assert_eq!(
        error,
        "none of its images is for a wanted platform: it has linux/arm64, linux/amd64, and wanted \
         is linux/s390x"
    );
    let s390x = archive.image("s390x", "z");
    archive.layout(&[named(&index, "app:1"), named(&s390x, "only-s390x:1")]);
    let resolution = archive.resolve("host").unwrap();
    assert_eq!(resolution.images.len(), 1);
    assert_eq!(resolution.problems, []);
    assert_eq!(
        resolution.notes[0].to_string(),
        "docker.io/library/only-s390x:1: it is for linux/s390x, and wanted is linux/amd64"
    );
}

#[test]
fn a_platform_that_the_index_does_not_tell_is_read_from_the_configuration() {
    let mut archive = Archive::default();
    let amd64 = archive.image("amd64", "a");
    let arm64 = archive.image("arm64", "b");
    let index = archive.index(&[arm64.clone(), amd64.clone()]);
    archive.layout(&[named(&index, "app:1")]);
    assert!(blobs(&archive.only_image("host")).contains(&digest_of(&amd64)));
    assert!(blobs(&archive.only_image("linux/arm64")).contains(&digest_of(&arm64)));
    // What the index tells comes first, as in containerd.
    let other = archive.image("amd64", "c");
    let index = archive.index(&[amd64.clone(), on(&other, "linux", "amd64")]);
    archive.layout(&[named(&index, "app:1")]);
    assert!(blobs(&archive.only_image("host")).contains(&digest_of(&other)));
}

#[test]
fn attestations_are_kept_when_whole_and_never_missed() {
    let mut archive = Archive::default();
    let amd64 = archive.image("amd64", "a");
    let config = archive.json_blob(
        OCI_CONFIG,
        &json!({"architecture": "unknown", "os": "unknown"}),
    );
    let statement = archive.blob("application/vnd.in-toto+json", b"{\"_type\": 1}");
    let attestation = archive.manifest(&config, std::slice::from_ref(&statement));
    let index = archive.index(&[
        on(&amd64, "linux", "amd64"),
        on(&attestation, "unknown", "unknown"),
    ]);
    archive.layout(&[
        named(&index, "app:1"),
        on(&attestation, "unknown", "unknown"),
    ]);
    for words in ["host", "all"] {
        let found = blobs(&archive.only_image(words));
        assert_eq!(found.len(), 7, "{words}");
        assert_eq!(
            found[3..6],
            [&config, &statement, &attestation].map(digest_of)
        );
        for lost in [&config, &statement, &attestation] {
            let image = archive.without(lost).only_image(words);
            assert_eq!(blobs(&image).len(), 4, "{words}");
            assert_eq!(image.blobs[3].labels.len(), 2);
        }
    }
    // Damaged, it is left out like a missing one.
    archive.file(&blob_path(&statement), b"{\"_type\": 2}");
    assert_eq!(blobs(&archive.only_image("host")).len(), 4);
}

#[test]
fn indexes_may_lie_in_indexes() {
    let mut archive = Archive::default();
    let amd64 = archive.image("amd64", "a");
    let arm64 = archive.image("arm64", "b");
    let inner = archive.index(&[on(&amd64, "linux", "amd64")]);
    let other = archive.index(&[on(&arm64, "linux", "arm64")]);
    let lost = on(&descriptor(OCI_INDEX, b"{}"), "linux", "s390x");
    let outer = archive.index(&[inner.clone(), other.clone(), lost]);
    archive.layout(&[named(&outer, "app:1")]);
    let image = archive.only_image("host");
    assert_eq!(blobs(&image)[2..], [&amd64, &inner, &outer].map(digest_of));
    assert_eq!(
        image.blobs[4].labels["containerd.io/gc.ref.content.0"],
        digest_of(&inner).as_str()
    );
}

#[test]
fn an_artifact_has_no_platform_and_is_always_wanted() {
    let mut archive = Archive::default();
    let config = archive.json_blob(
        "application/vnd.cncf.helm.config.v1+json",
        &json!({"name": "x"}),
    );
    let chart = archive.blob(
        "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
        b"chart",
    );
    let manifest = archive.manifest(&config, std::slice::from_ref(&chart));
    archive.layout(&[named(&manifest, "example.com/chart:1")]);
    for words in ["host", "linux/s390x", "all"] {
        let image = archive.only_image(words);
        assert_eq!(blobs(&image).len(), 3);
        assert!(!image.runs_on_host);
        assert_eq!(
            image.blobs[2].labels["containerd.io/gc.ref.content.1"],
            digest_of(&chart).as_str()
        );
    }
    // Beside an image it is an extra.
    let amd64 = archive.image("amd64", "a");
    let index = archive.index(&[manifest, on(&amd64, "linux", "amd64")]);
    archive.layout(&[named(&index, "example.com/both:1")]);
    assert_eq!(blobs(&archive.only_image("host")).len(), 7);
    assert_eq!(blobs(&archive.without(&chart).only_image("host")).len(), 4);
}

#[test]
fn layers_that_may_not_be_distributed_may_be_missing() {
    let mut archive = Archive::default();
    let config = archive.json_blob(OCI_CONFIG, &json!({"architecture": "amd64", "os": "linux"}));
    for foreign in [
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    ] {
        let there = archive.blob(foreign, b"there");
        let missing = descriptor(foreign, b"missing");
        let image = archive.manifest(&config, &[missing.clone(), there.clone()]);
        archive.layout(&[named(&image, "app:1")]);
        assert_eq!(
            blobs(&archive.only_image("host")),
            [&config, &there, &image].map(digest_of)
        );
    }
}

#[test]
fn a_descriptor_without_a_media_type_gets_that_of_its_document() {
    let mut archive = Archive::default();
    let amd64 = archive.image("amd64", "a");
    let index = archive.index(&[on(&amd64, "linux", "amd64")]);
    for (mut target, media_type) in [(amd64, OCI_MANIFEST), (index, OCI_INDEX)] {
        target.as_object_mut().unwrap().remove("mediaType");
        archive.layout(&[named(&target, "app:1")]);
        assert_eq!(archive.only_image("host").target.media_type, media_type);
    }
}

#[test]
fn what_is_no_manifest_that_containerd_runs_is_told_so() {
    let mut archive = Archive::default();
    let schema1 = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    let by_type = archive.json_blob(schema1, &json!({"schemaVersion": 1}));
    let by_shape = archive.json_blob(OCI_MANIFEST, &json!({"schemaVersion": 1, "fsLayers": []}));
    for target in [by_type, by_shape] {
        archive.layout(&[named(&target, "app:1")]);
        let problem = archive.only_problem("host");
        assert!(matches!(problem.fault, Fault::Schema1 { .. }), "{problem}");
    }
    let layer = archive.blob(OCI_LAYER, b"layer");
    archive.layout(&[named(&layer, "app:1")]);
    assert!(archive.only_problem("host").to_string().ends_with(&format!(
        "is neither a manifest nor an index: its media type is {OCI_LAYER:?}"
    )));
    let empty = archive.index(&[]);
    archive.layout(&[named(&empty, "app:1")]);
    assert_eq!(
        archive.only_problem("host").to_string(),
        format!(
            "docker.io/library/app:1: the index {} lists no image",
            digest_of(&empty)
        )
    );
}

#[test]
fn a_document_that_is_two_things_is_refused() {
    let mut archive = Archive::default();
    let config = archive.json_blob(OCI_CONFIG, &json!({"architecture": "amd64", "os": "linux"}));
    let both = json!({"config": config, "layers": [], "manifests": []});
    for (media_type, what) in [
        (
            OCI_MANIFEST,
            "should be a manifest, but has what only an index has",
        ),
        (
            OCI_INDEX,
            "should be an index, but has what only a manifest has",
        ),
    ] {
        let target = archive.json_blob(media_type, &both);
        archive.layout(&[named(&target, "app:1")]);
        let problem = archive.only_problem("host").to_string();
        assert!(problem.ends_with(what), "{problem}");
    }
}
