//! That the tier's own tools do what the other tests believe of them.

use crate::support::{Daemon, generations, import_pause, run_in_pod, write_static_image};

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_runs_a_container_offline_and_leaves_nothing() {
    for generation in generations() {
        let mut daemon = Daemon::start(&generation);
        daemon.wait();
        import_pause(&daemon);
        let name = "stowd.test/hello:1";
        let file = write_static_image(daemon.dir(), name, &["/bin/busybox", "true"]);
        let file = file.to_str().unwrap();
        daemon.ctr(&["--namespace", "k8s.io", "images", "import", file]);

        let command = ["/bin/sh", "-c", "echo hello; exit 7"];
        let ran = run_in_pod(&daemon.address(), daemon.dir(), name, &command).await;
        assert_eq!(ran.exit_code, 7, "{}", generation.name);
        assert!(ran.log.contains("stdout F hello"), "{}", ran.log);

        let dir = daemon.dir().to_owned();
        drop(daemon);
        assert!(!dir.exists(), "{} is left", dir.display());
    }
}
