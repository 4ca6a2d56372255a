//! A containerd that stowd attaches to, and that others stop, start, replace and hang.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::support::{
    Daemon, Generation, Setup, Store, Stowd, fixture, on_each_generation_in_turn,
    on_the_reference_in_turn,
};

on_each_generation_in_turn!(one_that_is_stopped_or_killed_and_started_again_is_said_and_compared);
on_the_reference_in_turn!(
    one_with_another_store_gets_what_the_directory_says,
    one_that_hangs_is_said_within_seconds_and_compared_when_it_goes_on,
    an_outage_in_the_load_leaves_no_lease_and_no_false_ready,
);

const SOON: Duration = Duration::from_secs(120);
/// Five seconds are promised, and a machine that is busy with something else may need as long again.
const SAID: Duration = Duration::from_secs(10);
const UMOCI: &str = "registry.stowd.test/umoci:1.35";
const SKOPEO: &str = "registry.stowd.test/skopeo:1.35";

fn daemon(generation: &Generation) -> Daemon {
    let mut daemon = Daemon::start(generation);
    daemon.wait();
    daemon
}

fn setup(daemon: &Daemon, files: &[&str]) -> Setup {
    let mut setup = Setup::new(daemon.generation());
    setup.attach(&daemon.address());
    for file in files {
        setup.stow(&fixture(file).path);
    }
    setup
}

fn attached(daemon: &Daemon, files: &[&str]) -> Stowd {
    let mut stowd = setup(daemon, files).start();
    stowd.wait_ready(SOON);
    stowd
}

fn has_status(stowd: &Stowd, beginning: &str) -> bool {
    let last = stowd.notify.statuses().pop();
    last.is_some_and(|last| last.starts_with(beginning))
}

/// STATUS and the log say that it does not answer, in time, and nothing says "ready" of it meanwhile.
fn assert_away(stowd: &mut Stowd, what: &str, outages: usize, since: Instant) {
    let away = "waiting for containerd: ";
    stowd.wait_until(SOON, what, |stowd| has_status(stowd, away));
    let said = since.elapsed();
    eprintln!("{what}: said after {said:?}");
    assert!(said < SAID, "{what}: said after {said:?}");
    let silent = stowd.lines("containerd does not answer; waiting for it: ");
    assert_eq!(silent.len(), outages, "{silent:?}");
    // The status is what it was a second ago.
    std::thread::sleep(Duration::from_secs(1));
    assert!(has_status(stowd, away), "{:?}", stowd.notify.statuses());
}

fn wait_returned(stowd: &mut Stowd, what: &str, outages: usize) {
    let since = Instant::now();
    stowd.wait_until(SOON, what, |stowd| {
        let returned = stowd.lines("containerd answers again").len();
        returned == outages && has_status(stowd, "ready: ")
    });
    eprintln!("{what}: ready again after {:?}", since.elapsed());
}

fn names(store: &Store) -> BTreeSet<String> {
    store.images().into_keys().collect()
}

fn one_that_is_stopped_or_killed_and_started_again_is_said_and_compared(generation: &Generation) {
    let mut daemon = daemon(generation);
    let mut stowd = attached(&daemon, &["umoci.tar", "skopeo-oci.tar"]);
    let (address, whole) = (daemon.address(), names(&Store::at(&daemon.address())));
    let before = Store::at(&address).leases_of_instances();
    for (outage, what) in ["stopped", "killed"].into_iter().enumerate() {
        let since = Instant::now();
        match what {
            "stopped" => daemon.stop(),
            _ => daemon.kill(),
        }
        assert_away(&mut stowd, what, outage + 1, since);
        daemon.restart();
        daemon.wait();
        wait_returned(&mut stowd, what, outage + 1);
        let direct = stowd.lines(" blobs are written directly into ");
        assert_eq!(direct.len(), outage + 2, "it is decided anew");
        let store = Store::at(&address);
        stowd.wait_until(SOON, "the instance is held again", |_| {
            let leases = store.leases_of_instances();
            leases.len() == 1 && leases != before
        });
        // Nothing was missing, and what is deleted from now on is heard of.
        assert_eq!(stowd.lines(" imported /").len(), outage + 2);
        daemon.ctr(&["--namespace", "k8s.io", "images", "rm", "--sync", UMOCI]);
        stowd.wait_until(SOON, "it is back", |stowd| {
            names(&store) == whole && stowd.lines(" imported /").len() == outage + 3
        });
    }
    assert_eq!(stowd.lines(" failed /"), Vec::<String>::new());
    assert_eq!(stowd.stop(), Some(0));
}

fn one_with_another_store_gets_what_the_directory_says(generation: &Generation) {
    let mut daemon = daemon(generation);
    let mut stowd = attached(&daemon, &["umoci.tar", "skopeo-oci.tar"]);
    let whole = names(&Store::at(&daemon.address()));

    daemon.replace(daemon.dir().join("empty"));
    daemon.wait();
    wait_returned(&mut stowd, "an empty store", 1);
    let store = Store::at(&daemon.address());
    stowd.wait_until(SOON, "all are there", |_| names(&store) == whole);
    store.closure();
    let direct = stowd.lines(" blobs are written directly into ");
    let empty = daemon.dir().join("empty").display().to_string();
    assert!(
        direct.len() == 2 && direct[1].contains(&empty),
        "{direct:?}"
    );

    // Another one has an image unpinned, another image under a name, and a pin that no entry needs.
    let other = daemon.dir().join("other");
    {
        let mut filled = daemon_on(&daemon, other.clone());
        filled.wait();
        let import = |file: &str| {
            let file = fixture(file).path.display().to_string();
            filled.ctr(&["--namespace", "k8s.io", "images", "import", &file]);
        };
        import("umoci.tar");
        import("pause.tar");
        let pause = fixture("pause.tar").names.remove(0);
        let tag = ["--namespace", "k8s.io", "images", "tag", &pause, SKOPEO];
        filled.ctr(&tag);
        let pins = ["io.stowd.pinned=default", "io.cri-containerd.pinned=pinned"];
        let label = ["--namespace", "k8s.io", "images", "label", &pause];
        filled.ctr(&[&label[..], &pins].concat());
        filled.stop();
    }
    daemon.replace(other);
    daemon.wait();
    wait_returned(&mut stowd, "another store", 2);
    let store = Store::at(&daemon.address());
    let pause = fixture("pause.tar").names.remove(0);
    stowd.wait_until(SOON, "it is as the directory says", |_| {
        let images = store.images();
        let is_pinned = |name: &String| {
            let image = images.get(name);
            image.is_some_and(|image| image.labels.contains_key("io.stowd.pinned"))
        };
        whole.iter().all(is_pinned) && !is_pinned(&pause)
    });
    let images = store.images();
    assert_ne!(images[SKOPEO].target, images[&pause].target);
    store.closure();
    assert_eq!(stowd.lines(" failed /"), Vec::<String>::new());
}

/// Another containerd of this generation, at an address of its own.
fn daemon_on(daemon: &Daemon, root: std::path::PathBuf) -> Daemon {
    let options = crate::support::Options {
        root: Some(root),
        ..Default::default()
    };
    Daemon::start_with(daemon.generation(), options)
}

fn one_that_hangs_is_said_within_seconds_and_compared_when_it_goes_on(generation: &Generation) {
    let mut daemon = daemon(generation);
    let mut stowd = attached(&daemon, &["umoci.tar"]);
    let store = Store::at(&daemon.address());
    let whole = names(&store);

    let since = Instant::now();
    daemon.freeze();
    assert_away(&mut stowd, "hangs", 1, since);
    daemon.thaw();
    wait_returned(&mut stowd, "hangs", 1);
    daemon.ctr(&["--namespace", "k8s.io", "images", "rm", UMOCI]);
    stowd.wait_until(SOON, "it is back", |_| names(&store) == whole);

    // One that hangs is killed in the end.
    let since = Instant::now();
    daemon.freeze();
    assert_away(&mut stowd, "hangs again", 2, since);
    daemon.restart();
    daemon.wait();
    wait_returned(&mut stowd, "hangs again", 2);
    // It is the instance's own still.
    daemon.freeze();
    assert_eq!(
        stowd.stop(),
        Some(0),
        "a containerd that hangs holds no end"
    );
}

fn an_outage_in_the_load_leaves_no_lease_and_no_false_ready(generation: &Generation) {
    let mut daemon = daemon(generation);
    let mut setup = setup(&daemon, &["large.tar", "umoci.tar"]);
    setup.images += "direct = false\n";
    let mut stowd = setup.start();
    let root = daemon.root().to_owned();
    stowd.wait_until(SOON, "an import is under way", |stowd| {
        stowd.is_importing_into(&root)
    });
    daemon.kill();
    let away = "waiting for containerd: ";
    stowd.wait_until(SOON, "it is said", |stowd| has_status(stowd, away));
    std::thread::sleep(Duration::from_secs(3));
    assert!(has_status(&stowd, away), "{:?}", stowd.notify.statuses());
    assert_eq!(stowd.notify.ready_at(), None);
    daemon.restart();
    stowd.wait_ready(SOON);
    assert_eq!(stowd.lines(" failed /"), Vec::<String>::new());
    let store = Store::at(&daemon.address());
    store.closure();
    stowd.wait_until(SOON, "no lease is left", |_| store.leases().is_empty());
}
