//! What the archive lacks and the store has.

use stowd::archive::problem::Fault;
use stowd::archive::resolve::{Lookup, Resolution, Source};

use super::builder::{Archive, OCI_LAYER, blob_path, descriptor, digest_of, named, on};
use serde_json::json;

/// Asks a store that has all blobs of `store` until nothing is missing; returns the rounds too.
fn resolve(archive: &Archive, store: &Archive, words: &str) -> (Resolution, usize) {
    let mut lookup = Lookup::default();
    for round in 1..10 {
        let resolution = archive.resolve_with(&lookup, words).unwrap();
        if resolution.missing_documents.is_empty() {
            return (resolution, round);
        }
        for digest in resolution.missing_documents {
            let path = format!("blobs/sha256/{}", digest.hex());
            match store.catalogue.file(&path) {
                Some((_, file)) => {
                    lookup
                        .found
                        .insert(digest, file.document.as_deref().unwrap().to_vec());
                }
                None => {
                    assert!(lookup.absent.insert(digest), "asked twice");
                }
            }
        }
    }
    panic!("it goes on asking");
}

#[test]
fn documents_are_asked_of_the_store_level_by_level() {
    let mut whole = Archive::default();
    let amd64 = whole.image("amd64", "a");
    let arm64 = whole.image("arm64", "b");
    let index = whole.index(&[amd64.clone(), on(&arm64, "linux", "arm64")]);
    whole.layout(&[named(&index, "app:1")]);
    let mut bare = Archive::default();
    bare.layout(&[named(&index, "app:1")]);
    // The index, the manifest of an untold platform, its configuration.
    let (resolution, rounds) = resolve(&bare, &whole, "host");
    assert_eq!(rounds, 4);
    let image = &resolution.images[0];
    assert_eq!(image.blobs.len(), 4);
    assert!(image.blobs.iter().all(|blob| blob.source == Source::Store));
    assert_eq!(image.blobs[2].labels.len(), 2);
}

#[test]
fn a_layer_that_the_archive_lacks_must_be_in_the_store() {
    let mut archive = Archive::default();
    let image = archive.image("amd64", "a");
    let layer = descriptor(OCI_LAYER, b"layer a");
    archive.layout(&[named(&image, "app:1")]);
    let archive = archive.without(&layer);
    let found = archive.only_image("host");
    assert_eq!(found.blobs[1].source, Source::Store);
    assert_eq!(found.blobs[1].descriptor.digest, digest_of(&layer));
    // The caller may say that it is not.
    let lookup = Lookup {
        absent: [digest_of(&layer)].into(),
        ..Lookup::default()
    };
    let resolution = archive.resolve_with(&lookup, "host").unwrap();
    assert_eq!(
        resolution.problems[0].to_string(),
        format!(
            "docker.io/library/app:1: blob {} ({OCI_LAYER}) is neither in the archive nor in the store",
            digest_of(&layer)
        )
    );
}

#[test]
fn a_document_that_is_nowhere_is_named() {
    let mut archive = Archive::default();
    let image = archive.image("amd64", "a");
    let other = archive.image("amd64", "b");
    archive.layout(&[named(&image, "app:1"), named(&other, "other:1")]);
    let archive = archive.without(&image);
    let (resolution, rounds) = resolve(&archive, &Archive::default(), "host");
    assert_eq!(rounds, 2);
    // The other image of the archive is imported all the same.
    assert_eq!(resolution.images.len(), 1);
    assert!(matches!(&resolution.problems[0].fault,
        Fault::MissingBlob { digest, .. } if *digest == digest_of(&image)));
}

#[test]
fn a_manifest_of_an_untold_platform_may_be_nowhere_if_another_matches() {
    let mut archive = Archive::default();
    let amd64 = archive.image("amd64", "a");
    let lost = archive.image("arm64", "b");
    let index = archive.index(&[lost.clone(), on(&amd64, "linux", "amd64")]);
    archive.layout(&[named(&index, "app:1")]);
    let archive = archive.without(&lost);
    let nothing = Archive::default();
    let (resolution, _) = resolve(&archive, &nothing, "host");
    assert_eq!((resolution.images.len(), resolution.problems.len()), (1, 0));
    for words in ["linux/arm64", "all"] {
        let (resolution, _) = resolve(&archive, &nothing, words);
        assert!(matches!(&resolution.problems[0].fault,
            Fault::MissingBlob { digest, .. } if *digest == digest_of(&lost)));
    }
}

#[test]
fn what_the_store_hands_out_is_checked_too() {
    let mut archive = Archive::default();
    let image = archive.image("amd64", "a");
    archive.layout(&[named(&image, "app:1")]);
    let archive = archive.without(&image);
    let lookup = Lookup {
        found: [(digest_of(&image), b"{}".to_vec())].into(),
        ..Lookup::default()
    };
    let resolution = archive.resolve_with(&lookup, "host").unwrap();
    assert!(matches!(
        resolution.problems[0].fault,
        Fault::WrongDigest { .. }
    ));

    let mut wrong_size = image.clone();
    wrong_size["size"] = json!(7);
    let mut whole = Archive::default();
    whole.image("amd64", "a");
    let mut archive = archive.clone();
    archive.layout(&[named(&wrong_size, "app:1")]);
    let (resolution, _) = resolve(&archive, &whole, "host");
    let problem = resolution.problems[0].to_string();
    assert!(problem.contains("bytes long, but"), "{problem}");
    assert!(whole.catalogue.file(&blob_path(&image)).is_some());
}
