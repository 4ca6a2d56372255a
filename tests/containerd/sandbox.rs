//! The sandbox image that CRI is configured with: looked for before READY, and missed where nothing
//! brings it.

use std::time::Duration;

use crate::support::{
    Daemon, Generation, PAUSE_IMAGE, Setup, Stowd, children, fixture, import_pause,
    on_each_generation_in_turn, on_the_reference_in_turn, write_static_image,
};

const SOON: Duration = Duration::from_secs(120);

fn ready(setup: Setup) -> Stowd {
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    stowd
}

fn status(stowd: &Stowd) -> String {
    stowd.notify.statuses().pop().expect("a status")
}

/// What was said of the sandbox image.
fn said(stowd: &Stowd) -> Vec<String> {
    stowd.lines("sandbox image ")
}

fn one_that_nothing_brings_is_missed_until_an_archive_comes(generation: &Generation) {
    let setup = Setup::new(generation);
    setup.stow(&fixture("umoci.tar").path);
    let mut stowd = ready(setup);
    let missing = format!("; sandbox image missing: {PAUSE_IMAGE}");
    assert!(status(&stowd).ends_with(&missing), "{}", status(&stowd));
    let told = said(&stowd);
    let warning = format!(" WARN sandbox image missing: {PAUSE_IMAGE}: ");
    assert!(told.len() == 1 && told[0].contains(&warning), "{told:?}");
    let log = stowd.log();
    let (warned, ready) = (log.find(&warning), log.find(" ready: "));
    assert!(warned < ready, "{log}");

    let pause = write_static_image(stowd.setup().dir(), PAUSE_IMAGE, &["/bin/busybox", "true"]);
    stowd.setup().stow(&pause);
    stowd.wait_until(SOON, "STATUS is clean", |stowd| {
        let last = status(stowd);
        last.starts_with("ready: 2 images from 2 entries; ") && !last.contains("sandbox")
    });
    let told = said(&stowd);
    let there = format!(" INFO sandbox image there: {PAUSE_IMAGE}");
    assert!(told.len() == 2 && told[1].contains(&there), "{told:?}");

    // The next start finds it in the store.
    assert_eq!(stowd.stop(), Some(0));
    stowd.restart();
    stowd.wait_ready(SOON);
    assert!(!status(&stowd).contains("sandbox"), "{}", status(&stowd));
    assert_eq!(said(&stowd).len(), 2);
}

/// The configuration has the name as people write it.
fn one_that_an_archive_brings_is_found_by_its_whole_name(generation: &Generation) {
    let setup = Setup::new(generation);
    setup.sandbox_image("stowd-pause");
    let name = "docker.io/library/stowd-pause:latest";
    let archive = write_static_image(setup.dir(), name, &["/bin/busybox", "true"]);
    setup.stow(&archive);
    let stowd = ready(setup);
    assert_eq!(said(&stowd), [""; 0]);
    assert!(!status(&stowd).contains("sandbox"), "{}", status(&stowd));
}

fn attached(generation: &Generation, daemon: &Daemon, namespace: &str) -> Stowd {
    let mut setup = Setup::new(generation);
    setup.containerd = format!("namespace = \"{namespace}\"\n");
    setup.attach(&daemon.address());
    setup.stow(&fixture("umoci.tar").path);
    ready(setup)
}

/// The daemon's configuration is another file than stowd's.
fn that_of_a_containerd_which_it_attaches_to_counts(generation: &Generation) {
    let mut daemon = Daemon::start(generation);
    daemon.wait();
    let stowd = attached(generation, &daemon, "k8s.io");
    let missing = format!("; sandbox image missing: {PAUSE_IMAGE}");
    assert!(status(&stowd).ends_with(&missing), "{}", status(&stowd));
    drop(stowd);
    // Another client has brought it.
    import_pause(&daemon);
    let stowd = attached(generation, &daemon, "k8s.io");
    assert_eq!(said(&stowd), [""; 0]);
    drop(stowd);
    let stowd = attached(generation, &daemon, "elsewhere");
    assert_eq!(said(&stowd), [""; 0], "no pod runs of that namespace");
}

on_each_generation_in_turn!(
    that_of_a_containerd_which_it_attaches_to_counts,
    the_default_is_that_of_the_containerd_that_runs,
);
on_the_reference_in_turn!(
    one_that_nothing_brings_is_missed_until_an_archive_comes,
    one_that_an_archive_brings_is_found_by_its_whole_name,
);

/// Without a configuration the default of that containerd counts, which stowd does not know itself.
fn the_default_is_that_of_the_containerd_that_runs(generation: &Generation) {
    let default = match generation.name.as_str() {
        "1.6" => "registry.k8s.io/pause:3.6",
        "1.7" => "registry.k8s.io/pause:3.8",
        _ => "registry.k8s.io/pause:3.10",
    };
    let setup = Setup::new(generation);
    let config = setup.dir().join("containerd.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let lines = text.lines().filter(|line| !line.contains(PAUSE_IMAGE));
    std::fs::write(&config, lines.collect::<Vec<_>>().join("\n")).unwrap();
    let stowd = ready(setup);
    let missing = format!("; sandbox image missing: {default}");
    assert!(status(&stowd).contains(&missing), "{}", status(&stowd));
    // What was run to be told of it has ended.
    assert_eq!(children(stowd.pid()).len(), 1);
}
