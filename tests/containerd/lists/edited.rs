//! Lists that change, while they are pulled and afterwards.

use std::fs;

use crate::support::{
    Answer, FakeRegistry, Generation, Stowd, on_the_reference_in_turn, reference,
};

use super::harness::{
    BUILDAH, HOST, SKOPEO, SOON, UMOCI, count, eventually, ready, set, setup, stocked, tags,
};

on_the_reference_in_turn!(a_line_that_hangs_is_let_go_as_soon_as_it_is_struck_out);

/// A stowd that waits for an answer to `dead.stowd.test`, which would take until tomorrow.
fn hanging(generation: &Generation, address: &str, silent: &FakeRegistry) -> Stowd {
    let long = "pull-timeout = \"1d\"\nready-timeout = \"1d\"";
    let setup = setup(generation, address, long);
    setup.registry("dead.stowd.test", &silent.address(), &[]);
    setup.list("core.txt", format!("dead.stowd.test/x:1\n{UMOCI}\n"));
    let mut stowd = setup.start();
    eventually(&mut stowd, "the dead registry is asked", |_| {
        silent.held() == 1
    });
    eventually(&mut stowd, "the other line is dealt with", |stowd| {
        tags(stowd) == set(&[UMOCI])
    });
    assert!(stowd.notify.ready_at().is_none(), "a list without outcome");
    stowd
}

fn a_line_that_hangs_is_let_go_as_soon_as_it_is_struck_out(generation: &Generation) {
    let registry = stocked();
    let silent = FakeRegistry::start(Answer::Silence);
    let mut stowd = hanging(generation, registry.address(), &silent);
    let asked = registry.manifests_asked("umoci");
    stowd
        .setup()
        .list("core.txt", format!("{UMOCI}\n{SKOPEO}\n"));
    stowd.wait_ready(SOON);
    assert_eq!(tags(&stowd), set(&[UMOCI, SKOPEO]));
    assert_eq!(count(&stowd, "imported", "core.txt: "), 1);
    assert_eq!(count(&stowd, "failed", "core.txt: "), 0);
    eventually(&mut stowd, "the pull is given up", |_| silent.held() == 0);
    assert_eq!(registry.manifests_asked("umoci"), asked, "pulled twice");
}

#[test]
fn a_list_that_hangs_is_let_go_as_soon_as_it_is_removed() {
    let registry = stocked();
    let silent = FakeRegistry::start(Answer::Silence);
    let mut stowd = hanging(&reference(), registry.address(), &silent);
    fs::remove_file(stowd.setup().images().join("core.txt")).unwrap();
    stowd.wait_ready(SOON);
    eventually(&mut stowd, "the pull is given up", |_| silent.held() == 0);
    eventually(&mut stowd, "no list asks for it any more", |stowd| {
        tags(stowd).is_empty()
    });
    assert_eq!(count(&stowd, "failed", "core.txt: "), 0);
}

#[test]
fn a_stowd_with_a_pull_that_hangs_ends_when_it_is_asked_to() {
    let registry = stocked();
    let silent = FakeRegistry::start(Answer::Silence);
    let mut stowd = hanging(&reference(), registry.address(), &silent);
    assert_eq!(stowd.stop(), Some(0));
    assert_eq!(stowd.lines(" ERROR "), Vec::<String>::new());
}

#[test]
fn a_list_that_comes_or_changes_after_ready_is_pulled() {
    let registry = stocked();
    let setup = setup(&reference(), registry.address(), "");
    let mut stowd = ready(setup);
    stowd.setup().list("core.txt", format!("{UMOCI}\n"));
    eventually(&mut stowd, "it is pulled", |stowd| {
        count(stowd, "imported", "core.txt: ") == 1
    });
    assert_eq!(tags(&stowd), set(&[UMOCI]));
    let asked = registry.manifests_asked("umoci");
    // As an editor writes it: another file under the same name.
    let aside = stowd.setup().dir().join("aside");
    fs::write(&aside, format!("{BUILDAH}\n{UMOCI}\n")).unwrap();
    fs::rename(aside, stowd.setup().images().join("core.txt")).unwrap();
    eventually(&mut stowd, "the new line is pulled", |stowd| {
        count(stowd, "imported", "core.txt: ") == 2
    });
    assert_eq!(tags(&stowd), set(&[UMOCI, BUILDAH]));
    assert_eq!(registry.manifests_asked("umoci"), asked, "pulled twice");
    assert!(
        stowd
            .lines(HOST)
            .iter()
            .all(|line| !line.contains(" WARN "))
    );
}

#[test]
fn what_a_list_brought_before_it_was_edited_in_work_is_unpinned() {
    let registry = stocked();
    let silent = FakeRegistry::start(Answer::Silence);
    let mut stowd = hanging(&reference(), registry.address(), &silent);
    stowd.setup().list("core.txt", format!("{BUILDAH}\n"));
    stowd.wait_ready(SOON);
    eventually(&mut stowd, "just what the list says is pinned", |stowd| {
        tags(stowd) == set(&[BUILDAH])
    });
}
