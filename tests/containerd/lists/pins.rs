//! Pins follow the sources: what no entry brings any more is unpinned, and only then.

use std::fs;

use crate::support::{
    Answer, FakeRegistry, Generation, Stowd, fixture, is_kept, on_each_generation_in_turn,
    on_the_reference_in_turn, reference,
};

use super::harness::{
    BUILDAH, SKOPEO, SOON, UMOCI, count, eventually, ready, set, setup, stocked, tags, told,
};

on_each_generation_in_turn!(
    what_was_deleted_by_hand_comes_back,
    the_kubelet_hears_of_the_pin_and_of_its_end,
);
on_the_reference_in_turn!(
    what_several_sources_bring_is_pinned_until_the_last_is_gone,
    a_line_that_is_struck_out_is_unpinned,
    pins_and_labels_of_others_stay,
    a_list_that_hangs_keeps_its_own_pins_and_nobody_elses,
);

fn remove(stowd: &Stowd, file: &str) {
    fs::remove_file(stowd.setup().images().join(file)).unwrap();
}

fn label(stowd: &Stowd, name: &str, key: &str) -> Option<String> {
    stowd.store().images()[name].labels.get(key).cloned()
}

fn what_several_sources_bring_is_pinned_until_the_last_is_gone(generation: &Generation) {
    let registry = stocked();
    let setup = setup(generation, registry.address(), "");
    setup.list("a.txt", format!("{UMOCI}\n{SKOPEO}\n"));
    setup.list("b.txt", format!("{UMOCI}\n"));
    setup.stow_as(&fixture("skopeo-oci.tar").path, "c.tar");
    let mut stowd = ready(setup);
    assert_eq!(tags(&stowd), set(&[UMOCI, SKOPEO]));
    remove(&stowd, "a.txt");
    // Whatever is done about pins is done when an image that only this list brings is unpinned.
    stowd.setup().list("mark.txt", format!("{BUILDAH}\n"));
    eventually(&mut stowd, "another comes", |stowd| {
        tags(stowd) == set(&[UMOCI, SKOPEO, BUILDAH])
    });
    remove(&stowd, "mark.txt");
    eventually(&mut stowd, "the other goes", |stowd| {
        tags(stowd) == set(&[UMOCI, SKOPEO])
    });
    remove(&stowd, "b.txt");
    eventually(&mut stowd, "no list brings it", |stowd| {
        tags(stowd) == set(&[SKOPEO])
    });
    remove(&stowd, "c.tar");
    eventually(&mut stowd, "no list brings it", |stowd| {
        tags(stowd).is_empty()
    });
    for name in [UMOCI, SKOPEO] {
        let images = stowd.store().images();
        assert!(images.contains_key(name), "{name} was deleted");
        let unpinned = format!(" unpinned {name}: no entry brings it any more");
        // It says so a moment after it is so.
        eventually(&mut stowd, "it says so once", |stowd| {
            stowd.lines(&unpinned).len() == 1
        });
    }
}

fn a_line_that_is_struck_out_is_unpinned(generation: &Generation) {
    let registry = stocked();
    let setup = setup(generation, registry.address(), "");
    setup.list("core.txt", format!("{UMOCI}\n{SKOPEO}\n{BUILDAH}\n"));
    let mut stowd = ready(setup);
    assert_eq!(tags(&stowd), set(&[UMOCI, SKOPEO, BUILDAH]));
    stowd
        .setup()
        .list("core.txt", format!("{UMOCI}\n{SKOPEO}\n"));
    eventually(&mut stowd, "it is unpinned", |stowd| {
        tags(stowd) == set(&[UMOCI, SKOPEO])
    });
    // Another line of it fails: that keeps no image that the list does not name.
    let text = format!("{UMOCI}\nregistry.stowd.test/nobody:1\n");
    stowd.setup().list("core.txt", text);
    eventually(&mut stowd, "the next is unpinned", |stowd| {
        tags(stowd) == set(&[UMOCI])
    });
    assert!(count(&stowd, "failed", "core.txt: ") > 0);
    // So does a restart, with the list as it is.
    assert_eq!(stowd.stop(), Some(0));
    stowd.restart();
    stowd.wait_ready(SOON);
    assert_eq!(tags(&stowd), set(&[UMOCI]));
}

fn pins_and_labels_of_others_stay(generation: &Generation) {
    let registry = stocked();
    let setup = setup(generation, registry.address(), "");
    setup.list("core.txt", format!("{UMOCI}\n{SKOPEO}\n"));
    let mut stowd = ready(setup);
    // The one is another client's from here on, the other has a label besides.
    stowd.ctr(&["images", "label", UMOCI, "io.stowd.pinned="]);
    stowd.ctr(&["images", "label", SKOPEO, "example.test/team=kitchen"]);
    assert_eq!(label(&stowd, UMOCI, "io.stowd.pinned"), None);
    remove(&stowd, "core.txt");
    eventually(&mut stowd, "stowd's own are unpinned", |stowd| {
        tags(stowd).is_empty()
    });
    let runtime = "io.cri-containerd.pinned";
    assert_eq!(label(&stowd, UMOCI, runtime).as_deref(), Some("pinned"));
    assert_eq!(label(&stowd, SKOPEO, runtime), None);
    let team = label(&stowd, SKOPEO, "example.test/team");
    assert_eq!(team.as_deref(), Some("kitchen"));
    let managed = label(&stowd, SKOPEO, "io.cri-containerd.image");
    assert_eq!(managed.as_deref(), Some("managed"), "CRI's own label");
}

fn what_was_deleted_by_hand_comes_back(generation: &Generation) {
    let registry = stocked();
    let setup = setup(generation, registry.address(), "");
    setup.list("core.txt", format!("{UMOCI}\n{SKOPEO}\n"));
    let mut stowd = ready(setup);
    let asked = registry.manifests_asked("skopeo");
    let delete = |stowd: &Stowd| {
        // As crictl does it: all names of the image.
        let names = stowd.store().images().into_keys();
        for name in names.filter(|name| name.contains("/umoci")) {
            stowd.store().remove_image(&name);
        }
        assert_eq!(tags(stowd), set(&[SKOPEO]));
    };
    delete(&stowd);
    assert_eq!(stowd.stop(), Some(0));
    stowd.restart();
    stowd.wait_ready(SOON);
    assert_eq!(tags(&stowd), set(&[UMOCI, SKOPEO]), "after a restart");
    let back = told(&stowd, "bringing back what is missing of", "core.txt");
    assert!(back.len() == 1 && back[0].contains(UMOCI), "{back:?}");
    delete(&stowd);
    stowd.signal(rustix::process::Signal::HUP);
    eventually(&mut stowd, "a rescan brings it back", |stowd| {
        tags(stowd) == set(&[UMOCI, SKOPEO])
    });
    assert_eq!(
        registry.manifests_asked("skopeo"),
        asked,
        "the other was there"
    );
}

#[test]
fn a_list_that_is_no_list_any_more_keeps_what_it_brought() {
    let registry = stocked();
    let setup = setup(&reference(), registry.address(), "");
    setup.list("core.txt", format!("{UMOCI}\n"));
    setup.list("mark.txt", format!("{SKOPEO}\n"));
    let mut stowd = ready(setup);
    stowd.setup().list("core.txt", b"\0\0\0\0");
    eventually(&mut stowd, "it fails", |stowd| {
        count(stowd, "failed", "core.txt: ") == 1
    });
    remove(&stowd, "mark.txt");
    eventually(&mut stowd, "pins are looked after", |stowd| {
        !tags(stowd).contains(SKOPEO)
    });
    assert_eq!(tags(&stowd), set(&[UMOCI]));
}

fn a_list_that_hangs_keeps_its_own_pins_and_nobody_elses(generation: &Generation) {
    let registry = stocked();
    let silent = FakeRegistry::start(Answer::Silence);
    let setup = setup(generation, registry.address(), "pull-timeout = \"1d\"");
    setup.registry("dead.stowd.test", &silent.address(), &[]);
    setup.stow_as(&fixture("skopeo-oci.tar").path, "c.tar");
    let mut stowd = ready(setup);
    let text = format!("{UMOCI}\ndead.stowd.test/x:1\n{BUILDAH}\n");
    stowd.setup().list("core.txt", text);
    eventually(&mut stowd, "all but one line are done", |stowd| {
        silent.held() == 1 && tags(stowd) == set(&[UMOCI, SKOPEO, BUILDAH])
    });
    remove(&stowd, "c.tar");
    eventually(&mut stowd, "what is gone is unpinned meanwhile", |stowd| {
        tags(stowd) == set(&[UMOCI, BUILDAH])
    });
    assert_eq!(silent.held(), 1, "the list is still in work");
    let unpinned = stowd.lines(" unpinned ");
    assert!(
        unpinned.iter().all(|line| line.contains("/skopeo")),
        "{unpinned:?}"
    );
}

fn the_kubelet_hears_of_the_pin_and_of_its_end(generation: &Generation) {
    let registry = stocked();
    let setup = setup(generation, registry.address(), "");
    setup.list("core.txt", format!("{UMOCI}\n"));
    let mut stowd = ready(setup);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let kept = |stowd: &Stowd| runtime.block_on(is_kept(&stowd.address(), UMOCI));
    // CRI of 1.6 knows no pins.
    let knows_pins = generation.name != "1.6";
    eventually(&mut stowd, "CRI keeps it", |stowd| {
        kept(stowd) == knows_pins
    });
    remove(&stowd, "core.txt");
    eventually(&mut stowd, "CRI lets it go", |stowd| !kept(stowd));
}
