//! Which names in extra registries the lines of a list get, where several lines would have one.

use std::collections::{BTreeSet, HashSet};

use crate::digest::Digest;
use crate::image_list::{ImageList, Line};
use crate::naming::{Named, Names, Reference, Shared};

/// The tagged names that each line may have. Names by digest are never two images.
#[derive(Debug)]
pub(super) struct ExtraNames(HashSet<(usize, Reference)>);

impl ExtraNames {
    /// As with the images of an archive: what the list itself names is nobody's extra name, and of two
    /// lines the last has it.
    pub(super) fn of(list: &ImageList, extra_registries: &[String]) -> Self {
        if extra_registries.is_empty() {
            return Self(HashSet::new());
        }
        // Which images these are turns out when they are there.
        let digest = Digest::of(b"");
        let named = list.lines.iter().map(|line| Named {
            names: std::slice::from_ref(&line.reference),
            digest: &digest,
            runs_on_host: true,
        });
        let claimed = list.lines.iter().map(|line| line.reference.clone());
        let claimed = claimed.collect::<BTreeSet<_>>();
        let shared = Shared::among(&named.collect::<Vec<_>>(), &claimed, extra_registries);
        let numbered = list.lines.iter().zip(shared.images);
        let extra = numbered.flat_map(|(line, names)| {
            let number = line.number;
            names.extra.into_iter().map(move |name| (number, name))
        });
        Self(extra.collect())
    }

    /// Leaves a line the names that it may have.
    pub(super) fn keep(&self, line: &Line, names: &mut Names) {
        names
            .extra
            .retain(|name| name.tag().is_none() || self.0.contains(&(line.number, name.clone())));
    }
}
