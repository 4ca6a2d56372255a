//! What is mounted in the images directory, over it, and away again.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use stowd::source_event::EntrySource as _;

use super::harness::{Images, inside};
use stowd::source_event::{Absence, SourceEvent};

/// In a mount namespace of its own, whose mounts are its own.
const MOUNTS: &[&str] = &["unshare", "--mount"];

fn run<S: AsRef<OsStr>>(program: &str, arguments: &[S]) {
    let status = Command::new(program).args(arguments).status().unwrap();
    assert!(status.success(), "{program}");
}

fn tmpfs(images: &Images, at: &str) {
    let at = images.at(at);
    run(
        "mount",
        &[
            "-t".as_ref(),
            "tmpfs".as_ref(),
            "stowd-test".as_ref(),
            at.as_os_str(),
        ],
    );
}

fn unmount(images: &Images, at: &str) {
    run("umount", &[images.at(at)]);
}

fn none_was_removed(images: &Images) {
    let removed = |event: &SourceEvent| matches!(event, SourceEvent::Removed(_));
    assert!(!images.seen.iter().any(removed), "{:?}", images.seen);
}

#[test]
fn what_is_out_of_sight_is_not_removed_by_a_look_at_where_it_was() {
    let name = "images_dir::mounts::what_is_out_of_sight_is_not_removed_by_a_look_at_where_it_was";
    inside(MOUNTS, name, || async {
        // It is asked about while the mount is new, and when it is known.
        for known in [false, true] {
            let mut images = Images::over("images", |around| {
                fs::create_dir_all(around.join("images/sub")).unwrap();
                fs::write(around.join("images/sub/below.tar"), "below").unwrap();
            });
            tmpfs(&images, "sub");
            if known {
                images.quiet().await;
            }
            images.source.look(&images.at("sub/below.tar"));
            let listing = images.listed().await;
            assert!(listing.entries.is_empty());
            images.quiet().await;
            // What comes and goes on the mount is another file.
            images.write("sub/below.tar.tmp");
            fs::remove_file(images.at("sub/below.tar.tmp")).unwrap();
            images.quiet().await;
            none_was_removed(&images);
            unmount(&images, "sub");
            images.found("sub/below.tar").await;
        }
    });
}

#[test]
fn a_file_system_on_a_directory_is_followed_until_it_is_unmounted() {
    let name = "images_dir::mounts::a_file_system_on_a_directory_is_followed_until_it_is_unmounted";
    inside(MOUNTS, name, || async {
        let mut images = Images::over("images", |around| {
            fs::create_dir_all(around.join("images/sub")).unwrap();
        });
        images.write("sub/below.tar");
        images.settled("sub/below.tar").await;
        images.quiet().await;
        tmpfs(&images, "sub");
        // What is below the mount is away, and so is later what was above it.
        assert_eq!(images.lost("sub/below.tar").await, Absence::OutOfSight);
        images.is_followed("sub/above.tar").await;
        images.quiet().await;
        unmount(&images, "sub");
        assert_eq!(images.lost("sub/above.tar").await, Absence::OutOfSight);
        assert!(images.lists("sub/below.tar"));
        images.is_followed("sub/again.tar").await;
        none_was_removed(&images);
    });
}

#[test]
fn what_is_mounted_over_the_images_directory_is_followed() {
    let name = "images_dir::mounts::what_is_mounted_over_the_images_directory_is_followed";
    inside(MOUNTS, name, || async {
        let mut images = Images::empty();
        let other = images.around.join("other");
        fs::create_dir(&other).unwrap();
        fs::write(other.join("a.tar"), "a").unwrap();
        run(
            "mount",
            &["--bind".as_ref(), other.as_os_str(), images.dir.as_os_str()],
        );
        images.found("a.tar").await;
        images.is_followed("b.tar").await;
        images.quiet().await;
        assert!(other.join("b.tar").exists());
        unmount(&images, "");
        assert_eq!(images.lost("b.tar").await, Absence::OutOfSight);
        assert_eq!(images.absent[&images.at("a.tar")], Absence::OutOfSight);
        images.is_followed("c.tar").await;
        none_was_removed(&images);
    });
}

#[test]
fn a_file_that_is_mounted_over_another_is_found() {
    let name = "images_dir::mounts::a_file_that_is_mounted_over_another_is_found";
    inside(MOUNTS, name, || async {
        let mut images = Images::empty();
        images.write("a.tar");
        images.settled("a.tar").await;
        images.quiet().await;
        let other = images.around.join("other");
        fs::write(&other, "other").unwrap();
        run(
            "mount",
            &[
                "--bind".as_ref(),
                other.as_os_str(),
                images.at("a.tar").as_os_str(),
            ],
        );
        images.current("a.tar").await;
        unmount(&images, "a.tar");
        images.current("a.tar").await;
    });
}

#[test]
fn mounts_elsewhere_are_nothing_to_it() {
    let name = "images_dir::mounts::mounts_elsewhere_are_nothing_to_it";
    inside(MOUNTS, name, || async {
        let mut images = Images::empty();
        images.quiet().await;
        let elsewhere = images.around.join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        tmpfs(&images, "../elsewhere");
        assert_eq!(images.quiet().await, []);
        unmount(&images, "../elsewhere");
    });
}

#[test]
fn what_is_behind_a_link_to_a_mount_is_out_of_sight_until_it_is_mounted() {
    let name =
        "images_dir::mounts::what_is_behind_a_link_to_a_mount_is_out_of_sight_until_it_is_mounted";
    inside(MOUNTS, name, || async {
        let mut images = Images::over("images", |around| {
            fs::create_dir_all(around.join("images")).unwrap();
            fs::create_dir_all(around.join("mnt")).unwrap();
            fs::create_dir_all(around.join("disk/images")).unwrap();
            fs::write(around.join("disk/images/a.tar"), "a").unwrap();
            symlink("../mnt/images", around.join("images/usb")).unwrap();
        });
        let (disk, mnt) = (images.around.join("disk"), images.around.join("mnt"));
        for _ in 0..2 {
            let arguments = ["--bind".as_ref(), disk.as_os_str(), mnt.as_os_str()];
            run("mount", &arguments);
            images.found("usb/a.tar").await;
            images.quiet().await;
            run("umount", &[&mnt]);
            assert_eq!(images.lost("usb/a.tar").await, Absence::OutOfSight);
        }
        none_was_removed(&images);
    });
}
