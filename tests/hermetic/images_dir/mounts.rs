//! What is mounted in the images directory, over it, and away again.

use std::ffi::OsStr;
use std::fs;
use std::process::Command;

use super::harness::{Images, inside};
use stowd::images_dir::Cause;

/// In a mount namespace of its own, where the mounts are nobody else's.
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

#[test]
fn a_file_system_on_a_directory_is_followed_until_it_is_unmounted() {
    let name = "images_dir::mounts::a_file_system_on_a_directory_is_followed_until_it_is_unmounted";
    inside(MOUNTS, name, || async {
        let mut images = Images::over("images", |around| {
            fs::create_dir_all(around.join("images/sub")).unwrap();
        });
        images.write("sub/below.tar");
        images.touched("sub/below.tar").await;
        images.quiet().await;
        tmpfs(&images, "sub");
        assert_eq!(images.rescan().await, Cause::Mounts);
        assert!(!images.lists(&images.at("sub/below.tar")));
        images.is_followed("sub/above.tar").await;
        images.quiet().await;
        unmount(&images, "sub");
        assert_eq!(images.rescan().await, Cause::Mounts);
        assert!(images.lists(&images.at("sub/below.tar")));
        images.is_followed("sub/again.tar").await;
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
        assert_eq!(images.rescan().await, Cause::Mounts);
        images.is_followed("b.tar").await;
        images.quiet().await;
        assert!(other.join("b.tar").exists());
        unmount(&images, "");
        assert_eq!(images.rescan().await, Cause::Mounts);
        assert!(!images.lists(&images.at("b.tar")));
        images.is_followed("c.tar").await;
    });
}

#[test]
fn a_file_that_is_mounted_over_another_is_found() {
    let name = "images_dir::mounts::a_file_that_is_mounted_over_another_is_found";
    inside(MOUNTS, name, || async {
        let mut images = Images::empty();
        images.write("a.tar");
        images.touched("a.tar").await;
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
        assert_eq!(images.rescan().await, Cause::Mounts);
        unmount(&images, "a.tar");
        assert_eq!(images.rescan().await, Cause::Mounts);
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
