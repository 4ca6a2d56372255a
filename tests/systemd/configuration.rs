//! Drop-ins of the unit: what they set reaches whom it is meant for.

use crate::node::{Node, PAUSE, SOON, UNIT};

#[test]
fn what_is_meant_for_containerd_reaches_it_and_nothing_else_does() {
    let node = Node::boot();
    node.ok(&[
        "install",
        "--mode=644",
        "-D",
        "/usr/share/doc/stowd/drop-ins/pull-proxy.conf",
        "/etc/systemd/system/stowd.service.d/pull-proxy.conf",
    ]);
    node.drop_in(
        "Environment=CONTAINERD_LOG_LEVEL=warn CONTAINERD_NOTIFY_SOCKET=/run/systemd/notify\n\
         Environment=STOWD_IMAGES__SETTLE=50ms PLAIN=yes",
    );
    node.systemctl("start");

    let (stowd, containerd) = (node.stowd(), node.containerd());
    let environment = node.environment(&containerd);
    for expected in [
        "HTTPS_PROXY=http://proxy.example.com:3128",
        "HTTP_PROXY=http://proxy.example.com:3128",
        "NO_PROXY=localhost,127.0.0.0/8,10.0.0.0/8,192.168.0.0/16,.svc,.cluster.local",
        "PLAIN=yes",
    ] {
        assert!(
            environment.iter().any(|variable| variable == expected),
            "{expected} is not in {environment:#?}"
        );
    }
    let names = environment
        .iter()
        .filter_map(|variable| Some(variable.split_once('=')?.0));
    let stray = names.filter(|name| {
        ["CONTAINERD_", "STOWD_", "LISTEN_", "WATCHDOG_"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
            || ["NOTIFY_SOCKET", "INVOCATION_ID", "JOURNAL_STREAM"].contains(name)
    });
    assert_eq!(stray.collect::<Vec<_>>(), Vec::<&str>::new());
    let arguments = node.arguments(&containerd);
    assert!(
        arguments
            .windows(2)
            .any(|two| two == ["--log-level", "warn"]),
        "{arguments:?}"
    );

    // systemd does set them for stowd, and the proxy is not stowd's.
    let own = node.environment(&stowd);
    for name in ["NOTIFY_SOCKET=", "WATCHDOG_USEC=", "JOURNAL_STREAM="] {
        assert!(
            own.iter().any(|variable| variable.starts_with(name)),
            "{name}"
        );
    }
    assert!(
        !own.iter()
            .any(|variable| variable.starts_with("HTTPS_PROXY="))
    );
    let effective = node.ok(&["env", "STOWD_IMAGES__SETTLE=50ms", "stowd", "check"]);
    assert!(
        effective.contains("environment STOWD_IMAGES__SETTLE"),
        "{effective}"
    );
}

/// A machine whose stowd is to attach to the containerd of the distribution.
fn attaching() -> Node {
    let node = Node::boot();
    node.ok(&[
        "install",
        "--mode=644",
        "-D",
        "/usr/share/doc/stowd/drop-ins/system-containerd.conf",
        "/etc/systemd/system/stowd.service.d/system-containerd.conf",
    ]);
    node.have_containerd_service();
    node.stow(&["pause.tar"]);
    node
}

const READY: &str = "ready: 1 image from 1 entry; watching /var/lib/stowd/images";

#[test]
fn it_attaches_to_the_containerd_of_the_distribution() {
    let node = attaching();
    node.systemctl("start");
    node.assert_shows(&[("StatusText", READY)]);
    let said = node.said("attaching to containerd");
    assert_eq!(said[0]["STOWD_ADDRESS"], "/run/containerd/containerd.sock");
    let listed = node.ok(&["ctr", "--namespace=k8s.io", "images", "list", "--quiet"]);
    assert!(listed.contains(PAUSE), "{listed}");

    node.systemctl("stop");
    assert_eq!(node.property("containerd.service", "ActiveState"), "active");
}

#[test]
fn attached_it_outlives_containerd_and_comes_back_by_itself() {
    let node = attaching();
    // What follows in the same boot begins when the images are there.
    let looks = "ctr --namespace=k8s.io images list --quiet";
    node.write(
        "/etc/systemd/system/kubelet.service",
        &format!("[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart={looks}\n"),
    );
    node.ok(&["systemctl", "daemon-reload"]);
    // Without containerd.service: it is wanted.
    node.ok(&["systemctl", "start", UNIT, "kubelet.service"]);
    let seen = node.journal("kubelet.service");
    assert!(
        seen.iter().any(|entry| entry["MESSAGE"] == PAUSE),
        "{seen:?}"
    );
    let stowd = node.stowd();

    let images = || node.ok(&["ctr", "--namespace=k8s.io", "images", "list", "--quiet"]);
    for (outages, verbs) in [
        &["stop", "start"][..],
        &["restart"],
        &["kill --signal=KILL"],
    ]
    .into_iter()
    .enumerate()
    {
        for verb in verbs {
            let verb = verb.split(' ').collect::<Vec<_>>();
            node.ok(&[&["systemctl"], &verb[..], &["containerd.service"]].concat());
            if verb == ["stop"] {
                node.eventually(SOON, "the status", || {
                    let status = node.shows("StatusText");
                    status.starts_with("waiting for containerd: ").then_some(())
                });
                node.assert_shows(&[("ActiveState", "active")]);
            }
        }
        node.eventually(SOON, "it answers again", || {
            let returned = node.said("containerd answers again").len();
            (returned == outages + 1 && node.shows("StatusText") == READY).then_some(())
        });
        assert_eq!(node.stowd(), stowd, "it was not restarted");
        node.ok(&["ctr", "--namespace=k8s.io", "images", "rm", PAUSE]);
        node.eventually(SOON, "what is deleted is back", || {
            images().contains(PAUSE).then_some(())
        });
    }
    node.assert_shows(&[("NRestarts", "0"), ("ActiveState", "active")]);
}
