//! File systems that hang: a FUSE server that is stopped answers no call, as an NFS server that is away. And
//! those that are another device each time that they are mounted.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{
    Registry, Setup, Stowd, eventually_in_turn, fixture, names, pinned_tags, reference,
};

const SOON: Duration = Duration::from_secs(240);
/// Much less than a call may take, on a machine that is busy with something else.
const AT_ONCE: Duration = Duration::from_secs(20);

/// A directory that is seen through FUSE. To be dropped before what removes the directory.
struct Fuse {
    server: Child,
    at: PathBuf,
}

impl Fuse {
    fn mount(from: &Path, at: &Path, options: &[&str]) -> Self {
        fs::create_dir_all(at).unwrap();
        let before = device(at);
        let mut command = Command::new("bindfs");
        let command = command.arg("-f").args(options).arg(from).arg(at);
        let server = command.spawn().expect("bindfs");
        let fuse = Self {
            server,
            at: at.to_owned(),
        };
        eventually_in_turn(SOON, "the FUSE server serves", || match device(at) {
            device if device == before => Err(String::new()),
            _ => Ok(()),
        });
        fuse
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.server), signal).expect("it is our child");
    }

    fn hang(&self) {
        self.signal(Signal::STOP);
    }

    fn answer(&self) {
        self.signal(Signal::CONT);
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        // A killed server's mount answers every call with an error.
        let _ = self.server.kill();
        let _ = self.server.wait();
        drop(Command::new("umount").arg("--lazy").arg(&self.at).output());
    }
}

fn device(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.dev())
}

/// A directory beside the images directory, with an archive of this name in it.
fn elsewhere(setup: &Setup, archive: &str, name: &str) -> PathBuf {
    let dir = setup.dir().join("elsewhere");
    fs::create_dir(&dir).unwrap();
    fs::copy(fixture(archive).path, dir.join(name)).unwrap();
    dir
}

fn imported(stowd: &Stowd, file: &str) -> usize {
    let path = format!(
        " imported {}: ",
        stowd.setup().images().join(file).display()
    );
    stowd.lines(&path).len()
}

#[test]
fn a_directory_that_hangs_holds_nothing_and_is_taken_up_when_it_answers() {
    let setup = Setup::new(&reference());
    let elsewhere = elsewhere(&setup, "skopeo-oci.tar", "b.tar");
    let images = setup.images();
    let fuse = Fuse::mount(&elsewhere, &images.join("nfs"), &["-o", "attr_timeout=0"]);
    // It is before the others in name order, and one more link leads there.
    std::os::unix::fs::symlink(images.join("nfs/b.tar"), images.join("link.tar")).unwrap();
    setup.stow(&fixture("umoci.tar").path);
    fuse.hang();
    let mut stowd = setup.start();
    let fuse = fuse;
    stowd.wait_ready(SOON);
    assert_eq!(imported(&stowd, "umoci.tar"), 1);
    for path in ["nfs", "link.tar"] {
        let lines = stowd.lines(&format!(" failed {}: ", images.join(path).display()));
        let told = format!(
            "the file system mounted at {}/nfs does not answer",
            images.display()
        );
        assert_eq!(lines.len(), 1, "{path}: {lines:?}");
        assert!(lines[0].contains(&told), "{lines:?}");
    }
    // What comes meanwhile is imported.
    fs::copy(fixture("umoci.tar.zst").path, images.join("later.tar.zst")).unwrap();
    stowd.wait_until(SOON, "a later one", |stowd| {
        imported(stowd, "later.tar.zst") == 1
    });
    fuse.answer();
    stowd.wait_until(SOON, "what hung", |stowd| imported(stowd, "nfs/b.tar") == 1);
    let wanted = names(&["umoci.tar", "umoci.tar.zst", "skopeo-oci.tar"]);
    stowd.wait_until(SOON, "all is pinned", |stowd| pinned_tags(stowd) == wanted);
    // While it is followed: nothing is unpinned, and stowd can be stopped.
    fuse.hang();
    stowd.signal(Signal::HUP);
    stowd.wait_until(SOON, "it is out of sight", |stowd| {
        let status = stowd.notify.statuses().pop().unwrap_or_default();
        status.contains("out of sight")
    });
    assert_eq!(pinned_tags(&stowd), wanted);
    stowd.signal(Signal::HUP);
    stowd.signal(Signal::TERM);
    assert_eq!(stowd.wait(AT_ONCE).code(), Some(0));
}

#[test]
fn an_images_directory_that_hangs_at_the_start_holds_neither_ready_nor_the_stop() {
    let setup = Setup::new(&reference());
    let elsewhere = elsewhere(&setup, "skopeo-oci.tar", "b.tar");
    let images = setup.images();
    let fuse = Fuse::mount(&elsewhere, &images, &["-o", "attr_timeout=0"]);
    fuse.hang();
    let mut stowd = setup.start();
    let fuse = fuse;
    stowd.wait_until(SOON, "it looks for images", |stowd| {
        let statuses = stowd.notify.statuses();
        statuses.iter().any(|status| status == "looking for images")
    });
    // Sooner than it gives a call up.
    stowd.signal(Signal::TERM);
    assert_eq!(stowd.wait(AT_ONCE).code(), Some(0));
    stowd.restart();
    stowd.wait_ready(SOON);
    let cache = format!("{}/.cache.json: ", images.display());
    assert_eq!(stowd.lines(&cache).len(), 1, "{}", stowd.log());
    fuse.answer();
    stowd.wait_until(SOON, "it is imported", |stowd| {
        imported(stowd, "b.tar") == 1
    });
    assert_eq!(pinned_tags(&stowd), names(&["skopeo-oci.tar"]));
}

#[test]
fn an_archive_that_hangs_while_it_is_read_fails_and_is_imported_when_it_answers() {
    let setup = Setup::new(&reference());
    let elsewhere = elsewhere(&setup, "large.tar", "large.tar");
    let slow = ["--read-rate=1M", "-o", "attr_timeout=0"];
    let fuse = Fuse::mount(&elsewhere, &setup.images().join("nfs"), &slow);
    setup.stow(&fixture("umoci.tar").path);
    let mut stowd = setup.start();
    let fuse = fuse;
    stowd.wait_until(SOON, "some of it is read", |stowd| {
        let statuses = stowd.notify.statuses();
        let importing = statuses.iter();
        let importing = importing.filter(|status| status.contains("importing 2/2: large.tar, "));
        importing.count() >= 2
    });
    fuse.hang();
    // The directory is polled, and hangs as well.
    stowd.wait_ready(SOON);
    assert_eq!(imported(&stowd, "umoci.tar"), 1);
    let failed = stowd.lines(" failed /");
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert!(failed[0].contains("/nfs does not answer"), "{failed:?}");
    // A thread waits for its bytes, and the kernel lets go of none whose request FUSE has taken: what is
    // to be done before the end is done.
    stowd.signal(Signal::TERM);
    stowd.wait_until(AT_ONCE, "it has stopped", |stowd| {
        !stowd.lines(" containerd stopped: ").is_empty()
    });
    fuse.answer();
    assert_eq!(stowd.wait(SOON).code(), Some(0));
    stowd.restart();
    stowd.wait_until(SOON, "it is imported", |stowd| {
        imported(stowd, "nfs/large.tar") == 1
    });
    assert_eq!(pinned_tags(&stowd), names(&["umoci.tar", "large.tar"]));
}

#[test]
fn what_was_deleted_on_another_machine_is_removed_after_the_next_mount() {
    let setup = Setup::new(&reference());
    let elsewhere = elsewhere(&setup, "skopeo-oci.tar", "b.tar");
    setup.stow(&fixture("umoci.tar").path);
    let (at, beside) = (setup.images().join("nfs"), setup.dir().join("beside"));
    let fuse = Fuse::mount(&elsewhere, &at, &[]);
    let before = device(&at);
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    assert_eq!(imported(&stowd, "nfs/b.tar"), 1);
    stowd.signal(Signal::TERM);
    assert_eq!(stowd.wait(SOON).code(), Some(0));
    drop(fuse);
    fs::remove_file(elsewhere.join("b.tar")).unwrap();
    // It takes the device number.
    let beside = Fuse::mount(&elsewhere, &beside, &[]);
    let fuse = Fuse::mount(&elsewhere, &at, &[]);
    assert_ne!(device(&at), before);
    stowd.restart();
    let (_fuse, _beside) = (fuse, beside);
    stowd.wait_ready(SOON);
    let wanted = names(&["umoci.tar"]);
    stowd.wait_until(SOON, "it is unpinned", |stowd| pinned_tags(stowd) == wanted);
}

#[test]
fn a_login_file_that_hangs_is_told_and_pulls_go_on_without() {
    const NAME: &str = "registry.stowd.test/umoci:1.35";
    let registry = Registry::start();
    registry.push("umoci.tar", NAME, "umoci:1.35");
    let mut setup = Setup::new(&reference());
    let (secrets, nfs) = (setup.dir().join("secrets"), setup.dir().join("nfs"));
    fs::create_dir(&secrets).unwrap();
    fs::write(secrets.join("auth.json"), "{}").unwrap();
    let fuse = Fuse::mount(&secrets, &nfs, &["-o", "attr_timeout=0"]);
    let file = nfs.join("auth.json").display().to_string();
    setup.config = format!("[lists]\nauth-file = \"{file}\"\n");
    setup.registry("registry.stowd.test", registry.address(), &[]);
    setup.list("core.txt", NAME);
    fuse.hang();
    let mut stowd = setup.start();
    let fuse = fuse;
    stowd.wait_until(SOON, "it is pulled", |stowd| {
        imported(stowd, "core.txt") == 1
    });
    stowd.wait_ready(SOON);
    let told = stowd.lines(" pulling without credentials: ");
    let cause = format!("{file}: cannot be read: its file system does not answer");
    assert!(told.len() == 1 && told[0].contains(&cause), "{told:?}");
    fuse.answer();
}
