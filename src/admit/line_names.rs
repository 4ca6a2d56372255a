//! Which names the image of each line of one list gets, where several lines would have one.

use std::collections::{BTreeSet, HashSet};

use super::desired::DesiredImage;
use super::warn_of_refused;
use crate::image_list::{ImageList, Line};
use crate::image_store::Descriptor;
use crate::naming::{AssignedNames, NameClaim, Names, Reference};

/// The tagged names in extra registries that each line gets, by the line's number. Names by digest are
/// never those of two images: they follow when the image is there.
#[derive(Debug)]
pub(crate) struct LineNames(HashSet<(usize, Reference)>);

impl LineNames {
    /// As with the images of an archive: what the list itself names is no line's extra name, and of
    /// two lines the last has it.
    pub(crate) fn of(list: &ImageList, extra_registries: &[String]) -> Self {
        if extra_registries.is_empty() {
            return Self(HashSet::new());
        }
        let claims = list.lines.iter().map(|line| NameClaim {
            names: std::slice::from_ref(&line.reference),
            digest: None,
            runs_on_host: true,
        });
        let own = list.lines.iter().map(|line| line.reference.clone());
        let own = own.collect::<BTreeSet<_>>();
        let assigned = AssignedNames::among(&claims.collect::<Vec<_>>(), &own, extra_registries);
        let numbered = list.lines.iter().zip(assigned.images);
        let extra = numbered.flat_map(|(line, names)| {
            let number = line.number;
            names.extra.into_iter().map(move |name| (number, name))
        });
        Self(extra.collect())
    }

    /// What the image of a line is to be, which the store has under `target`. Says which extra names
    /// cannot be.
    pub(crate) fn desired(
        &self,
        line: &Line,
        target: &Descriptor,
        extra_registries: &[String],
    ) -> DesiredImage {
        let own = std::slice::from_ref(&line.reference);
        let (mut names, refused) = Names::of(own, Some(&target.digest), extra_registries);
        names
            .extra
            .retain(|name| name.tag().is_none() || self.0.contains(&(line.number, name.clone())));
        for error in &refused {
            warn_of_refused(error);
        }
        DesiredImage {
            target: target.clone(),
            names,
            runs_on_host: true,
        }
    }
}
