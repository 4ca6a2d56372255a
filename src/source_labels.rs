//! The labels `containerd.io/distribution.source.<registry>` of a blob: the repositories of that
//! registry that have it, sorted, with commas between them.
//!
//! The format is containerd's (`core/remotes/docker/handler.go`, `AppendDistributionSourceLabel`). It
//! has no port in the key; here the registry is the whole of the name's domain, by which mirrors such
//! as Spegel look for what they may serve.

use std::collections::{BTreeMap, BTreeSet};

use crate::image_store::Labels;
use crate::naming::Reference;

/// What the keys of these labels begin with.
pub const PREFIX: &str = "containerd.io/distribution.source.";

/// The most bytes of a label, key and value together (containerd, `pkg/labels/validate.go`).
const LABEL_MAX: usize = 4096;

/// The most registries that a blob has a label for. More are not to be expected of a real image,
/// and would have more labels than fit a message.
const REGISTRIES_MAX: usize = 64;

/// The labels of the blobs of an image with these names.
pub fn of<'a>(names: impl IntoIterator<Item = &'a Reference>) -> Labels {
    let mut repositories = BTreeMap::<_, BTreeSet<&str>>::new();
    for name in names {
        // A name without a registry cannot have been pulled from one.
        if !name.domain().is_empty() {
            let paths = repositories.entry(name.domain()).or_default();
            paths.insert(name.path());
        }
    }
    let label = |(registry, paths)| (format!("{PREFIX}{registry}"), label_value(paths));
    missing(
        &Labels::new(),
        &repositories.into_iter().map(label).collect(),
    )
}

/// The labels of a blob that had some and gets the `wanted` too.
pub(crate) fn together(mut had: Labels, wanted: &Labels) -> Labels {
    had.extend(missing(&had, wanted));
    had
}

/// What must be set on a blob with the labels `had` for it to have the `wanted` too. Repositories are
/// added to those that are there; any other label is to have the wanted value. What does not fit a
/// label is left out.
pub fn missing(had: &Labels, wanted: &Labels) -> Labels {
    let mut registries = had.keys().filter(|key| key.starts_with(PREFIX)).count();
    let mut missing = Labels::new();
    for (key, value) in wanted {
        let before = had.get(key);
        if !key.starts_with(PREFIX) {
            if before != Some(value) {
                missing.insert(key.clone(), value.clone());
            }
        } else if (before.is_some() || registries < REGISTRIES_MAX)
            && let Some(merged) = merged(key, before.map_or("", String::as_str), value)
        {
            registries += usize::from(before.is_none());
            missing.insert(key.clone(), merged);
        }
    }
    missing
}

/// The repositories of both, as far as they fit the label; `None` where that adds none.
fn merged(key: &str, had: &str, more: &str) -> Option<String> {
    let mut all = listed(had).collect::<BTreeSet<_>>();
    let before = all.len();
    let mut length = key.len() + had.len();
    for repository in listed(more) {
        let longer = length + usize::from(length > key.len()) + repository.len();
        if longer <= LABEL_MAX && all.insert(repository) {
            length = longer;
        }
    }
    (all.len() > before).then(|| label_value(all))
}

fn listed(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').filter(|repository| !repository.is_empty())
}

fn label_value(repositories: BTreeSet<&str>) -> String {
    repositories.into_iter().collect::<Vec<_>>().join(",")
}
