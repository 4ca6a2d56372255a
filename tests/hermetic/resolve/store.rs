//! What the archive lacks and the store has.

use std::convert::Infallible;

use serde_json::json;
use stowd::digest::Digest;
use stowd::image_store::StoredLayer;
use stowd::layout::{BlobSource, DocumentSource, Fault, Resolution, ResolveError, resolve};
use stowd::oci::limits::DOCUMENT_MAX;

use super::builder::{
    Archive, OCI_CONFIG, OCI_LAYER, Store, blob_path, descriptor, digest_of, host, named, on,
    wanted,
};

/// Resolves before a store that has all blobs of `store`; returns what it was asked for, too.
fn resolved(archive: &Archive, store: &Archive, words: &str) -> (Resolution, Vec<Digest>) {
    let store = Store::of(store);
    let resolution = archive.resolve_with(&store, words).unwrap();
    let asked = store.asked();
    (resolution, asked)
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
    let (resolution, asked) = resolved(&bare, &whole, "host");
    // The index, the manifest of an untold platform, its configuration; no other manifest, no layer.
    let config = json!({"architecture": "amd64", "os": "linux", "made": "a"});
    let config = Digest::of(config.to_string().as_bytes());
    assert_eq!(asked, [digest_of(&index), digest_of(&amd64), config]);
    let image = &resolution.images[0];
    assert_eq!(image.blobs.len(), 4);
    assert!(
        image
            .blobs
            .iter()
            .all(|blob| blob.source == BlobSource::Store(None))
    );
    assert_eq!(image.blobs[2].labels.len(), 2);
}

#[test]
fn a_layer_that_the_archive_lacks_must_be_in_the_store() {
    let mut archive = Archive::default();
    let image = archive.image("amd64", "a");
    let layer = descriptor(OCI_LAYER, b"layer a");
    archive.layout(&[named(&image, "app:1")]);
    let archive = archive.without(&layer);
    let (resolution, asked) = resolved(&archive, &Archive::default(), "host");
    let found = &resolution.images[0];
    assert_eq!(found.blobs[1].source, BlobSource::Store(None));
    assert_eq!(found.blobs[1].descriptor.digest, digest_of(&layer));
    assert_eq!(asked, [], "the importer asks for bodies, not the layout");
}

#[test]
fn a_configuration_that_is_nowhere_is_a_missing_blob() {
    let mut archive = Archive::default();
    let image = archive.image("amd64", "a");
    archive.layout(&[named(&image, "app:1")]);
    let config = json!({"architecture": "amd64", "os": "linux", "made": "a"}).to_string();
    let config = descriptor(OCI_CONFIG, config.as_bytes());
    let (resolution, asked) = resolved(&archive.without(&config), &Archive::default(), "host");
    assert_eq!(asked, [digest_of(&config)]);
    assert_eq!(
        resolution.problems[0].to_string(),
        format!(
            "docker.io/library/app:1: blob {} ({OCI_CONFIG}) is neither in the archive nor in the store",
            digest_of(&config)
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
    let (resolution, asked) = resolved(&archive, &Archive::default(), "host");
    assert_eq!(asked, [digest_of(&image)]);
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
    let (resolution, _) = resolved(&archive, &nothing, "host");
    assert_eq!((resolution.images.len(), resolution.problems.len()), (1, 0));
    for words in ["linux/arm64", "all"] {
        let (resolution, _) = resolved(&archive, &nothing, words);
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
    let resolution = archive.resolve_with(&Liar, "host").unwrap();
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
    let (resolution, _) = resolved(&archive, &whole, "host");
    let problem = resolution.problems[0].to_string();
    assert!(problem.contains("bytes long, but"), "{problem}");
    assert!(whole.catalogue.file(&blob_path(&image)).is_some());
}

/// Answers every question with the same bytes.
struct Liar;

impl DocumentSource for Liar {
    type Error = Infallible;

    fn document(&self, _: &Digest) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(Some(b"{}".to_vec()))
    }

    fn layer(&self, _: &Digest) -> Result<Option<StoredLayer>, Infallible> {
        Ok(None)
    }
}

/// Answers nothing.
struct Away;

impl DocumentSource for Away {
    type Error = &'static str;

    fn document(&self, _: &Digest) -> Result<Option<Vec<u8>>, &'static str> {
        Err("away")
    }

    fn layer(&self, _: &Digest) -> Result<Option<StoredLayer>, &'static str> {
        Err("away")
    }
}

#[test]
fn a_store_that_does_not_answer_ends_the_resolution() {
    let mut archive = Archive::default();
    let image = archive.image("amd64", "a");
    let other = archive.image("amd64", "b");
    let index = archive.index(&[on(&other, "linux", "amd64"), image.clone()]);
    archive.layout(&[named(&other, "other:1"), named(&index, "app:1")]);
    let archive = archive.without(&image);
    let resolution = resolve(&archive.catalogue, &Away, &wanted("host"), &host());
    assert!(matches!(resolution, Err(ResolveError::Source("away"))));
}

#[test]
fn documents_of_the_store_together_are_bounded() {
    let mut whole = Archive::default();
    let mut targets = Vec::new();
    let mut configs = Vec::new();
    for n in 0..10 {
        let mut config = json!({"architecture": "amd64", "os": "linux", "made": n}).to_string();
        let padding = usize::try_from(DOCUMENT_MAX).unwrap() - config.len();
        config.extend(std::iter::repeat_n(' ', padding));
        let config = whole.blob(OCI_CONFIG, config.as_bytes());
        targets.push(named(&whole.manifest(&config, &[]), &format!("app:{n}")));
        configs.push(config);
    }
    whole.layout(&targets);
    let archive = configs
        .iter()
        .fold(whole.clone(), |archive, config| archive.without(config));
    let (resolution, asked) = resolved(&archive, &whole, "host");
    assert_eq!(asked.len(), 9, "none is asked for when it is too much");
    assert_eq!((resolution.images.len(), resolution.problems.len()), (8, 2));
    for problem in &resolution.problems {
        assert!(matches!(problem.fault, Fault::StoredDocuments { .. }));
        let problem = problem.to_string();
        assert!(problem.ends_with("take more than 64 MiB"), "{problem}");
    }
}
