//! `WatchdogSec=`.

use std::time::Duration;

use crate::node::{Node, SOON, UNIT};

#[test]
fn a_stowd_that_turns_is_left_alone_and_one_that_is_frozen_is_replaced() {
    const LIMIT: Duration = Duration::from_secs(4);
    let node = Node::boot();
    node.stow(&["skopeo-docker.tar.zst"]);
    node.drop_in("WatchdogSec=4\nRestartSec=100ms\nLimitCORE=0");
    node.systemctl("start");
    let container = node.run_container("guest");
    let (stowd, containerd) = (node.stowd(), node.containerd());

    let active = node.time("ActiveEnterTimestampMonotonic");
    node.eventually(SOON, "a sign of life when one was overdue", || {
        (node.time("WatchdogTimestampMonotonic") > active + LIMIT).then_some(())
    });
    assert_eq!(node.stowd(), stowd);
    node.assert_shows(&[("NRestarts", "0")]);

    node.kill("STOP", &stowd);
    node.wait_restarted(1);
    assert!(!node.runs(&stowd), "it was killed");
    assert!(!node.runs(&containerd), "and its containerd with it");
    let journal = node.journal(UNIT);
    let timeout = journal
        .iter()
        .filter_map(|entry| entry["MESSAGE"].as_str())
        .any(|message| message.contains("Watchdog timeout (limit 4s)!"));
    assert!(timeout, "{journal:#?}");
    node.assert_shows(&[(
        "StatusText",
        "ready: 1 image from 1 entry; watching /var/lib/stowd/images; \
         sandbox image missing: registry.stowd.test/pause:1",
    )]);
    assert_ne!(node.containerd(), containerd);
    node.assert_survived("guest", &container);
}
