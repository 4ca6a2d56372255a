//! Entries that give one name to different images.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::record::Record;
use super::records::Ledger;
use crate::digest::Digest;
use crate::entry::InNameOrder;
use crate::naming::Owners;

/// An image that does not have all the names that its entry gives it: an entry later in name order
/// gives them to another image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct OverruledImage {
    pub entry: PathBuf,
    pub digest: Digest,
    /// The entry whose image has the names.
    pub by: PathBuf,
    /// That image.
    pub other: Digest,
    /// The names, with their tags: a name by digest is never two images.
    pub names: Vec<String>,
}

impl Ledger {
    /// All images that are overruled, by what the ledger knows.
    pub(crate) fn overruled(&self) -> BTreeSet<OverruledImage> {
        // One of the baked set whose file is gone gives way.
        let with_file = self.iter().filter(|(path, _)| self.has_file(path));
        let claims = with_file.flat_map(|(path, record)| {
            let names = images_by_name(record).into_iter();
            names.map(move |(name, digest)| (name, (InNameOrder(path), digest)))
        });
        let claims = claims.collect::<Vec<_>>();
        let owned = claims.iter().cloned();
        let owners = Owners::of(owned.map(|(name, claim)| (name, (), claim)));
        let mut overruled = BTreeMap::<_, Vec<_>>::new();
        for (name, (InNameOrder(path), digest)) in &claims {
            if let Some((InNameOrder(by), other)) = owners.owner(name)
                && other != digest
            {
                let names = overruled.entry((*path, *digest, *by, *other)).or_default();
                names.push((*name).to_owned());
            }
        }
        let overruled = overruled.into_iter();
        let overruled = overruled.map(|((entry, digest, by, other), names)| OverruledImage {
            entry: entry.to_owned(),
            digest: digest.clone(),
            by: by.to_owned(),
            other: other.clone(),
            names,
        });
        overruled.collect()
    }
}

/// The images of an entry by their tagged names. What the last attempt brought counts before what is kept.
fn images_by_name(record: &Record) -> BTreeMap<&str, &Digest> {
    let mut images = BTreeMap::new();
    for image in record.images() {
        for name in image.tagged_names() {
            images.entry(name).or_insert(&image.digest);
        }
    }
    images
}
