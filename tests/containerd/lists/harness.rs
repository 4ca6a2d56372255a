//! A registry with some images, and a stowd that finds it under a name.

use std::collections::BTreeSet;
use std::time::Duration;

use stowd::pin::PinOwner;

use crate::support::{Generation, Record, Registry, Setup, Stowd, eventually_in_turn};

pub(super) const SOON: Duration = Duration::from_secs(90);

/// What names begin with. The images of the fixtures of these names are at the registry.
pub(super) const HOST: &str = "registry.stowd.test";
pub(super) const UMOCI: &str = "registry.stowd.test/umoci:1.35";
/// The same image as [`UMOCI`].
pub(super) const SKOPEO: &str = "registry.stowd.test/skopeo:1.35";
/// Another one: they share no blob.
pub(super) const BUILDAH: &str = "registry.stowd.test/buildah:1.35";

/// Where a name's image is from, and where it is at the registry.
fn source(name: &str) -> (&'static str, String) {
    let file = match name {
        UMOCI => "umoci.tar",
        SKOPEO => "skopeo-oci.tar",
        BUILDAH => "buildah-oci.tar",
        other => panic!("no fixture is {other}"),
    };
    let path = name.trim_start_matches(HOST).trim_start_matches('/');
    (file, path.to_owned())
}

/// Pushes an image to where its name says: its digest.
pub(super) fn push(registry: &Registry, name: &str) -> String {
    let (file, path) = source(name);
    registry.push(file, name, &path)
}

/// A registry with all three images.
pub(super) fn stocked() -> Registry {
    let registry = Registry::start();
    for name in [UMOCI, SKOPEO, BUILDAH] {
        push(&registry, name);
    }
    registry
}

/// A setup whose containerd finds [`HOST`] at this address, with lines for table `[lists]`.
pub(super) fn setup(generation: &Generation, address: &str, lists: &str) -> Setup {
    let mut setup = Setup::new(generation);
    setup.config = format!("[lists]\n{lists}\n");
    setup.registry(HOST, address, &[]);
    setup
}

/// Starts it; answers when it is ready.
pub(super) fn ready(setup: Setup) -> Stowd {
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    stowd
}

pub(super) fn eventually(stowd: &mut Stowd, what: &str, holds: impl Fn(&Stowd) -> bool) {
    stowd.wait_until(SOON, what, holds);
}

/// The names that stowd keeps pinned. Both pins are there, or none.
pub(super) fn pinned(stowd: &Stowd) -> BTreeSet<String> {
    let images = stowd.store().images().into_iter();
    let is_pinned = |name: &str, image: &Record, (key, value): (&str, &str)| {
        let pin = image.labels.get(key);
        assert!(pin.is_none_or(|pin| pin == value), "{name}: {image:?}");
        pin.is_some()
    };
    let owner = PinOwner::default();
    let pinned = images.filter(|(name, image)| {
        let [runtime, own] = owner.pins().map(|pin| is_pinned(name, image, pin));
        assert!(
            runtime || !own,
            "{name} has only stowd's own pin: {image:?}"
        );
        own
    });
    pinned.map(|(name, _)| name).collect()
}

/// Those of them that are by tag.
pub(super) fn tags(stowd: &Stowd) -> BTreeSet<String> {
    let mut names = pinned(stowd);
    names.retain(|name| !name.contains('@'));
    names
}

pub(super) fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// Waits until stowd has no lease: one of its work may end a moment after the work.
pub(super) fn wait_for_no_lease(stowd: &Stowd) {
    eventually_in_turn(SOON, "no lease is left", || {
        let mut leases = stowd.store().leases();
        leases.retain(|id| id.starts_with("stowd"));
        match leases.is_empty() {
            true => Ok(()),
            false => Err(format!("{leases:?}")),
        }
    });
}

/// The last STATUS.
pub(super) fn status(stowd: &Stowd) -> String {
    stowd.notify.statuses().pop().unwrap_or_default()
}

/// How many lines tell of such an outcome (`imported`, `failed`, `skipped`) of a list, later tries
/// included.
pub(super) fn count(stowd: &Stowd, what: &str, list: &str) -> usize {
    told(stowd, what, list).len()
}

/// These lines.
pub(super) fn told(stowd: &Stowd, what: &str, list: &str) -> Vec<String> {
    let path = stowd.setup().images().join(list);
    let mut lines = stowd.lines(&format!(" {what} {}", path.display()));
    lines.retain(|line| !line.contains(" not pulled ") || what == "not pulled");
    lines
}

/// The line that tells why a line of a list was not pulled, by its number.
pub(super) fn not_pulled(stowd: &Stowd, list: &str, line: usize) -> Vec<String> {
    told(stowd, "not pulled", &format!("{list}:{line}: "))
}
