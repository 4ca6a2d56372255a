//! More at once than there is room for.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use super::harness::Images;
use stowd::source_event::SourceEvent;

/// Receives until every file is told to be whole, one by one or in a listing.
async fn all_are_found(images: &mut Images, missing: BTreeSet<PathBuf>) {
    for path in missing {
        while images.entries.get(&path) != Some(&true) {
            let event = images.next().await;
            assert!(!matches!(event, SourceEvent::Degraded(_)), "{event:?}");
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
async fn more_than_are_told_one_by_one_end_in_a_listing() {
    let mut images = Images::in_memory();
    images.seen.clear();
    // Nothing receives meanwhile.
    let paths: BTreeSet<_> = (0..5000).map(|n| images.at(&format!("{n}.tar"))).collect();
    paths.iter().for_each(|path| fs::write(path, "x").unwrap());
    // The last of all, which is told after them.
    fs::write(images.at("last"), "x").unwrap();
    let last = images.at("last");
    loop {
        match images.next().await {
            SourceEvent::Ignored(other) if other.path == last => break,
            SourceEvent::Listed(listing)
                if listing.ignored.iter().any(|other| other.path == last) =>
            {
                break;
            }
            _ => {}
        }
    }
    all_are_found(&mut images, paths).await;
    let listed = |event: &&SourceEvent| matches!(event, SourceEvent::Listed(_));
    let listings = images.seen.iter().filter(listed).count();
    let others = images.seen.len() - listings;
    assert!(listings > 0 || others >= 5000, "{listings} and {others}");
}
