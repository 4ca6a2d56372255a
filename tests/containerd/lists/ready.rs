//! READY waits for lists, and not for ever.

use std::collections::BTreeSet;
use std::sync::mpsc;

use crate::support::{
    Answer, FakeRegistry, Generation, PAUSE_IMAGE, Refusing, ctr, fixture,
    on_the_reference_in_turn, reference,
};

use super::harness::{
    BUILDAH, SKOPEO, SOON, UMOCI, count, eventually, ready, set, setup, status, stocked, tags, told,
};

on_the_reference_in_turn!(
    a_silent_registry_holds_ready_for_ready_timeout_and_an_archive_not_at_all,
    a_slow_registry_is_waited_for,
    a_registry_that_fails_at_once_is_not_waited_for,
);

const LONG: &str = "pull-timeout = \"1d\"\nready-timeout = \"1d\"";

fn at(log: &str, part: &str) -> usize {
    let at = log.find(part);
    at.unwrap_or_else(|| panic!("no line has {part:?}:\n{log}"))
}

fn a_silent_registry_holds_ready_for_ready_timeout_and_an_archive_not_at_all(
    generation: &Generation,
) {
    let silent = FakeRegistry::start(Answer::Silence);
    let setup = setup(
        generation,
        &silent.address(),
        "pull-timeout = \"8s\"\nready-timeout = \"3s\"",
    );
    // It comes first in name order.
    setup.list("a.txt", format!("{SKOPEO}\n"));
    setup.stow_as(&fixture("umoci.tar").path, "b.tar");
    let mut stowd = ready(setup);
    assert_eq!(tags(&stowd), set(&[UMOCI]));
    let log = stowd.log();
    let given_up = at(&log, " not waiting any longer for lists: ");
    assert!(at(&log, "b.tar: ") < given_up, "{log}");
    assert!(given_up < at(&log, " ready: "), "{log}");
    let line = stowd.lines(" not waiting any longer for lists: ");
    assert!(line.len() == 1 && line[0].contains("a.txt"), "{line:?}");
    let dir = stowd.setup().images();
    let still = format!(
        "ready: 1 image from 1 entry; pulling a.txt, 0 of 1 image; watching {}; sandbox image missing: \
         {PAUSE_IMAGE}",
        dir.display()
    );
    for wanted in ["pulling a.txt, 0 of 1 image", &still] {
        eventually(&mut stowd, wanted, |stowd| {
            stowd.notify.statuses().iter().any(|told| told == wanted)
        });
    }
    let registry = stocked();
    silent.answer(Answer::Of(registry.address().to_owned()));
    eventually(&mut stowd, "the next try succeeds", |stowd| {
        count(stowd, "imported", "a.txt: ") == 1
    });
    assert_eq!(tags(&stowd), set(&[UMOCI, SKOPEO]));
    let told = stowd.notify.messages();
    assert_eq!(told.iter().filter(|told| *told == "READY=1").count(), 1);
}

fn a_slow_registry_is_waited_for(generation: &Generation) {
    let registry = stocked();
    let of = registry.address().to_owned();
    // Manifests come, layers do not.
    let fake = FakeRegistry::start_with(move |request| match request.path.contains("/blobs/") {
        true => Answer::Held,
        false => Answer::Of(of.clone()),
    });
    let setup = setup(generation, &fake.address(), LONG);
    setup.list("a.txt", format!("{UMOCI}\n{BUILDAH}\n"));
    setup.stow_as(&fixture("pause.tar").path, "b.tar");
    let mut stowd = setup.start();
    let (asked, answer) = mpsc::channel();
    let (generation, address) = (generation.clone(), stowd.address());
    stowd.notify.on_ready(move || {
        let names = ctr(&generation, &address, &["images", "list", "--quiet"]);
        let names = names.lines().map(str::to_owned).collect::<BTreeSet<_>>();
        let _ = asked.send(names);
    });
    eventually(&mut stowd, "both are in the middle", |_| {
        let requests = fake.requests();
        let of = |part| requests.iter().any(|request| request.path.contains(part));
        of("/umoci/blobs/") && of("/buildah/blobs/")
    });
    eventually(&mut stowd, "the archive is there", |stowd| {
        count(stowd, "imported", "b.tar: ") == 1
    });
    eventually(&mut stowd, "STATUS names the list", |stowd| {
        status(stowd) == "pulling a.txt, 0 of 2 images"
    });
    assert!(stowd.notify.ready_at().is_none(), "the list counts");
    fake.answer(Answer::Of(registry.address().to_owned()));
    stowd.wait_ready(SOON);
    let names = answer.recv_timeout(SOON).expect("the store was asked");
    assert!(names.is_superset(&set(&[UMOCI, BUILDAH])), "{names:?}");
    assert_eq!(stowd.lines("not waiting any longer"), Vec::<String>::new());
}

fn a_registry_that_fails_at_once_is_not_waited_for(generation: &Generation) {
    let (refusing, broken) = (Refusing::start(), FakeRegistry::start(Answer::BROKEN));
    let setup = setup(generation, &refusing.address(), LONG);
    setup.registry("broken.stowd.test", &broken.address(), &[]);
    setup.list("a.txt", format!("{UMOCI}\n"));
    setup.list("b.txt", "broken.stowd.test/umoci:1.35\n");
    let stowd = ready(setup);
    let [a, b] = ["a.txt: ", "b.txt: "].map(|list| told(&stowd, "failed", list));
    assert!(a.len() == 1 && a[0].contains("line 1: "), "{a:?}");
    assert!(a[0].contains("connection refused"), "{a:?}");
    assert!(
        b.len() == 1 && b[0].contains("500 Internal Server Error"),
        "{b:?}"
    );
    assert_eq!(stowd.lines("not waiting any longer"), Vec::<String>::new());
    let last = status(&stowd);
    let first = "ready: 0 images from 2 entries, 2 failed (a.txt: 1 attempt, next at ";
    assert!(last.starts_with(first), "{last}");
}

#[test]
fn with_no_patience_ready_comes_without_lists() {
    let silent = FakeRegistry::start(Answer::Silence);
    let setup = setup(
        &reference(),
        &silent.address(),
        "pull-timeout = \"1d\"\nready-timeout = \"0s\"",
    );
    setup.list("a.txt", format!("{SKOPEO}\n"));
    setup.stow_as(&fixture("umoci.tar").path, "b.tar");
    let mut stowd = ready(setup);
    assert_eq!(tags(&stowd), set(&[UMOCI]), "an archive is waited for");
    eventually(&mut stowd, "the list is in work", |_| silent.held() == 1);
}
