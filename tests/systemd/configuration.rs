//! Drop-ins of the unit: what they set reaches whom it is meant for.

use crate::node::Node;

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

#[test]
fn it_attaches_to_the_containerd_of_the_distribution() {
    let node = Node::boot();
    node.ok(&[
        "install",
        "--mode=644",
        "-D",
        "/usr/share/doc/stowd/drop-ins/system-containerd.conf",
        "/etc/systemd/system/stowd.service.d/system-containerd.conf",
    ]);
    node.ok(&["rm", "-f", "/etc/systemd/system/containerd.service"]);
    node.write(
        "/etc/systemd/system/containerd.service",
        "[Service]\nType=notify\nExecStart=/usr/local/bin/containerd \
         --config=/etc/stowd/containerd.toml --root=/var/lib/stowd/other\n",
    );
    node.ok(&["systemctl", "daemon-reload"]);
    node.stow(&["pause.tar"]);
    node.systemctl("start");
    node.assert_shows(&[(
        "StatusText",
        "ready: 1 image from 1 entry; watching /var/lib/stowd/images",
    )]);
    let said = node.said("attaching to containerd");
    assert_eq!(said[0]["ADDRESS"], "/run/containerd/containerd.sock");
    let listed = node.ok(&["ctr", "--namespace=k8s.io", "images", "list", "--quiet"]);
    assert!(listed.contains(crate::node::PAUSE), "{listed}");

    node.systemctl("stop");
    assert_eq!(node.property("containerd.service", "ActiveState"), "active");
}
