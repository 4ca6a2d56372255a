//! stowd killed in the middle of a list.

use crate::support::{Answer, FakeRegistry, Generation, on_the_reference_in_turn};

use super::harness::{
    BUILDAH, SOON, UMOCI, count, eventually, set, setup, stocked, tags, wait_for_no_lease,
};

on_the_reference_in_turn!(a_stowd_that_was_killed_goes_on_where_it_was);

fn a_stowd_that_was_killed_goes_on_where_it_was(generation: &Generation) {
    let registry = stocked();
    let of = registry.address().to_owned();
    // All of the one image comes, and of the other only what it consists of.
    let fake = FakeRegistry::start_with(move |request| {
        let held = request.path.contains("/buildah/blobs/");
        if held {
            Answer::Held
        } else {
            Answer::Of(of.clone())
        }
    });
    let setup = setup(generation, &fake.address(), "");
    setup.list("core.txt", format!("{UMOCI}\n{BUILDAH}\n"));
    let mut stowd = setup.start();
    eventually(
        &mut stowd,
        "the one is done, the other in the middle",
        |stowd| fake.held() > 0 && tags(stowd) == set(&[UMOCI]),
    );
    assert!(stowd.notify.ready_at().is_none());
    let asked = registry.manifests_asked("umoci");
    stowd.kill();
    fake.answer(Answer::Of(registry.address().to_owned()));
    stowd.restart();
    stowd.wait_ready(SOON);
    assert_eq!(tags(&stowd), set(&[UMOCI, BUILDAH]));
    assert_eq!(registry.manifests_asked("umoci"), asked, "pulled twice");
    assert_eq!(count(&stowd, "imported", "core.txt: "), 1);
    stowd.store().closure();
    wait_for_no_lease(&stowd);
}
