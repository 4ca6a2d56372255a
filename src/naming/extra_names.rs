//! Which names in the extra registries the images of one archive or list get.

use super::names::Names;
use super::ownership::{Owners, Shadowed};
use super::reference::{Reference, ReferenceError};
use crate::digest::Digest;

/// Which image of a source has each name in the extra registries.
#[derive(Debug)]
pub struct ExtraNames<'a> {
    registries: &'a [String],
    /// `None` has what the source itself calls an image.
    owners: Owners<Reference, Priority, Option<usize>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Priority {
    /// Whether the host runs it.
    Extra(bool),
    Own,
}

/// The names of one image of a source.
#[derive(Debug, PartialEq, Eq)]
pub struct GivenNames {
    /// Those that it gets.
    pub names: Names,
    /// Extra names that cannot be.
    pub refused: Vec<ReferenceError>,
    /// Extra names that another image has.
    pub shadowed: Vec<Shadowed>,
}

impl<'a> ExtraNames<'a> {
    /// Decides between the `images` of an archive, or of a list: of each its number, what it is called,
    /// and whether it has what the host would run of it. `own` are the names that the source itself
    /// gives to its images, those that cannot be imported included: none of them is made an extra name
    /// of another image. An extra name that several images would have goes to one that the host runs, if
    /// there is one, and of those to the last, as with a source's own names.
    pub fn among<'i>(
        images: impl IntoIterator<Item = (usize, &'i [Reference], bool)>,
        own: impl IntoIterator<Item = &'i Reference>,
        registries: &'a [String],
    ) -> Self {
        // Names by digest are never those of two images.
        let own = own.into_iter().filter(|name| name.digest.is_none());
        let own = own.map(|name| (name.clone(), Priority::Own, None));
        let extra = images
            .into_iter()
            .flat_map(|(number, names, runs_on_host)| {
                let (names, _) = Names::of(names, None, registries);
                let (priority, claimant) = (Priority::Extra(runs_on_host), Some(number));
                let names = names.extra.into_iter();
                names.map(move |name| (name, priority, claimant))
            });
        let owners = Owners::of(own.chain(extra));
        Self { registries, owners }
    }

    /// The names of the image of this number, which is called `names` and has this digest.
    pub fn given(&self, number: usize, names: &[Reference], digest: &Digest) -> GivenNames {
        let (mut names, refused) = Names::of(names, Some(digest), self.registries);
        let image = names.own.first().map(Reference::to_string);
        let image = image.unwrap_or_default();
        let shadowed = self
            .owners
            .take_shadowed(&Some(number), &image, &mut names.extra);
        GivenNames {
            names,
            refused,
            shadowed,
        }
    }
}
