//! What is out of sight stays pinned: mounts that go, mounts that come late, and another file system in the
//! place of one.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::{
    Generation, Setup, Stowd, fixture, names, on_the_reference_in_turn, pinned_tags, shell,
};

const SOON: Duration = Duration::from_secs(120);

on_the_reference_in_turn!(
    a_mount_that_goes_unpins_nothing_and_is_taken_up_when_it_is_back,
    a_mount_that_comes_after_ready_is_taken_up_and_nothing_was_unpinned,
    what_is_really_removed_is_unpinned,
    another_file_system_on_the_same_device_unpins_nothing,
    what_was_deleted_is_removed_also_when_its_file_system_has_another_device,
);

/// A bind mount over the images directory; gone with the value.
struct Mount(PathBuf);

impl Mount {
    fn bind(from: &Path, over: &Path) -> Self {
        let mounted = Command::new("mount")
            .arg("--bind")
            .arg(from)
            .arg(over)
            .status();
        assert!(mounted.unwrap().success(), "mount --bind");
        Self(over.to_owned())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // It may have been unmounted already.
        drop(Command::new("umount").arg("--lazy").arg(&self.0).output());
    }
}

/// A loop device, mounted over the images directory with a file system that has no number but that of its
/// device.
struct Disk {
    file: PathBuf,
    device: PathBuf,
    at: PathBuf,
}

impl Disk {
    fn new(setup: &Setup) -> Self {
        let file = setup.dir().join("disk");
        // The smallest that mkfs.xfs makes is 300 MiB.
        File::create(&file).unwrap().set_len(320 << 20).unwrap();
        Self {
            device: attach(&file),
            file,
            at: setup.images(),
        }
    }

    /// Mounts a new file system with an archive in it.
    fn make(&self, archive: &str) {
        shell(
            "PATH=$PATH:/usr/sbin:/sbin; mkfs.xfs -q -f \"$1\"",
            &[&self.device],
        );
        self.mount();
        fs::copy(fixture(archive).path, self.at.join(archive)).unwrap();
    }

    fn mount(&self) {
        shell("mount -t xfs \"$1\" \"$2\"", &[&self.device, &self.at]);
    }

    fn unmount(&self) {
        shell("umount \"$1\"", &[&self.at]);
    }

    fn detach(&self) {
        drop(Command::new("losetup").arg("-d").arg(&self.device).output());
    }

    /// Has the file system on another device from now on.
    fn change_device(&mut self) {
        let other = attach(&self.file);
        assert_ne!(other, self.device);
        self.detach();
        self.device = other;
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(&self.at).output());
        self.detach();
    }
}

/// The loop device of a file.
fn attach(file: &Path) -> PathBuf {
    let device = shell("losetup --find --show \"$1\"", &[file]);
    String::from_utf8(device).unwrap().trim().into()
}

/// A directory beside the images directory, with an archive in it.
fn elsewhere(setup: &Setup) -> PathBuf {
    let dir = setup.dir().join("elsewhere");
    fs::create_dir(&dir).unwrap();
    fs::copy(fixture("umoci.tar").path, dir.join("umoci.tar")).unwrap();
    dir
}

fn status(stowd: &Stowd) -> String {
    stowd.notify.statuses().pop().unwrap_or_default()
}

/// What is asked of the pins is asked after they were checked: something else is unpinned.
fn pins_are_checked(stowd: &mut Stowd, marker: &str) {
    let path = stowd.setup().images().join(marker);
    fs::copy(fixture("skopeo-oci.tar").path, &path).unwrap();
    let unpinned = stowd.lines(" unpinned ").len();
    stowd.wait_until(SOON, "the marker is imported", |stowd| {
        stowd
            .lines(" imported /")
            .iter()
            .any(|line| line.contains(marker))
    });
    fs::remove_file(path).unwrap();
    stowd.wait_until(SOON, "the marker is unpinned", |stowd| {
        stowd.lines(" unpinned ").len() > unpinned
    });
}

fn a_mount_that_goes_unpins_nothing_and_is_taken_up_when_it_is_back(generation: &Generation) {
    let setup = Setup::new(generation);
    let (dir, images) = (elsewhere(&setup), setup.images());
    let mount = Mount::bind(&dir, &images);
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    assert_eq!(pinned_tags(&stowd), names(&["umoci.tar"]));
    drop(mount);
    stowd.wait_until(SOON, "it is out of sight", |stowd| {
        stowd.lines(" out of sight: 1 entry").len() == 1
            && status(stowd).contains("1 entry out of sight")
    });
    pins_are_checked(&mut stowd, "marker.tar");
    assert_eq!(pinned_tags(&stowd), names(&["umoci.tar"]));
    let _mount = Mount::bind(&dir, &images);
    stowd.wait_until(SOON, "it is back", |stowd| {
        stowd.lines(" in sight again: ").len() == 1 && !status(stowd).contains("out of sight")
    });
    assert_eq!(
        stowd.lines(" imported /").len(),
        2,
        "and was not imported again"
    );
    assert_eq!(stowd.lines(" gone: ").len(), 1, "but for the marker");
}

fn a_mount_that_comes_after_ready_is_taken_up_and_nothing_was_unpinned(generation: &Generation) {
    let setup = Setup::new(generation);
    let (dir, images) = (elsewhere(&setup), setup.images());
    let mount = Mount::bind(&dir, &images);
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    assert_eq!(stowd.stop(), Some(0));
    drop(mount);
    // The node boots, and the mount is late.
    stowd.restart();
    stowd.wait_ready(SOON);
    assert_eq!(stowd.lines(" out of sight: 1 entry").len(), 1);
    pins_are_checked(&mut stowd, "marker.tar");
    assert_eq!(pinned_tags(&stowd), names(&["umoci.tar"]));
    let _mount = Mount::bind(&dir, &images);
    stowd.wait_until(SOON, "it is there", |stowd| {
        stowd.lines(" skipped /").len() == 1 && stowd.lines(" in sight again: ").len() == 1
    });
}

fn what_is_really_removed_is_unpinned(generation: &Generation) {
    let setup = Setup::new(generation);
    let sub = setup.images().join("sub");
    fs::create_dir(&sub).unwrap();
    for (file, dir) in [
        ("umoci.tar", setup.images()),
        ("skopeo-docker.tar", setup.images()),
        ("buildah-oci.tar", sub.clone()),
    ] {
        fs::copy(fixture(file).path, dir.join(file)).unwrap();
    }
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    let left = |stowd: &mut Stowd, files: &[&str]| {
        let wanted = names(files);
        stowd.wait_until(SOON, "the rest is unpinned", |stowd| {
            pinned_tags(stowd) == wanted
        });
    };
    fs::remove_dir_all(&sub).unwrap();
    left(&mut stowd, &["umoci.tar", "skopeo-docker.tar"]);
    fs::remove_file(stowd.setup().images().join("umoci.tar")).unwrap();
    left(&mut stowd, &["skopeo-docker.tar"]);
    // While stowd does not run, too.
    assert_eq!(stowd.stop(), Some(0));
    fs::remove_file(stowd.setup().images().join("skopeo-docker.tar")).unwrap();
    stowd.restart();
    stowd.wait_ready(SOON);
    left(&mut stowd, &[]);
    assert_eq!(stowd.lines(" out of sight: "), Vec::<String>::new());
}

fn another_file_system_on_the_same_device_unpins_nothing(generation: &Generation) {
    let setup = Setup::new(generation);
    let disk = Disk::new(&setup);
    disk.make("umoci.tar");
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    disk.unmount();
    stowd.wait_until(SOON, "it is out of sight", |stowd| {
        stowd.lines(" out of sight: 1 entry").len() == 1
    });
    disk.make("skopeo-docker.tar");
    pins_are_checked(&mut stowd, "marker.tar");
    assert_eq!(stowd.lines(" gone: ").len(), 1, "but for the marker");
    let wanted = names(&["umoci.tar", "skopeo-docker.tar"]);
    assert_eq!(pinned_tags(&stowd), wanted);
    drop(disk);
}

fn what_was_deleted_is_removed_also_when_its_file_system_has_another_device(
    generation: &Generation,
) {
    let setup = Setup::new(generation);
    let mut disk = Disk::new(&setup);
    disk.make("umoci.tar");
    fs::copy(
        fixture("skopeo-docker.tar").path,
        setup.images().join("b.tar"),
    )
    .unwrap();
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    assert_eq!(stowd.stop(), Some(0));
    fs::remove_file(disk.at.join("b.tar")).unwrap();
    disk.unmount();
    disk.change_device();
    disk.mount();
    stowd.restart();
    stowd.wait_ready(SOON);
    let wanted = names(&["umoci.tar"]);
    stowd.wait_until(SOON, "it is unpinned", |stowd| pinned_tags(stowd) == wanted);
    drop(disk);
}
