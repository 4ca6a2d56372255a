//! Images that disappear come back: containerd's events tell of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{
    Generation, Setup, Store, Stowd, eventually_in_turn, fixture, on_each_generation_in_turn,
    on_the_reference_in_turn, prune_images, remove_image, stays_asleep, wait_for_cri,
};

on_each_generation_in_turn!(what_clients_delete_is_back_within_seconds);
on_the_reference_in_turn!(
    a_thousand_deletions_at_once_are_brought_back,
    what_is_deleted_again_and_again_is_given_up_until_something_changes,
    what_stowd_writes_itself_does_not_wake_it_up,
);

/// The rescan that would find it as well comes after ten minutes.
const SOON: Duration = Duration::from_secs(120);
/// For what takes a minute on a quiet machine.
const LATE: Duration = Duration::from_secs(500);
const UMOCI: &str = "registry.stowd.test/umoci:1.35";

/// What the images point to, and whether they are pinned, and by which instance.
fn pinned(store: &Store) -> BTreeMap<String, (String, Option<String>, bool)> {
    let images = store.images().into_iter().map(|(name, record)| {
        let owner = record.labels.get("io.stowd.pinned").cloned();
        let is_pinned = record.labels.contains_key("io.cri-containerd.pinned");
        (name, (record.target, owner, is_pinned))
    });
    images.collect()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(future)
}

/// What a client does.
type Delete<'a> = &'a dyn Fn(&Stowd);

fn what_clients_delete_is_back_within_seconds(generation: &Generation) {
    let setup = Setup::new(generation);
    for file in ["umoci.tar", "skopeo-oci.tar", "buildah-docker.tar.gz"] {
        setup.stow(&fixture(file).path);
    }
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    let store = stowd.store();
    let whole = pinned(&store);
    assert_eq!(whole.len(), 6);
    let all = whole.keys().map(String::as_str).collect::<Vec<_>>();
    let address = stowd.address();
    let remove_all = |stowd: &Stowd| {
        stowd.ctr(&[&["images", "rm", "--sync"], &all[..]].concat());
    };
    let collect = |stowd: &Stowd| {
        remove_all(stowd);
        stowd.ctr(&["content", "prune", "references"]);
    };
    let ways: [(&str, Delete<'_>); 5] = [
        ("ctr images rm of one name", &|stowd| {
            stowd.ctr(&["images", "rm", UMOCI]);
        }),
        ("ctr images rm of all", &remove_all),
        ("crictl rmi", &|_| block_on(remove_image(&address, UMOCI))),
        ("crictl rmi --prune", &|_| block_on(prune_images(&address))),
        ("a collection of content", &collect),
    ];
    for (way, delete) in ways {
        let imported = stowd.lines(" imported /").len();
        delete(&stowd);
        let began = Instant::now();
        stowd.wait_until(SOON, way, |stowd| {
            pinned(&store) == whole && stowd.lines(" imported /").len() > imported
        });
        eprintln!(
            "{}: {way}: back after {:?}",
            generation.name,
            began.elapsed()
        );
        // It panics where something is missing.
        store.closure();
        // It hears of them a little later.
        for name in &all {
            block_on(wait_for_cri(&address, name));
        }
    }
    assert_eq!(stowd.lines(" given up /"), Vec::<String>::new());
    assert_eq!(stowd.lines(" not heard of"), Vec::<String>::new());
}

/// In a namespace without CRI, which takes minutes to follow so many names of one image.
fn a_thousand_deletions_at_once_are_brought_back(generation: &Generation) {
    const REGISTRIES: usize = 499;
    let mut setup = Setup::new(generation);
    setup.containerd = "namespace = \"edge\"\n".to_owned();
    let registries = (0..REGISTRIES).map(|number| format!("\"r{number}.example\""));
    let registries = registries.collect::<Vec<_>>().join(", ");
    setup.images += &format!("extra-registries = [{registries}]\n");
    setup.stow(&fixture("umoci.tar").path);
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    let images = |stowd: &Stowd, verb: &[&str]| {
        stowd.ctr(&[&["--namespace", "edge", "images"], verb].concat())
    };
    // With their targets and labels.
    let whole = images(&stowd, &["list"]);
    let names = images(&stowd, &["list", "--quiet"]);
    let names = names.lines().collect::<Vec<_>>();
    assert_eq!(names.len(), 2 * (REGISTRIES + 1));
    let began = Instant::now();
    images(&stowd, &[&["rm"], &names[..]].concat());
    let deleted = began.elapsed();
    stowd.wait_until(SOON, "all are back", |stowd| {
        images(stowd, &["list"]) == whole
    });
    eprintln!(
        "{}: deleted in {deleted:?}, all back after {:?}",
        generation.name,
        began.elapsed()
    );
    let checked = images(&stowd, &["check"]);
    assert_eq!(checked.matches(" complete (").count(), names.len());
    let brought_back = stowd.lines(" bringing back what is missing of ");
    assert!((1..=5).contains(&brought_back.len()), "{brought_back:?}");
    // A line names some of them, and not a thousand.
    assert!(brought_back.iter().all(|line| line.len() < 2000));
}

/// Deletes an image for as long as this lives, as soon as it is there.
fn deleting<T>(address: &Path, work: impl FnOnce() -> T) -> T {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let store = Store::at(address);
            while !is_over.load(Ordering::Relaxed) {
                if store.images().contains_key(UMOCI) {
                    store.remove_image(UMOCI);
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        is_over.store(true, Ordering::Relaxed);
        worked.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn what_is_deleted_again_and_again_is_given_up_until_something_changes(generation: &Generation) {
    let setup = Setup::new(generation);
    setup.stow(&fixture("umoci.tar").path);
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    let address = stowd.address();
    let given_up = |stowd: &Stowd| stowd.lines(" given up /").len();
    let brought_back = |stowd: &Stowd| stowd.lines(" bringing back ").len();
    let mut names = stowd.store().images().into_keys();
    let kept = names.find(|name| name.contains('@')).unwrap();
    deleting(&address, || {
        stowd.wait_until(LATE, "it is given up", |stowd| given_up(stowd) == 1);
        assert_eq!(brought_back(&stowd), 5);
        // Other deletions do not have it brought back either.
        for _ in 0..3 {
            std::thread::sleep(Duration::from_secs(1));
            stowd.ctr(&["images", "tag", &kept, "other.example/x:1"]);
            stowd.ctr(&["images", "rm", "other.example/x:1"]);
        }
    });
    assert_eq!((given_up(&stowd), brought_back(&stowd)), (1, 5));
    stowd.signal(Signal::HUP);
    let store = stowd.store();
    stowd.wait_until(SOON, "a reload", |_| store.images().contains_key(UMOCI));

    let at = stowd.setup().images().join("umoci.tar");
    deleting(&address, || {
        stowd.wait_until(LATE, "it is given up again", |stowd| given_up(stowd) == 2);
    });
    let part = at.with_extension("part");
    fs::copy(&at, &part).unwrap();
    fs::rename(&part, &at).unwrap();
    stowd.wait_until(SOON, "a new file", |_| store.images().contains_key(UMOCI));
}

/// They are not asked for, so that no write of its own leads to another one.
fn what_stowd_writes_itself_does_not_wake_it_up(generation: &Generation) {
    let mut setup = Setup::new(generation);
    setup.alone();
    setup.stow(&fixture("umoci.tar").path);
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    // A name is created, another one updated, and pins are taken off.
    let images = stowd.setup().images();
    for file in ["a.tar", "b.tar"] {
        fs::copy(fixture("skopeo-oci.tar").path, images.join(file)).unwrap();
    }
    stowd.wait_until(SOON, "both are imported", |stowd| {
        stowd.lines(" imported /").len() == 3
    });
    for file in ["a.tar", "b.tar"] {
        fs::remove_file(images.join(file)).unwrap();
    }
    stowd.wait_until(SOON, "unpinned", |stowd| {
        !stowd.lines(" unpinned ").is_empty()
    });
    let still = || stays_asleep(stowd.pid(), Duration::from_secs(5));
    eventually_in_turn(Duration::from_secs(300), "five quiet seconds", still);
    // And yet it hears.
    stowd.ctr(&["images", "rm", UMOCI]);
    let store = stowd.store();
    stowd.wait_until(SOON, "it is back", |_| store.images().contains_key(UMOCI));
}
