//! Symbolic links to files and to directories.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::harness::Images;
use stowd::source_event::{Absence, SourceEvent};

/// `images/a.tar` leads to `store/v1.tar`.
fn linked() -> Images {
    Images::over("images", |around| {
        fs::create_dir(around.join("images")).unwrap();
        fs::create_dir(around.join("store")).unwrap();
        fs::write(around.join("store/v1.tar"), "1").unwrap();
        symlink(around.join("store/v1.tar"), around.join("images/a.tar")).unwrap();
    })
}

/// Puts a link in place as careful people do: made beside it, renamed over.
fn swap(target: &Path, link: &Path) {
    let beside = link.with_file_name(".beside");
    symlink(target, &beside).unwrap();
    fs::rename(&beside, link).unwrap();
}

#[tokio::test]
async fn a_link_is_told_when_it_is_made_swapped_and_removed() {
    let mut images = linked();
    fs::write(images.around.join("store/v2.tar"), "2").unwrap();
    swap(Path::new("../store/v2.tar"), &images.at("a.tar"));
    images.current("a.tar").await;
    images.quiet().await;
    symlink("../store/v1.tar", images.at("b.tar")).unwrap();
    images.current("b.tar").await;
    images.quiet().await;
    fs::remove_file(images.at("a.tar")).unwrap();
    let path = images.at("a.tar");
    while images.entries.contains_key(&path) {
        images.next().await;
    }
}

#[tokio::test]
async fn a_link_is_told_when_its_target_is_rewritten_or_replaced() {
    let mut images = linked();
    let target = images.around.join("store/v1.tar");
    fs::write(&target, "one").unwrap();
    images.current("a.tar").await;
    images.quiet().await;
    fs::write(images.around.join("store/new"), "new").unwrap();
    fs::rename(images.around.join("store/new"), &target).unwrap();
    images.current("a.tar").await;
    images.quiet().await;
    fs::remove_file(&target).unwrap();
    images.dangling("a.tar").await;
    images.quiet().await;
    fs::write(&target, "again").unwrap();
    images.current("a.tar").await;
}

#[tokio::test]
async fn the_target_of_a_link_that_was_made_later_is_watched() {
    let mut images = linked();
    let target = images.around.join("store/v1.tar");
    symlink(&target, images.at("b.tar")).unwrap();
    images.current("b.tar").await;
    images.quiet().await;
    fs::write(&target, "one").unwrap();
    images.current("b.tar").await;
}

#[tokio::test]
async fn a_link_is_told_when_a_link_on_its_way_is_swapped() {
    let mut images = Images::over("images", |around| {
        for version in ["v1", "v2"] {
            fs::create_dir_all(around.join("store").join(version)).unwrap();
            fs::write(around.join("store").join(version).join("x"), version).unwrap();
        }
        symlink("v1", around.join("store/current")).unwrap();
        fs::create_dir(around.join("images")).unwrap();
        symlink("../store/current/x", around.join("images/a.tar")).unwrap();
    });
    swap(Path::new("v2"), &images.around.join("store/current"));
    images.current("a.tar").await;
    images.quiet().await;
    fs::write(images.around.join("store/v2/x"), "new").unwrap();
    images.current("a.tar").await;
    images.quiet().await;
    // Nothing leads there any more.
    fs::write(images.around.join("store/v1/x"), "new").unwrap();
    assert_eq!(images.quiet().await, []);
}

#[tokio::test]
async fn a_link_to_nothing_is_told_when_the_target_comes() {
    let mut images = Images::empty();
    symlink("../later/on/x", images.at("a.tar")).unwrap();
    images.dangling("a.tar").await;
    images.quiet().await;
    fs::create_dir_all(images.around.join("later/on")).unwrap();
    images.quiet().await;
    fs::write(images.around.join("later/on/x"), "x").unwrap();
    images.current("a.tar").await;
}

#[tokio::test]
async fn a_directory_behind_a_link_is_followed_under_the_name_of_the_link() {
    let mut images = Images::empty();
    let pool = images.around.join("pool");
    fs::create_dir_all(pool.join("sub")).unwrap();
    fs::write(pool.join("sub/a.tar"), "a").unwrap();
    symlink(&pool, images.at("pool")).unwrap();
    images.found("pool/sub/a.tar").await;
    images.is_followed("pool/sub/b.tar").await;
    // It leads to another directory.
    let other = images.around.join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("c.tar"), "c").unwrap();
    swap(&other, &images.at("pool"));
    assert_eq!(images.lost("pool/sub/a.tar").await, Absence::OutOfSight);
    images.found("pool/c.tar").await;
    images.is_followed("pool/d.tar").await;
    let removed = |event: &SourceEvent| matches!(event, SourceEvent::Removed(_));
    assert!(!images.seen.iter().any(removed), "{:?}", images.seen);
}

#[tokio::test]
async fn a_directory_behind_two_links_goes_by_the_name_that_the_scan_gives_it() {
    let mut images = Images::over("images", |around| {
        fs::create_dir(around.join("pool")).unwrap();
        fs::create_dir(around.join("images")).unwrap();
        symlink("../pool", around.join("images/a")).unwrap();
        symlink("../pool", around.join("images/b")).unwrap();
    });
    images.is_followed("a/x.tar").await;
    images.quiet().await;
    assert!(images.lists("a/x.tar"));
    fs::remove_file(images.at("a")).unwrap();
    assert_eq!(images.lost("a/x.tar").await, Absence::Removed);
    images.found("b/x.tar").await;
    images.is_followed("b/y.tar").await;
}

#[tokio::test]
async fn circles_of_links_end() {
    let mut images = Images::over("images", |around| {
        fs::create_dir_all(around.join("images/sub")).unwrap();
        symlink("..", around.join("images/sub/up")).unwrap();
        symlink("round.tar", around.join("images/round.tar")).unwrap();
        symlink("/", around.join("images/sub/.root")).unwrap();
    });
    images.is_followed("sub/a.tar").await;
    images.quiet().await;
    assert_eq!(images.listing.entries.len(), 1);
}

#[tokio::test]
async fn a_link_that_becomes_a_file_or_a_directory_is_followed() {
    let mut images = linked();
    images.write(".file");
    fs::rename(images.at(".file"), images.at("a.tar")).unwrap();
    images.current("a.tar").await;
    images.quiet().await;
    fs::write(images.around.join("store/v1.tar"), "one").unwrap();
    assert_eq!(images.quiet().await, [], "the link is no more");
    fs::remove_file(images.at("a.tar")).unwrap();
    fs::create_dir(images.at("a.tar")).unwrap();
    images.is_followed("a.tar/b.tar").await;
}
