//! Every form of a name: stored as CRI stores it, found again under that, and never pulled twice.

use std::collections::BTreeSet;
use std::fs;

use crate::support::{
    Generation, Refusing, Registry, Stowd, on_each_generation_in_turn, on_the_reference_in_turn,
};

use super::harness::{
    BUILDAH, HOST, SOON, UMOCI, count, eventually, not_pulled, pinned, ready, setup,
};

/// A third image.
const PAUSE: &str = "registry.stowd.test/pause:1";

on_each_generation_in_turn!(every_form_of_a_name_is_found_again_and_never_pulled_twice);
on_the_reference_in_turn!(
    a_digest_that_the_registry_does_not_have_is_said,
    an_index_is_pulled_for_this_host,
);

/// A registry with the same few images under many paths, and their digests.
fn paths() -> (Registry, [String; 3]) {
    let registry = Registry::start();
    let push = |file: &str, image: &str, paths: &[&str]| {
        let digests = paths.iter().map(|path| registry.push(file, image, path));
        let digests: BTreeSet<String> = digests.collect();
        assert_eq!(digests.len(), 1);
        digests.into_iter().next().unwrap()
    };
    let umoci = ["a:1", "d:1", "library/f:1", "team/h:2.0-rc_1"];
    let digests = [
        push("umoci.tar", UMOCI, &umoci),
        push("pause.tar", PAUSE, &["b:1", "library/e:1"]),
        push(
            "buildah-oci.tar",
            BUILDAH,
            &["c:latest", "library/g:latest"],
        ),
    ];
    (registry, digests)
}

fn every_form_of_a_name_is_found_again_and_never_pulled_twice(generation: &Generation) {
    let (mut registry, [umoci, pause, buildah]) = paths();
    let refusing = Refusing::start();
    let port = registry.address().to_owned();
    let setup = setup(generation, &port, "");
    setup.registry("docker.io", &refusing.address(), &[&port]);
    let lines = [
        format!("{HOST}/a@{umoci}"),
        format!("{HOST}/b:1@{pause}"),
        format!("{HOST}/c"),
        format!("{port}/d:1"),
        "index.docker.io/library/e:1".to_owned(),
        "f:1".to_owned(),
        "docker.io/g".to_owned(),
        "team/h:2.0-rc_1".to_owned(),
    ];
    let wanted = [
        (format!("{HOST}/a"), "", &umoci),
        (format!("{HOST}/b"), "", &pause),
        (format!("{HOST}/c"), ":latest", &buildah),
        (format!("{port}/d"), ":1", &umoci),
        ("docker.io/library/e".to_owned(), ":1", &pause),
        ("docker.io/library/f".to_owned(), ":1", &umoci),
        ("docker.io/library/g".to_owned(), ":latest", &buildah),
        ("docker.io/team/h".to_owned(), ":2.0-rc_1", &umoci),
    ];
    let wanted = wanted.into_iter().flat_map(|(repository, tag, digest)| {
        let tagged = (!tag.is_empty()).then(|| format!("{repository}{tag}"));
        tagged.into_iter().chain([format!("{repository}@{digest}")])
    });
    let wanted = wanted.collect::<BTreeSet<_>>();
    setup.list("core.txt", lines.join("\n"));
    let mut stowd = ready(setup);
    assert_eq!(pinned(&stowd), wanted, "{}", stowd.log());
    assert_eq!(count(&stowd, "imported", "core.txt: "), 1);
    let images = stowd.store().images();
    for name in &wanted {
        let digest = name.split_once('@').map(|(_, digest)| digest);
        let target = &images[name].target;
        assert!(
            digest.is_none_or(|digest| digest == target),
            "{name}: {target}"
        );
    }

    let asked = registry.all_manifests_asked();
    let again = |stowd: &mut Stowd, what: &str| {
        stowd.restart();
        stowd.wait_ready(SOON);
        assert_eq!(pinned(stowd), wanted, "{what}");
        assert_eq!(
            registry.all_manifests_asked(),
            asked,
            "{what}: pulled twice"
        );
        assert_eq!(stowd.lines(" failed /"), Vec::<String>::new(), "{what}");
    };
    assert_eq!(stowd.stop(), Some(0));
    again(&mut stowd, "a restart");
    assert_eq!(count(&stowd, "skipped", "core.txt"), 1);
    assert_eq!(stowd.stop(), Some(0));
    fs::remove_file(stowd.setup().dir().join("lib/ledger.json")).unwrap();
    again(&mut stowd, "a restart without a ledger");
    assert_eq!(count(&stowd, "imported", "core.txt: "), 2);
    // Changed, and the same images in another order.
    let reversed = lines.iter().rev().map(String::as_str).collect::<Vec<_>>();
    stowd.setup().list("core.txt", reversed.join("\n"));
    eventually(&mut stowd, "it is read again", |stowd| {
        count(stowd, "imported", "core.txt: ") == 3
    });
    assert_eq!(registry.all_manifests_asked(), asked, "pulled twice");
    // And with no registry to ask.
    assert_eq!(stowd.stop(), Some(0));
    fs::remove_file(stowd.setup().dir().join("lib/ledger.json")).unwrap();
    registry.kill();
    stowd.restart();
    stowd.wait_ready(SOON);
    assert_eq!(pinned(&stowd), wanted);
    assert_eq!(stowd.lines(" failed /"), Vec::<String>::new());
}

fn a_digest_that_the_registry_does_not_have_is_said(generation: &Generation) {
    let (registry, [umoci, ..]) = paths();
    let setup = setup(generation, registry.address(), "");
    let absent = format!("sha256:{}", "0123456789abcdef".repeat(4));
    // The tag is there, and another image has it.
    setup.list(
        "core.txt",
        format!("{HOST}/a:1@{absent}\n{HOST}/nobody:1\n{HOST}/a@{umoci}\n"),
    );
    let stowd = ready(setup);
    let wanted = BTreeSet::from([format!("{HOST}/a@{umoci}")]);
    assert_eq!(pinned(&stowd), wanted);
    for (line, name) in [
        (1, format!("{HOST}/a@{absent}: ")),
        (2, format!("{HOST}/nobody:1: ")),
    ] {
        let told = not_pulled(&stowd, "core.txt", line);
        assert_eq!(told.len(), 1, "{}", stowd.log());
        assert!(
            told[0].contains(&name) && told[0].contains("not found"),
            "{told:?}"
        );
    }
}

fn an_index_is_pulled_for_this_host(generation: &Generation) {
    let registry = Registry::start();
    let index = registry.push("index-platforms.tar", "1.35", "platforms:1.35");
    let setup = setup(generation, registry.address(), "");
    setup.list("core.txt", format!("{HOST}/platforms:1.35\n"));
    let mut stowd = ready(setup);
    let wanted = BTreeSet::from([
        format!("{HOST}/platforms:1.35"),
        format!("{HOST}/platforms@{index}"),
    ]);
    assert_eq!(pinned(&stowd), wanted, "{}", stowd.log());
    stowd.store().closure();
    // That the index has another platform's image that is not there is no reason to pull again.
    let asked = registry.manifests_asked("platforms");
    assert_eq!(stowd.stop(), Some(0));
    stowd.restart();
    stowd.wait_ready(SOON);
    assert_eq!(count(&stowd, "skipped", "core.txt"), 1);
    assert_eq!(registry.manifests_asked("platforms"), asked);
}
