//! The images directory itself comes, goes and is replaced.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};
use stowd::source_event::EntrySource as _;

use super::harness::{DEADLINE, Images, inside};
use stowd::images_dir::SourceOptions;
use stowd::source_event::{Absence, Listing, SourceEvent};

#[tokio::test]
async fn a_missing_images_directory_is_followed_once_it_is_made() {
    let mut images = Images::over("one/two/images", |_| {});
    assert_eq!(images.listing, Listing::default());
    fs::create_dir(images.around.join("one")).unwrap();
    assert_eq!(images.listed().await, Listing::default());
    fs::create_dir(images.around.join("one/two")).unwrap();
    assert_eq!(images.listed().await, Listing::default());
    fs::create_dir(&images.dir).unwrap();
    images.write("a.tar");
    images.found("a.tar").await;
    images.is_followed("b.tar").await;
}

#[tokio::test]
async fn one_that_is_made_at_once_two_levels_deep_is_followed() {
    let mut images = Images::over("one/two/images", |_| {});
    fs::create_dir_all(&images.dir).unwrap();
    images.write("a.tar");
    images.found("a.tar").await;
    images.is_followed("b.tar").await;
}

#[tokio::test]
async fn one_that_is_removed_and_made_again_is_followed() {
    let mut images = Images::empty();
    images.write("a.tar");
    images.settled("a.tar").await;
    images.quiet().await;
    // Its file goes before it does, and that is seen.
    fs::remove_dir_all(&images.dir).unwrap();
    images.removed("a.tar").await;
    fs::create_dir(&images.dir).unwrap();
    images.write("b.tar");
    images.found("b.tar").await;
    images.is_followed("c.tar").await;
}

#[tokio::test]
async fn one_that_is_removed_while_it_is_open_is_lost_at_once() {
    let mut images = Images::empty();
    images.write("a.tar");
    images.settled("a.tar").await;
    images.quiet().await;
    let held = fs::File::open(&images.dir).unwrap();
    // Its file goes before it does, and that is seen.
    fs::remove_dir_all(&images.dir).unwrap();
    images.removed("a.tar").await;
    fs::create_dir(&images.dir).unwrap();
    images.is_followed("b.tar").await;
    drop(held);
}

#[tokio::test]
async fn one_that_is_renamed_away_and_replaced_is_followed() {
    let mut images = Images::empty();
    let (old, new) = (images.around.join("old"), images.around.join("new"));
    fs::create_dir(&new).unwrap();
    fs::write(new.join("a.tar"), "a").unwrap();
    images.write("before.tar");
    images.settled("before.tar").await;
    fs::rename(&images.dir, &old).unwrap();
    fs::rename(&new, &images.dir).unwrap();
    images.found("a.tar").await;
    let removed = SourceEvent::Removed(images.at("before.tar"));
    assert!(!images.seen.contains(&removed), "it is out of sight");
    images.is_followed("b.tar").await;
    images.quiet().await;
    fs::write(old.join("c.tar"), "c").unwrap();
    assert_eq!(images.quiet().await, []);
}

#[tokio::test]
async fn one_that_is_replaced_by_a_link_is_followed_and_so_is_the_next_target() {
    let mut images = Images::empty();
    for version in ["v1", "v2"] {
        let dir = images.around.join(version);
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join(format!("{version}.tar")), version).unwrap();
    }
    fs::remove_dir(&images.dir).unwrap();
    symlink("v1", &images.dir).unwrap();
    images.found("v1.tar").await;
    images.is_followed("a.tar").await;
    symlink("v2", images.around.join("next")).unwrap();
    fs::rename(images.around.join("next"), &images.dir).unwrap();
    images.found("v2.tar").await;
    images.is_followed("b.tar").await;
}

#[tokio::test]
async fn a_directory_above_that_is_renamed_takes_it_away_and_brings_it_back() {
    let mut images = Images::over("one/two/images", |around| {
        fs::create_dir_all(around.join("one/two/images")).unwrap();
    });
    images.write("a.tar");
    images.settled("a.tar").await;
    images.quiet().await;
    let (one, away) = (images.around.join("one"), images.around.join("away"));
    fs::rename(&one, &away).unwrap();
    assert_eq!(images.lost("a.tar").await, Absence::OutOfSight);
    fs::rename(&away, &one).unwrap();
    images.found("a.tar").await;
    images.is_followed("b.tar").await;
}

#[tokio::test]
async fn a_sibling_whose_name_begins_alike_is_not_in_it() {
    let mut images = Images::empty();
    images.quiet().await;
    for sibling in ["images-old", "images.bak", "imagesX"] {
        let dir = images.around.join(sibling);
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("a.tar"), "a").unwrap();
    }
    fs::write(images.around.join("images.tar"), "a").unwrap();
    assert_eq!(images.quiet().await, []);
}

#[tokio::test]
async fn a_missing_one_is_not_taken_for_its_sibling() {
    let mut images = Images::over("images", |_| {});
    fs::create_dir(images.around.join("images-old")).unwrap();
    fs::write(images.around.join("images-old/a.tar"), "a").unwrap();
    assert_eq!(images.quiet().await, []);
}

#[tokio::test]
async fn one_that_vanishes_is_out_of_sight_and_one_that_returns_is_the_same() {
    let mut images = Images::empty();
    images.write("a.tar");
    images.settled("a.tar").await;
    images.quiet().await;
    let known = images.listing.directories.clone();
    let away = images.around.join("away");
    fs::rename(&images.dir, &away).unwrap();
    assert_eq!(images.lost("a.tar").await, Absence::OutOfSight);
    assert_eq!(images.listing, Listing::default());
    fs::rename(&away, &images.dir).unwrap();
    images.found("a.tar").await;
    assert_eq!(images.listing.directories, known);
    let removed = SourceEvent::Removed(images.at("a.tar"));
    assert!(!images.seen.contains(&removed), "{:?}", images.seen);
}

#[tokio::test]
async fn a_file_in_its_place_is_unreadable() {
    let images = Images::over("images", |around| {
        fs::write(around.join("images"), "a").unwrap();
    });
    let unreadable = &images.listing.unreadable;
    assert_eq!(unreadable.len(), 1);
    assert_eq!(
        unreadable[0].error,
        "cannot be listed: Not a directory (os error 20)"
    );
}

#[tokio::test]
async fn a_listing_comes_when_it_is_due_and_when_it_is_asked_for() {
    let options = SourceOptions {
        settle: Duration::ZERO,
        rescan: Duration::from_millis(50),
        poll: Duration::ZERO,
    };
    let mut images = Images::with(options, "images", |_| {});
    let listed = SourceEvent::Listed(Listing::default());
    for _ in 0..3 {
        assert_eq!(images.next().await, listed);
    }
    let mut images = Images::over("images", |_| {});
    images.source.rescan();
    assert_eq!(images.next().await, listed);
}

#[test]
fn nothing_wakes_it_while_nothing_happens() {
    let name = "images_dir::itself::nothing_wakes_it_while_nothing_happens";
    // Where no other process makes names: the directories above are watched, too.
    let own = r#"mount -t tmpfs stowd-test /mnt && TMPDIR=/mnt exec "$0" "$@""#;
    inside(&["unshare", "--mount", "sh", "-c", own], name, || async {
        let options = SourceOptions::with_rescan(Duration::ZERO, Duration::from_secs(600));
        let mut images = Images::with(options, "images", |around| {
            fs::create_dir_all(around.join("images/sub")).unwrap();
        });
        images.is_followed("sub/a.tar").await;
        images.quiet().await;
        let asleep = || times_slept("images-dir");
        // It goes to sleep once more after what it told last, and not once in half a second then.
        let deadline = Instant::now() + DEADLINE;
        let mut woken = u64::MAX;
        while woken > 0 {
            assert!(Instant::now() < deadline, "{woken} times in half a second");
            let before = asleep();
            tokio::time::sleep(Duration::from_millis(500)).await;
            woken = asleep() - before;
        }
    });
}

/// How often the thread of this name went to sleep.
fn times_slept(thread: &str) -> u64 {
    for task in fs::read_dir("/proc/self/task").unwrap() {
        let task = task.unwrap().path();
        if fs::read_to_string(task.join("comm")).unwrap().trim() == thread {
            let status = fs::read_to_string(task.join("status")).unwrap();
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            return line.unwrap().trim().parse().unwrap();
        }
    }
    panic!("no thread {thread}");
}
