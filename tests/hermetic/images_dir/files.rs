//! What is done to files in the images directory.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;

use super::harness::Images;
use stowd::images_dir::Noticed;

#[tokio::test]
async fn a_file_that_is_written_and_closed_is_touched() {
    let mut images = Images::empty();
    images.write("a.tar");
    images.touched("a.tar").await;
    // Written in place: no name comes or goes.
    images.quiet().await;
    let file = File::options()
        .append(true)
        .open(images.at("a.tar"))
        .unwrap();
    std::io::Write::write_all(&mut &file, b"more").unwrap();
    drop(file);
    images.touched("a.tar").await;
}

#[tokio::test]
async fn a_file_that_is_renamed_is_touched_under_both_names() {
    let mut images = Images::empty();
    images.write("a.tar");
    images.touched("a.tar").await;
    images.quiet().await;
    fs::rename(images.at("a.tar"), images.at("b.tar")).unwrap();
    // The one that is told last is the last in name order.
    images.touched("b.tar").await;
    let a = Noticed::Touched(images.at("a.tar"));
    assert_eq!(images.seen.iter().filter(|notice| **notice == a).count(), 2);
}

#[tokio::test]
async fn a_file_that_is_moved_in_over_or_out_is_touched() {
    let mut images = Images::empty();
    let outside = images.around.join("outside");
    for _ in ["in", "over"] {
        fs::write(&outside, "x").unwrap();
        fs::rename(&outside, images.at("a.tar")).unwrap();
        images.touched("a.tar").await;
        images.quiet().await;
    }
    fs::rename(images.at("a.tar"), &outside).unwrap();
    images.touched("a.tar").await;
}

#[tokio::test]
async fn a_file_that_is_removed_is_touched() {
    let mut images = Images::empty();
    images.write("a.tar");
    images.touched("a.tar").await;
    images.quiet().await;
    fs::remove_file(images.at("a.tar")).unwrap();
    images.touched("a.tar").await;
}

#[tokio::test]
async fn a_file_whose_mode_or_times_change_is_touched() {
    let mut images = Images::empty();
    images.write("a.tar");
    images.touched("a.tar").await;
    images.quiet().await;
    fs::set_permissions(images.at("a.tar"), Permissions::from_mode(0o600)).unwrap();
    images.touched("a.tar").await;
}

#[tokio::test]
async fn a_hard_link_is_touched_though_nothing_is_ever_closed() {
    let mut images = Images::empty();
    let outside = images.around.join("outside");
    fs::write(&outside, "x").unwrap();
    fs::hard_link(&outside, images.at("a.tar")).unwrap();
    // What it was linked from may have gone before it is looked at.
    fs::remove_file(&outside).unwrap();
    images.touched("a.tar").await;
    assert!(!images.watch.is_being_written(&images.at("a.tar")));
}

#[tokio::test]
async fn the_temporary_names_of_a_copy_are_not_told_but_the_last_one_is() {
    let mut images = Images::empty();
    for passing in [".a.tar.Xy12Zz", "a.tar.part", "a.tar~"] {
        images.write(passing);
        fs::rename(images.at(passing), images.at("a.tar")).unwrap();
        images.touched("a.tar").await;
    }
    let passing = |notice: &&Noticed| **notice != Noticed::Touched(images.at("a.tar"));
    let told: Vec<_> = images.seen.iter().filter(passing).collect();
    assert!(told.is_empty(), "{told:?}");
}

#[tokio::test]
async fn reading_is_no_change() {
    let mut images = Images::empty();
    images.write("a.tar");
    images.touched("a.tar").await;
    images.quiet().await;
    assert_eq!(fs::read(images.at("a.tar")).unwrap(), b"a.tar");
    assert!(images.lists(&images.at("a.tar")));
    assert_eq!(images.quiet().await, []);
}
