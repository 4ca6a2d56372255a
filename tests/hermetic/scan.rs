//! What a walk through the images directory finds, and what ends it.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use stowd::images_dir::Source;
use stowd::source_event::{Listing, SourceEvent};

use crate::images_dir::harness::{NEVER, first_listing};

/// The first listing of `dir`.
fn list(dir: &Path) -> Listing {
    let source = Source::start(dir, NEVER).unwrap();
    match first_listing(&source).pop() {
        Some(SourceEvent::Listed(listing)) => listing,
        other => panic!("{other:?}"),
    }
}

/// The paths below `dir`.
fn below<'a>(dir: &Path, paths: impl IntoIterator<Item = &'a PathBuf>) -> Vec<String> {
    let paths = paths.into_iter();
    paths
        .map(|path| path.strip_prefix(dir).unwrap().display().to_string())
        .collect()
}

fn entries(dir: &Path, listing: &Listing) -> Vec<String> {
    below(dir, listing.entries.iter().map(|listed| &listed.entry.path))
}

fn ignored(listing: &Listing) -> impl Iterator<Item = &PathBuf> {
    listing.ignored.iter().map(|other| &other.path)
}

fn put(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    File::create(path).unwrap();
}

#[test]
fn directories_are_walked_in_name_order() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    for name in [
        "b/a.tar",
        "b/c/z.tar",
        "b-10/a.tar",
        "b-9/a.tar",
        "a-1.10.tar",
        "a-1.9.tar",
        "a.tar",
        "c.txt",
        ".d/a.tar",
    ] {
        put(&dir.join(name));
    }
    for name in ["b/c/y.zip", "b/b.zip", "z.zip", "a.zip"] {
        put(&dir.join(name));
    }
    let found = list(dir);
    assert_eq!(
        entries(dir, &found),
        [
            "a.tar",
            "a-1.9.tar",
            "a-1.10.tar",
            "b/a.tar",
            "b/c/z.tar",
            "b-9/a.tar",
            "b-10/a.tar",
            "c.txt"
        ]
    );
    assert_eq!(
        below(dir, ignored(&found)),
        ["a.zip", "b/b.zip", "b/c/y.zip", "z.zip"]
    );
}

#[test]
fn a_loop_of_links_is_walked_once() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    put(&dir.join("b/a.tar"));
    symlink(".", dir.join("b/again")).unwrap();
    symlink("b", dir.join("c")).unwrap();
    symlink("self", dir.join("self")).unwrap();
    let found = list(dir);
    assert_eq!(entries(dir, &found), ["b/a.tar"]);
    assert_eq!(below(dir, ignored(&found)), ["self"]);
}

#[test]
fn links_to_directories_above_are_not_followed() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    let images = dir.join("node/stowd/images");
    put(&images.join("inner/a.tar"));
    put(&dir.join("node/stowd/containerd/layer.tar"));
    put(&dir.join("elsewhere/b.tar"));
    for (link, target) in [
        ("aside", dir.join("elsewhere")),
        ("inner/up", PathBuf::from("../..")),
        ("root", PathBuf::from("/")),
        ("up", PathBuf::from("..")),
        ("upper", dir.join("node")),
    ] {
        symlink(target, images.join(link)).unwrap();
    }
    // From elsewhere it is above all the same.
    symlink(dir, dir.join("elsewhere/back")).unwrap();
    let found = list(&images);
    assert_eq!(entries(&images, &found), ["aside/b.tar", "inner/a.tar"]);
    assert_eq!(
        below(&images, ignored(&found)),
        ["aside/back", "inner/up", "root", "up", "upper"]
    );
    assert!(found.unreadable.is_empty(), "{:?}", found.unreadable);
}

#[test]
fn an_images_directory_that_is_a_link_has_directories_above_on_both_sides() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    put(&dir.join("data/images/a.tar"));
    put(&dir.join("data/b.tar"));
    put(&dir.join("stowd/c.tar"));
    let images = dir.join("stowd/images");
    symlink(dir.join("data/images"), &images).unwrap();
    symlink(dir.join("stowd"), images.join("given")).unwrap();
    symlink("..", images.join("resolved")).unwrap();
    let found = list(&images);
    assert_eq!(entries(&images, &found), ["a.tar"]);
    assert_eq!(below(&images, ignored(&found)), ["given", "resolved"]);
}
