//! Extra registries name what was pulled, too.

use crate::support::{Generation, Registry, on_the_reference_in_turn};

use super::harness::{BUILDAH, HOST, SOON, UMOCI, count, pinned, push, ready, setup};

on_the_reference_in_turn!(what_was_pulled_has_the_names_of_extra_registries);

fn what_was_pulled_has_the_names_of_extra_registries(generation: &Generation) {
    let registry = Registry::start();
    let [umoci, buildah] = [UMOCI, BUILDAH].map(|name| push(&registry, name));
    let mut setup = setup(generation, registry.address(), "");
    // The second is where the image comes from already.
    let extra = format!("extra-registries = [\"edge.stowd.test:5000/mirror\", \"{HOST}\"]\n");
    setup.images += &extra;
    setup.list("core.txt", format!("{UMOCI}\n{HOST}/buildah@{buildah}\n"));
    let mut stowd = ready(setup);
    let edge = "edge.stowd.test:5000/mirror";
    let wanted = [
        UMOCI.to_owned(),
        format!("{HOST}/umoci@{umoci}"),
        format!("{HOST}/buildah@{buildah}"),
        format!("{edge}/umoci:1.35"),
        format!("{edge}/umoci@{umoci}"),
        format!("{edge}/buildah@{buildah}"),
    ];
    let wanted = wanted.into_iter().collect();
    assert_eq!(pinned(&stowd), wanted);
    // A mirror that shares images by what the label says finds them under the extra registry.
    let blobs = stowd.store().blobs();
    for registry in ["edge.stowd.test:5000", HOST] {
        let key = format!("containerd.io/distribution.source.{registry}");
        let of = blobs[&umoci].labels.get(&key).map(String::as_str);
        assert!(of.is_some_and(|of| of.contains("umoci")), "{key}: {of:?}");
    }
    let asked = registry.all_manifests_asked();
    assert_eq!(stowd.stop(), Some(0));
    stowd.restart();
    stowd.wait_ready(SOON);
    assert_eq!(count(&stowd, "skipped", "core.txt"), 1);
    assert_eq!(pinned(&stowd), wanted);
    assert_eq!(registry.all_manifests_asked(), asked);
}
