//! Pins have owners: an instance sets its own, and takes no other's off.

use std::fs;
use std::time::Duration;

use crate::made::recipe;
use crate::support::{Daemon, Generation, Setup, Store, Stowd, fixture, on_the_reference_in_turn};

const SOON: Duration = Duration::from_secs(120);
const UMOCI: &str = "registry.stowd.test/umoci:1.35";
const SKOPEO: &str = "registry.stowd.test/skopeo:1.35";

on_the_reference_in_turn!(
    instances_that_share_a_containerd_unpin_only_their_own,
    a_name_that_two_instances_bring_is_the_first_ones_until_it_unpins_it,
    pins_from_before_there_were_instances_are_taken_over,
    a_run_with_another_images_directory_unpins_only_its_own,
);

/// The owner of the pin of an image, if it is pinned.
fn owner(stowd: &Stowd, name: &str) -> Option<String> {
    let image = &stowd.store().images()[name];
    let owner = image.labels.get("io.stowd.pinned").cloned();
    let is_pinned = image.labels.contains_key("io.cri-containerd.pinned");
    assert_eq!(is_pinned, owner.is_some(), "both labels or none");
    owner
}

fn remove(stowd: &Stowd, file: &str) {
    fs::remove_file(stowd.setup().images().join(file)).unwrap();
}

/// The setup of another instance on the same containerd.
fn edge(generation: &Generation, first: &Stowd) -> Setup {
    let mut setup = Setup::new(generation);
    setup.attach(&first.address());
    let instance = ("STOWD_INSTANCE".to_owned(), "edge".to_owned());
    setup.environment.push(instance);
    setup
}

fn instances_that_share_a_containerd_unpin_only_their_own(generation: &Generation) {
    let setup = Setup::new(generation);
    setup.stow(&fixture("umoci.tar").path);
    let mut first = setup.start();
    first.wait_ready(SOON);

    let setup = edge(generation, &first);
    for file in ["umoci.tar", "skopeo-oci.tar"] {
        setup.stow(&fixture(file).path);
    }
    let mut second = setup.start();
    second.wait_ready(SOON);
    assert_eq!(owner(&first, UMOCI).as_deref(), Some("default"));
    assert_eq!(owner(&first, SKOPEO).as_deref(), Some("edge"));

    remove(&second, "umoci.tar");
    remove(&second, "skopeo-oci.tar");
    second.wait_until(SOON, "its own is unpinned", |_| {
        owner(&first, SKOPEO).is_none()
    });
    assert_eq!(owner(&first, UMOCI).as_deref(), Some("default"));

    second.setup().stow(&fixture("skopeo-oci.tar").path);
    second.wait_until(SOON, "it is pinned again", |_| {
        owner(&first, SKOPEO).as_deref() == Some("edge")
    });
    first.setup().stow(&fixture("skopeo-oci.tar").path);
    first.wait_until(SOON, "the first has it as well", |first| {
        first.outcomes("skopeo-oci.tar").len() == 1
    });
    remove(&first, "skopeo-oci.tar");
    remove(&first, "umoci.tar");
    first.wait_until(SOON, "its own is unpinned", |first| {
        owner(first, UMOCI).is_none()
    });
    assert_eq!(owner(&first, SKOPEO).as_deref(), Some("edge"));
    assert_eq!(second.stop(), Some(0));
}

fn a_name_that_two_instances_bring_is_the_first_ones_until_it_unpins_it(generation: &Generation) {
    const NAME: &str = "registry.stowd.test/both:1";
    let archive = |seed| recipe(seed, NAME).oci().tar();
    let setup = Setup::new(generation);
    fs::write(setup.images().join("a.tar"), archive(911)).unwrap();
    let mut first = setup.start();
    first.wait_ready(SOON);
    let target = |stowd: &Stowd| stowd.store().images()[NAME].target.clone();
    let of_first = target(&first);

    let mut setup = edge(generation, &first);
    setup.images += "rescan = \"2s\"\n";
    fs::write(setup.images().join("b.tar"), archive(912)).unwrap();
    let mut second = setup.start();
    second.wait_ready(SOON);
    second.wait_until(SOON, "it says whose the name is", |second| {
        let told = second.lines(" left to instance default, ");
        told.len() == 1 && told[0].contains(NAME)
    });
    assert_eq!(target(&first), of_first);
    first.setup().stow(&fixture("umoci.tar").path);
    first.wait_until(SOON, "another entry is imported", |first| {
        first.outcomes("umoci.tar").len() == 1
    });
    remove(&first, "umoci.tar");
    first.wait_until(SOON, "its pins are checked", |first| {
        owner(first, UMOCI).is_none()
    });
    for stowd in [&first, &second] {
        assert_eq!(stowd.lines(" bringing back "), Vec::<String>::new());
    }
    assert_eq!(target(&first), of_first);

    remove(&first, "a.tar");
    second.wait_until(SOON, "the name is its own", |_| {
        target(&first) != of_first && owner(&first, NAME).as_deref() == Some("edge")
    });
    assert_eq!(second.stop(), Some(0));
}

fn pins_from_before_there_were_instances_are_taken_over(generation: &Generation) {
    let setup = Setup::new(generation);
    for file in ["umoci.tar", "skopeo-oci.tar"] {
        setup.stow(&fixture(file).path);
    }
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    for name in [UMOCI, SKOPEO] {
        stowd.ctr(&["images", "label", name, "io.stowd.pinned=pinned"]);
    }
    assert_eq!(stowd.stop(), Some(0));
    remove(&stowd, "skopeo-oci.tar");
    stowd.restart();
    stowd.wait_ready(SOON);
    stowd.wait_until(SOON, "it is taken over", |stowd| {
        owner(stowd, UMOCI).as_deref() == Some("default")
    });
    stowd.wait_until(SOON, "what was removed is unpinned", |stowd| {
        owner(stowd, SKOPEO).is_none()
    });
    let skipped = format!(" skipped {}/umoci.tar", stowd.setup().images().display());
    assert_eq!(stowd.lines(&skipped).len(), 1, "{}", stowd.log());
}

/// The same instance and state directory, one after the other.
fn a_run_with_another_images_directory_unpins_only_its_own(generation: &Generation) {
    let mut daemon = Daemon::start(generation);
    daemon.wait();
    let attached = |state_dir: Option<&Stowd>, file: &str| {
        let mut setup = Setup::new(generation);
        setup.attach(&daemon.address());
        if let Some(stowd) = state_dir {
            let dir = stowd.setup().dir().join("lib").display().to_string();
            setup.environment.push(("STOWD_STATE_DIR".to_owned(), dir));
        }
        setup.stow(&fixture(file).path);
        let mut stowd = setup.start();
        stowd.wait_ready(SOON);
        stowd
    };
    let pin = |name: &str| {
        let image = &Store::at(&daemon.address()).images()[name];
        image.labels.get("io.stowd.pinned").cloned()
    };
    let mut first = attached(None, "umoci.tar");
    assert_eq!(first.stop(), Some(0));

    let mut second = attached(Some(&first), "skopeo-oci.tar");
    let told = second.lines(" ledger of another images directory: ");
    let of_first = first.setup().images().display().to_string();
    assert!(told.len() == 1 && told[0].contains(&of_first), "{told:?}");
    remove(&second, "skopeo-oci.tar");
    second.wait_until(SOON, "its own is unpinned", |_| pin(SKOPEO).is_none());
    assert_eq!(pin(UMOCI).as_deref(), Some("default"));
    assert_eq!(second.stop(), Some(0));

    first.restart();
    first.wait_ready(SOON);
    let skipped = format!(" skipped {of_first}/umoci.tar");
    assert_eq!(first.lines(&skipped).len(), 1, "{}", first.log());
    remove(&first, "umoci.tar");
    first.wait_until(SOON, "its own is unpinned", |_| pin(UMOCI).is_none());
    assert_eq!(first.stop(), Some(0));
}
