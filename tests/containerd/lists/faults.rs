//! Registries that come to life later.

use crate::support::{
    Answer, Daemon, FakeRegistry, Generation, Refusing, Registry, on_the_reference_in_turn,
    plain_http, reference, write_hosts,
};

use super::harness::{
    HOST, SOON, UMOCI, count, eventually, not_pulled, push, ready, set, setup, status, stocked,
    tags, wait_for_no_lease,
};

on_the_reference_in_turn!(
    what_could_not_be_pulled_is_pulled_when_the_registry_is_there,
    a_pull_that_takes_too_long_is_given_up_and_tried_again,
);

fn what_could_not_be_pulled_is_pulled_when_the_registry_is_there(generation: &Generation) {
    let other = stocked();
    let refusing = Refusing::start();
    let setup = setup(generation, &refusing.address(), "");
    setup.registry("other.stowd.test", other.address(), &[]);
    setup.list(
        "core.txt",
        format!("{UMOCI}\nother.stowd.test/skopeo:1.35\n"),
    );
    let mut stowd = ready(setup);
    // What succeeded is there and counts.
    let skopeo = "other.stowd.test/skopeo:1.35";
    assert_eq!(tags(&stowd), set(&[skopeo]));
    let first = "ready: 1 image from 1 entry, 1 failed (core.txt: 1 attempt, next at ";
    assert!(status(&stowd).starts_with(first), "{}", status(&stowd));
    let asked = other.all_manifests_asked();
    let address = refusing.address();
    drop(refusing);
    let registry = Registry::start_on(&address);
    push(&registry, UMOCI);
    eventually(&mut stowd, "it is pulled", |stowd| {
        count(stowd, "imported", "core.txt: ") == 1
    });
    assert_eq!(tags(&stowd), set(&[UMOCI, skopeo]));
    assert_eq!(
        other.all_manifests_asked(),
        asked,
        "what was there is not pulled again"
    );
    eventually(&mut stowd, "STATUS forgets the failure", |stowd| {
        status(stowd).starts_with("ready: 2 images from 1 entry; watching ")
    });
}

fn a_pull_that_takes_too_long_is_given_up_and_tried_again(generation: &Generation) {
    let registry = stocked();
    let fake = FakeRegistry::start(Answer::Silence);
    let setup = setup(generation, &fake.address(), "pull-timeout = \"2s\"");
    setup.list("core.txt", format!("{UMOCI}\n"));
    let mut stowd = ready(setup);
    let told = not_pulled(&stowd, "core.txt", 1);
    assert_eq!(told.len(), 1, "{}", stowd.log());
    assert!(told[0].contains("lists.pull-timeout"), "{told:?}");
    eventually(&mut stowd, "the pull is given up", |_| fake.held() == 0);
    fake.answer(Answer::Of(registry.address().to_owned()));
    eventually(&mut stowd, "the next try succeeds", |stowd| {
        count(stowd, "imported", "core.txt: ") == 1
    });
    assert_eq!(tags(&stowd), set(&[UMOCI]));
}

#[test]
fn a_registry_that_dies_in_the_middle_of_an_image_fails_the_line_alone() {
    let (registry, other) = (stocked(), stocked());
    let of = registry.address().to_owned();
    let fake = FakeRegistry::start_with(move |request| match request.path.contains("/blobs/") {
        true => Answer::Held,
        false => Answer::Of(of.clone()),
    });
    let setup = setup(&reference(), &fake.address(), "");
    setup.registry("other.stowd.test", other.address(), &[]);
    setup.list(
        "core.txt",
        format!("{UMOCI}\nother.stowd.test/buildah:1.35\n"),
    );
    let mut stowd = setup.start();
    eventually(&mut stowd, "it is in the middle", |_| fake.held() > 0);
    let address = fake.address();
    drop(fake);
    stowd.wait_ready(SOON);
    assert_eq!(tags(&stowd), set(&["other.stowd.test/buildah:1.35"]));
    assert_eq!(not_pulled(&stowd, "core.txt", 1).len(), 1);
    let names = stowd.store().images();
    assert!(!names.contains_key(UMOCI), "named without its layers");
    let back = Registry::start_on(&address);
    push(&back, UMOCI);
    eventually(&mut stowd, "it is pulled", |stowd| {
        count(stowd, "imported", "core.txt: ") == 1
    });
    stowd.store().closure();
    wait_for_no_lease(&stowd);
}

#[test]
fn in_a_namespace_that_cri_does_not_pull_into_a_list_says_so() {
    let registry = stocked();
    let mut setup = setup(&reference(), registry.address(), "");
    setup.containerd = "namespace = \"factory\"\n".to_owned();
    setup.list("core.txt", format!("{UMOCI}\n"));
    let stowd = ready(setup);
    let told = not_pulled(&stowd, "core.txt", 1);
    assert_eq!(told.len(), 1, "{}", stowd.log());
    for part in ["containerd.namespace", "factory"] {
        assert!(told[0].contains(part), "{told:?}");
    }
    assert_eq!(registry.all_manifests_asked(), 0);
    assert_eq!(stowd.store().images().len(), 0, "nothing for CRI either");
}

#[test]
fn what_a_registry_says_stays_in_one_line() {
    let registry = stocked();
    let of = registry.address().to_owned();
    let long = "x".repeat(50_000);
    let body = format!(
        r#"{{"errors":[{{"code":"DENIED","message":"go\n INFO ready: 9 images\u001b[2Jaway {long}"}}]}}"#
    );
    let fake = FakeRegistry::start_with(move |request| match request.method.as_str() {
        "HEAD" => Answer::Of(of.clone()),
        _ => Answer::Is {
            status: "403 Forbidden",
            header: None,
            body: body.clone().into(),
        },
    });
    let setup = setup(&reference(), &fake.address(), "");
    setup.list("core.txt", format!("{UMOCI}\n"));
    let mut stowd = ready(setup);
    let told = not_pulled(&stowd, "core.txt", 1);
    assert_eq!(told.len(), 1, "{}", stowd.log());
    assert!(
        told[0].contains("403 Forbidden") && told[0].contains("go"),
        "{told:?}"
    );
    assert_eq!(stowd.stop(), Some(0));
    let (own, statuses) = (stowd.lines(""), stowd.notify.statuses());
    for line in own.iter().chain(&statuses) {
        assert!(!line.contains('\u{1b}'), "{line:?}");
        let forged = line.contains("ready: 9 images") && !line.contains(UMOCI);
        assert!(!forged, "{line:?}");
        assert!(line.len() < 5000, "a line of {}: {:.200}", line.len(), line);
    }
    let ledger = stowd.setup().dir().join("lib/ledger.json");
    assert!(std::fs::metadata(ledger).unwrap().len() < 20_000);
}

#[test]
fn a_containerd_that_goes_away_in_the_middle_is_waited_for() {
    let registry = stocked();
    let of = registry.address().to_owned();
    let fake = FakeRegistry::start_with(move |request| match request.path.contains("/blobs/") {
        true => Answer::Held,
        false => Answer::Of(of.clone()),
    });
    let generation = &reference();
    let mut daemon = Daemon::start(generation);
    daemon.wait();
    write_hosts(daemon.dir(), HOST, &plain_http(&fake.address(), &[]));
    let mut setup = setup(generation, "", "");
    setup.attach(&daemon.address());
    setup.list("core.txt", format!("{UMOCI}\n"));
    let mut stowd = setup.start();
    eventually(&mut stowd, "it is in the middle", |_| fake.held() > 0);
    daemon.kill();
    eventually(&mut stowd, "it is noticed", |stowd| {
        !stowd
            .lines(" containerd is away; trying again: ")
            .is_empty()
    });
    assert!(stowd.notify.ready_at().is_none());
    fake.answer(Answer::Of(registry.address().to_owned()));
    daemon.restart();
    stowd.wait_ready(SOON);
    assert_eq!(count(&stowd, "imported", "core.txt: "), 1);
    assert_eq!(count(&stowd, "failed", "core.txt: "), 0);
    let images = daemon.ctr(&["--namespace", "k8s.io", "images", "list"]);
    let line = images.lines().find(|line| line.starts_with(UMOCI));
    assert!(
        line.is_some_and(|line| line.contains("io.stowd.pinned=default")),
        "{images}"
    );
}
