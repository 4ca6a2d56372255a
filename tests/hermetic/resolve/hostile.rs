//! Archives that are damaged, or made to do damage.

use serde_json::{Value, json};
use stowd::compression::Compression;
use stowd::digest::Digest;
use stowd::layout::{Fault, FileMember, Note};

use super::builder::{
    Archive, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, blob_path, descriptor, digest_of, named, on,
};

/// A good image and a bad one: the bad one is the one problem, the good one is an image.
fn problem(mut archive: Archive, bad: &Value) -> String {
    let good = archive.image("amd64", "good");
    archive.layout(&[named(bad, "bad:1"), named(&good, "good:1")]);
    let resolution = archive.resolve("host").unwrap();
    assert_eq!(resolution.images.len(), 1, "{:?}", resolution.problems);
    assert_eq!(resolution.images[0].target.digest, digest_of(&good));
    assert_eq!(resolution.problems.len(), 1);
    let problem = resolution.problems[0].to_string();
    assert!(
        problem.starts_with("docker.io/library/bad:1: "),
        "{problem}"
    );
    assert!(
        problem.len() < 1000 && !problem.contains(char::is_control),
        "{problem:?}"
    );
    problem
}

#[test]
fn a_document_with_another_digest_is_refused_with_both() {
    let mut archive = Archive::default();
    let image = archive.image("amd64", "a");
    let mut bytes = archive
        .catalogue
        .file(&blob_path(&image))
        .unwrap()
        .1
        .document
        .as_deref()
        .unwrap()
        .to_vec();
    bytes[1] ^= 0x20;
    archive.file(&blob_path(&image), &bytes);
    assert_eq!(
        problem(archive, &image),
        format!(
            "docker.io/library/bad:1: {:?} has the digest {}, but must have {}",
            blob_path(&image),
            Digest::of(&bytes),
            digest_of(&image)
        )
    );
}

#[test]
fn a_hashed_layer_with_another_digest_is_refused_with_both() {
    let mut archive = Archive::default();
    let image = archive.image("amd64", "a");
    let layer = descriptor(OCI_LAYER, b"layer a");
    let file = FileMember {
        size: 7,
        offset: None,
        runs: None,
        digest: Some(Digest::of(b"layer?a")),
        compression: Compression::Gzip,
        diff_id: None,
        document: None,
    };
    archive.put(&blob_path(&layer), file);
    let problem = problem(archive, &image);
    assert!(
        problem.contains(Digest::of(b"layer?a").as_str()),
        "{problem}"
    );
    assert!(
        problem.contains(&format!("must have {}", digest_of(&layer))),
        "{problem}"
    );
}

#[test]
fn a_blob_of_another_length_is_refused() {
    let mut archive = Archive::default();
    let image = archive.image("amd64", "a");
    let layer = descriptor(OCI_LAYER, b"layer a");
    archive.file(&blob_path(&layer), b"lay");
    assert_eq!(
        problem(archive, &image),
        format!(
            "docker.io/library/bad:1: {:?} is 3 bytes long, but {} must be 7",
            blob_path(&layer),
            digest_of(&layer)
        )
    );
    // One blob, two lengths.
    let mut archive = Archive::default();
    let config = archive.json_blob(OCI_CONFIG, &json!({"architecture": "amd64", "os": "linux"}));
    let layer = descriptor(OCI_LAYER, b"in the store");
    let mut longer = layer.clone();
    longer["size"] = json!(13);
    let image = archive.manifest(&config, &[layer, longer]);
    assert!(problem(archive, &image).contains("is 12 bytes long, but"));
}

#[test]
fn a_manifest_that_is_no_document_is_refused() {
    let mut archive = Archive::default();
    let target = archive.blob(OCI_MANIFEST, b"not JSON");
    let problem_found = problem(archive, &target);
    assert!(
        problem_found
            .ends_with("is no JSON document of at most 8 MiB, as a manifest or a configuration is")
    );

    let mut archive = Archive::default();
    let target = archive.blob(OCI_MANIFEST, b"{\"config\":\n \"\x1b[31m\"}");
    let bytes_problem = problem(archive, &target);
    assert!(bytes_problem.contains("line 2, column "), "{bytes_problem}");

    let mut archive = Archive::default();
    let long = "x".repeat(1 << 20);
    let target = archive.json_blob(OCI_MANIFEST, &json!({"config": {"size": long}}));
    assert!(problem(archive, &target).contains("invalid type: string \"xxx"));
}

#[test]
fn digests_that_cannot_be_kept_are_refused_where_they_are_needed() {
    let sha512 = format!("sha512:{}", "0".repeat(128));
    let mut archive = Archive::default();
    let config = archive.json_blob(OCI_CONFIG, &json!({"architecture": "amd64", "os": "linux"}));
    let layer = json!({"mediaType": OCI_LAYER, "digest": sha512, "size": 1});
    let image = archive.manifest(&config, std::slice::from_ref(&layer));
    assert!(problem(archive, &image).contains("is not a digest of the form sha256:"));

    // As a target it is a problem, as an unwanted child it is nothing.
    let mut archive = Archive::default();
    let amd64 = archive.image("amd64", "a");
    let index = archive.index(&[on(&layer, "linux", "arm64"), on(&amd64, "linux", "amd64")]);
    let target = json!({"mediaType": OCI_MANIFEST, "digest": "\u{1b}", "size": 1});
    archive.layout(&[named(&index, "app:1"), target]);
    let resolution = archive.resolve("host").unwrap();
    assert_eq!(resolution.images.len(), 1);
    assert_eq!(
        resolution.problems[0].to_string(),
        "a descriptor of index.json: \"\\u{1b}\" is not a digest of the form sha256:<64 lower-case \
         hexadecimal digits>"
    );
}

#[test]
fn depth_is_bounded() {
    let mut archive = Archive::default();
    let mut target = archive.image("amd64", "a");
    for _ in 0..9 {
        target = archive.index(&[target]);
    }
    assert!(problem(archive, &target).contains("indexes lie in indexes more than 8 deep"));
}

#[test]
fn lists_are_bounded() {
    let mut archive = Archive::default();
    let one = json!({"mediaType": "x", "digest": "", "size": 0});
    let target = archive.index(&vec![one.clone(); 4097]);
    let found = problem(archive, &target);
    assert!(
        found.contains("invalid length 4097, expected a list of at most 4096 elements"),
        "{found}"
    );
    let mut archive = Archive::default();
    archive.layout(&vec![one; 4097]);
    assert!(
        archive
            .resolve("host")
            .unwrap_err()
            .to_string()
            .starts_with("\"index.json\", line 1")
    );
}

#[test]
fn work_is_bounded_although_documents_can_be_shared() {
    let mut archive = Archive::default();
    let amd64 = archive.image("amd64", "a");
    let opaque = |i: usize| descriptor("application/x", i.to_string().as_bytes());
    let large = archive.index(&(0..4096).map(opaque).collect::<Vec<_>>());
    // Each of these is another image, and each leads to all of the large index.
    let targets: Vec<Value> = (0..60)
        .map(|i| {
            let index = archive.index(&[on(&amd64, "linux", "amd64"), large.clone(), opaque(i)]);
            named(&index, &format!("app:{i}"))
        })
        .collect();
    archive.layout(&targets);
    let resolution = archive.resolve("host").unwrap();
    assert!(!resolution.images.is_empty());
    let last = resolution.problems.last().unwrap();
    assert!(matches!(last.fault, Fault::TooMuch), "{last}");
    assert_eq!(resolution.images.len() + resolution.problems.len(), 60);
}

#[test]
fn notes_are_bounded() {
    let mut archive = Archive::default();
    let targets: Vec<Value> = (0..50)
        .map(|i| named(&archive.image("amd64", &i.to_string()), "app:1"))
        .collect();
    archive.layout(&targets);
    let resolution = archive.resolve("host").unwrap();
    assert_eq!(resolution.images.len(), 1);
    assert_eq!(resolution.notes.len(), 21);
    assert_eq!(resolution.notes[20], Note::More(29));
}

#[test]
fn a_list_that_is_a_link_in_a_circle_is_told_so() {
    let mut archive = Archive::default();
    archive.link("index.json", "there");
    archive.link("there", "index.json");
    assert!(
        archive
            .resolve("host")
            .unwrap_err()
            .to_string()
            .starts_with(
                r#"no images in it: "there" is a link to "index.json", which leads to no file"#
            )
    );
}
