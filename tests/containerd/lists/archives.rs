//! Lists beside archives.

use std::path::Path;

use crate::support::{
    Answer, FakeRegistry, Generation, Refusing, fixture, on_the_reference_in_turn, reference,
};

use super::harness::{
    HOST, SKOPEO, UMOCI, count, eventually, ready, set, setup, status, stocked, tags,
};

on_the_reference_in_turn!(
    what_an_archive_brought_is_not_pulled,
    what_an_archive_brings_meanwhile_ends_the_list_well,
);

fn what_an_archive_brought_is_not_pulled(generation: &Generation) {
    let refusing = Refusing::start();
    let setup = setup(generation, &refusing.address(), "");
    setup.registry("docker.io", &refusing.address(), &[]);
    setup.stow(&fixture("umoci.tar").path);
    setup.stow(&fixture("skopeo-docker-short.tar").path);
    let mut stowd = ready(setup);
    let short = "docker.io/library/stowd-busybox:1.35";
    let digest = stowd.store().images()[UMOCI].target.clone();
    let text = format!("{UMOCI}\n{HOST}/umoci@{digest}\nindex.docker.io/stowd-busybox:1.35\n");
    stowd.setup().list("core.txt", text);
    eventually(&mut stowd, "the list has an outcome", |stowd| {
        count(stowd, "imported", "core.txt: ") + count(stowd, "failed", "core.txt: ") > 0
    });
    assert_eq!(count(&stowd, "failed", "core.txt: "), 0);
    assert_eq!(tags(&stowd), set(&[UMOCI, short]));
}

fn what_an_archive_brings_meanwhile_ends_the_list_well(generation: &Generation) {
    let refusing = Refusing::start();
    let setup = setup(generation, &refusing.address(), "");
    // The list comes first in name order.
    setup.list("a.txt", format!("{UMOCI}\n"));
    setup.stow(Path::new(&fixture("umoci.tar").path));
    let mut stowd = ready(setup);
    eventually(&mut stowd, "the list finds the image", |stowd| {
        count(stowd, "imported", "a.txt: ") == 1
    });
    assert_eq!(tags(&stowd), set(&[UMOCI]));
    assert!(status(&stowd).starts_with("ready: "));
}

#[test]
fn an_archive_and_a_list_come_together() {
    let registry = stocked();
    let setup = setup(&reference(), registry.address(), "");
    setup.list("a.txt", format!("{SKOPEO}\n"));
    setup.stow(&fixture("umoci.tar").path);
    let stowd = ready(setup);
    assert_eq!(tags(&stowd), set(&[UMOCI, SKOPEO]));
    assert_eq!(registry.manifests_asked("umoci"), 0);
    let last = status(&stowd);
    assert!(
        last.starts_with("ready: 2 images from 2 entries; "),
        "{last}"
    );
}

#[test]
fn what_archives_have_on_board_is_not_pulled_at_the_first_start() {
    let silent = FakeRegistry::start(Answer::Silence);
    let lists = "ready-timeout = \"1d\"\npull-timeout = \"1d\"";
    let setup = setup(&reference(), &silent.address(), lists);
    let large = fixture("large.tar.bz2");
    // The list comes first in name order, and the archive takes its time.
    setup.list("a.txt", large.names.join("\n"));
    setup.stow_as(&large.path, "b.tar");
    let stowd = ready(setup);
    assert_eq!(count(&stowd, "imported", "a.txt: "), 1);
    assert_eq!(silent.requests().len(), 0);
}
