//! Which names an image gets: its own, and those as if it came from the extra registries
//! (`images.extra-registries`).

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;

use super::reference::{DEFAULT_DOMAIN, LEGACY_DEFAULT_DOMAIN, Reference, ReferenceError};
use crate::digest::Digest;

/// The names of an image, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// What it is called: `repo:tag` of each name that has a tag, then `repo@digest` of each.
    pub own: Vec<Reference>,
    /// As if it came from the extra registries, one after the other: `registry/path:tag` and
    /// `registry/path@digest`, with the path that the name has in its own registry.
    pub extra: Vec<Reference>,
}

/// An image of an archive or of a line of a list, before it gets its names.
#[derive(Debug, Clone, Copy)]
pub struct NameClaim<'a> {
    /// What it is called, in canonical form.
    pub names: &'a [Reference],
    /// The digest that they point to. Not known of a line whose image has not been looked for: it has no
    /// names by digest yet.
    pub digest: Option<&'a Digest>,
    /// Whether it has what the host would run of it.
    pub runs_on_host: bool,
}

/// The names of all images of one archive or list.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct AssignedNames {
    /// Of each image, in their order.
    pub images: Vec<Names>,
    /// Extra names that cannot be.
    pub refused: Vec<ReferenceError>,
    /// Which image does not get an extra name because another has it.
    pub shadowed: Vec<Shadowed>,
}

/// A name that an image does not get: another image of the archive or list has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shadowed {
    /// The name.
    pub name: Reference,
    /// What the image is called.
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

impl Names {
    /// The names of an image that is called `names` and has this digest, if it is known. A name that
    /// lies in an extra registry already, path included, gets no other one there. Returned beside the
    /// names: why some extra ones cannot be, such as those with too long a path.
    pub fn of(
        names: &[Reference],
        digest: Option<&Digest>,
        extra_registries: &[String],
    ) -> (Self, Vec<ReferenceError>) {
        let tagged = names.iter().filter_map(Reference::tagged);
        let by_digest = |name: &Reference| digest.map(|digest| name.by_digest(digest));
        let mut own = tagged
            .chain(names.iter().filter_map(by_digest))
            .collect::<Vec<_>>();
        let (mut extra, mut refused) = (Vec::new(), Vec::new());
        for registry in extra_registries {
            for name in names {
                let Some(moved) = moved(name, registry) else {
                    continue;
                };
                match moved {
                    Ok(moved) => {
                        extra.extend(moved.tagged());
                        extra.extend(by_digest(&moved));
                    }
                    Err(error) => refused.push(error),
                }
            }
        }
        // One repository may be there with several tags.
        refused.dedup();
        let mut seen = HashSet::new();
        own.retain(|name| seen.insert(name.clone()));
        extra.retain(|name| seen.insert(name.clone()));
        (Self { own, extra }, refused)
    }

    /// The repositories that the names of an image are in which is called `name`, without the tags and
    /// digests.
    pub fn repositories(name: &Reference, extra_registries: &[String]) -> Vec<String> {
        let extra = extra_registries.iter();
        let extra = extra.filter_map(|registry| moved(name, registry)?.ok());
        let names = std::iter::once(name.clone()).chain(extra);
        names.map(|name| name.repository()).collect()
    }

    /// All of them, the own ones first.
    pub fn iter(&self) -> impl Iterator<Item = &Reference> {
        self.own.iter().chain(&self.extra)
    }
}

impl AssignedNames {
    /// Gives the images of an archive, or of a list, their names. `claimed` are the names that the
    /// source itself gives to its images, those that cannot be imported included: none of them is made
    /// an extra name of another image. An extra name that several images would have goes to one that the
    /// host runs, if there is one, and of those to the last, as with a source's own names.
    pub fn among(
        images: &[NameClaim<'_>],
        claimed: &BTreeSet<Reference>,
        extra_registries: &[String],
    ) -> Self {
        let mut assigned = Self::default();
        for image in images {
            let (names, refused) = Names::of(image.names, image.digest, extra_registries);
            assigned.images.push(names);
            assigned.refused.extend(refused);
        }
        let named = images.iter().zip(&assigned.images).enumerate();
        let owners = owners_of_names(named.flat_map(|(number, (image, names))| {
            let extra = names.extra.iter().filter(|name| !claimed.contains(name));
            extra.map(move |name| (name.clone(), image.runs_on_host, number))
        }));
        for (number, names) in assigned.images.iter_mut().enumerate() {
            let Names { own, extra } = names;
            extra.retain(|name| {
                let is_owner = owners.get(name) == Some(&number);
                if let (false, Some(called)) = (is_owner, own.first()) {
                    assigned.shadowed.push(Shadowed {
                        name: name.clone(),
                        image: called.to_string(),
                    });
                }
                is_owner
            });
        }
        assigned
    }
}

/// Which image each name goes to, where several may want it: to one of the highest priority, and of
/// those to the last. `wishes` are names, each with the priority and the number of an image.
pub(crate) fn owners_of_names<P: Ord>(
    wishes: impl IntoIterator<Item = (Reference, P, usize)>,
) -> BTreeMap<Reference, usize> {
    let mut owners = BTreeMap::<Reference, (P, usize)>::new();
    for (name, priority, number) in wishes {
        let wish = (priority, number);
        match owners.entry(name) {
            Entry::Occupied(mut owner) if wish > *owner.get() => {
                owner.insert(wish);
            }
            Entry::Occupied(_) => {}
            Entry::Vacant(free) => {
                free.insert(wish);
            }
        }
    }
    let numbers = owners.into_iter().map(|(name, (_, number))| (name, number));
    numbers.collect()
}

/// A registry as names have it: Docker Hub by one name, no slash at the end.
fn normalised(registry: &str) -> String {
    let registry = registry.trim_end_matches('/');
    match registry.strip_prefix(LEGACY_DEFAULT_DOMAIN) {
        Some(path) if path.is_empty() || path.starts_with('/') => format!("{DEFAULT_DOMAIN}{path}"),
        _ => registry.to_owned(),
    }
}

/// Whether the name is one of this registry, which may have a path.
fn lies_in(name: &Reference, registry: &str) -> bool {
    let repository = name.repository();
    let rest = repository.strip_prefix(registry);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The name as if it came from another registry; `None`: it comes from there. Docker Hub adds `library/`
/// there as well.
fn moved(name: &Reference, registry: &str) -> Option<Result<Reference, ReferenceError>> {
    let registry = normalised(registry);
    let with_tag = |moved| Reference {
        tag: name.tag.clone(),
        ..moved
    };
    let moved = || Reference::parse(&format!("{registry}/{}", name.path)).map(with_tag);
    (!lies_in(name, &registry)).then(moved)
}
