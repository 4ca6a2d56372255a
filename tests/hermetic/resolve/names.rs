//! Which names images get.

use serde_json::json;
use stowd::layout::{Fault, Note};
use stowd::naming::{Reference, Shadowed};

use super::builder::{Archive, OCI_CONFIG, annotated, digest_of, named, names, on};

const IMAGE_NAME: &str = "io.containerd.image.name";

#[test]
fn the_annotations_of_containerd_come_before_those_of_oci() {
    let mut archive = Archive::default();
    let image = archive.image("amd64", "a");
    let image = annotated(&named(&image, "example.com/second:1"), IMAGE_NAME, "first");
    archive.layout(&[image]);
    assert_eq!(
        names(&archive.only_image("host")),
        ["docker.io/library/first:latest"]
    );
}

#[test]
fn several_descriptors_of_one_target_are_one_image() {
    let mut archive = Archive::default();
    let image = archive.image("amd64", "a");
    let id = annotated(&image, IMAGE_NAME, digest_of(&image).as_str());
    archive.layout(&[
        named(&image, "latest"),
        named(&image, "example.com/a:1"),
        id,
        named(&image, "b:2"),
        named(&image, "docker.io/library/b:2"),
        annotated(
            &image,
            IMAGE_NAME,
            &format!("example.com/a@{}", digest_of(&image)),
        ),
    ]);
    let expected = [
        "example.com/a:1".to_owned(),
        "docker.io/library/b:2".to_owned(),
        format!("example.com/a@{}", digest_of(&image)),
    ];
    assert_eq!(names(&archive.only_image("host")), expected);
    // A tag, or CRI's identifier, beside names is what tools write.
    assert_eq!(archive.resolve("host").unwrap().notes, []);
}

#[test]
fn a_manifest_json_beside_the_index_can_name_an_image() {
    let mut archive = Archive::default();
    let amd64 = archive.image("amd64", "a");
    let arm64 = archive.image("arm64", "b");
    let config = |manifest| {
        let config = archive
            .catalogue
            .file(&super::builder::blob_path(manifest))
            .unwrap()
            .1;
        let manifest: serde_json::Value =
            serde_json::from_slice(config.document.as_deref().unwrap()).unwrap();
        super::builder::blob_path(&manifest["config"])
    };
    let saved = json!([{"Config": config(&amd64), "RepoTags": ["app:1", "App:2"], "Layers": null}]);
    let index = archive.index(&[on(&amd64, "linux", "amd64"), on(&arm64, "linux", "arm64")]);
    archive.layout(&[named(&index, "latest")]);
    archive.json("manifest.json", &saved);
    assert_eq!(
        names(&archive.only_image("host")),
        ["docker.io/library/app:1"]
    );

    archive.file("manifest.json", b"[");
    let resolution = archive.resolve("host").unwrap();
    assert!(
        resolution.notes[0]
            .to_string()
            .starts_with("its names are not looked up in manifest.json: ")
    );
    assert!(matches!(resolution.problems[0].fault, Fault::NoName { .. }));
}

#[test]
fn an_image_without_a_usable_name_is_a_problem_that_says_what_was_found() {
    let mut archive = Archive::default();
    let image = archive.image("amd64", "a");
    archive.layout(&[named(&image, "latest")]);
    let problem = archive.only_problem("host").to_string();
    assert_eq!(
        problem,
        format!(
            "{}: it has no usable name (org.opencontainers.image.ref.name says \"latest\", which is \
             only a tag); name it when the archive is made: `docker save NAME:TAG`, `skopeo copy … \
             oci-archive:FILE:NAME:TAG`, or the annotation io.containerd.image.name",
            digest_of(&image)
        )
    );
    for (name, said) in [
        (digest_of(&image).to_string(), "which is only an identifier"),
        (
            "a b\n".to_owned(),
            r#"io.containerd.image.name: "a b\n" is not an image name"#,
        ),
        (
            format!("a@sha256:{}", "0".repeat(64)),
            "is the name of something else",
        ),
    ] {
        archive.layout(&[annotated(&image, IMAGE_NAME, &name)]);
        let problem = archive.only_problem("host").to_string();
        assert!(problem.contains(said), "{problem}");
    }
    archive.layout(&[image]);
    let problem = archive.only_problem("host").to_string();
    assert!(
        problem.contains("it has no usable name; name it"),
        "{problem}"
    );
}

#[test]
fn a_bad_name_beside_a_good_one_is_a_note() {
    let mut archive = Archive::default();
    let image = archive.image("amd64", "a");
    archive.layout(&[
        named(&image, "a:1"),
        named(&image, "a:/"),
        named(&image, "b:1"),
    ]);
    let resolution = archive.resolve("host").unwrap();
    assert_eq!(
        names(&resolution.images[0]),
        ["docker.io/library/a:1", "docker.io/library/b:1"]
    );
    assert_eq!(resolution.problems, []);
    assert!(
        resolution.notes[0]
            .to_string()
            .contains("\"a:/\" is not an image name"),
        "{:?}",
        resolution.notes
    );
}

#[test]
fn a_name_of_two_platforms_goes_to_the_wanted_one() {
    let mut archive = Archive::default();
    let amd64 = archive.image("amd64", "a");
    let arm64 = archive.image("arm64", "b");
    archive.layout(&[named(&amd64, "app:1"), named(&arm64, "app:1")]);
    for (words, image) in [("host", &amd64), ("linux/arm64", &arm64)] {
        let resolution = archive.resolve(words).unwrap();
        assert_eq!(resolution.images.len(), 1);
        assert_eq!(resolution.images[0].target.digest, digest_of(image));
        assert_eq!((resolution.problems, resolution.notes), (vec![], vec![]));
    }
    // Of all platforms, the host's.
    let resolution = archive.resolve("all").unwrap();
    assert_eq!(resolution.images[0].target.digest, digest_of(&amd64));
    assert_eq!(
        resolution.notes,
        [Note::Shadowed(Shadowed {
            name: Reference::parse("docker.io/library/app:1").unwrap(),
            image: digest_of(&arm64).to_string(),
        })]
    );
}

#[test]
fn of_equals_with_one_name_the_last_gets_it_and_the_others_keep_theirs() {
    let mut archive = Archive::default();
    let old = archive.image("amd64", "old");
    let new = archive.image("amd64", "new");
    archive.layout(&[
        named(&old, "app:1"),
        named(&old, "app:old"),
        named(&new, "app:1"),
    ]);
    let resolution = archive.resolve("host").unwrap();
    assert_eq!(names(&resolution.images[0]), ["docker.io/library/app:old"]);
    assert_eq!(names(&resolution.images[1]), ["docker.io/library/app:1"]);
    assert_eq!(resolution.notes.len(), 1);
}

#[test]
fn a_signature_does_not_take_the_name_of_what_it_signs() {
    let mut archive = Archive::default();
    let image = archive.image("amd64", "a");
    // As cosign makes them: an image configuration that names no platform.
    let config = archive.json_blob(OCI_CONFIG, &json!({"architecture": "", "os": ""}));
    let layer = archive.blob("application/vnd.dev.cosign.simplesigning.v1+json", b"{}");
    let signature = archive.manifest(&config, &[layer]);
    archive.layout(&[named(&image, "app:1"), named(&signature, "app:1")]);
    let resolution = archive.resolve("host").unwrap();
    assert_eq!(resolution.images.len(), 1);
    assert_eq!(resolution.images[0].target.digest, digest_of(&image));
}

#[test]
fn a_nameless_manifest_that_lies_in_a_named_index_is_no_image_of_its_own() {
    let mut archive = Archive::default();
    let amd64 = archive.image("amd64", "a");
    let arm64 = archive.image("arm64", "b");
    let index = archive.index(&[on(&amd64, "linux", "amd64"), on(&arm64, "linux", "arm64")]);
    archive.layout(&[amd64, arm64.clone(), named(&index, "app:1")]);
    let resolution = archive.resolve("host").unwrap();
    assert_eq!(resolution.images.len(), 1);
    assert_eq!(resolution.problems, []);
    // The other platform's is only worth a note.
    assert!(
        resolution.notes[0]
            .to_string()
            .starts_with(&format!("{}: it is for linux/arm64", digest_of(&arm64)))
    );
}
