//! A file that is open for writing is not whole until it is closed.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};
use stowd::source_event::EntrySource as _;

use super::harness::{Images, NEVER};
use stowd::images_dir::SettleLimits;
use stowd::source_event::SourceEvent;

fn append(path: &Path) -> File {
    File::options().append(true).open(path).unwrap()
}

/// Until it is told that this file is not whole.
async fn settling(images: &mut Images, path: &str) {
    let path = images.at(path);
    while images.entries.get(&path) != Some(&false) {
        images.next().await;
    }
}

#[tokio::test]
async fn a_new_file_is_not_whole_until_it_is_closed() {
    let mut images = Images::empty();
    let mut file = File::create(images.at("a.tar")).unwrap();
    settling(&mut images, "a.tar").await;
    file.write_all(b"a").unwrap();
    assert!(!images.is_whole("a.tar").await);
    file.write_all(b"more").unwrap();
    assert_eq!(images.quiet().await, [], "that is known");
    drop(file);
    images.settled("a.tar").await;
    assert!(images.is_whole("a.tar").await);
}

#[tokio::test]
async fn a_file_that_is_written_again_is_not_whole_until_it_is_closed() {
    let mut images = Images::empty();
    images.write("a.tar");
    images.settled("a.tar").await;
    images.quiet().await;
    let mut file = append(&images.at("a.tar"));
    file.write_all(b"more").unwrap();
    settling(&mut images, "a.tar").await;
    assert_eq!(images.quiet().await, []);
    assert!(!images.is_whole("a.tar").await);
    drop(file);
    images.settled("a.tar").await;
}

#[tokio::test]
async fn a_file_that_is_renamed_while_it_is_written_stays_so_under_its_new_name() {
    let mut images = Images::empty();
    let mut file = File::create(images.at(".a.part")).unwrap();
    file.write_all(b"half").unwrap();
    fs::rename(images.at(".a.part"), images.at("a.tar")).unwrap();
    settling(&mut images, "a.tar").await;
    assert!(!images.is_whole("a.tar").await);
    fs::create_dir(images.at("sub")).unwrap();
    images.quiet().await;
    fs::rename(images.at("a.tar"), images.at("sub/b.tar")).unwrap();
    assert!(!images.is_whole("sub/b.tar").await);
    fs::rename(images.at("sub"), images.at("new")).unwrap();
    assert!(!images.is_whole("new/b.tar").await);
    let others = ["a.tar", "sub/b.tar"].map(|path| images.at(path));
    assert!(others.iter().all(|path| !images.entries.contains_key(path)));
    drop(file);
    images.settled("new/b.tar").await;
    let whole = |event: &&SourceEvent| matches!(event, SourceEvent::Settled(_));
    assert_eq!(images.seen.iter().filter(whole).count(), 1);
}

#[tokio::test]
async fn a_file_that_takes_the_place_of_one_being_written_is_whole() {
    let mut images = Images::empty();
    let mut file = File::create(images.at("a.tar")).unwrap();
    file.write_all(b"half").unwrap();
    assert!(!images.is_whole("a.tar").await);
    images.write(".whole");
    fs::rename(images.at(".whole"), images.at("a.tar")).unwrap();
    images.settled("a.tar").await;
    file.write_all(b"of no use").unwrap();
    assert!(images.is_whole("a.tar").await);
    images.source.look(&images.at("a.tar"));
    images.settled("a.tar").await;
}

#[tokio::test]
async fn a_link_to_a_file_that_is_being_written_is_not_whole() {
    let mut images = Images::over("images", |around| {
        fs::create_dir(around.join("images")).unwrap();
        fs::create_dir(around.join("store")).unwrap();
        fs::write(around.join("store/x"), "x").unwrap();
        fs::write(around.join("store/y"), "y").unwrap();
        symlink("../store/x", around.join("images/a.tar")).unwrap();
    });
    for _ in 0..2 {
        let mut file = append(&images.around.join("store/x"));
        file.write_all(b"more").unwrap();
        settling(&mut images, "a.tar").await;
        assert!(!images.is_whole("a.tar").await);
        drop(file);
        images.settled("a.tar").await;
    }
    // The link leads to another file meanwhile, which is whole.
    let mut file = append(&images.around.join("store/x"));
    file.write_all(b"more").unwrap();
    settling(&mut images, "a.tar").await;
    symlink("../store/y", images.at(".beside")).unwrap();
    fs::rename(images.at(".beside"), images.at("a.tar")).unwrap();
    images.found("a.tar").await;
    assert!(images.is_whole("a.tar").await);
}

#[tokio::test]
async fn a_file_that_is_removed_while_it_is_written_is_forgotten() {
    let mut images = Images::empty();
    let file = File::create(images.at("a.tar")).unwrap();
    assert!(!images.is_whole("a.tar").await);
    fs::remove_file(images.at("a.tar")).unwrap();
    images.removed("a.tar").await;
    // A link raises no event but that of the name.
    fs::write(images.at(".b"), "b").unwrap();
    fs::hard_link(images.at(".b"), images.at("a.tar")).unwrap();
    images.settled("a.tar").await;
    drop(file);
}

#[tokio::test]
async fn a_file_that_is_written_for_long_is_told_once_and_again_when_it_is_whole() {
    let limits = SettleLimits {
        unsettled: Duration::from_millis(200),
        silence: Duration::from_secs(3600),
    };
    let mut images = Images::with_limits(NEVER, limits);
    let begun = Instant::now();
    let file = File::create(images.at("a.tar")).unwrap();
    loop {
        match images.next().await {
            SourceEvent::StillWritten(entry) if entry.path == images.at("a.tar") => break,
            SourceEvent::Settling(_) => {}
            event => panic!("{event:?}"),
        }
    }
    assert!(begun.elapsed() >= limits.unsettled);
    assert_eq!(images.drained().await, [], "it is told once");
    // A listing replaces what was told, so that it is told again after it.
    images.source.rescan();
    assert!(!images.listed().await.entries[0].whole);
    assert!(matches!(images.next().await, SourceEvent::StillWritten(_)));
    assert_eq!(images.drained().await, []);
    drop(file);
    images.settled("a.tar").await;
}

#[tokio::test]
async fn a_writer_that_is_silent_for_long_is_given_up() {
    let limits = SettleLimits {
        unsettled: Duration::from_secs(3600),
        silence: Duration::from_millis(300),
    };
    let mut images = Images::with_limits(NEVER, limits);
    let begun = Instant::now();
    let _open = File::create(images.at("a.tar")).unwrap();
    images.settled("a.tar").await;
    assert!(begun.elapsed() >= limits.silence);
}
