//! Blobs that are found lost where their lengths tell nothing: in a store that is not seen from here, and on
//! a disk that does not give their bytes.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::damage::{blobs_of, file};
use crate::scrub::{is_right, spoil};
use crate::support::{
    Daemon, Generation, Setup, Store, blobs_dir, children_of, fixture, on_each_generation_in_turn,
    on_the_reference_in_turn, shell,
};

const SOON: Duration = Duration::from_secs(120);

const ARCHIVE: &str = "umoci.tar";
const NAME: &str = "registry.stowd.test/umoci:1.35";

on_each_generation_in_turn!(a_store_that_is_not_seen_from_here_is_scrubbed_through_containerd);
on_the_reference_in_turn!(what_the_disk_has_lost_is_brought_back);

/// What is mounted over containerd's directories is seen by stowd alone.
fn a_store_that_is_not_seen_from_here_is_scrubbed_through_containerd(generation: &Generation) {
    let mut daemon = Daemon::start(generation);
    daemon.wait();
    let mut setup = Setup::new(generation);
    setup.attach(&daemon.address());
    setup.images.push_str("scrub = \"1s\"\n");
    let hide = format!(
        "mount -t tmpfs none '{}' && exec \"$@\"",
        daemon.root().display()
    );
    let words = [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        &hide,
        "sh",
    ];
    setup.wrapper = words.map(str::to_owned).to_vec();
    setup.stow(&fixture(ARCHIVE).path);
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    assert_eq!(stowd.lines(" blobs are sent over gRPC: ").len(), 1);
    let store = Store::at(&daemon.address());
    let target = store.images()[NAME].target.clone();
    let children = children_of(&store.document(&target));
    let mut blobs = vec![target];
    blobs.extend(children.into_iter().map(|child| child.digest));
    let dir = blobs_dir(daemon.root());
    let file = |digest: &str| dir.join(digest.trim_start_matches("sha256:"));
    let lose: fn(&Path) = |file| fs::remove_file(file).unwrap();
    // No more than an entry is brought back in a row.
    for (digest, harm) in blobs.iter().zip([lose, spoil, lose, spoil]) {
        let before = stowd.lines(" imported /").len();
        harm(&file(digest));
        stowd.wait_until(SOON, &format!("{digest} is whole"), |stowd| {
            is_right(&store, &dir, digest) && stowd.lines(" imported /").len() > before
        });
    }
    let told = stowd.lines(" bringing back what is damaged of /");
    for what in ["its file is gone", "its bytes are not those of its digest"] {
        assert!(told.iter().any(|line| line.contains(what)), "{told:?}");
    }
    // Neither is READY without it: what a power cut leaves is a record, and no file or half of it.
    let cut: fn(&Path) = |file| {
        let half = fs::metadata(file).unwrap().len() / 2;
        File::options()
            .write(true)
            .open(file)
            .unwrap()
            .set_len(half)
            .unwrap();
    };
    for harm in [lose, cut] {
        assert_eq!(stowd.stop(), Some(0));
        harm(&file(&blobs[2]));
        stowd.restart();
        stowd.wait_ready(SOON);
        assert!(is_right(&store, &dir, &blobs[2]));
    }
    assert_eq!(stowd.lines(" failed /"), Vec::<String>::new());
}

/// Each reading of the layer fails, as one of a bad sector does: the file system keeps checksums.
fn what_the_disk_has_lost_is_brought_back(generation: &Generation) {
    let mut setup = Setup::new(generation);
    setup.images.push_str("scrub = \"1s\"\n");
    let (disk, root) = (setup.dir().join("disk"), setup.dir().join("root"));
    File::create(&disk).unwrap().set_len(256 << 20).unwrap();
    fs::create_dir_all(&root).unwrap();
    let script =
        "PATH=$PATH:/usr/sbin:/sbin; mkfs.btrfs -q \"$1\"; mount -t btrfs -o loop \"$1\" \"$2\"";
    shell(script, &[&disk, &root]);
    setup.stow(&fixture(ARCHIVE).path);
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    let layer = blobs_of(&stowd, NAME)[2].clone();
    let file = file(&stowd, &layer);
    shell("sync -f \"$1\"", &[&file]);
    lose_on_disk(&disk, &fs::read(&file).unwrap());
    // It is in the page cache still, which some kernels read in place of the disk.
    shell("dd if=\"$1\" iflag=nocache count=0 status=none", &[&file]);
    let told = format!(": blob {layer}: the disk has lost bytes of it");
    stowd.wait_until(SOON, "it is told", |stowd| {
        let lines = stowd.lines(" bringing back what is damaged of /");
        lines.iter().any(|line| line.contains(&told))
    });
    let blobs = blobs_dir(&root);
    stowd.wait_until(SOON, "it can be read", |stowd| {
        // Past the page cache, which may have what was lost.
        let mut read = Command::new("dd");
        let read = read.args(["iflag=direct", "bs=4k", "status=none"]);
        let read = read.arg(format!("if={}", file.display())).output().unwrap();
        read.status.success() && is_right(&stowd.store(), &blobs, &layer)
    });
    assert_eq!(
        stowd.lines(" damaged, and left as it is: "),
        Vec::<String>::new()
    );
    assert_eq!(stowd.lines(" failed /"), Vec::<String>::new());
}

/// The disk has other bytes where a file begins that has these.
fn lose_on_disk(disk: &Path, bytes: &[u8]) {
    const BLOCK: usize = 4096;
    let all = fs::read(disk).unwrap();
    let blocks = (0..all.len()).step_by(BLOCK);
    let found = blocks.filter(|at| all[*at..].starts_with(&bytes[..BLOCK]));
    let found = found.collect::<Vec<_>>();
    assert!(!found.is_empty(), "it is not on the disk");
    let disk = File::options().write(true).open(disk).unwrap();
    for at in found {
        disk.write_all_at(b"lost", at as u64).unwrap();
    }
}
