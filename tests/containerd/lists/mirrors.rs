//! containerd's own configuration of registries applies: mirrors, in their order, and rewrites.

use crate::support::{
    Answer, Asked, FakeRegistry, Generation, Refusing, Registry, on_each_generation_in_turn,
    on_the_reference_in_turn, write_hosts,
};

use super::harness::{HOST, SKOPEO, UMOCI, push, ready, set, setup, tags};

on_each_generation_in_turn!(a_mirror_serves_when_the_registry_itself_cannot_be_reached);
on_the_reference_in_turn!(
    the_first_mirror_that_can_serves,
    a_mirror_that_lacks_an_image_is_passed,
    a_rewritten_path_is_asked_for,
);

fn a_mirror_serves_when_the_registry_itself_cannot_be_reached(generation: &Generation) {
    let mirror = Registry::start();
    push(&mirror, UMOCI);
    mirror.push("skopeo-oci.tar", SKOPEO, "library/skopeo:1.35");
    let refusing = Refusing::start();
    let setup = setup(generation, &refusing.address(), "");
    setup.registry(HOST, &refusing.address(), &[mirror.address()]);
    setup.registry("docker.io", &refusing.address(), &[mirror.address()]);
    setup.list("core.txt", format!("{UMOCI}\nskopeo:1.35\n"));
    let stowd = ready(setup);
    assert_eq!(tags(&stowd), set(&[UMOCI, "docker.io/library/skopeo:1.35"]));
    // The mirror is told whose images are wanted of it.
    for (repository, of) in [("umoci", HOST), ("library/skopeo", "docker.io")] {
        let (path, of) = (format!("/v2/{repository}/manifests/"), format!("ns={of}"));
        let asked = mirror.asked();
        let is_it = |a: &&Asked| a.path.starts_with(&path) && a.path.ends_with(&of);
        assert!(asked.iter().find(is_it).is_some(), "{asked:?}");
    }
    assert_eq!(stowd.lines(" failed /"), Vec::<String>::new());
}

fn the_first_mirror_that_can_serves(generation: &Generation) {
    let (first, second, third) = (Refusing::start(), Registry::start(), Registry::start());
    for registry in [&second, &third] {
        push(registry, UMOCI);
    }
    let upstream = FakeRegistry::start(Answer::BROKEN);
    let setup = setup(generation, &upstream.address(), "");
    let mirrors = [&first.address(), second.address(), third.address()];
    setup.registry(HOST, &upstream.address(), &mirrors);
    setup.list("core.txt", UMOCI);
    let stowd = ready(setup);
    assert_eq!(tags(&stowd), set(&[UMOCI]));
    assert!(second.manifests_asked("umoci") > 0);
    assert_eq!(third.manifests_asked("umoci"), 0);
    assert_eq!(upstream.requests().len(), 0);
}

fn a_mirror_that_lacks_an_image_is_passed(generation: &Generation) {
    let (mirror, upstream) = (Registry::start(), Registry::start());
    push(&mirror, UMOCI);
    push(&upstream, SKOPEO);
    let setup = setup(generation, upstream.address(), "");
    setup.registry(HOST, upstream.address(), &[mirror.address()]);
    setup.list("core.txt", format!("{UMOCI}\n{SKOPEO}\n"));
    let stowd = ready(setup);
    assert_eq!(tags(&stowd), set(&[UMOCI, SKOPEO]));
    assert_eq!(upstream.manifests_asked("umoci"), 0);
    assert!(mirror.manifests_asked("skopeo") > 0, "it is asked first");
    assert!(upstream.manifests_asked("skopeo") > 0);
}

fn a_rewritten_path_is_asked_for(generation: &Generation) {
    let mirror = Registry::start();
    mirror.push("umoci.tar", UMOCI, "proxy/docker/library/umoci:1.35");
    let refusing = Refusing::start();
    let setup = setup(generation, &refusing.address(), "");
    let text = format!(
        "server = \"http://{}\"\n[host.\"http://{}/v2/proxy/docker\"]\n\
         capabilities = [\"pull\", \"resolve\"]\noverride_path = true\n",
        refusing.address(),
        mirror.address()
    );
    write_hosts(setup.dir(), "docker.io", &text);
    setup.list("core.txt", "umoci:1.35");
    let stowd = ready(setup);
    assert_eq!(tags(&stowd), set(&["docker.io/library/umoci:1.35"]));
    assert!(mirror.manifests_asked("proxy/docker/library/umoci") > 0);
}
