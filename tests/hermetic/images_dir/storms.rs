//! More at once than there is room for.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use super::harness::{Images, until};
use stowd::images_dir::{Cause, Noticed, scan};

/// Receives until every path was told or found by a rescan.
async fn all_are_found(images: &mut Images, mut missing: BTreeSet<PathBuf>) {
    while !missing.is_empty() {
        match images.next().await {
            Noticed::Touched(path) => _ = missing.remove(&path),
            Noticed::Rescan(_) => {
                for entry in scan(&images.dir).entries {
                    missing.remove(&entry.path);
                }
            }
            notice => panic!("{notice:?}"),
        }
    }
}

#[tokio::test]
async fn of_five_thousand_files_none_is_missed() {
    let mut images = Images::in_memory();
    let paths: BTreeSet<_> = (0..5000).map(|n| images.at(&format!("{n}.tar"))).collect();
    let writer = std::thread::spawn({
        let paths = paths.clone();
        move || paths.iter().for_each(|path| fs::write(path, "x").unwrap())
    });
    all_are_found(&mut images, paths).await;
    writer.join().unwrap();
}

#[tokio::test]
async fn of_a_thousand_directories_that_come_and_are_renamed_none_is_missed() {
    let mut images = Images::in_memory();
    let dir = images.dir.clone();
    let writer = std::thread::spawn(move || {
        for number in 0..1000 {
            let made = dir.join(format!("made-{number}"));
            fs::create_dir(&made).unwrap();
            fs::write(made.join("a.tar"), "x").unwrap();
            fs::rename(&made, dir.join(number.to_string())).unwrap();
        }
    });
    let paths = (0..1000).map(|number| images.at(&format!("{number}/a.tar")));
    let paths = paths.collect();
    all_are_found(&mut images, paths).await;
    writer.join().unwrap();
    images.is_followed("999/b.tar").await;
}

#[tokio::test]
async fn more_than_are_told_one_by_one_end_in_a_rescan() {
    let mut images = Images::in_memory();
    // Nobody receives meanwhile.
    let paths: BTreeSet<_> = (0..5000).map(|n| images.at(&format!("{n}.tar"))).collect();
    paths.iter().for_each(|path| fs::write(path, "x").unwrap());
    // The last of all that is to be told.
    let open = fs::File::create(images.at("open.tar")).unwrap();
    let path = images.at("open.tar");
    until("all is told", || images.watch.is_being_written(&path)).await;
    images.watch.rescan();
    assert_eq!(images.rescan().await, Cause::Flood);
    drop(open);
    let listed = scan(&images.dir).entries;
    let listed: BTreeSet<_> = listed.into_iter().map(|entry| entry.path).collect();
    assert!(paths.is_subset(&listed));
}
