//! When containerd is held to serve, and what is said when it does not.

use std::time::{Duration, Instant};

use stowd::containerd::{Containerd, NotServing};

use crate::raw::{NAMESPACE, client};
use crate::support::{Daemon, Generation, Options, on_each_generation, on_the_reference};

on_each_generation!(it_serves_soon_after_its_start, a_cri_that_failed_says_why,);
on_the_reference!(a_store_that_failed_says_why, without_cri_there_is_no_k8s_io,);

const LONG: Duration = Duration::from_secs(60);

fn of_cri(daemon: &Daemon) -> Containerd {
    Containerd::connect(daemon.address(), "k8s.io").unwrap()
}

async fn it_serves_soon_after_its_start(generation: Generation) {
    let daemon = Daemon::start(&generation);
    // At once: its socket is not there yet.
    let store = of_cri(&daemon);
    store.wait_serving(LONG, |_, _| ()).await.unwrap();
    let version = store.version().await.unwrap();
    assert!(
        version.starts_with(&format!("{}.", generation.name)),
        "{version}"
    );
}

async fn a_cri_that_failed_says_why(generation: Generation) {
    let plugin = match generation.is_2() {
        true => "io.containerd.cri.v1.images",
        false => "io.containerd.grpc.v1.cri",
    };
    // Beside the `config_path` that every daemon of the tests has.
    let config = format!(
        "[plugins.'{plugin}'.registry.mirrors.'a.example']\nendpoint = ['http://b.example']\n"
    );
    let options = Options {
        config,
        ..Options::default()
    };
    let daemon = Daemon::start_with(&generation, options);
    let reason = of_cri(&daemon)
        .wait_serving(LONG, |_, _| ())
        .await
        .unwrap_err();
    let NotServing::Plugin {
        plugin: told,
        cause,
    } = &reason
    else {
        panic!("{reason}");
    };
    assert!(told.starts_with(plugin), "{reason}");
    assert!(cause.contains("`mirrors` cannot be set"), "{reason}");
    // Nothing that images need in another namespace.
    client(&daemon).wait_serving(LONG, |_, _| ()).await.unwrap();
}

async fn a_store_that_failed_says_why(generation: Generation) {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(
        root.path().join("io.containerd.metadata.v1.bolt"),
        "in the way",
    )
    .unwrap();
    let options = Options {
        root: Some(root.path().to_owned()),
        ..Options::default()
    };
    let daemon = Daemon::start_with(&generation, options);
    let reason = client(&daemon)
        .wait_serving(LONG, |_, _| ())
        .await
        .unwrap_err();
    let NotServing::Plugin { plugin, cause } = &reason else {
        panic!("{reason}");
    };
    // The cause, not one of the many that need it.
    assert_eq!(plugin, "io.containerd.metadata.v1.bolt");
    assert!(cause.contains("not a directory"), "{reason}");
}

async fn without_cri_there_is_no_k8s_io(generation: Generation) {
    let mut daemon = Daemon::start_with(
        &generation,
        Options {
            head: "disabled_plugins = ['io.containerd.grpc.v1.cri']".to_owned(),
            ..Options::default()
        },
    );
    daemon.wait();
    let reason = of_cri(&daemon).wait_serving(LONG, |_, _| ()).await;
    assert_eq!(reason, Err(NotServing::NoCri));
    client(&daemon).wait_serving(LONG, |_, _| ()).await.unwrap();
}

#[tokio::test]
async fn the_waiting_is_reported_now_and_then() {
    let nowhere = Containerd::connect("/nonexistent/containerd.sock", NAMESPACE).unwrap();
    let began = Instant::now();
    let mut reports = Vec::new();
    let within = Duration::from_secs(7);
    let reason = nowhere.wait_serving(within, |waited, what| {
        reports.push((waited, what.to_owned()))
    });
    let reason = reason.await.unwrap_err();
    assert!(began.elapsed() >= within);
    assert_eq!(reports.len(), 1, "{reports:?}");
    assert!(reports[0].0 >= Duration::from_secs(5));
    assert!(reports[0].1.contains("No such file"), "{reports:?}");
    let reason = reason.to_string();
    assert!(reason.contains("after 7 s"), "{reason}");
    assert!(reason.contains("No such file"), "{reason}");
}
