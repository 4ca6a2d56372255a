//! Blobs go in and come out as they were: whole, resumed, raced for, and refused when wrong.

use std::time::Duration;

use stowd::containerd::Containerd;
use stowd::digest::Digest;
use stowd::image_store::{BlobWriter, ImageStore, Labels, NewBlob, Opened, StoreError};

use crate::raw::{
    NAMESPACE, Raw, Way, both_ways, bytes, client, known, labels, put, serve, writer,
};
use crate::support::{Generation, eventually, on_each_generation, on_the_reference};

const MIB: usize = 1 << 20;
const SOON: Duration = Duration::from_secs(20);

// Some of these are about what containerd has of a blob that is being sent.
on_each_generation!(a_half_written_blob_is_resumed);
on_the_reference!(
    garbage_under_the_name_is_thrown_away,
    a_writer_that_lets_go_hands_over,
    another_writer_under_another_name_may_be_first,
    an_unnamed_blob_is_never_resumed,
    reading_has_its_limits,
    a_half_written_blob_of_another_length_is_thrown_away,
    a_blob_that_was_removed_under_its_writer_says_so,
);
both_ways!(
    on_each_generation:
    what_goes_in_comes_out,
    writers_of_the_same_blob_all_succeed,
    a_blob_of_another_namespace_is_taken_over,
    labels_are_added_one_by_one,
);
both_ways!(
    on_the_reference:
    a_blob_that_is_there_is_kept_by_the_lease_that_asks,
    an_aborted_blob_is_gone,
    a_writer_that_aborts_leaves_the_next_one_alone,
    a_blob_has_its_length,
    a_blob_is_committed_by_one_writer_of_a_process_at_a_time,
    a_wrong_digest_is_thrown_away,
);

async fn what_goes_in_comes_out(generation: Generation, way: Way) {
    let (daemon, store) = way.serve(&generation).await;
    let raw = Raw::connect(&daemon).await;
    let lease = store.begin_lease("what goes in").await.unwrap();
    // Around the size of a message, and chunks larger than one.
    for (seed, length) in [0, 1, MIB - 1, MIB, MIB + 1, 7 * MIB / 2]
        .into_iter()
        .enumerate()
    {
        let by_digest = bytes(seed as u64, length);
        let digest = Digest::of(&by_digest);
        let mut open = writer(&store, &lease, known(&by_digest)).await;
        assert_eq!(open.offset(), 0);
        for chunk in by_digest.chunks(3 * MIB) {
            open.write(chunk).await.unwrap();
        }
        let kept = labels(&[("a", "b"), ("containerd.io/gc.ref.content.0", "x")]);
        open.commit(&digest, kept.clone()).await.unwrap();
        let back = store.read_blob(&digest, length as u64).await.unwrap();
        assert!(back.is_some_and(|back| back == by_digest), "{length} bytes");
        assert_eq!(raw.blob_labels(&digest).await, Some(kept));

        let again = store.open_blob(&lease, known(&by_digest)).await.unwrap();
        assert!(matches!(again, Opened::Exists(_)), "{length} bytes");

        let unnamed = bytes(seed as u64 + 100, length + 1);
        let digest = Digest::of(&unnamed);
        let blob = NewBlob::Unnamed {
            key: format!("layer {seed}/layer.tar"),
            size: unnamed.len() as u64,
        };
        let mut open = writer(&store, &lease, blob).await;
        assert_eq!(open.offset(), 0);
        for chunk in unnamed.chunks(100_000) {
            open.write(chunk).await.unwrap();
        }
        open.commit(&digest, Labels::new()).await.unwrap();
        let back = store.read_blob(&digest, u64::MAX).await.unwrap();
        assert!(
            back.is_some_and(|back| back == unnamed),
            "{length} + 1 bytes"
        );
        let held = raw.held_by(lease.id()).await;
        assert!(held.contains(&format!("content/{digest}")), "{held:?}");
    }
}

async fn a_half_written_blob_is_resumed(generation: Generation) {
    let (daemon, store) = serve(&generation).await;
    let raw = Raw::connect(&daemon).await;
    let blob = bytes(1, 5 * MIB);
    // Whole messages: what does not fill one waits for the next bytes.
    let half = 3 * MIB;
    let reference = format!("stowd-{}", Digest::of(&blob));

    let first = store.begin_lease("cut off").await.unwrap();
    let mut open = writer(&store, &first, known(&blob)).await;
    open.write(&blob[..half]).await.unwrap();
    eventually(SOON, "the half is stored", || async {
        match raw.ingest(&reference).await {
            Some(offset) if offset == half as u64 => Ok(()),
            other => Err(format!("{other:?} of {half}")),
        }
    })
    .await;
    drop(open);

    // Another process, and another lease: the name of the ingest is all that they share.
    let store = client(&daemon);
    let second = store.begin_lease("taken up").await.unwrap();
    let mut open = writer(&store, &second, known(&blob)).await;
    assert_eq!(open.offset(), half as u64);
    // The rest alone goes to containerd: with these zeros it would have another blob.
    open.write(&vec![0; half]).await.unwrap();
    open.write(&blob[half..]).await.unwrap();
    open.commit(&Digest::of(&blob), Labels::new())
        .await
        .unwrap();
    let back = store.read_blob(&Digest::of(&blob), u64::MAX).await.unwrap();
    assert!(back.is_some_and(|back| back == blob));
    assert_eq!(raw.ingest(&reference).await, None);
}

async fn a_wrong_digest_is_thrown_away(generation: Generation, way: Way) {
    let (daemon, store) = way.serve(&generation).await;
    let raw = Raw::connect(&daemon).await;
    let lease = store.begin_lease("wrong").await.unwrap();
    let blob = bytes(2, 2 * MIB);
    let expected = Digest::of(&blob);
    let mut wrong = blob.clone();
    wrong[MIB] ^= 1;

    let mut open = writer(&store, &lease, known(&blob)).await;
    open.write(&wrong).await.unwrap();
    let error = open.commit(&expected, Labels::new()).await.unwrap_err();
    let StoreError::Mismatch {
        expected: told,
        cause,
    } = &error
    else {
        panic!("{error:?}");
    };
    assert_eq!(*told, expected);
    assert!(cause.contains(Digest::of(&wrong).as_str()), "{cause}");
    assert_eq!(raw.ingest(&format!("stowd-{expected}")).await, None);
    assert_eq!(store.read_blob(&expected, u64::MAX).await, Ok(None));

    put(&store, &lease, &blob, Labels::new()).await.unwrap();
    assert_eq!(store.read_blob(&expected, u64::MAX).await, Ok(Some(blob)));
}

async fn garbage_under_the_name_is_thrown_away(generation: Generation) {
    let (daemon, store) = serve(&generation).await;
    let raw = Raw::connect(&daemon).await;
    let lease = store.begin_lease("garbage").await.unwrap();
    let blob = bytes(3, 2 * MIB);
    let digest = Digest::of(&blob);
    let reference = format!("stowd-{digest}");
    raw.half_write(&reference, blob.len() as u64, bytes(4, MIB))
        .await;

    let mut open = writer(&store, &lease, known(&blob)).await;
    assert_eq!(open.offset(), MIB as u64);
    open.write(&blob).await.unwrap();
    assert_eq!(open.digest(), digest);
    let error = open.commit(&digest, Labels::new()).await.unwrap_err();
    assert!(matches!(error, StoreError::Mismatch { .. }), "{error:?}");

    let mut open = writer(&store, &lease, known(&blob)).await;
    assert_eq!(open.offset(), 0);
    open.write(&blob).await.unwrap();
    open.commit(&digest, Labels::new()).await.unwrap();
    assert_eq!(store.read_blob(&digest, u64::MAX).await, Ok(Some(blob)));
}

async fn a_half_written_blob_of_another_length_is_thrown_away(generation: Generation) {
    let (daemon, store) = serve(&generation).await;
    let raw = Raw::connect(&daemon).await;
    let lease = store.begin_lease("another length").await.unwrap();
    let blob = bytes(6, 2 * MIB);
    let reference = format!("stowd-{}", Digest::of(&blob));
    raw.half_write(&reference, 0, bytes(7, 5 * MIB / 2)).await;
    let mut open = writer(&store, &lease, known(&blob)).await;
    assert_eq!(open.offset(), 0);
    open.write(&blob).await.unwrap();
    open.commit(&Digest::of(&blob), Labels::new())
        .await
        .unwrap();

    // With a total that contradicts the blob's, containerd begins at 0 but does not cut the file
    // that it has: the first try fails, and clears the way for the second.
    let blob = bytes(5, 2 * MIB);
    let reference = format!("stowd-{}", Digest::of(&blob));
    raw.half_write(&reference, 3 * MIB as u64, bytes(7, 5 * MIB / 2))
        .await;
    let error = put(&store, &lease, &blob, Labels::new()).await.unwrap_err();
    assert!(matches!(error, StoreError::Mismatch { .. }), "{error:?}");
    put(&store, &lease, &blob, Labels::new()).await.unwrap();
    let back = store.read_blob(&Digest::of(&blob), u64::MAX).await.unwrap();
    assert!(back.is_some_and(|back| back == blob));
}

async fn writers_of_the_same_blob_all_succeed(generation: Generation, way: Way) {
    let (daemon, _) = way.serve(&generation).await;
    let raw = Raw::connect(&daemon).await;
    let blob = bytes(8, 12 * MIB);
    let digest = Digest::of(&blob);
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..6 {
        let store = way.client(&daemon).await;
        let blob = blob.clone();
        tasks.spawn(async move {
            let lease = store
                .begin_lease(&format!("writer {number}"))
                .await
                .unwrap();
            put(&store, &lease, &blob, Labels::new()).await.unwrap();
            lease
        });
    }
    let leases = tasks.join_all().await;
    for lease in leases {
        let held = raw.held_by(lease.id()).await;
        let name = format!("content/{digest}");
        assert!(held.contains(&name), "{}: {held:?}", lease.purpose());
    }
    let back = client(&daemon).read_blob(&digest, u64::MAX).await.unwrap();
    assert!(back.is_some_and(|back| back == blob));
}

async fn a_writer_that_lets_go_hands_over(generation: Generation) {
    let (daemon, store) = serve(&generation).await;
    let raw = Raw::connect(&daemon).await;
    let lease = store.begin_lease("hand over").await.unwrap();
    let blob = bytes(9, 2 * MIB);
    let reference = format!("stowd-{}", Digest::of(&blob));
    let mut first = writer(&store, &lease, known(&blob)).await;
    first.write(&blob[..MIB]).await.unwrap();
    eventually(SOON, "the half is stored", || async {
        let stored = raw.ingest(&reference).await;
        (stored == Some(MIB as u64))
            .then_some(())
            .ok_or(format!("{stored:?}"))
    })
    .await;

    let other = client(&daemon);
    let waiting = tokio::spawn({
        let (lease, blob) = (lease.clone(), blob.clone());
        async move { put(&other, &lease, &blob, Labels::new()).await }
    });
    // It cannot have got further than the lock: the first writer has not let go.
    tokio::time::timeout(Duration::from_millis(300), store.images())
        .await
        .unwrap()
        .unwrap();
    assert!(!waiting.is_finished());
    drop(first);
    waiting.await.unwrap().unwrap();
    assert_eq!(
        store.read_blob(&Digest::of(&blob), u64::MAX).await,
        Ok(Some(blob))
    );
}

async fn another_writer_under_another_name_may_be_first(generation: Generation) {
    let (daemon, store) = serve(&generation).await;
    let raw = Raw::connect(&daemon).await;
    let blob = bytes(10, MIB);
    let digest = Digest::of(&blob);
    let late = store.begin_lease("late").await.unwrap();
    let mut open = writer(&store, &late, known(&blob)).await;
    open.write(&blob).await.unwrap();

    let early = store.begin_lease("early").await.unwrap();
    let unnamed = NewBlob::Unnamed {
        key: "same".to_owned(),
        size: blob.len() as u64,
    };
    // Of another process: in one they wait for each other.
    let mut other = writer(&client(&daemon), &early, unnamed).await;
    other.write(&blob).await.unwrap();
    other
        .commit(&digest, labels(&[("early", "1")]))
        .await
        .unwrap();

    open.commit(&digest, labels(&[("late", "1")]))
        .await
        .unwrap();
    let both = labels(&[("early", "1"), ("late", "1")]);
    assert_eq!(raw.blob_labels(&digest).await, Some(both));
    let held = raw.held_by(late.id()).await;
    assert!(held.contains(&format!("content/{digest}")), "{held:?}");
}

/// What one import has just committed is not thrown away by another one that only now knows which blob it
/// has written.
async fn a_blob_is_committed_by_one_writer_of_a_process_at_a_time(
    generation: Generation,
    way: Way,
) {
    let (daemon, store) = way.serve(&generation).await;
    let blob = bytes(14, MIB);
    let digest = Digest::of(&blob);
    let lease = store.begin_lease("both").await.unwrap();
    let mut open = writer(&store, &lease, known(&blob)).await;
    let unnamed = NewBlob::Unnamed {
        key: "same".to_owned(),
        size: blob.len() as u64,
    };
    let mut other = writer(&store, &lease, unnamed).await;
    other.write(&blob).await.unwrap();
    let waiting = tokio::spawn({
        let digest = digest.clone();
        async move { other.commit(&digest, labels(&[("other", "1")])).await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished());
    open.write(&blob).await.unwrap();
    open.commit(&digest, labels(&[("first", "1")]))
        .await
        .unwrap();
    waiting.await.unwrap().unwrap();
    let both = labels(&[("first", "1"), ("other", "1")]);
    let raw = Raw::connect(&daemon).await;
    assert_eq!(raw.blob_labels(&digest).await, Some(both));
}

async fn a_blob_of_another_namespace_is_taken_over(generation: Generation, way: Way) {
    let (daemon, store) = way.serve(&generation).await;
    let raw = Raw::connect(&daemon).await;
    let blob = bytes(11, 2 * MIB);
    let digest = Digest::of(&blob);
    let elsewhere = Containerd::connect(daemon.address(), "elsewhere").unwrap();
    let lease = elsewhere.begin_lease("first").await.unwrap();
    put(&elsewhere, &lease, &blob, Labels::new()).await.unwrap();

    assert_eq!(store.read_blob(&digest, u64::MAX).await, Ok(None));
    let lease = store.begin_lease("second").await.unwrap();
    let open = writer(&store, &lease, known(&blob)).await;
    assert_eq!(open.offset(), blob.len() as u64);
    open.commit(&digest, labels(&[("taken", "over")]))
        .await
        .unwrap();
    assert_eq!(store.read_blob(&digest, u64::MAX).await, Ok(Some(blob)));
    assert_eq!(
        raw.blob_labels(&digest).await,
        Some(labels(&[("taken", "over")]))
    );
    assert_eq!(store.namespace(), NAMESPACE);
}

async fn an_unnamed_blob_is_never_resumed(generation: Generation) {
    let (daemon, store) = serve(&generation).await;
    let raw = Raw::connect(&daemon).await;
    let lease = store.begin_lease("unnamed").await.unwrap();
    let unnamed = |size: usize| NewBlob::Unnamed {
        key: "layer".to_owned(),
        size: size as u64,
    };
    let mut open = writer(&store, &lease, unnamed(2 * MIB)).await;
    open.write(&bytes(12, MIB)).await.unwrap();
    let reference = format!("{}-layer", lease.id());
    eventually(SOON, "the half is stored", || async {
        let stored = raw.ingest(&reference).await;
        (stored == Some(MIB as u64))
            .then_some(())
            .ok_or(format!("{stored:?}"))
    })
    .await;
    drop(open);

    let blob = bytes(13, 3 * MIB);
    let mut open = writer(&store, &lease, unnamed(blob.len())).await;
    assert_eq!(open.offset(), 0);
    open.write(&blob).await.unwrap();
    open.commit(&Digest::of(&blob), Labels::new())
        .await
        .unwrap();
    assert_eq!(
        store.read_blob(&Digest::of(&blob), u64::MAX).await,
        Ok(Some(blob))
    );
}

async fn a_blob_that_is_there_is_kept_by_the_lease_that_asks(generation: Generation, way: Way) {
    let (daemon, store) = way.serve(&generation).await;
    let raw = Raw::connect(&daemon).await;
    let blob = bytes(13, 200_000);
    let digest = Digest::of(&blob);
    let first = store.begin_lease("first").await.unwrap();
    let second = store.begin_lease("second").await.unwrap();
    assert_eq!(store.has_blob(&second, &digest).await, Ok(false));
    put(&store, &first, &blob, Labels::new()).await.unwrap();
    assert_eq!(store.has_blob(&second, &digest).await, Ok(true));
    // What only a lease had that asked for it in vain is no harm to the garbage collection.
    let absent = Digest::of(b"absent");
    assert_eq!(store.has_blob(&second, &absent).await, Ok(false));
    store.release(first).await.unwrap();
    raw.collect_garbage().await;
    assert_eq!(store.has_blob(&second, &digest).await, Ok(true));
    store.release(second).await.unwrap();
    raw.collect_garbage().await;
    assert_eq!(raw.blob_labels(&digest).await, None);
}

async fn an_aborted_blob_is_gone(generation: Generation, way: Way) {
    let (daemon, store) = way.serve(&generation).await;
    let raw = Raw::connect(&daemon).await;
    let lease = store.begin_lease("aborted").await.unwrap();
    let blob = bytes(14, 3 * MIB);
    let mut open = writer(&store, &lease, known(&blob)).await;
    open.write(&blob[..2 * MIB]).await.unwrap();
    open.abort().await.unwrap();
    assert_eq!(
        raw.ingest(&format!("stowd-{}", Digest::of(&blob))).await,
        None
    );
    assert_eq!(writer(&store, &lease, known(&blob)).await.offset(), 0);
}

async fn a_writer_that_aborts_leaves_the_next_one_alone(generation: Generation, way: Way) {
    let (_daemon, store) = way.serve(&generation).await;
    let lease = store.begin_lease("next").await.unwrap();
    for round in 0..5 {
        let blob = bytes(20 + round, 2 * MIB);
        let mut first = writer(&store, &lease, known(&blob)).await;
        first.write(&blob[..MIB]).await.unwrap();
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let (other, lease, blob) = (store.clone(), lease.clone(), blob.clone());
            waiting.spawn(async move { put(&other, &lease, &blob, Labels::new()).await });
        }
        first.abort().await.unwrap();
        for put in waiting.join_all().await {
            assert_eq!(put, Ok(()), "round {round}");
        }
    }
}

async fn a_blob_that_was_removed_under_its_writer_says_so(generation: Generation) {
    let (daemon, store) = serve(&generation).await;
    let raw = Raw::connect(&daemon).await;
    let lease = store.begin_lease("removed").await.unwrap();
    let blob = bytes(30, MIB);
    let digest = Digest::of(&blob);
    let reference = format!("stowd-{digest}");
    let mut open = writer(&store, &lease, known(&blob)).await;
    open.write(&blob).await.unwrap();
    eventually(SOON, "all of it is stored", || async {
        let stored = raw.ingest(&reference).await;
        (stored == Some(MIB as u64))
            .then_some(())
            .ok_or(format!("{stored:?}"))
    })
    .await;
    raw.abort(&reference).await;
    let error = open.commit(&digest, Labels::new()).await.unwrap_err();
    assert!(matches!(error, StoreError::Removed { .. }), "{error:?}");
    put(&store, &lease, &blob, Labels::new()).await.unwrap();
}

async fn a_blob_has_its_length(generation: Generation, way: Way) {
    let (_daemon, store) = way.serve(&generation).await;
    let lease = store.begin_lease("lengths").await.unwrap();
    let blob = bytes(15, 200_000);
    let digest = Digest::of(&blob);
    let mut open = writer(&store, &lease, known(&blob)).await;
    open.write(&blob[..199_999]).await.unwrap();
    let error = open.commit(&digest, Labels::new()).await.unwrap_err();
    assert!(matches!(error, StoreError::Mismatch { .. }), "{error:?}");

    let mut open = writer(&store, &lease, known(&blob)).await;
    assert_eq!(open.offset(), 0);
    let error = open.write(&[0; 200_001]).await.unwrap_err();
    assert!(
        error.to_string().contains("longer than its 200000 bytes"),
        "{error}"
    );
    open.write(&blob).await.unwrap();
    open.commit(&digest, Labels::new()).await.unwrap();
}

async fn reading_has_its_limits(generation: Generation) {
    let (daemon, store) = serve(&generation).await;
    let lease = store.begin_lease("reads").await.unwrap();
    let blob = bytes(16, 6 * MIB);
    let digest = Digest::of(&blob);
    assert_eq!(store.read_blob(&digest, u64::MAX).await, Ok(None));
    put(&store, &lease, &blob, Labels::new()).await.unwrap();
    let error = store
        .read_blob(&digest, blob.len() as u64 - 1)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("more than the"), "{error}");
    // It comes in several messages.
    assert_eq!(
        store.read_blob(&digest, blob.len() as u64).await,
        Ok(Some(blob.clone()))
    );

    let file = daemon
        .root()
        .join("io.containerd.content.v1.content/blobs/sha256")
        .join(digest.hex());
    std::fs::write(file, bytes(17, blob.len())).unwrap();
    let error = store.read_blob(&digest, u64::MAX).await.unwrap_err();
    assert!(error.to_string().contains("damaged"), "{error}");
}

async fn labels_are_added_one_by_one(generation: Generation, way: Way) {
    let (daemon, store) = way.serve(&generation).await;
    let raw = Raw::connect(&daemon).await;
    let lease = store.begin_lease("labels").await.unwrap();
    let blob = bytes(18, 200_000);
    let digest = Digest::of(&blob);
    put(
        &store,
        &lease,
        &blob,
        labels(&[("theirs", "1"), ("both", "1")]),
    )
    .await
    .unwrap();
    let added = labels(&[
        ("both", "2"),
        ("containerd.io/distribution.source.docker.io", "library/a"),
    ]);
    store.label_blob(&digest, added.clone()).await.unwrap();
    store.label_blob(&digest, Labels::new()).await.unwrap();
    let mut all = added;
    all.insert("theirs".to_owned(), "1".to_owned());
    assert_eq!(raw.blob_labels(&digest).await, Some(all));

    let missing = Digest::of(b"missing");
    let error = store
        .label_blob(&missing, labels(&[("a", "b")]))
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::Collected { .. }), "{error:?}");
}
