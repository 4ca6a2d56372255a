//! Blobs that stowd writes where containerd keeps them: they are as if containerd had written them,
//! and whatever comes in between, none is lost and none is wrong.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use stowd::containerd::Containerd;
use stowd::digest::Digest;
use stowd::image_store::{BlobWriter, ImageStore, Labels, NewBlob, Opened, StoreError};

use crate::raw::{Raw, bytes, client, known, labels, put, serve, writer};
use crate::support::{
    Daemon, Generation, Options, Setup, blobs_dir, eventually, file_names, fixture,
    on_each_generation, on_the_reference, on_the_reference_in_turn,
};

const MIB: usize = 1 << 20;
const SLOW: Duration = Duration::from_secs(180);

on_each_generation!(
    a_placed_blob_is_like_one_of_containerds_own,
    a_garbage_collection_at_any_moment_costs_no_blob,
);
on_the_reference!(
    wrong_bytes_never_get_a_name,
    a_blob_that_is_there_is_not_placed_again,
    what_was_half_sent_is_thrown_away,
    what_is_collected_before_containerd_knows_of_it_is_sent,
    a_store_that_is_not_seen_from_here_gets_its_blobs_sent,
    a_store_of_others_or_of_one_namespace_gets_its_blobs_sent,
);
on_the_reference_in_turn!(where_it_is_switched_off_everything_is_sent);

/// A daemon, a client that places, one that sends, and containerd's own API.
async fn placing(generation: &Generation) -> (Daemon, Containerd, Containerd, Raw) {
    let (daemon, sending) = serve(generation).await;
    let placing = client(&daemon);
    placing.enable_direct_writes().await;
    let raw = Raw::connect(&daemon).await;
    (daemon, placing, sending, raw)
}

async fn a_placed_blob_is_like_one_of_containerds_own(generation: Generation) {
    let (daemon, placing, sending, raw) = placing(&generation).await;
    let lease = placing.begin_lease("placed").await.unwrap();
    let (placed, sent, late) = (bytes(1, 3 * MIB), bytes(2, 3 * MIB), bytes(3, 2 * MIB + 7));
    put(&sending, &lease, &sent, Labels::new()).await.unwrap();

    let mut open = writer(&placing, &lease, known(&placed)).await;
    open.write(&placed[..MIB]).await.unwrap();
    let reference = format!("stowd-{}", Digest::of(&placed));
    assert_eq!(raw.ingest(&reference).await, None, "it is being sent");
    let dir = blobs_dir(daemon.root());
    assert_eq!(
        file_names(&dir),
        [Digest::of(&sent).hex()],
        "named too early"
    );
    open.write(&placed[MIB..]).await.unwrap();
    let kept = labels(&[("a", "b")]);
    open.commit(&Digest::of(&placed), kept.clone())
        .await
        .unwrap();

    let unnamed = NewBlob::Unnamed {
        key: "layer".to_owned(),
        size: late.len() as u64,
    };
    let mut open = writer(&placing, &lease, unnamed).await;
    for chunk in late.chunks(300_000) {
        open.write(chunk).await.unwrap();
    }
    open.commit(&Digest::of(&late), Labels::new())
        .await
        .unwrap();

    assert_eq!(raw.blob_labels(&Digest::of(&placed)).await, Some(kept));
    let held = raw.held_by(lease.id()).await;
    let file = |blob: &[u8]| fs::metadata(dir.join(Digest::of(blob).hex())).unwrap();
    let own = file(&sent);
    for blob in [&placed, &late] {
        let digest = Digest::of(blob);
        let back = placing.read_blob(&digest, u64::MAX).await.unwrap();
        assert!(back.is_some_and(|back| back == *blob));
        assert!(held.contains(&format!("content/{digest}")), "{held:?}");
        let like = |file: &fs::Metadata| (file.mode(), file.uid(), file.gid(), file.nlink());
        assert_eq!(like(&file(blob)), like(&own));
        let again = placing.open_blob(&lease, known(blob)).await.unwrap();
        let length = blob.len() as u64;
        assert!(matches!(again, Opened::Exists(Some(told)) if told == length));
        let reference = format!("stowd-{digest}");
        assert_eq!(raw.ingest(&reference).await, None);
    }
    // The lease is all that holds them.
    placing.release(lease).await.unwrap();
    raw.collect_garbage().await;
    assert_eq!(file_names(&dir), Vec::<String>::new());
}

async fn wrong_bytes_never_get_a_name(generation: Generation) {
    let (daemon, store, _, raw) = placing(&generation).await;
    let lease = store.begin_lease("wrong").await.unwrap();
    let dir = blobs_dir(daemon.root());
    let blob = bytes(4, 2 * MIB);
    let digest = Digest::of(&blob);
    let mut wrong = blob.clone();
    wrong[MIB] ^= 1;
    for (given, told) in [
        (&wrong[..], Digest::of(&wrong).to_string()),
        (&blob[..MIB], format!("{MIB} bytes, not {}", 2 * MIB)),
    ] {
        let mut open = writer(&store, &lease, known(&blob)).await;
        open.write(given).await.unwrap();
        let error = open.commit(&digest, Labels::new()).await.unwrap_err();
        let StoreError::Mismatch { expected, cause } = error else {
            panic!("{error:?}");
        };
        assert_eq!(expected, digest);
        assert!(cause.contains(&told), "{cause}");
        assert_eq!(file_names(&dir), Vec::<String>::new());
        assert_eq!(raw.blob_labels(&digest).await, None);
    }
    let mut open = writer(&store, &lease, known(&blob)).await;
    open.write(&blob).await.unwrap();
    let error = open.write(b"x").await.unwrap_err().to_string();
    assert!(error.contains("longer than its 2097152 bytes"), "{error}");
    open.abort().await.unwrap();
    // One that is dropped leaves no more.
    let mut open = writer(&store, &lease, known(&blob)).await;
    open.write(&blob).await.unwrap();
    drop(open);
    assert_eq!(file_names(&dir), Vec::<String>::new());
    put(&store, &lease, &blob, Labels::new()).await.unwrap();
    assert_eq!(store.read_blob(&digest, u64::MAX).await, Ok(Some(blob)));
}

async fn a_blob_that_is_there_is_not_placed_again(generation: Generation) {
    let (daemon, store, sending, raw) = placing(&generation).await;
    let blob = bytes(5, 2 * MIB);
    let digest = Digest::of(&blob);
    let file = blobs_dir(daemon.root()).join(digest.hex());
    // Another namespace has it: it is taken over, without a byte.
    let elsewhere = Containerd::connect(daemon.address(), "elsewhere").unwrap();
    let lease = elsewhere.begin_lease("first").await.unwrap();
    put(&elsewhere, &lease, &blob, Labels::new()).await.unwrap();
    let inode = fs::metadata(&file).unwrap().ino();
    let lease = store.begin_lease("second").await.unwrap();
    let open = writer(&store, &lease, known(&blob)).await;
    assert_eq!(open.offset(), blob.len() as u64);
    open.commit(&digest, labels(&[("taken", "over")]))
        .await
        .unwrap();
    // Two writers of the rest: the second one finds that of the first.
    let other = bytes(6, 2 * MIB);
    let mut tasks = tokio::task::JoinSet::new();
    for store in [&store, &sending, &store, &sending] {
        let (store, lease, other) = (store.clone(), lease.clone(), other.clone());
        tasks.spawn(async move {
            match put(&store, &lease, &other, Labels::new()).await {
                // Who places throws away what another process has half sent; that one begins anew,
                // as the importer does.
                Err(StoreError::Removed { .. }) => put(&store, &lease, &other, Labels::new()).await,
                other => other,
            }
        });
    }
    for put in tasks.join_all().await {
        assert_eq!(put, Ok(()));
    }
    assert_eq!(fs::metadata(&file).unwrap().ino(), inode);
    for blob in [blob, other] {
        let digest = Digest::of(&blob);
        assert_eq!(
            store.read_blob(&digest, u64::MAX).await,
            Ok(Some(blob)),
            "{digest}"
        );
        let held = raw.held_by(lease.id()).await;
        assert!(held.contains(&format!("content/{digest}")), "{held:?}");
    }
}

async fn what_was_half_sent_is_thrown_away(generation: Generation) {
    let (daemon, store, _, raw) = placing(&generation).await;
    let lease = store.begin_lease("half").await.unwrap();
    let blob = bytes(7, 2 * MIB);
    let reference = format!("stowd-{}", Digest::of(&blob));
    raw.half_write(&reference, blob.len() as u64, bytes(8, MIB))
        .await;
    let open = writer(&store, &lease, known(&blob)).await;
    assert_eq!(open.offset(), 0);
    drop(open);
    put(&store, &lease, &blob, Labels::new()).await.unwrap();
    assert_eq!(raw.ingest(&reference).await, None);
    let ingests = daemon
        .root()
        .join("io.containerd.content.v1.content/ingest");
    assert_eq!(file_names(&ingests), Vec::<String>::new());
    let back = store.read_blob(&Digest::of(&blob), u64::MAX).await;
    assert_eq!(back, Ok(Some(blob)));
}

async fn a_garbage_collection_at_any_moment_costs_no_blob(generation: Generation) {
    let (daemon, store, sending, raw) = placing(&generation).await;
    let lease = store.begin_lease("collected").await.unwrap();
    let ended = Arc::new(AtomicBool::new(false));
    // containerd looks through the files only when it has something to collect.
    let litter = tokio::spawn({
        let ended = Arc::clone(&ended);
        async move {
            let mut rounds = 0_u64;
            while !ended.load(Ordering::Relaxed) {
                let brief = sending.begin_lease("litter").await.unwrap();
                let blob = bytes(1000 + rounds, 100);
                put(&sending, &brief, &blob, Labels::new()).await.unwrap();
                sending.release_and_collect(brief).await.unwrap();
                rounds += 1;
            }
            rounds
        }
    });
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..4 {
        let (store, lease) = (store.clone(), lease.clone());
        tasks.spawn(async move {
            for number in 0..25 {
                let blob = bytes(100 * task + number + 10, 200_000);
                put(&store, &lease, &blob, Labels::new()).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    ended.store(true, Ordering::Relaxed);
    let rounds = litter.await.unwrap();
    assert!(rounds > 3, "{rounds} collections");
    raw.collect_garbage().await;
    for task in 0..4 {
        for number in 0..25 {
            let blob = bytes(100 * task + number + 10, 200_000);
            let back = store.read_blob(&Digest::of(&blob), u64::MAX).await.unwrap();
            assert!(back.is_some_and(|back| back == blob), "{task} {number}");
        }
    }
    assert_eq!(file_names(&blobs_dir(daemon.root())).len(), 100);
}

/// containerd stands still from before the name until the file is gone, as its collection takes what
/// it does not know of.
async fn what_is_collected_before_containerd_knows_of_it_is_sent(generation: Generation) {
    let (daemon, store, _, raw) = placing(&generation).await;
    let lease = store.begin_lease("collected").await.unwrap();
    // The second one shows that the directory is not given up for it.
    for seed in [40, 41] {
        let blob = bytes(seed, 2 * MIB);
        let digest = Digest::of(&blob);
        let kept = labels(&[("a", "b")]);
        let mut open = writer(&store, &lease, known(&blob)).await;
        open.write(&blob).await.unwrap();
        daemon.freeze();
        let committed = tokio::spawn({
            let (digest, kept) = (digest.clone(), kept.clone());
            async move { open.commit(&digest, kept).await }
        });
        let file = blobs_dir(daemon.root()).join(digest.hex());
        let named = || async { fs::remove_file(&file).map_err(|error| error.to_string()) };
        eventually(SLOW, "the blob has its name", named).await;
        daemon.thaw();
        committed.await.unwrap().unwrap();
        assert_eq!(raw.blob_labels(&digest).await, Some(kept));
        assert_eq!(raw.ingest(&format!("stowd-{digest}")).await, None);
        raw.collect_garbage().await;
        let back = store.read_blob(&digest, u64::MAX).await;
        assert_eq!(back, Ok(Some(blob)));
    }
}

async fn a_store_that_is_not_seen_from_here_gets_its_blobs_sent(generation: Generation) {
    let (daemon, store, _, _) = placing(&generation).await;
    let lease = store.begin_lease("unseen").await.unwrap();
    // What stowd has open is not what containerd looks into, as in another mount namespace.
    let dir = blobs_dir(daemon.root());
    let aside = dir.with_file_name("aside");
    fs::rename(&dir, &aside).unwrap();
    assert!(store.free_space().await.is_some());
    for seed in [20, 21] {
        let blob = bytes(seed, 2 * MIB);
        put(&store, &lease, &blob, Labels::new()).await.unwrap();
        assert_eq!(file_names(&aside), Vec::<String>::new());
        let back = store.read_blob(&Digest::of(&blob), u64::MAX).await;
        assert_eq!(back, Ok(Some(blob)));
    }
    let free = store.free_space().await;
    assert_eq!(free, None, "its files are not looked at any more");
}

/// Whether a blob goes over the socket.
async fn is_sent(daemon: &Daemon, seed: u64) -> bool {
    let store = client(daemon);
    store.enable_direct_writes().await;
    let raw = Raw::connect(daemon).await;
    let lease = store.begin_lease("sent").await.unwrap();
    let blob = bytes(seed, 2 * MIB);
    let reference = format!("stowd-{}", Digest::of(&blob));
    let mut open = writer(&store, &lease, known(&blob)).await;
    open.write(&blob).await.unwrap();
    let is_sent = raw.ingest(&reference).await.is_some();
    open.commit(&Digest::of(&blob), Labels::new())
        .await
        .unwrap();
    let back = store.read_blob(&Digest::of(&blob), u64::MAX).await;
    assert_eq!(back, Ok(Some(blob)));
    is_sent
}

async fn a_store_of_others_or_of_one_namespace_gets_its_blobs_sent(generation: Generation) {
    let mut daemon = Daemon::start(&generation);
    daemon.wait();
    assert!(!is_sent(&daemon, 30).await);
    let content = daemon.root().join("io.containerd.content.v1.content");
    chown(&content, Some(12345), None).unwrap();
    assert!(is_sent(&daemon, 31).await);
    drop(daemon);

    let config = "[plugins.'io.containerd.metadata.v1.bolt']\n\
                  content_sharing_policy = \"isolated\"\n";
    let options = Options {
        config: config.to_owned(),
        ..Options::default()
    };
    let mut daemon = Daemon::start_with(&generation, options);
    daemon.wait();
    assert!(is_sent(&daemon, 32).await);
}

fn where_it_is_switched_off_everything_is_sent(generation: &Generation) {
    for direct in [false, true] {
        let mut setup = Setup::new(generation);
        setup.images.push_str(&format!("direct = {direct}\n"));
        let large = fixture("large.tar");
        setup.stow(&large.path);
        let mut stowd = setup.start();
        stowd.wait_ready(SLOW);
        assert_eq!(
            stowd.lines(" blobs are written directly into ").len(),
            usize::from(direct)
        );
        assert_eq!(
            stowd.lines(" blobs are sent over gRPC: "),
            Vec::<String>::new()
        );
        let images = stowd.store().images();
        assert!(large.names.iter().all(|name| images.contains_key(name)));
    }
}
