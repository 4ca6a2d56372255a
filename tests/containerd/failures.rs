//! A containerd that is gone, does not move, or has no room.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use stowd::containerd::{Containerd, Deadlines};
use stowd::digest::Digest;
use stowd::image_store::{BlobWriter, ImageStore, Labels, StoreError};

use crate::raw::{NAMESPACE, Raw, Way, both_ways, bytes, client, known, put, serve, writer};
use crate::support::{Daemon, Generation, Options, on_the_reference};

const MIB: usize = 1 << 20;

on_the_reference!(
    one_that_is_gone_is_unreachable_and_comes_back,
    one_that_does_not_move_is_past_its_deadline,
    a_lock_that_nobody_gives_back_is_not_waited_for_for_ever,
);
both_ways!(on_each_generation: a_full_disk_is_named);
both_ways!(
    on_the_reference:
    what_is_thrown_away_makes_room_at_once,
    a_disk_that_fills_meanwhile_is_left_as_it_was,
    a_full_disk_is_named_to_all_who_want_the_same_blob,
);

fn impatient(daemon: &Daemon) -> Containerd {
    client(daemon).with_deadlines(Deadlines {
        answer: Duration::from_secs(1),
        change: Duration::from_secs(2),
        progress: Duration::from_secs(3),
        runtime: Duration::from_secs(1),
        heard: Duration::from_secs(1),
    })
}

async fn one_that_is_gone_is_unreachable_and_comes_back(generation: Generation) {
    let (mut daemon, store) = serve(&generation).await;
    let lease = store.begin_lease("gone").await.unwrap();
    let blob = bytes(1, 8 * MIB);
    let mut open = writer(&store, &lease, known(&blob)).await;
    open.write(&blob[..MIB]).await.unwrap();

    daemon.kill();
    let began = Instant::now();
    let mut lost = None;
    for chunk in blob[MIB..].chunks(MIB / 2) {
        if let Err(error) = open.write(chunk).await {
            lost = Some(error);
            break;
        }
    }
    let lost = lost.expect("seven messages cannot all be queued");
    open.give_up(&lost).await;
    assert!(matches!(lost, StoreError::Unreachable { .. }), "{lost:?}");
    for error in [
        store.begin_lease("more").await.unwrap_err(),
        store.images().await.unwrap_err(),
        store.read_blob(&Digest::of(&blob), 1).await.unwrap_err(),
        store.release(lease.clone()).await.unwrap_err(),
    ] {
        assert!(matches!(error, StoreError::Unreachable { .. }), "{error:?}");
    }
    let error = store.images().await.unwrap_err().to_string();
    assert!(error.contains("Connection refused"), "{error}");
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );

    // The same client, the same lease, and the half that was stored.
    daemon.restart();
    daemon.wait();
    put(&store, &lease, &blob, Labels::new()).await.unwrap();
    let back = store.read_blob(&Digest::of(&blob), u64::MAX).await.unwrap();
    assert!(back.is_some_and(|back| back == blob));
}

async fn one_that_does_not_move_is_past_its_deadline(generation: Generation) {
    let (daemon, _) = serve(&generation).await;
    let store = impatient(&daemon);
    let lease = store.begin_lease("frozen").await.unwrap();
    let (first, second) = (bytes(2, 16 * MIB), bytes(3, 10));
    let mut large = writer(&store, &lease, known(&first)).await;
    let mut small = writer(&store, &lease, known(&second)).await;

    daemon.freeze();
    let answer = StoreError::Deadline {
        call: "Images.List",
        seconds: 1,
    };
    assert_eq!(store.images().await, Err(answer));
    let change = StoreError::Deadline {
        call: "Leases.Create",
        seconds: 2,
    };
    assert_eq!(store.begin_lease("more").await, Err(change));

    // More than the queue, the connection and the socket hold: the write itself stalls.
    let mut stalled = None;
    let mut taken = 0;
    for chunk in first.chunks(MIB) {
        if let Err(error) = large.write(chunk).await {
            stalled = Some(error);
            break;
        }
        taken += chunk.len();
    }
    let progress = StoreError::Deadline {
        call: "Content.Write",
        seconds: 3,
    };
    assert_eq!(stalled, Some(progress.clone()));
    assert!(taken <= 6 * MIB, "{taken} bytes are held in memory");
    // All of it is on its way: the commit stalls.
    small.write(&second).await.unwrap();
    let error = small.commit(&Digest::of(&second), Labels::new()).await;
    assert_eq!(error, Err(progress));
    daemon.thaw();
}

/// A file system of its own size, unmounted when dropped.
struct Small(tempfile::TempDir);

impl Small {
    fn new(size: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = format!("size={size}");
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(dir.path())
            .status()
            .unwrap();
        assert!(status.success(), "mount: these tests need root");
        Self(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn free(&self) -> u64 {
        let found = rustix::fs::statvfs(self.path()).unwrap();
        found.f_bavail * found.f_frsize
    }

    /// That nothing but containerd's notes has taken room since so much was free. A process that another
    /// test starts has all files of this one open, until it executes its program.
    fn assert_free(&self, before: u64, what: &str) {
        let began = Instant::now();
        while self.free() + NOTES < before {
            let free = self.free();
            let is_late = began.elapsed() > Duration::from_secs(10);
            assert!(!is_late, "{what}: {free} of {before} bytes");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// By how much containerd's database may grow in a test.
const NOTES: u64 = 512 << 10;

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .arg("--lazy")
            .arg(self.path())
            .status();
    }
}

/// A containerd whose disk has room for 16 MiB, and a client of it.
async fn small_disk(generation: &Generation, way: Way) -> (Small, Daemon, Containerd) {
    let small = Small::new("16m");
    let options = Options {
        root: Some(small.path().to_owned()),
        ..Options::default()
    };
    let mut daemon = Daemon::start_with(generation, options);
    daemon.wait();
    let store = way.client(&daemon).await;
    (small, daemon, store)
}

async fn a_full_disk_is_named(generation: Generation, way: Way) {
    let (small, daemon, store) = small_disk(&generation, way).await;
    let lease = store.begin_lease("too much").await.unwrap();
    let before = small.free();
    for seed in [4, 24, 44] {
        let blob = bytes(seed, 20 * MIB);
        let error = put(&store, &lease, &blob, Labels::new()).await.unwrap_err();
        small.assert_free(before, "a blob that does not fit");
        assert!(matches!(error, StoreError::NoSpace { .. }), "{error:?}");
    }
    let blob = bytes(4, 20 * MIB);
    // What was half written has made room: what fits can be put at once.
    let reference = format!("stowd-{}", Digest::of(&blob));
    assert_eq!(Raw::connect(&daemon).await.ingest(&reference).await, None);
    put(&store, &lease, &bytes(5, 8 * MIB), Labels::new())
        .await
        .unwrap();
}

/// Another process fills the disk, which had room enough when the blob was begun.
async fn a_disk_that_fills_meanwhile_is_left_as_it_was(generation: Generation, way: Way) {
    let (small, daemon, store) = small_disk(&generation, way).await;
    let lease = store.begin_lease("filled").await.unwrap();
    let before = small.free();
    store.see_content_store().await;
    assert!(store.free_space().await.unwrap().abs_diff(before) < NOTES);
    let filler = small.path().join("filler");
    for written in [2 * MIB, 10 * MIB] {
        let blob = bytes(written as u64, 12 * MIB);
        let mut open = writer(&store, &lease, known(&blob)).await;
        open.write(&blob[..written]).await.unwrap();
        assert!(std::fs::write(&filler, vec![0; 16 * MIB]).is_err());
        let mut ended = Ok(());
        for chunk in blob[written..].chunks(MIB) {
            ended = open.write(chunk).await;
            if ended.is_err() {
                break;
            }
        }
        let error = match ended {
            Ok(()) => open.commit(&Digest::of(&blob), Labels::new()).await,
            Err(error) => {
                open.give_up(&error).await;
                Err(error)
            }
        };
        std::fs::remove_file(&filler).unwrap();
        let error = error.expect_err("the disk is full");
        assert!(matches!(error, StoreError::NoSpace { .. }), "{error:?}");
        small.assert_free(before, "a blob that was cut short");
        let reference = format!("stowd-{}", Digest::of(&blob));
        assert_eq!(Raw::connect(&daemon).await.ingest(&reference).await, None);
    }
    put(&store, &lease, &bytes(99, 12 * MIB), Labels::new())
        .await
        .unwrap();
}

/// As when an archive turns out to be cut in the middle of a blob.
async fn what_is_thrown_away_makes_room_at_once(generation: Generation, way: Way) {
    let (small, _daemon, store) = small_disk(&generation, way).await;
    let lease = store.begin_lease("thrown away").await.unwrap();
    let before = small.free();
    for seed in 0..4 {
        let blob = bytes(seed, 12 * MIB);
        let mut open = writer(&store, &lease, known(&blob)).await;
        open.write(&blob[..10 * MIB]).await.unwrap();
        open.abort().await.unwrap();
        small.assert_free(before, "a blob that was thrown away");
    }
}

async fn a_full_disk_is_named_to_all_who_want_the_same_blob(generation: Generation, way: Way) {
    let (_small, _daemon, store) = small_disk(&generation, way).await;
    let lease = store.begin_lease("too much at once").await.unwrap();
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..4 {
        let (store, lease) = (store.clone(), lease.clone());
        // Two of each: who has no room must not take it from who waits for the same blob.
        let blob = bytes(7 + number / 2, 20 * MIB);
        writers.spawn(async move { put(&store, &lease, &blob, Labels::new()).await });
    }
    for put in writers.join_all().await {
        let error = put.unwrap_err();
        assert!(matches!(error, StoreError::NoSpace { .. }), "{error:?}");
    }
    put(&store, &lease, &bytes(5, 8 * MIB), Labels::new())
        .await
        .unwrap();
}

async fn a_lock_that_nobody_gives_back_is_not_waited_for_for_ever(generation: Generation) {
    let (daemon, _) = serve(&generation).await;
    let store = impatient(&daemon);
    let lease = store.begin_lease("locked").await.unwrap();
    let blob = bytes(6, 100);
    let held = writer(&store, &lease, known(&blob)).await;
    let began = Instant::now();
    let error = put(&store, &lease, &blob, Labels::new()).await.unwrap_err();
    assert!(
        began.elapsed() >= Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
    assert!(matches!(error, StoreError::Refused { .. }), "{error:?}");
    assert!(
        error.to_string().contains("another writer has it"),
        "{error}"
    );
    drop(held);
    put(&store, &lease, &blob, Labels::new()).await.unwrap();
}

#[tokio::test]
async fn no_socket_is_unreachable_and_a_bad_namespace_is_refused() {
    let nowhere = Path::new("/nonexistent/containerd.sock");
    let store = Containerd::connect(nowhere, NAMESPACE).unwrap();
    let error = store.images().await.unwrap_err();
    assert!(matches!(error, StoreError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains("No such file"), "{error}");
    let error = Containerd::connect(nowhere, "a\nb").unwrap_err();
    assert!(matches!(error, StoreError::Refused { .. }), "{error:?}");
}
