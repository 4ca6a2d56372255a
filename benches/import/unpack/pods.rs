//! A container of an image that is imported, through CRI.

use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use crate::support::{Daemon, PAUSE_IMAGE, import_pause, run_in_pod, wait_for_cri};

/// The first container of an image.
#[derive(Debug, Clone, Copy)]
pub(super) struct FirstContainer {
    /// From containerd serving to its exit.
    pub(super) at: Duration,
    /// From the question for its pod to its exit.
    pub(super) start: Duration,
    /// The same of a second one.
    pub(super) again: Duration,
}

/// Gives containerd the image that pods need, and runs one: what every container needs is in the page cache
/// then.
pub(super) fn prepare(daemon: &Daemon) {
    import_pause(daemon);
    runtime().block_on(wait_for_cri(&daemon.address(), PAUSE_IMAGE));
    run(daemon, PAUSE_IMAGE);
}

/// Runs two containers of an image one after the other; its import took `imported`.
pub(super) fn first_container(daemon: &Daemon, image: &str, imported: Duration) -> FirstContainer {
    let began = Instant::now();
    runtime().block_on(wait_for_cri(&daemon.address(), image));
    let heard_of = began.elapsed();
    let start = run(daemon, image);
    let again = run(daemon, image);
    FirstContainer {
        at: imported + heard_of + start,
        start,
        again,
    }
}

fn run(daemon: &Daemon, image: &str) -> Duration {
    let command = ["/bin/busybox", "true"];
    let address = daemon.address();
    let ran = runtime().block_on(run_in_pod(&address, daemon.dir(), image, &command));
    assert_eq!(ran.exit_code, 0, "{image}: {}", ran.log);
    ran.took
}

fn runtime() -> Runtime {
    Runtime::new().expect("a runtime")
}
