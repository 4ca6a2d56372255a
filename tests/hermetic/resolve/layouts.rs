//! Which layout an archive has.

use serde_json::json;

use super::builder::{Archive, named, names};

fn error(archive: &Archive) -> String {
    archive.resolve("host").unwrap_err().to_string()
}

fn oci() -> Archive {
    let mut archive = Archive::default();
    let image = archive.image("amd64", "a");
    archive.layout(&[named(&image, "example.com/oci:1")]);
    archive
}

#[test]
fn of_two_layouts_the_oci_one_counts() {
    let mut archive = oci();
    archive.json(
        "manifest.json",
        &json!([{"Config": "x", "RepoTags": ["docker:1"], "Layers": []}]),
    );
    assert_eq!(names(&archive.only_image("host")), ["example.com/oci:1"]);
}

#[test]
fn the_marker_of_an_oci_layout_may_be_missing() {
    let mut archive = Archive::default();
    let image = archive.image("amd64", "a");
    archive.json(
        "index.json",
        &json!({"manifests": [named(&image, "example.com/oci:1")]}),
    );
    assert_eq!(names(&archive.only_image("host")), ["example.com/oci:1"]);
}

#[test]
fn a_layout_may_lie_in_the_one_directory_of_an_archive() {
    let mut archive = Archive {
        top: "bundle/",
        ..Archive::default()
    };
    let image = archive.image("amd64", "a");
    archive.layout(&[named(&image, "example.com/oci:1")]);
    // What macOS adds to a tar.
    let mut with_doubles = archive.clone();
    with_doubles.top = "";
    with_doubles.file("._bundle", b"\0\x05\x16\x07");
    for archive in [archive.clone(), with_doubles] {
        assert_eq!(names(&archive.only_image("host")), ["example.com/oci:1"]);
    }
    // Among other things, it is an OCI layout that is found alone.
    archive.top = "";
    archive.file("other/file", b"x");
    assert_eq!(names(&archive.only_image("host")), ["example.com/oci:1"]);
    archive.json("other/oci-layout", &json!({"imageLayoutVersion": "1.0.0"}));
    assert_eq!(names(&archive.only_image("host")), ["example.com/oci:1"]);
    archive.json("other/index.json", &json!({"manifests": []}));
    assert_eq!(
        error(&archive),
        "it holds 2 OCI layouts (\"bundle/\" …): make an archive of each, with index.json at its top"
    );
}

#[test]
fn an_archive_of_something_else_is_told_by_what_it_holds() {
    let mut archive = Archive::default();
    assert!(
        error(&archive).ends_with("at its top; it is empty"),
        "{}",
        error(&archive)
    );
    for i in 0..6 {
        archive.file(&format!("etc/{i}\n"), b"x");
    }
    assert!(
        error(&archive)
            .ends_with(r#"it holds "etc/0\n", "etc/1\n", "etc/2\n", "etc/3\n" and 2 more"#),
        "{}",
        error(&archive)
    );
    archive.file("images/app.TAR.zst", b"x");
    assert!(
        error(&archive).ends_with(
            r#"it is a tar of archives ("images/app.TAR.zst"): unpack it and put those into the images directory"#
        ),
        "{}",
        error(&archive)
    );
}

#[test]
fn half_a_layout_is_told_from_none() {
    let mut archive = Archive::default();
    archive.json("oci-layout", &json!({"imageLayoutVersion": "1.0.0"}));
    archive.json("manifest.json", &json!([]));
    assert!(error(&archive).starts_with("\"oci-layout\" is there, but not index.json"));

    let mut archive = Archive::default();
    archive.json("repositories", &json!({}));
    assert!(error(&archive).contains("saved by a Docker before 1.10"));

    let mut archive = oci();
    archive.json("oci-layout", &json!({"imageLayoutVersion": "2.0\n"}));
    assert_eq!(
        error(&archive),
        r#""oci-layout" says version "2.0\n"; 1.0.0 is known"#
    );
}

#[test]
fn a_list_of_images_that_cannot_be_read_is_told_with_its_place() {
    let mut archive = Archive::default();
    archive.file("index.json", b"{\n  \"manifests\": [{]\n}");
    assert_eq!(
        error(&archive),
        r#""index.json", line 2, column 18: key must be a string"#
    );

    let mut archive = Archive::default();
    archive.file("dir/manifest.json", b"[{\"Config\": 7}]");
    assert!(
        error(&archive)
            .starts_with(r#""dir/manifest.json", line 1, column 13: invalid type: integer"#),
        "{}",
        error(&archive)
    );

    let mut archive = Archive::default();
    archive.file("index.json", b"<html>");
    assert_eq!(
        error(&archive),
        "\"index.json\" is no JSON document of at most 8 MiB"
    );

    for (path, nothing) in [
        ("index.json", json!({"manifests": []})),
        ("index.json", json!({"manifests": null})),
        ("manifest.json", json!([])),
    ] {
        let mut archive = Archive::default();
        archive.json(path, &nothing);
        assert_eq!(error(&archive), format!("{path:?} lists no images"));
    }
}
