//! What an image may be called: its own names, and those as if it came from the extra registries
//! (`images.extra-registries`).

use std::collections::HashSet;

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
