//! A file that is being written is known as such until it is closed.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::harness::{Images, until};

async fn is_being_written(images: &Images, path: &str) {
    let path = images.at(path);
    let being_written = || images.watch.is_being_written(&path);
    until("being written", being_written).await;
}

fn append(path: &Path) -> File {
    File::options().append(true).open(path).unwrap()
}

#[tokio::test]
async fn a_new_file_is_being_written_until_it_is_closed() {
    let mut images = Images::empty();
    let mut file = File::create(images.at("a.tar")).unwrap();
    is_being_written(&images, "a.tar").await;
    file.write_all(b"a").unwrap();
    assert_eq!(images.quiet().await, [], "it is not whole");
    assert!(images.watch.is_being_written(&images.at("a.tar")));
    drop(file);
    images.touched("a.tar").await;
    assert!(!images.watch.is_being_written(&images.at("a.tar")));
}

#[tokio::test]
async fn a_file_that_is_written_again_is_being_written_until_it_is_closed() {
    let mut images = Images::empty();
    images.write("a.tar");
    images.touched("a.tar").await;
    images.quiet().await;
    let mut file = append(&images.at("a.tar"));
    file.write_all(b"more").unwrap();
    is_being_written(&images, "a.tar").await;
    assert_eq!(images.quiet().await, []);
    drop(file);
    images.touched("a.tar").await;
    assert!(!images.watch.is_being_written(&images.at("a.tar")));
}

#[tokio::test]
async fn a_file_that_is_renamed_while_it_is_written_stays_so_under_its_new_name() {
    let mut images = Images::empty();
    let mut file = File::create(images.at(".a.part")).unwrap();
    file.write_all(b"half").unwrap();
    fs::rename(images.at(".a.part"), images.at("a.tar")).unwrap();
    images.touched("a.tar").await;
    is_being_written(&images, "a.tar").await;
    fs::create_dir(images.at("sub")).unwrap();
    fs::rename(images.at("a.tar"), images.at("sub/b.tar")).unwrap();
    images.found("sub/b.tar").await;
    file.write_all(b"more").unwrap();
    images.quiet().await;
    is_being_written(&images, "sub/b.tar").await;
    fs::rename(images.at("sub"), images.at("new")).unwrap();
    images.found("new/b.tar").await;
    is_being_written(&images, "new/b.tar").await;
    assert!(!images.watch.is_being_written(&images.at("sub/b.tar")));
    assert!(!images.watch.is_being_written(&images.at("a.tar")));
    drop(file);
    images.touched("new/b.tar").await;
    assert!(!images.watch.is_being_written(&images.at("new/b.tar")));
}

#[tokio::test]
async fn a_file_that_takes_the_place_of_one_being_written_is_whole() {
    let mut images = Images::empty();
    let mut file = File::create(images.at("a.tar")).unwrap();
    file.write_all(b"half").unwrap();
    images.quiet().await;
    is_being_written(&images, "a.tar").await;
    images.write(".whole");
    fs::rename(images.at(".whole"), images.at("a.tar")).unwrap();
    images.touched("a.tar").await;
    assert!(!images.watch.is_being_written(&images.at("a.tar")));
    file.write_all(b"to nobody's use").unwrap();
    images.quiet().await;
    assert!(!images.watch.is_being_written(&images.at("a.tar")));
}

#[tokio::test]
async fn a_link_to_a_file_that_is_being_written_is_being_written() {
    let mut images = Images::over("images", |around| {
        fs::create_dir(around.join("images")).unwrap();
        fs::create_dir(around.join("store")).unwrap();
        fs::write(around.join("store/x"), "x").unwrap();
        symlink("../store/x", around.join("images/a.tar")).unwrap();
    });
    let mut file = append(&images.around.join("store/x"));
    file.write_all(b"more").unwrap();
    is_being_written(&images, "a.tar").await;
    drop(file);
    images.touched("a.tar").await;
    assert!(!images.watch.is_being_written(&images.at("a.tar")));
}

#[tokio::test]
async fn a_file_that_is_removed_while_it_is_written_is_forgotten() {
    let mut images = Images::empty();
    let file = File::create(images.at("a.tar")).unwrap();
    images.quiet().await;
    is_being_written(&images, "a.tar").await;
    fs::remove_file(images.at("a.tar")).unwrap();
    images.touched("a.tar").await;
    assert!(!images.watch.is_being_written(&images.at("a.tar")));
    drop(file);
}
