//! That the tier's own tools do what the other tests believe of them.

use std::path::Path;
use std::time::Duration;

use crate::support::{
    Daemon, Generation, PAUSE_IMAGE, eventually, import_pause, is_running, on_each_generation,
    run_in_pod, wait_for_cri, write_static_image,
};

on_each_generation!(a_pod_runs_a_container_offline_and_leaves_nothing);

async fn a_pod_runs_a_container_offline_and_leaves_nothing(generation: Generation) {
    let mut daemon = Daemon::start(&generation);
    daemon.wait();
    import_pause(&daemon);
    let name = "stowd.test/hello:1";
    let file = write_static_image(daemon.dir(), name, &["/bin/busybox", "true"]);
    let file = file.to_str().unwrap();
    daemon.ctr(&["--namespace", "k8s.io", "images", "import", file]);

    wait_for_cri(&daemon.address(), name).await;
    let command = ["/bin/sh", "-c", "echo hello; exit 7"];
    let ran = run_in_pod(&daemon.address(), daemon.dir(), name, &command).await;
    assert_eq!(ran.exit_code, 7, "{}", generation.name);
    assert!(ran.log.contains("stdout F hello"), "{}", ran.log);

    // A container that runs on when its daemon is dropped. runc's state is shared by all
    // containerds of the machine, so the name is this test's own.
    let left = format!("left-{}-{}", std::process::id(), generation.name);
    let run = [
        "--namespace",
        "k8s.io",
        "run",
        "--detach",
        PAUSE_IMAGE,
        &left,
    ];
    daemon.ctr(&run);
    let tasks = daemon.ctr(&["--namespace", "k8s.io", "tasks", "list", "--quiet"]);
    assert_eq!(tasks.trim(), left);
    let list = daemon.ctr(&["--namespace", "k8s.io", "tasks", "list"]);
    let line = list.lines().find(|line| line.starts_with(&left)).unwrap();
    let pid = line.split_whitespace().nth(1).unwrap().to_owned();
    assert!(Path::new("/proc").join(&pid).exists());
    let state = Path::new("/run/containerd/runc/k8s.io").join(&left);
    assert!(state.exists());

    let dir = daemon.dir().to_owned();
    drop(daemon);
    assert!(!dir.exists(), "{} is left", dir.display());
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(dir.to_str().unwrap()), "{mounts}");
    assert!(!state.exists());
    let gone = || async {
        (!is_running(&pid))
            .then_some(())
            .ok_or(format!("{pid} runs"))
    };
    eventually(Duration::from_secs(10), "the container ends", gone).await;
}
