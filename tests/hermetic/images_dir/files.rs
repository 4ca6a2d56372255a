//! What is done to files in the images directory.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};
use stowd::source_event::EntrySource as _;

use super::harness::Images;
use stowd::compression::Compression;
use stowd::entry::{Identity, Kind};
use stowd::source_event::{Ignored, LooksLike, SourceEvent};

#[tokio::test]
async fn a_file_that_is_written_and_closed_is_whole() {
    let mut images = Images::empty();
    images.write("a.tar");
    let first = images.settled("a.tar").await;
    assert_eq!(first.kind, Kind::Archive);
    // Written in place: no name comes or goes.
    images.quiet().await;
    let file = File::options()
        .append(true)
        .open(images.at("a.tar"))
        .unwrap();
    std::io::Write::write_all(&mut &file, b"more").unwrap();
    drop(file);
    let second = images.settled("a.tar").await;
    assert_ne!(first.identity, second.identity);
    let metadata = fs::metadata(images.at("a.tar")).unwrap();
    assert_eq!(second.identity, Identity::of(&metadata));
}

#[tokio::test]
async fn a_file_is_left_alone_until_it_was_quiet_for_long_enough() {
    let day = Duration::from_secs(24 * 60 * 60);
    let mut images = Images::settling(day);
    images.write("a.tar");
    let SourceEvent::Settling(entry) = images.next().await else {
        panic!("{:?}", images.seen);
    };
    assert_eq!(entry.path, images.at("a.tar"));
    // A listing does not make it whole.
    assert!(!images.is_whole("a.tar").await);
    let settle = Duration::from_millis(500);
    fs::set_permissions(images.at("a.tar"), Permissions::from_mode(0o600)).unwrap();
    let touched = Instant::now();
    assert!(!images.is_whole("a.tar").await);
    images.source.set_settle(settle);
    images.settled("a.tar").await;
    assert!(touched.elapsed() >= settle, "{:?}", touched.elapsed());
    // It is known from now on, and neither a listing nor a longer time begins anew.
    images.source.set_settle(day);
    assert!(images.is_whole("a.tar").await);
}

#[tokio::test]
async fn a_file_that_is_old_at_the_first_listing_is_whole_and_a_new_one_is_not() {
    let day = Duration::from_secs(24 * 60 * 60);
    let options = |settle| stowd::images_dir::SourceOptions {
        settle,
        ..super::harness::NEVER
    };
    let prepare = |around: &std::path::Path| {
        fs::create_dir(around.join("images")).unwrap();
        fs::write(around.join("images/a.tar"), "a").unwrap();
    };
    let mut images = Images::with(options(day), "images", prepare);
    assert!(!images.entries[&images.at("a.tar")]);
    images.source.set_settle(Duration::ZERO);
    images.settled("a.tar").await;
    let images = Images::with(options(Duration::ZERO), "images", prepare);
    assert!(images.entries[&images.at("a.tar")]);
}

#[tokio::test]
async fn a_file_that_is_renamed_is_removed_and_is_whole_under_its_new_name() {
    let mut images = Images::empty();
    images.write("a.tar");
    images.settled("a.tar").await;
    images.quiet().await;
    fs::rename(images.at("a.tar"), images.at("b.tar")).unwrap();
    let (a, b) = (images.at("a.tar"), images.at("b.tar"));
    while images.entries.contains_key(&a) || !images.entries.contains_key(&b) {
        images.next().await;
    }
    assert!(images.seen.contains(&SourceEvent::Removed(a)));
}

#[tokio::test]
async fn a_file_that_is_moved_in_over_or_out_is_told() {
    let mut images = Images::empty();
    let outside = images.around.join("outside");
    for _ in ["in", "over"] {
        fs::write(&outside, "x").unwrap();
        fs::rename(&outside, images.at("a.tar")).unwrap();
        images.settled("a.tar").await;
        images.quiet().await;
    }
    fs::rename(images.at("a.tar"), &outside).unwrap();
    images.removed("a.tar").await;
}

#[tokio::test]
async fn a_file_that_is_removed_is_told_by_itself() {
    let mut images = Images::empty();
    for name in ["a.tar", "other"] {
        images.write(name);
    }
    images.settled("a.tar").await;
    images.quiet().await;
    let from = images.seen.len();
    for name in ["a.tar", "other"] {
        fs::remove_file(images.at(name)).unwrap();
        images.removed(name).await;
    }
    let listed = |event: &SourceEvent| matches!(event, SourceEvent::Listed(_));
    assert!(!images.seen[from..].iter().any(listed), "no walk is needed");
}

#[tokio::test]
async fn a_file_that_is_removed_with_its_directory_was_removed_even_if_that_is_made_again() {
    let mut images = Images::empty();
    for number in 0..20 {
        let name = format!("sub/{number}.tar");
        fs::create_dir(images.at("sub")).unwrap();
        images.write(&name);
        images.found(&name).await;
        images.quiet().await;
        fs::remove_dir_all(images.at("sub")).unwrap();
        fs::create_dir(images.at("sub")).unwrap();
        images.removed(&name).await;
        fs::remove_dir(images.at("sub")).unwrap();
    }
}

#[tokio::test]
async fn a_file_whose_mode_or_times_change_is_told() {
    let mut images = Images::empty();
    images.write("a.tar");
    images.settled("a.tar").await;
    images.quiet().await;
    fs::set_permissions(images.at("a.tar"), Permissions::from_mode(0o600)).unwrap();
    images.settled("a.tar").await;
}

#[tokio::test]
async fn a_hard_link_is_whole_though_nothing_is_ever_closed() {
    let mut images = Images::empty();
    let outside = images.around.join("outside");
    fs::write(&outside, "x").unwrap();
    fs::hard_link(&outside, images.at("a.tar")).unwrap();
    // What it was linked from may have gone before it is looked at.
    fs::remove_file(&outside).unwrap();
    images.settled("a.tar").await;
}

#[tokio::test]
async fn the_temporary_names_of_a_copy_are_not_told_but_the_last_one_is() {
    let mut images = Images::empty();
    for passing in [".a.tar.Xy12Zz", "a.tar.part", "a.tar~"] {
        images.write(passing);
        fs::rename(images.at(passing), images.at("a.tar")).unwrap();
        images.settled("a.tar").await;
    }
    let a = images.at("a.tar");
    let others = images.seen.iter().filter(|event| match event {
        SourceEvent::Settling(entry) | SourceEvent::Settled(entry) => entry.path != a,
        SourceEvent::Listed(_) => false,
        _ => true,
    });
    assert_eq!(others.count(), 0, "{:?}", images.seen);
}

#[tokio::test]
async fn what_is_no_entry_is_ignored() {
    let mut images = Images::empty();
    images.write("README.md");
    let readme = SourceEvent::Ignored(images.at("README.md").into());
    while images.next().await != readme {}
    // Named like an archive, and not a file.
    let _socket = UnixListener::bind(images.at("a.tar")).unwrap();
    let socket = SourceEvent::Ignored(images.at("a.tar").into());
    while images.next().await != socket {}
    images.quiet().await;
    let ignored = ["README.md", "a.tar"].map(|name| images.at(name).into());
    assert_eq!(images.listing.ignored, ignored);
}

#[tokio::test]
async fn what_an_ignored_file_looks_like_is_told() {
    let mut tar = vec![b'a'; 512];
    tar[257..262].copy_from_slice(b"ustar");
    let mut images = Images::over("images", |around| {
        let images = around.join("images");
        // A layout as a directory is one thing, and archives beside it count.
        let layout = images.join("layout");
        fs::create_dir_all(layout.join("blobs/sha256")).unwrap();
        fs::write(images.join("a.tar.zstd"), b"\x28\xb5\x2f\xfd").unwrap();
        fs::write(images.join("b.img"), &tar).unwrap();
        fs::write(images.join("c.img"), "c").unwrap();
        for number in 0..100 {
            let blob = format!("blobs/sha256/{number:064x}");
            fs::write(layout.join(blob), "blob").unwrap();
        }
        fs::write(layout.join("index.json"), "{}").unwrap();
        fs::write(layout.join("oci-layout"), "{}").unwrap();
        fs::write(layout.join("d.tar"), "d").unwrap();
    });
    images.quiet().await;
    let like = |name: &str, looks_like| Ignored {
        path: images.at(name),
        looks_like,
    };
    let expected = [
        like("a.tar.zstd", LooksLike::Archive(Compression::Zstd)),
        like("b.img", LooksLike::Archive(Compression::Plain)),
        like("c.img", LooksLike::Nothing),
        like("layout/oci-layout", LooksLike::OciLayout),
    ];
    assert_eq!(images.listing.ignored, expected);
    assert!(images.lists("layout/d.tar"));
    // One that is put there later, file by file.
    let seen = images.seen.len();
    fs::create_dir_all(images.at("late/blobs/sha256")).unwrap();
    images.write(&format!("late/blobs/sha256/{:064x}", 0));
    images.write("late/index.json.tmp");
    images.write("late/oci-layout");
    fs::rename(
        images.at("late/index.json.tmp"),
        images.at("late/index.json"),
    )
    .unwrap();
    images.quiet().await;
    let late = Ignored {
        path: images.at("late/oci-layout"),
        looks_like: LooksLike::OciLayout,
    };
    let told = images.seen[seen..].iter().filter(|event| match event {
        SourceEvent::Ignored(_) => true,
        SourceEvent::Listed(listing) => listing.ignored.contains(&late),
        _ => false,
    });
    assert!(told.count() >= 1, "{:?}", images.seen);
    let mut all = expected.to_vec();
    all.push(late);
    all.sort();
    images.source.rescan();
    images.listed().await;
    assert_eq!(images.listing.ignored, all);
}

#[tokio::test]
async fn reading_is_no_change() {
    let mut images = Images::empty();
    images.write("a.tar");
    images.settled("a.tar").await;
    images.quiet().await;
    assert_eq!(fs::read(images.at("a.tar")).unwrap(), b"a.tar");
    assert!(images.lists("a.tar"));
    assert_eq!(images.quiet().await, []);
}

#[tokio::test]
async fn a_look_is_answered_whatever_is_there() {
    let mut images = Images::over("images", |around| {
        fs::create_dir_all(around.join("images/sub.tar")).unwrap();
        fs::write(around.join("images/a.tar"), "a").unwrap();
        fs::write(around.join("images/other"), "other").unwrap();
        std::os::unix::fs::symlink("nowhere", around.join("images/b.tar")).unwrap();
    });
    for _ in 0..2 {
        images.source.look(&images.at("a.tar"));
        images.settled("a.tar").await;
        images.source.look(&images.at("b.tar"));
        let error = images.unreadable("b.tar").await;
        let expected = "cannot be read: No such file or directory (os error 2)";
        assert_eq!(error, expected);
        images.source.look(&images.at("other"));
        let other = SourceEvent::Ignored(images.at("other").into());
        while images.next().await != other {}
        for path in ["sub.tar", "no.tar", "no/such/directory.tar"] {
            images.source.look(&images.at(path));
            images.listed().await;
        }
    }
    // It counts as a touch.
    images.source.set_settle(Duration::from_secs(3600));
    images.source.look(&images.at("a.tar"));
    while !matches!(images.next().await, SourceEvent::Settling(_)) {}
    assert!(!images.is_whole("a.tar").await);
}
