//! What is out of sight stays pinned: mounts that go, and mounts that come late.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::{
    Generation, Setup, Stowd, fixture, names, on_the_reference_in_turn, pinned_tags,
};

const SOON: Duration = Duration::from_secs(120);

on_the_reference_in_turn!(
    a_mount_that_goes_unpins_nothing_and_is_taken_up_when_it_is_back,
    a_mount_that_comes_after_ready_is_taken_up_and_nothing_was_unpinned,
    what_is_really_removed_is_unpinned,
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
