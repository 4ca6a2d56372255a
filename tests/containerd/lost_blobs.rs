//! Blobs that are found lost in a store that is not seen from here.

use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use crate::scrub::{is_right, spoil};
use crate::support::{
    Daemon, Generation, Setup, Store, blobs_dir, children_of, fixture, on_each_generation_in_turn,
};

const SOON: Duration = Duration::from_secs(120);

const ARCHIVE: &str = "umoci.tar";
const NAME: &str = "registry.stowd.test/umoci:1.35";

on_each_generation_in_turn!(a_store_that_is_not_seen_from_here_is_scrubbed_through_containerd,);

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
