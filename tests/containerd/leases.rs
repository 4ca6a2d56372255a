//! Leases keep what is being written, and nothing longer than that.

use std::process::Command;
use std::time::{Duration, SystemTime};

use stowd::digest::Digest;
use stowd::image_store::{Descriptor, Image, ImageStore, Labels};

use crate::raw::{Raw, bytes, client, labels, put, serve};
use crate::support::{Generation, on_each_generation, on_the_reference};

on_each_generation!(what_no_image_refers_to_goes_with_the_lease);
on_the_reference!(
    a_lease_says_what_it_is_for_and_expires,
    only_leases_of_ended_processes_are_stale,
);

async fn what_no_image_refers_to_goes_with_the_lease(generation: Generation) {
    let (daemon, store) = serve(&generation).await;
    let raw = Raw::connect(&daemon).await;
    let (layer, orphan) = (bytes(1, 1000), bytes(2, 1000));
    let manifest = b"{}";
    let lease = store.begin_lease("an import").await.unwrap();
    let child = labels(&[(
        "containerd.io/gc.ref.content.l.0",
        Digest::of(&layer).as_str(),
    )]);
    put(&store, &lease, &layer, Labels::new()).await.unwrap();
    put(&store, &lease, &orphan, Labels::new()).await.unwrap();
    put(&store, &lease, manifest, child).await.unwrap();
    raw.collect_garbage().await;
    for blob in [&layer[..], &orphan, manifest] {
        assert!(raw.blob_labels(&Digest::of(blob)).await.is_some(), "leased");
    }

    let image = Image {
        name: "docker.io/library/a:1".to_owned(),
        target: Descriptor {
            media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
            digest: Digest::of(manifest),
            size: manifest.len() as u64,
        },
        labels: Labels::new(),
    };
    store.put_image(&lease, &image).await.unwrap();
    assert!(store.release(lease.clone()).await.unwrap());
    // Once more: another client may have ended it.
    assert!(!store.release(lease).await.unwrap());
    raw.collect_garbage().await;
    assert!(raw.blob_labels(&Digest::of(manifest)).await.is_some());
    assert!(
        raw.blob_labels(&Digest::of(&layer)).await.is_some(),
        "the manifest's child"
    );
    assert_eq!(raw.blob_labels(&Digest::of(&orphan)).await, None);
}

async fn a_lease_says_what_it_is_for_and_expires(generation: Generation) {
    let (daemon, store) = serve(&generation).await;
    let raw = Raw::connect(&daemon).await;
    let long = "x".repeat(10_000);
    let lease = store.begin_lease(&long).await.unwrap();
    assert!(long.starts_with(lease.purpose()));
    let lease = store.begin_lease("import of /a/ä.tar").await.unwrap();
    assert!(lease.id().starts_with("stowd-"), "{}", lease.id());
    let listed = raw.leases().await;
    let kept = &listed[lease.id()];
    assert_eq!(kept["io.stowd.lease"], "import of /a/ä.tar");
    let expiry = humantime::parse_rfc3339(&kept["containerd.io/gc.expire"]).unwrap();
    let left = expiry.duration_since(SystemTime::now()).unwrap();
    let day = Duration::from_secs(24 * 60 * 60);
    assert!(
        left <= day && left > day - Duration::from_secs(600),
        "{left:?}"
    );
}

async fn only_leases_of_ended_processes_are_stale(generation: Generation) {
    let (daemon, store) = serve(&generation).await;
    let raw = Raw::connect(&daemon).await;
    let own = store.begin_lease("own").await.unwrap();
    raw.create_lease("theirs", labels(&[("a", "b")])).await;

    // The owner that this process writes, as one that lives and as one that has ended would.
    let owner = raw.leases().await[own.id()]["io.stowd.owner"].clone();
    let namespace = owner.split('.').next().unwrap();
    let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    let tick = stat
        .rsplit_once(')')
        .unwrap()
        .1
        .split_whitespace()
        .nth(19)
        .unwrap();
    let owner = format!("{namespace}.{}.{tick}", child.id());
    let of_child = labels(&[
        ("io.stowd.lease", "import of x"),
        ("io.stowd.owner", &owner),
    ]);
    raw.create_lease("stowd-child", of_child).await;
    assert_eq!(
        store.stale_leases().await,
        Ok(Vec::new()),
        "the child lives"
    );

    child.kill().unwrap();
    child.wait().unwrap();
    let stale = client(&daemon).stale_leases().await.unwrap();
    let ids: Vec<_> = stale
        .iter()
        .map(|lease| (lease.id(), lease.purpose()))
        .collect();
    assert_eq!(ids, [("stowd-child", "import of x")]);
    let blob = bytes(3, 1000);
    put(&store, &stale[0], &blob, Labels::new()).await.unwrap();
    store.clear_leases(&stale).await.unwrap();
    store.clear_leases(&stale).await.unwrap();
    // With the lease went, at once, what it alone kept.
    assert_eq!(raw.blob_labels(&Digest::of(&blob)).await, None);
    let left = raw.leases().await;
    assert!(
        left.contains_key("theirs") && left.contains_key(own.id()),
        "{left:?}"
    );
    assert!(!left.contains_key("stowd-child"), "{left:?}");
}
