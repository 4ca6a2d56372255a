//! From READY on, the images directory and the store agree.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::{Daemon, Setup, Stowd, fixture, reference};

const SOON: Duration = Duration::from_secs(60);
const UMOCI: &str = "registry.stowd.test/umoci:1.35";
const SKOPEO: &str = "registry.stowd.test/skopeo:1.35";

fn following(images: &[&str]) -> Stowd {
    let setup = Setup::new(&reference());
    for image in images {
        setup.stow(&fixture(image).path);
    }
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    stowd
}

fn eventually(stowd: &mut Stowd, what: &str, holds: impl Fn(&Stowd) -> bool) {
    stowd.wait_until(SOON, what, holds);
}

fn count(stowd: &Stowd, beginning: &str, file: &str) -> usize {
    let lines = stowd.lines(&format!(" {beginning} /"));
    lines
        .iter()
        .filter(|line| line.contains(&format!("/{file}")))
        .count()
}

fn is_pinned(stowd: &Stowd, name: &str) -> bool {
    let list = stowd.ctr(&["images", "list", &format!("name=={name}")]);
    let line = list.lines().nth(1).unwrap_or_default();
    let own = line.contains("io.stowd.pinned=default");
    assert_eq!(
        own,
        line.contains("io.cri-containerd.pinned=pinned"),
        "both or none: {line}"
    );
    own
}

fn copy(from: &str, to: &Path) {
    let _ = fs::copy(fixture(from).path, to).unwrap();
}

#[test]
fn every_way_in_which_a_file_arrives() {
    let mut stowd = following(&[]);
    let (images, dir) = (stowd.setup().images(), stowd.setup().dir().to_owned());
    copy("umoci.tar", &images.join("copied.tar"));
    copy("skopeo-docker.tar", &dir.join("renamed.tar"));
    fs::rename(dir.join("renamed.tar"), images.join("renamed.tar")).unwrap();
    copy("buildah-oci.tar", &images.join(".rsync.tar.Xy12"));
    fs::rename(images.join(".rsync.tar.Xy12"), images.join("rsync.tar")).unwrap();
    copy("podman-oci.tar", &dir.join("linked.tar"));
    fs::hard_link(dir.join("linked.tar"), images.join("hard.tar")).unwrap();
    copy("ctr.tar", &dir.join("target.tar"));
    symlink(dir.join("target.tar"), images.join("symbolic.tar")).unwrap();
    fs::create_dir_all(dir.join("tree/deep/deeper")).unwrap();
    for number in 0..20 {
        copy(
            "pause.tar",
            &dir.join(format!("tree/deep/deeper/{number}.tar")),
        );
    }
    fs::rename(dir.join("tree"), images.join("tree")).unwrap();
    let files = [
        "copied.tar",
        "renamed.tar",
        "rsync.tar",
        "hard.tar",
        "symbolic.tar",
    ];
    for file in files {
        eventually(&mut stowd, file, |stowd| {
            count(stowd, "imported", file) == 1
        });
    }
    for number in 0..20 {
        let file = format!("deeper/{number}.tar");
        eventually(&mut stowd, &file, |stowd| {
            count(stowd, "imported", &file) == 1
        });
    }
    eventually(&mut stowd, "STATUS follows", |stowd| {
        stowd
            .notify
            .statuses()
            .last()
            .is_some_and(|last| last.contains("from 25 entries; watching"))
    });
    assert_eq!(stowd.lines(" failed /"), Vec::<String>::new());
    assert_eq!(
        stowd
            .notify
            .messages()
            .iter()
            .filter(|m| *m == "READY=1")
            .count(),
        1
    );
}

#[test]
fn a_slow_writer_is_read_once_when_it_has_closed() {
    let mut stowd = following(&[]);
    let bytes = fs::read(fixture("skopeo-oci.tar").path).unwrap();
    let mut file = fs::File::create(stowd.setup().images().join("slow.tar")).unwrap();
    for piece in bytes.chunks(bytes.len() / 8) {
        file.write_all(piece).unwrap();
        // Longer than images.settle, which is 100 ms here: its pauses must not count as its end.
        std::thread::sleep(Duration::from_millis(300));
    }
    assert_eq!(
        count(&stowd, "failed", "slow.tar") + count(&stowd, "imported", "slow.tar"),
        0
    );
    drop(file);
    eventually(&mut stowd, "the import", |stowd| {
        count(stowd, "imported", "slow.tar") == 1
    });
    assert_eq!(stowd.lines(" failed /"), Vec::<String>::new());
}

#[test]
fn what_no_entry_brings_any_more_is_unpinned_and_not_before() {
    let mut stowd = following(&["umoci.tar", "umoci.tar.gz", "skopeo-oci.tar"]);
    let images = stowd.setup().images();
    assert!(is_pinned(&stowd, UMOCI) && is_pinned(&stowd, SKOPEO));
    fs::remove_file(images.join("umoci.tar")).unwrap();
    eventually(&mut stowd, "it is gone", |stowd| {
        count(stowd, "gone:", "umoci.tar") == 1
    });
    fs::remove_file(images.join("skopeo-oci.tar")).unwrap();
    eventually(&mut stowd, "the other is unpinned", |stowd| {
        !is_pinned(stowd, SKOPEO)
    });
    assert!(is_pinned(&stowd, UMOCI), "another entry brings it");
    fs::remove_file(images.join("umoci.tar.gz")).unwrap();
    eventually(&mut stowd, "no entry brings it", |stowd| {
        !is_pinned(stowd, UMOCI)
    });
    // It is not deleted, and it is pinned again when it comes back.
    copy("umoci.tar.zst", &images.join("back.tar"));
    eventually(&mut stowd, "it is back", |stowd| is_pinned(stowd, UMOCI));
}

#[test]
fn what_went_while_stowd_was_away_is_unpinned_and_pins_of_others_stay() {
    let mut stowd = following(&["umoci.tar", "skopeo-oci.tar", "pause.tar"]);
    let pause = "registry.stowd.test/pause:1";
    stowd.ctr(&["images", "label", pause, "io.stowd.pinned="]);
    assert_eq!(stowd.stop(), Some(0));
    for file in ["umoci.tar", "pause.tar"] {
        fs::remove_file(stowd.setup().images().join(file)).unwrap();
    }
    stowd.restart();
    stowd.wait_ready(SOON);
    eventually(&mut stowd, "it is unpinned", |stowd| {
        !is_pinned(stowd, UMOCI)
    });
    assert!(is_pinned(&stowd, SKOPEO));
    let list = stowd.ctr(&["images", "list", &format!("name=={pause}")]);
    assert!(
        list.contains("io.cri-containerd.pinned=pinned"),
        "the pin of another client: {list}"
    );
}

#[test]
fn of_two_entries_with_one_name_the_last_in_name_order_has_it() {
    let target = |stowd: &Stowd| {
        let list = stowd.ctr(&["images", "list", &format!("name=={SKOPEO}")]);
        list.lines()
            .nth(1)
            .unwrap()
            .split_whitespace()
            .nth(2)
            .unwrap()
            .to_owned()
    };
    let mut alone = following(&["skopeo-docker.tar"]);
    let wanted = target(&alone);
    assert_eq!(alone.stop(), Some(0));

    let setup = Setup::new(&reference());
    setup.stow_as(&fixture("skopeo-docker.tar").path, "z.tar");
    for number in 0..4 {
        setup.stow_as(
            &fixture("skopeo-oci.tar.bz2").path,
            &format!("{number}.tar.bz2"),
        );
    }
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    assert_eq!(target(&stowd), wanted);
    let before = count(&stowd, "imported", "z.tar");
    let first = stowd.setup().images().join("0.tar.bz2");
    copy("skopeo-oci.tar", &first);
    eventually(&mut stowd, "the first again", |stowd| {
        count(stowd, "imported", "0.tar.bz2") == 2
    });
    // The name was left to the last one, which need not take it back.
    assert_eq!(target(&stowd), wanted);
    assert_eq!(count(&stowd, "imported", "z.tar"), before);
    assert_eq!(stowd.stop(), Some(0));
    stowd.restart();
    stowd.wait_ready(SOON);
    assert_eq!(target(&stowd), wanted);
    assert_eq!(
        stowd.lines(" skipped /").len(),
        5,
        "they do not take turns at every start"
    );
}

#[test]
fn a_failed_entry_is_tried_again_and_at_once_when_it_changes() {
    let mut stowd = following(&[]);
    let bytes = fs::read(fixture("skopeo-oci.tar").path).unwrap();
    let path = stowd.setup().images().join("bad.tar");
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    eventually(&mut stowd, "it fails", |stowd| {
        count(stowd, "failed", "bad.tar") == 1
    });
    eventually(&mut stowd, "STATUS tells", |stowd| {
        let last = stowd.notify.statuses().pop().unwrap_or_default();
        last.contains("1 failed (bad.tar: 2 attempts, waits for a change)")
    });
    assert_eq!(count(&stowd, "failed", "bad.tar"), 1, "told once");
    fs::write(&path, &bytes).unwrap();
    eventually(&mut stowd, "it is mended", |stowd| {
        count(stowd, "imported", "bad.tar") == 1
    });
    eventually(&mut stowd, "STATUS forgets", |stowd| {
        let last = stowd.notify.statuses().pop().unwrap_or_default();
        last.starts_with("ready: 1 image from 1 entry; watching ")
    });
}

#[test]
fn a_bad_new_version_does_not_unpin_what_the_old_one_brought() {
    let mut stowd = following(&["umoci.tar"]);
    let path = stowd.setup().images().join("umoci.tar");
    fs::write(&path, "not an archive").unwrap();
    eventually(&mut stowd, "it fails", |stowd| {
        count(stowd, "failed", "umoci.tar") >= 1
    });
    eventually(&mut stowd, "a retry", |stowd| {
        let last = stowd.notify.statuses().pop().unwrap_or_default();
        last.contains("(umoci.tar: 2 attempts, ")
    });
    assert!(is_pinned(&stowd, UMOCI));
}

#[test]
fn the_directory_itself_comes_goes_and_is_replaced() {
    let mut stowd = following(&["umoci.tar"]);
    let (images, dir) = (stowd.setup().images(), stowd.setup().dir().to_owned());
    fs::rename(&images, dir.join("images-old")).unwrap();
    eventually(&mut stowd, "it is out of sight", |stowd| {
        let last = stowd.notify.statuses().pop().unwrap_or_default();
        stowd.lines(" out of sight: 1 entry").len() == 1 && last.contains("1 entry out of sight")
    });
    copy("skopeo-oci.tar", &dir.join("images-old/sibling.tar"));
    fs::create_dir(&images).unwrap();
    copy("skopeo-docker.tar", &images.join("new.tar"));
    eventually(&mut stowd, "the new one", |stowd| {
        count(stowd, "imported", "images/new.tar") == 1
    });
    assert!(
        is_pinned(&stowd, UMOCI),
        "another directory has removed nothing"
    );
    fs::remove_dir_all(&images).unwrap();
    symlink(dir.join("images-old"), &images).unwrap();
    eventually(&mut stowd, "through a link", |stowd| {
        count(stowd, "imported", "images/sibling.tar") == 1
            && stowd.lines(" in sight again: ").len() == 1
    });
    assert!(is_pinned(&stowd, UMOCI));
    assert_eq!(
        stowd
            .lines(" unpinned ")
            .iter()
            .filter(|line| line.contains(UMOCI))
            .count(),
        0
    );
    assert_eq!(
        stowd.lines("images-old"),
        Vec::<String>::new(),
        "a sibling is not in it"
    );
}

#[test]
fn sighup_takes_what_it_can_says_what_it_cannot_and_looks_again() {
    let mut stowd = following(&["umoci.tar"]);
    let path = stowd.setup().dir().join("stowd.toml");
    let config = fs::read_to_string(&path).unwrap();
    let changed = config.replace(
        "settle = \"100ms\"",
        "settle = \"50ms\"\nunpin-removed = false",
    );
    fs::write(
        &path,
        changed.replace("state-dir = \"", "log-level = \"debug\"\nstate-dir = \""),
    )
    .unwrap();
    stowd.ctr(&["images", "rm", "--sync", UMOCI]);
    stowd.signal(Signal::HUP);
    eventually(&mut stowd, "what is missing is back", |stowd| {
        stowd.lines(" bringing back what is missing of /").len() == 1
            && count(stowd, "imported", "umoci.tar") == 2
    });
    let reloaded = stowd.lines(" reloaded; changed: ");
    assert!(
        reloaded[0].ends_with("images.settle images.unpin-removed"),
        "{reloaded:?}"
    );
    let left = stowd.lines("not taken before a restart");
    assert!(left[0].ends_with(": log-level"), "{left:?}");
    fs::write(&path, "images.setle = 1").unwrap();
    stowd.signal(Signal::HUP);
    eventually(&mut stowd, "a complaint", |stowd| {
        stowd.lines(" not reloaded: ").len() == 1
    });
    fs::remove_file(stowd.setup().images().join("umoci.tar")).unwrap();
    eventually(&mut stowd, "it is gone", |stowd| {
        count(stowd, "gone:", "umoci.tar") == 1
    });
    assert_eq!(stowd.stop(), Some(0), "it has lived on");
}

#[test]
fn a_rename_is_no_moment_without_a_pin() {
    let mut stowd = following(&["umoci.tar"]);
    let images = stowd.setup().images();
    let (one, other) = (images.join("umoci.tar"), images.join("renamed.tar"));
    for round in 1..=10 {
        fs::rename(&one, &other).unwrap();
        let file = "renamed.tar";
        eventually(&mut stowd, file, |stowd| {
            count(stowd, "imported", file) == round
        });
        fs::rename(&other, &one).unwrap();
        let file = "umoci.tar";
        eventually(&mut stowd, file, |stowd| {
            count(stowd, "imported", file) == round + 1
        });
    }
    assert_eq!(stowd.lines(" unpinned "), Vec::<String>::new());
    assert!(is_pinned(&stowd, UMOCI));
}

#[test]
fn a_name_goes_back_to_who_else_brings_it() {
    let mut stowd = following(&[]);
    let images = stowd.setup().images();
    let target = |stowd: &Stowd| {
        let list = stowd.ctr(&["images", "list", &format!("name=={SKOPEO}")]);
        let line = list.lines().nth(1).map(str::to_owned);
        line.map(|line| line.split_whitespace().nth(2).unwrap().to_owned())
    };
    copy("skopeo-oci.tar", &images.join("a.tar"));
    eventually(&mut stowd, "the first", |stowd| {
        count(stowd, "imported", "a.tar") == 1
    });
    let first = target(&stowd);
    copy("skopeo-docker.tar", &images.join("z.tar"));
    eventually(&mut stowd, "the last has it", |stowd| {
        target(stowd) != first
    });
    fs::remove_file(images.join("z.tar")).unwrap();
    eventually(&mut stowd, "the first has it again", |stowd| {
        target(stowd) == first
    });
    assert!(is_pinned(&stowd, SKOPEO));
}

#[test]
fn a_link_that_leads_nowhere_is_looked_at_again_and_counts_after_a_restart() {
    let setup = Setup::new(&reference());
    let target = setup.dir().join("late.tar");
    symlink(&target, setup.images().join("dangling.tar")).unwrap();
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    let counted = |stowd: &Stowd| {
        let last = stowd.notify.statuses().pop().unwrap_or_default();
        last.starts_with("ready: 0 images from 1 entry, 1 failed (dangling.tar: ")
    };
    assert!(counted(&stowd), "{:?}", stowd.notify.statuses());
    assert_eq!(stowd.stop(), Some(0));
    stowd.restart();
    stowd.wait_ready(SOON);
    assert!(counted(&stowd), "{:?}", stowd.notify.statuses());
    assert_eq!(
        count(&stowd, "failed", "dangling.tar"),
        2,
        "each start says it, once"
    );
    copy("umoci.tar", &target);
    eventually(&mut stowd, "it leads somewhere", |stowd| {
        count(stowd, "imported", "dangling.tar") == 1
    });
}

#[test]
fn settings_that_come_while_an_entry_is_read_are_not_taken_for_those_it_was_read_with() {
    let setup = Setup::new(&reference());
    setup.stow(&fixture("large.tar.bz2").path);
    let mut stowd = setup.start();
    eventually(&mut stowd, "the import is under way", Stowd::is_importing);
    let path = stowd.setup().dir().join("stowd.toml");
    let config = fs::read_to_string(&path).unwrap();
    // Two in a row: the second must not be lost.
    for platforms in ["[\"linux/arm64\"]", "[\"all\"]"] {
        let changed = config.replace("settle = ", &format!("platforms = {platforms}\nsettle = "));
        fs::write(&path, changed).unwrap();
        stowd.signal(Signal::HUP);
        let seen = format!("{platforms:?}");
        eventually(&mut stowd, &seen, |stowd| {
            !stowd.lines(" reloaded; changed: ").is_empty()
        });
    }
    eventually(&mut stowd, "it is read again", |stowd| {
        count(stowd, "imported", "large.tar.bz2") == 2
    });
    stowd.wait_ready(SOON);
    assert_eq!(stowd.stop(), Some(0));
    stowd.restart();
    stowd.wait_ready(SOON);
    assert_eq!(
        count(&stowd, "skipped", "large.tar.bz2"),
        1,
        "it was read with the newest"
    );
}

#[test]
fn an_outage_of_a_containerd_that_is_attached_to_is_waited_for_and_told_once() {
    let generation = &reference();
    let mut daemon = Daemon::start(generation);
    daemon.wait();
    let mut setup = Setup::new(generation);
    setup.attach(&daemon.address());
    let files = [
        "large.tar.bz2",
        "umoci.tar",
        "skopeo-oci.tar",
        "buildah-oci.tar",
        "podman-oci.tar",
    ];
    for file in files {
        setup.stow(&fixture(file).path);
    }
    let mut stowd = setup.start();
    let root = daemon.root().to_owned();
    eventually(&mut stowd, "an import is under way", |stowd| {
        stowd.is_importing_into(&root)
    });
    daemon.kill();
    // By the import that meets it, or before.
    let away = |stowd: &Stowd| {
        let met = stowd.lines(" containerd is away; trying again: ").len();
        met + stowd
            .lines(" containerd does not answer; waiting for it: ")
            .len()
    };
    eventually(&mut stowd, "it is noticed", |stowd| away(stowd) > 0);
    assert!(stowd.notify.ready_at().is_none());
    daemon.restart();
    stowd.wait_ready(SOON);
    assert_eq!(stowd.lines(" failed /"), Vec::<String>::new());
    assert!(away(&stowd) <= 2, "{:?}", stowd.lines("is away"));
    let images = daemon.ctr(&["--namespace", "k8s.io", "images", "list", "--quiet"]);
    for name in files.iter().flat_map(|file| fixture(file).names) {
        assert!(
            images.lines().any(|line| line == name),
            "{name} is not in {images}"
        );
    }
}
