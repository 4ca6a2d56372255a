//! Baked trees: their images are kept without the archives, and a copy of the tree costs a look at them.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::by_hand::{command, owner, succeeded};
use crate::damage::{blobs_of, file};
use crate::restart::{bytes_read, since_start};
use crate::support::{
    Generation, Setup, Stowd, fixture, on_each_generation_in_turn, on_the_reference_in_turn,
};

on_each_generation_in_turn!(what_was_baked_is_kept_without_its_archives);
on_the_reference_in_turn!(
    a_copied_tree_costs_a_look_at_its_archives,
    an_archive_that_is_no_copy_is_imported,
    what_is_gone_of_the_baked_set_is_told_until_its_file_is_back,
    what_is_removed_by_hand_is_baked_no_more,
    baking_again_adds_to_what_is_baked,
);

const SOON: Duration = Duration::from_secs(120);
const UMOCI: &str = "registry.stowd.test/umoci:1.35";
const SKOPEO: &str = "registry.stowd.test/skopeo:1.35";
const BUILDAH: &str = "registry.stowd.test/buildah:1.35";

/// Bakes these archives with these options beside `run`.
fn baked(generation: &Generation, archives: &[&str], options: &[&str]) -> Stowd {
    let mut setup = Setup::new(generation);
    for archive in archives {
        setup.stow(&fixture(archive).path);
    }
    setup
        .arguments
        .extend(options.iter().copied().map(str::to_owned));
    let mut stowd = setup.start();
    assert_eq!(stowd.wait(SOON).code(), Some(0), "{}", stowd.log());
    stowd
}

/// Puts a copy of the whole tree in its place, with other inodes, as a disk image has it.
fn copy_tree(stowd: &Stowd) {
    let dir = stowd.setup().dir();
    for part in ["images", "root", "lib"] {
        let (tree, copy) = (dir.join(part), dir.join("copy"));
        let copied = Command::new("cp").arg("-a").arg(&tree).arg(&copy).status();
        assert!(copied.unwrap().success(), "{part}");
        fs::remove_dir_all(&tree).unwrap();
        fs::rename(&copy, &tree).unwrap();
    }
}

fn delete(stowd: &Stowd, archives: &[&str]) {
    for archive in archives {
        fs::remove_file(stowd.setup().images().join(archive)).unwrap();
    }
}

/// The node's first boot.
fn boot(stowd: &mut Stowd) {
    stowd.setup_mut().arguments = vec!["run".to_owned()];
    stowd.restart();
    stowd.wait_ready(SOON);
}

/// What `stowd status` shows. Its exit status tells of the sandbox image, too, which is not there.
fn status(stowd: &Stowd) -> String {
    let shown = command(stowd, &["status"], Stdio::null());
    String::from_utf8(shown.stdout).unwrap()
}

fn pinned(stowd: &Stowd, name: &str) -> bool {
    owner(&stowd.store(), name).as_deref() == Some("default")
}

/// Has a third archive come and go: its image is unpinned when the pins have been looked after.
fn look_after_pins(stowd: &mut Stowd) {
    stowd.setup().stow(&fixture("buildah-docker.tar").path);
    stowd.wait_until(SOON, "the third is pinned", |stowd| pinned(stowd, BUILDAH));
    delete(stowd, &["buildah-docker.tar"]);
    stowd.wait_until(SOON, "the third is unpinned", |stowd| {
        owner(&stowd.store(), BUILDAH).is_none()
    });
}

fn what_was_baked_is_kept_without_its_archives(generation: &Generation) {
    let archives = ["umoci.tar", "skopeo-oci.tar"];
    let mut stowd = baked(generation, &archives, &["--once", "--keep"]);
    assert_eq!(
        stowd.lines(" kept for good: 2 images of 2 entries, ").len(),
        1,
        "{}",
        stowd.log()
    );
    delete(&stowd, &archives);
    copy_tree(&stowd);
    boot(&mut stowd);
    let told = since_start(&stowd, " baked: 2 images of 2 entries kept for good");
    assert_eq!(told.len(), 1, "{}", stowd.log());
    for unwanted in [" out of sight", " gone: ", " unpinned ", " imported /"] {
        let lines = since_start(&stowd, unwanted);
        assert_eq!(lines, Vec::<String>::new());
    }
    let last = stowd.notify.statuses().pop().unwrap();
    assert!(last.starts_with("ready: 2 images from 2 entries"), "{last}");
    look_after_pins(&mut stowd);
    assert!(pinned(&stowd, UMOCI) && pinned(&stowd, SKOPEO));
    let status = status(&stowd);
    assert!(status.contains("baked: 2 images of 2 entries"), "{status}");
    assert!(!status.contains("failed"), "{status}");

    // What is there under another name is put back.
    stowd.ctr(&[
        "images",
        "label",
        UMOCI,
        "io.cri-containerd.pinned=",
        "io.stowd.pinned=",
    ]);
    stowd.ctr(&["images", "rm", "--sync", SKOPEO]);
    stowd.wait_until(SOON, "both are pinned again", |stowd| {
        pinned(stowd, UMOCI) && pinned(stowd, SKOPEO)
    });

    // The images directory itself may be gone.
    assert_eq!(stowd.stop(), Some(0));
    fs::remove_dir_all(stowd.setup().images()).unwrap();
    boot(&mut stowd);
    assert_eq!(since_start(&stowd, " out of sight"), Vec::<String>::new());
    assert!(pinned(&stowd, UMOCI) && pinned(&stowd, SKOPEO));
}

fn a_copied_tree_costs_a_look_at_its_archives(generation: &Generation) {
    let archives = ["large.tar", "umoci.tar.zst"];
    let mut stowd = baked(generation, &archives, &["--once"]);
    copy_tree(&stowd);
    boot(&mut stowd);
    assert_eq!(since_start(&stowd, " skipped /").len(), 2);
    for unwanted in [" imported /", " found /"] {
        assert_eq!(since_start(&stowd, unwanted), Vec::<String>::new());
    }
    let size = fs::metadata(fixture("large.tar").path).unwrap().len();
    let read = bytes_read(&stowd);
    assert!(read < size / 10, "{read} of {size}");
    // From now on the copy is the file that is known.
    assert_eq!(stowd.stop(), Some(0));
    boot(&mut stowd);
    assert_eq!(since_start(&stowd, " skipped /").len(), 2);
}

fn an_archive_that_is_no_copy_is_imported(generation: &Generation) {
    // Two archives of one length, and of one mtime below.
    let read = |archive: &str| fs::read(fixture(archive).path).unwrap();
    let (mut first, mut second) = (read("umoci.tar"), read("skopeo-oci.tar"));
    let length = first.len().max(second.len());
    first.resize(length, 0);
    second.resize(length, 0);
    let mut setup = Setup::new(generation);
    setup.arguments.push("--once".to_owned());
    let path = setup.images().join("a.tar");
    fs::write(&path, &first).unwrap();
    let mut stowd = setup.start();
    assert_eq!(stowd.wait(SOON).code(), Some(0), "{}", stowd.log());

    let known = fs::metadata(&path).unwrap();
    let aside = stowd.setup().dir().join("aside");
    fs::write(&aside, &second).unwrap();
    let opened = fs::File::options().write(true).open(&aside).unwrap();
    opened.set_modified(known.modified().unwrap()).unwrap();
    fs::rename(&aside, &path).unwrap();
    let now = fs::metadata(&path).unwrap();
    assert_eq!(
        (known.len(), known.mtime_nsec()),
        (now.len(), now.mtime_nsec())
    );
    boot(&mut stowd);
    assert_eq!(since_start(&stowd, " skipped /"), Vec::<String>::new());
    assert_eq!(since_start(&stowd, " imported /").len(), 1);
    assert!(pinned(&stowd, SKOPEO), "{}", stowd.log());
}

fn what_is_gone_of_the_baked_set_is_told_until_its_file_is_back(generation: &Generation) {
    let archives = ["umoci.tar", "skopeo-oci.tar"];
    let mut stowd = baked(generation, &archives, &["--once", "--keep"]);
    delete(&stowd, &archives);
    boot(&mut stowd);
    let digest = blobs_of(&stowd, UMOCI).pop().unwrap();
    assert_eq!(stowd.stop(), Some(0));
    fs::remove_file(file(&stowd, &digest)).unwrap();
    boot(&mut stowd);
    let failed = since_start(
        &stowd,
        "umoci.tar: of the baked set, and its file is gone: ",
    );
    assert_eq!(failed.len(), 1, "{}", stowd.log());
    assert!(
        failed[0].contains(UMOCI) && failed[0].contains("put the file back"),
        "{failed:?}"
    );
    let text = status(&stowd);
    assert!(text.contains("its file is gone"), "{text}");
    // The two archives share their layers.
    assert!(text.contains("2 failed"), "{text}");

    stowd.setup().stow(&fixture("umoci.tar").path);
    stowd.wait_until(SOON, "it is imported", |stowd| {
        since_start(stowd, " imported /").len() == 1
    });
    stowd.wait_until(SOON, "all is well", |stowd| {
        !status(stowd).contains("failed")
    });
    // Gone again it is kept as before.
    delete(&stowd, &["umoci.tar"]);
    stowd.wait_until(SOON, "it is kept", |stowd| {
        since_start(stowd, " baked: 2 images of 2 entries").len() == 2
    });
    look_after_pins(&mut stowd);
    assert!(pinned(&stowd, UMOCI) && pinned(&stowd, SKOPEO));
}

fn what_is_removed_by_hand_is_baked_no_more(generation: &Generation) {
    let archives = ["umoci.tar", "skopeo-oci.tar"];
    let mut stowd = baked(generation, &archives, &["--once", "--keep"]);
    delete(&stowd, &archives);
    boot(&mut stowd);
    let text = succeeded(&command(&stowd, &["remove", UMOCI], Stdio::null()));
    assert!(
        text.starts_with(&format!("released {UMOCI} from the baked set\n")),
        "{text}"
    );
    assert!(text.contains(&format!("unpinned {UMOCI}\n")), "{text}");
    let deleted = ["remove", "--delete", SKOPEO];
    let text = succeeded(&command(&stowd, &deleted, Stdio::null()));
    assert!(text.contains(&format!("deleted {SKOPEO}\n")), "{text}");
    stowd.signal(Signal::HUP);
    stowd.wait_until(SOON, "the daemon knows it", |stowd| {
        since_start(stowd, " gone: /").len() == 2
    });
    assert_eq!(since_start(&stowd, " failed /"), Vec::<String>::new());
    assert_eq!(stowd.stop(), Some(0));
    boot(&mut stowd);
    assert_eq!(since_start(&stowd, " baked: "), Vec::<String>::new());
    assert_eq!(owner(&stowd.store(), UMOCI), None);
    assert!(!stowd.store().images().contains_key(SKOPEO));
}

fn baking_again_adds_to_what_is_baked(generation: &Generation) {
    let mut stowd = baked(generation, &["umoci.tar"], &["--once", "--keep"]);
    delete(&stowd, &["umoci.tar"]);
    stowd.setup().stow(&fixture("skopeo-oci.tar").path);
    stowd.restart();
    assert_eq!(stowd.wait(SOON).code(), Some(0), "{}", stowd.log());
    assert_eq!(
        stowd.lines(" kept for good: 2 images of 2 entries, ").len(),
        1,
        "{}",
        stowd.log()
    );
    delete(&stowd, &["skopeo-oci.tar"]);
    boot(&mut stowd);
    assert!(pinned(&stowd, UMOCI) && pinned(&stowd, SKOPEO));
}
