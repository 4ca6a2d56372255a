//! Directories in the images directory.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};

use super::harness::Images;
use stowd::images_dir::Cause;

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
    images.lost("sub/a.tar").await;
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
    assert_eq!(images.rescan().await, Cause::Directories);
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
    images.lost("shown/a.tar").await;
}
