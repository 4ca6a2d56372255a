//! Names are created and moved, others' labels and pins stay, and CRI sees them.

use std::time::{Duration, Instant};

use stowd::containerd::{Containerd, Deadlines};
use stowd::digest::Digest;
use stowd::image_store::{Descriptor, Image, ImageStore, Labels, StoreError};
use stowd::pin::{DEFAULT_PIN, RUNTIME_PIN};

use crate::raw::{Raw, client, labels, put, serve};
use crate::support::{
    Daemon, Generation, PAUSE_IMAGE, import_pause, on_each_generation, on_the_reference, run_in_pod,
};

on_each_generation!(a_name_is_created_then_moved, cri_sees_what_was_put,);
on_the_reference!(
    the_pin_of_somebody_else_stays_theirs,
    only_what_stowd_pinned_is_unpinned,
    a_long_list_is_read,
    racing_writers_of_a_name_all_succeed,
    a_name_that_another_import_has_moved_is_not_waited_for,
    the_runtime_of_another_namespace_is_not_asked,
);

const NAME: &str = "docker.io/library/stowd:1";

fn image(target: &[u8], labels: Labels) -> Image {
    Image {
        name: NAME.to_owned(),
        target: Descriptor {
            media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
            digest: Digest::of(target),
            size: target.len() as u64,
        },
        labels,
    }
}

fn pins() -> Labels {
    labels(&[RUNTIME_PIN, DEFAULT_PIN])
}

async fn a_name_is_created_then_moved(generation: Generation) {
    let (daemon, store) = serve(&generation).await;
    let lease = store.begin_lease("names").await.unwrap();
    assert_eq!(store.images().await, Ok(Vec::new()));
    put(&store, &lease, b"first", Labels::new()).await.unwrap();
    put(&store, &lease, b"second", Labels::new()).await.unwrap();

    let mut wanted = image(b"first", pins());
    store.put_image(&lease, &wanted).await.unwrap();
    assert_eq!(store.images().await, Ok(vec![wanted.clone()]));

    let ctr = [
        "--namespace",
        store.namespace(),
        "images",
        "label",
        NAME,
        "theirs=1",
        "x=theirs",
    ];
    daemon.ctr(&ctr);
    wanted.target = image(b"second", Labels::new()).target;
    wanted.labels.insert("x".to_owned(), "ours".to_owned());
    store.put_image(&lease, &wanted).await.unwrap();
    // Once more, with nothing to change.
    store.put_image(&lease, &wanted).await.unwrap();
    wanted.labels.insert("theirs".to_owned(), "1".to_owned());
    assert_eq!(store.images().await, Ok(vec![wanted]));
}

async fn only_what_stowd_pinned_is_unpinned(generation: Generation) {
    let (daemon, store) = serve(&generation).await;
    let raw = Raw::connect(&daemon).await;
    let lease = store.begin_lease("pins").await.unwrap();
    put(&store, &lease, b"first", Labels::new()).await.unwrap();
    store.unpin(NAME).await.unwrap();

    let mut own = pins();
    own.insert("theirs".to_owned(), "1".to_owned());
    store
        .put_image(&lease, &image(b"first", own))
        .await
        .unwrap();
    store.unpin(NAME).await.unwrap();
    let left = labels(&[("theirs", "1")]);
    assert_eq!(raw.image_labels(NAME).await, Some(left.clone()));
    store.unpin(NAME).await.unwrap();
    assert_eq!(raw.image_labels(NAME).await, Some(left));
    let target = store.images().await.unwrap().remove(0).target;
    assert_eq!(target.digest, Digest::of(b"first"), "nothing else changes");

    let foreign = labels(&[RUNTIME_PIN]);
    store
        .put_image(&lease, &image(b"first", foreign))
        .await
        .unwrap();
    store.unpin(NAME).await.unwrap();
    let left = labels(&[RUNTIME_PIN, ("theirs", "1")]);
    assert_eq!(raw.image_labels(NAME).await, Some(left));
}

async fn the_pin_of_somebody_else_stays_theirs(generation: Generation) {
    let (daemon, store) = serve(&generation).await;
    let raw = Raw::connect(&daemon).await;
    let lease = store.begin_lease("pins").await.unwrap();
    put(&store, &lease, b"first", Labels::new()).await.unwrap();
    let theirs = labels(&[RUNTIME_PIN]);
    store
        .put_image(&lease, &image(b"first", theirs.clone()))
        .await
        .unwrap();
    store
        .put_image(&lease, &image(b"first", pins()))
        .await
        .unwrap();
    assert_eq!(raw.image_labels(NAME).await, Some(theirs));

    // They have let go: now it is stowd's.
    let label = format!("{}=", RUNTIME_PIN.0);
    daemon.ctr(&[
        "--namespace",
        store.namespace(),
        "images",
        "label",
        NAME,
        &label,
    ]);
    store
        .put_image(&lease, &image(b"first", pins()))
        .await
        .unwrap();
    assert_eq!(raw.image_labels(NAME).await, Some(pins()));
}

async fn a_long_list_is_read(generation: Generation) {
    let (_daemon, store) = serve(&generation).await;
    let lease = store.begin_lease("a long list").await.unwrap();
    put(&store, &lease, b"first", Labels::new()).await.unwrap();
    // As long as a thousand images are with their labels, and more than the 4 MiB that tonic takes
    // unless it is told otherwise.
    let value = "x".repeat(4000);
    let many = (0..1300).map(|number| (format!("label-{number}"), value.clone()));
    let wanted = image(b"first", many.collect());
    store.put_image(&lease, &wanted).await.unwrap();
    assert!(store.images().await == Ok(vec![wanted]));
}

async fn racing_writers_of_a_name_all_succeed(generation: Generation) {
    let (daemon, store) = serve(&generation).await;
    let raw = Raw::connect(&daemon).await;
    let lease = store.begin_lease("race").await.unwrap();
    put(&store, &lease, b"first", Labels::new()).await.unwrap();
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..8 {
        let (store, lease) = (client(&daemon), lease.clone());
        writers.spawn(async move {
            for round in 0..5 {
                let own = labels(&[(&format!("writer-{number}"), &format!("{round}"))]);
                store
                    .put_image(&lease, &image(b"first", own))
                    .await
                    .unwrap();
            }
        });
    }
    // Another client deletes the name under them, so that both sides of the race are run through.
    for _ in 0..10 {
        raw.delete_image(NAME).await;
        tokio::task::yield_now().await;
    }
    writers.join_all().await;
    assert_eq!(store.images().await.unwrap().len(), 1);
    let kept = raw.image_labels(NAME).await.unwrap();
    assert!(
        !kept.is_empty() && kept.keys().all(|key| key.starts_with("writer-")),
        "{kept:?}"
    );
}

fn none() -> Image {
    Image {
        name: "docker.io/library/none:1".to_owned(),
        ..image(b"none", Labels::new())
    }
}

fn of_cri(daemon: &Daemon) -> Containerd {
    Containerd::connect(daemon.address(), "k8s.io").unwrap()
}

async fn cri_sees_what_was_put(generation: Generation) {
    let (daemon, _) = serve(&generation).await;
    let store = of_cri(&daemon);
    store
        .wait_serving(Duration::from_secs(60), |_, _| ())
        .await
        .unwrap();
    import_pause(&daemon);
    let pause = store.images().await.unwrap();
    let pause = pause
        .into_iter()
        .find(|image| image.name == PAUSE_IMAGE)
        .unwrap();

    let lease = store.begin_lease("cri").await.unwrap();
    let digest = pause.target.digest.clone();
    let names = [NAME.to_owned(), format!("docker.io/library/stowd@{digest}")];
    let images = names.map(|name| Image {
        name,
        target: pause.target.clone(),
        labels: pins(),
    });
    for image in &images {
        store.put_image(&lease, image).await.unwrap();
    }
    for image in &images {
        let name = &image.name;
        store.seen_by_runtime(image).await.unwrap();
        let ran = run_in_pod(
            &daemon.address(),
            daemon.dir(),
            name,
            &["/bin/sh", "-c", "exit 3"],
        )
        .await;
        assert_eq!(ran.exit_code, 3, "{name}");
    }
    // CRI has put its own label on the record meanwhile. It and the pins are both there.
    let kept = store.images().await.unwrap();
    let kept = kept
        .into_iter()
        .find(|image| image.name == NAME)
        .unwrap()
        .labels;
    assert_eq!(
        kept.get("io.cri-containerd.image").map(String::as_str),
        Some("managed")
    );
    assert_eq!(
        kept.get(RUNTIME_PIN.0).map(String::as_str),
        Some(RUNTIME_PIN.1)
    );

    let impatient = store.with_deadlines(Deadlines {
        runtime: Duration::from_millis(200),
        ..Deadlines::default()
    });
    // The second is what nothing can be run of, so that CRI does not show it under the new target.
    let broken = image(b"broken", pins());
    put(&impatient, &lease, b"broken", Labels::new())
        .await
        .unwrap();
    impatient.put_image(&lease, &broken).await.unwrap();
    for unseen in [none(), broken] {
        let error = impatient.seen_by_runtime(&unseen).await.unwrap_err();
        assert!(
            matches!(
                error,
                StoreError::Refused {
                    call: "ImageStatus",
                    ..
                }
            ),
            "{error:?}"
        );
        assert!(error.to_string().contains(&unseen.name), "{error}");
    }
}

async fn a_name_that_another_import_has_moved_is_not_waited_for(generation: Generation) {
    let (daemon, _) = serve(&generation).await;
    let store = of_cri(&daemon);
    store
        .wait_serving(Duration::from_secs(60), |_, _| ())
        .await
        .unwrap();
    import_pause(&daemon);
    let pause = store.images().await.unwrap();
    let pause = pause
        .into_iter()
        .find(|image| image.name == PAUSE_IMAGE)
        .unwrap();
    let lease = store.begin_lease("moved").await.unwrap();
    let winner = Image {
        name: NAME.to_owned(),
        ..pause
    };
    store.put_image(&lease, &winner).await.unwrap();
    let superseded = image(b"superseded", pins());
    let began = Instant::now();
    store.seen_by_runtime(&superseded).await.unwrap();
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
}

async fn the_runtime_of_another_namespace_is_not_asked(generation: Generation) {
    let (_daemon, store) = serve(&generation).await;
    let began = Instant::now();
    store.seen_by_runtime(&none()).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(1));
}
