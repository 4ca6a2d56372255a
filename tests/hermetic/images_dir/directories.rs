//! Directories in the images directory.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};

use super::harness::Images;
use stowd::source_event::{Absence, SourceEvent};

#[tokio::test]
async fn a_new_directory_is_followed() {
    let mut images = Images::empty();
    fs::create_dir_all(images.at("one/two")).unwrap();
    images.write("one/two/a.tar");
    images.found("one/two/a.tar").await;
    images.is_followed("one/two/b.tar").await;
    images.is_followed("one/c.tar").await;
}

#[tokio::test]
async fn a_tree_that_is_moved_in_is_listed_and_followed() {
    let mut images = Images::empty();
    let tree = images.around.join("tree");
    fs::create_dir_all(tree.join("x/y/z")).unwrap();
    fs::write(tree.join("x/y/z/a.tar"), "a").unwrap();
    fs::rename(&tree, images.at("tree")).unwrap();
    images.found("tree/x/y/z/a.tar").await;
    images.is_followed("tree/x/y/z/b.tar").await;
}

#[tokio::test]
async fn a_directory_that_is_renamed_is_known_by_its_new_name() {
    let mut images = Images::over("images", |around| {
        fs::create_dir_all(around.join("images/old/deep")).unwrap();
    });
    images.write("old/deep/a.tar");
    images.found("old/deep/a.tar").await;
    images.quiet().await;
    fs::rename(images.at("old"), images.at("new")).unwrap();
    assert_eq!(images.lost("old/deep/a.tar").await, Absence::Removed);
    images.found("new/deep/a.tar").await;
    images.is_followed("new/deep/b.tar").await;
}

#[tokio::test]
async fn a_directory_that_is_moved_out_is_followed_no_more() {
    let mut images = Images::over("images", |around| {
        fs::create_dir_all(around.join("images/sub")).unwrap();
    });
    images.write("sub/a.tar");
    images.found("sub/a.tar").await;
    images.quiet().await;
    let outside = images.around.join("outside");
    fs::rename(images.at("sub"), &outside).unwrap();
    assert_eq!(images.lost("sub/a.tar").await, Absence::Removed);
    images.quiet().await;
    fs::write(outside.join("b.tar"), "b").unwrap();
    assert_eq!(images.quiet().await, []);
}

#[tokio::test]
async fn a_directory_that_is_removed_and_made_again_is_followed() {
    let mut images = Images::empty();
    for _ in 0..20 {
        fs::create_dir(images.at("sub")).unwrap();
        images.write("sub/a.tar");
        images.found("sub/a.tar").await;
        fs::remove_dir_all(images.at("sub")).unwrap();
    }
    fs::create_dir(images.at("sub")).unwrap();
    images.is_followed("sub/b.tar").await;
}

#[tokio::test]
async fn a_directory_that_is_replaced_by_a_link_is_followed() {
    let mut images = Images::over("images", |around| {
        fs::create_dir_all(around.join("images/sub")).unwrap();
        fs::create_dir(around.join("elsewhere")).unwrap();
    });
    let elsewhere = images.around.join("elsewhere");
    fs::write(elsewhere.join("a.tar"), "a").unwrap();
    fs::remove_dir(images.at("sub")).unwrap();
    symlink(&elsewhere, images.at("sub")).unwrap();
    images.found("sub/a.tar").await;
    images.is_followed("sub/b.tar").await;
}

#[tokio::test]
async fn a_directory_that_can_be_read_again_is_listed() {
    let mut images = Images::over("images", |around| {
        fs::create_dir_all(around.join("images/sub")).unwrap();
    });
    fs::set_permissions(images.at("sub"), Permissions::from_mode(0o755)).unwrap();
    images.listed().await;
}

#[tokio::test]
async fn hidden_directories_are_left_alone_until_they_get_another_name() {
    let mut images = Images::empty();
    fs::create_dir(images.at(".staging")).unwrap();
    images.write(".staging/a.tar");
    assert_eq!(images.quiet().await, []);
    fs::rename(images.at(".staging"), images.at("shown")).unwrap();
    images.found("shown/a.tar").await;
    images.is_followed("shown/b.tar").await;
    fs::rename(images.at("shown"), images.at(".staging")).unwrap();
    assert_eq!(images.lost("shown/a.tar").await, Absence::Removed);
}

#[tokio::test]
async fn what_was_in_a_directory_that_another_one_replaced_is_out_of_sight() {
    let mut images = Images::over("images", |around| {
        fs::create_dir_all(around.join("images/sub")).unwrap();
        fs::create_dir(around.join("another")).unwrap();
        fs::write(around.join("images/sub/a.tar"), "a").unwrap();
    });
    let another = images.around.join("another");
    let away = images.around.join("away");
    // In one step, as a careful administrator would do it.
    rustix::fs::renameat_with(
        rustix::fs::CWD,
        &another,
        rustix::fs::CWD,
        images.at("sub"),
        rustix::fs::RenameFlags::EXCHANGE,
    )
    .unwrap();
    assert_eq!(images.lost("sub/a.tar").await, Absence::OutOfSight);
    // And back.
    fs::rename(images.at("sub"), &away).unwrap();
    fs::rename(&another, images.at("sub")).unwrap();
    images.found("sub/a.tar").await;
    let removed = SourceEvent::Removed(images.at("sub/a.tar"));
    assert!(!images.seen.contains(&removed), "{:?}", images.seen);
}

#[tokio::test]
async fn a_directory_that_is_deleted_takes_its_files_with_it() {
    let mut images = Images::over("images", |around| {
        fs::create_dir_all(around.join("images/sub/deep")).unwrap();
        fs::write(around.join("images/sub/deep/a.tar"), "a").unwrap();
    });
    fs::remove_dir_all(images.at("sub")).unwrap();
    images.removed("sub/deep/a.tar").await;
    // Moved out as a whole, nothing is said of its files but by a listing.
    fs::create_dir_all(images.at("sub/deep")).unwrap();
    images.write("sub/deep/b.tar");
    images.found("sub/deep/b.tar").await;
    images.quiet().await;
    fs::rename(images.at("sub"), images.around.join("going")).unwrap();
    assert_eq!(images.lost("sub/deep/b.tar").await, Absence::Removed);
}

#[tokio::test]
async fn lost_and_found_is_not_looked_into() {
    let mut images = Images::over("images", |around| {
        fs::create_dir_all(around.join("images/lost+found")).unwrap();
        fs::write(around.join("images/lost+found/a.tar"), "a").unwrap();
    });
    assert_eq!(images.listing.entries, []);
    images.write("lost+found/b.tar");
    assert_eq!(images.quiet().await, []);
    let known = images.listing.directories.keys().collect::<Vec<_>>();
    assert_eq!(known, [&images.dir]);
    assert_eq!(images.listing.unreadable, []);
}
