//! stowd killed in the middle of an import.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Generation, Setup, Stowd, fixture, on_each_generation_in_turn};

const SOON: Duration = Duration::from_secs(120);

/// A blob counts as half written from here on.
const HALF: u64 = 4 << 20;

/// The blobs of a content store of which a good part is written: what containerd calls each, and
/// its file.
fn half_written(content: &Path) -> BTreeMap<String, PathBuf> {
    let ingests = std::fs::read_dir(content.join("ingest"));
    let found = ingests
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|ingest| {
            let reference = std::fs::read_to_string(ingest.path().join("ref")).ok()?;
            let data = ingest.path().join("data");
            let size = std::fs::metadata(&data).ok()?.len();
            (size > HALF).then_some((reference, data))
        });
    found.collect()
}

/// Waits until blobs are half written, and keeps it so: containerd stands still.
fn stop_half_way(stowd: &mut Stowd, content: &Path) -> BTreeMap<String, PathBuf> {
    let began = Instant::now();
    loop {
        assert!(began.elapsed() < SOON, "no blob gets written");
        assert_eq!(
            stowd.notify.ready_at(),
            None,
            "it was too quick to be stopped in time"
        );
        if half_written(content).is_empty() {
            std::thread::yield_now();
            continue;
        }
        let pid = stowd.containerd_pid().expect("its containerd");
        let signal = |signal| {
            kill_process(Pid::from_raw(pid as i32).expect("a pid"), signal).expect("it is there");
        };
        signal(Signal::STOP);
        stowd.wait_until(SOON, "containerd stands still", |_| stands_still(pid));
        let half = half_written(content);
        if !half.is_empty() {
            return half;
        }
        // The blob was ended in between.
        signal(Signal::CONT);
    }
}

fn stands_still(pid: u32) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("its threads");
    tasks.flatten().all(|task| {
        let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        stat.rsplit(')')
            .next()
            .is_some_and(|rest| rest.trim().starts_with('T'))
    })
}

fn a_killed_import_is_taken_up_where_it_was(generation: &Generation) {
    for file in ["large.tar", "large.tar.zst"] {
        let mut setup = Setup::new(generation);
        // What is placed is begun anew: see `placement`.
        setup.images.push_str("direct = false\n");
        setup.containerd.push_str("stop-timeout = \"10s\"\n");
        let large = fixture(file);
        setup.stow(&large.path);
        let content = setup.dir().join("root/io.containerd.content.v1.content");
        let mut stowd = setup.start();
        let half = stop_half_way(&mut stowd, &content);
        stowd.kill();
        let killed_at = std::time::SystemTime::now();
        assert_eq!(stowd.notify.ready_at(), None);

        // A file is told by its inode and its birth: the blob must end as the file that it began as.
        let identity = |path: &Path| {
            let metadata =
                std::fs::metadata(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            (metadata.ino(), metadata.created().unwrap())
        };
        let half = half
            .into_iter()
            .map(|(reference, data)| (reference, identity(&data)))
            .collect::<BTreeMap<_, _>>();

        stowd.restart();
        stowd.wait_ready(SOON);
        let store = stowd.store();
        assert_eq!(store.leases(), Vec::<String>::new(), "{file}");
        assert_eq!(store.ingests(), Vec::<String>::new(), "{file}");
        for (reference, begun) in half {
            let (_, hex) = reference
                .rsplit_once("sha256:")
                .unwrap_or_else(|| panic!("{reference}"));
            let ended = identity(&content.join("blobs/sha256").join(hex));
            assert_eq!(ended, begun, "{file}: {reference} was written anew");
            assert!(ended.1 < killed_at);
        }
        let images = store.images();
        assert!(
            large.names.iter().all(|name| images.contains_key(name)),
            "{file}: {images:?}"
        );
        store.collect_garbage();
        let closure = store.closure();
        assert_eq!(
            store
                .blobs()
                .into_keys()
                .collect::<std::collections::BTreeSet<_>>(),
            closure
        );
        for digest in closure {
            assert_eq!(store.hash(&digest).0, digest);
        }
    }
}

on_each_generation_in_turn!(a_killed_import_is_taken_up_where_it_was);
