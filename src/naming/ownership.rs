//! Who has a name that several claim: one rule for the images of an archive, for their names in extra
//! registries, and for entries.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;

use super::reference::Reference;

/// Which claimant has each name: of those with the highest priority the last.
#[derive(Debug)]
pub(crate) struct Owners<N, P, C>(HashMap<N, Option<(P, C)>>);

impl<N: Hash + Eq, P: Ord, C: Ord> Owners<N, P, C> {
    /// `claims` are names, each with the priority of its claim and the claimant, in any order.
    pub(crate) fn of(claims: impl IntoIterator<Item = (N, P, C)>) -> Self {
        let mut owners = HashMap::<_, Option<_>>::new();
        for (name, priority, claimant) in claims {
            let owner = owners.entry(name).or_default();
            *owner = owner.take().max(Some((priority, claimant)));
        }
        Self(owners)
    }

    /// `None` where nothing claims the name.
    pub(crate) fn owner(&self, name: &N) -> Option<&C> {
        let (_, owner) = self.0.get(name)?.as_ref()?;
        Some(owner)
    }

    /// All names that are claimed.
    pub(crate) fn into_names(self) -> impl Iterator<Item = N> {
        self.0.into_keys()
    }
}

impl<P: Ord, C: Ord> Owners<Reference, P, C> {
    /// Takes out of the names of a claimant those that another one has. `image` is what messages call it.
    pub(crate) fn take_shadowed(
        &self,
        claimant: &C,
        image: &str,
        names: &mut Vec<Reference>,
    ) -> Vec<Shadowed> {
        let is_shadowed = |name: &mut _| self.owner(name).is_some_and(|owner| owner != claimant);
        let shadowed = names.extract_if(.., is_shadowed).map(|name| Shadowed {
            name,
            image: image.to_owned(),
        });
        shadowed.collect()
    }
}

/// A name that an image does not get: another image of the archive or list has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shadowed {
    pub name: Reference,
    pub image: String,
}

impl fmt::Display for Shadowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, image } = self;
        write!(
            f,
            "{name} names several images of the archive; {image} does not get it"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_goes_to_the_highest_priority_and_then_to_the_last() {
        let named = |name| Reference::parse(name).unwrap();
        let mut claims = [
            ("a", 0, 1),
            ("a", 0, 3),
            ("a", 0, 2),
            ("b", 1, 1),
            ("b", 0, 2),
        ];
        for _ in 0..2 {
            let claims_of =
                claims.map(|(name, priority, claimant)| (named(name), priority, claimant));
            let owners = Owners::of(claims_of);
            let of = |name| owners.owner(&named(name)).copied();
            assert_eq!(["a", "b", "c"].map(of), [Some(3), Some(1), None]);
            for (claimant, kept, lost) in [
                (1, &["b", "c"][..], &["a"][..]),
                (2, &["c"], &["a", "b"]),
                (3, &["a", "c"], &["b"]),
            ] {
                let mut names = ["a", "b", "c"].map(named).to_vec();
                let found = owners.take_shadowed(&claimant, "x", &mut names);
                let found = found.into_iter().map(|lost| lost.name).collect::<Vec<_>>();
                let all =
                    |names: &[&'static str]| names.iter().copied().map(named).collect::<Vec<_>>();
                assert_eq!((names, found), (all(kept), all(lost)));
            }
            claims.reverse();
        }
    }
}
