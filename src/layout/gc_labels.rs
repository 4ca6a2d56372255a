//! The labels by which containerd's garbage collection follows a manifest or an index (containerd's
//! `images` package, `ChildGCLabels`).

use std::collections::BTreeMap;

use crate::digest::Digest;
use crate::image_store::Labels;
use crate::oci::media_type::{MediaKind, is_image_config, is_layer, kind};

/// The labels that keep the children of a manifest or an index from containerd's garbage
/// collection. A child without a usable digest has its number, but no label.
///
/// The numbers are those of the whole list of children, wanted or not, as after a pull. So a later
/// import of another platform adds labels and moves none.
pub(super) fn of_children<'a>(children: impl Iterator<Item = (&'a str, Option<Digest>)>) -> Labels {
    let mut labels = Labels::new();
    let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
    for (media_type, digest) in children {
        let key = gc_label(media_type);
        let number = numbers.entry(key).or_default();
        if let Some(digest) = digest {
            // Of the keys without a final dot the first has no number.
            let key = if *number > 0 || key.ends_with('.') {
                format!("{key}{number}")
            } else {
                key.to_owned()
            };
            labels.insert(key, digest.as_str().to_owned());
        }
        *number += 1;
    }
    labels
}

fn gc_label(media_type: &str) -> &'static str {
    if is_image_config(media_type) {
        "containerd.io/gc.ref.content.config"
    } else if kind(media_type) == MediaKind::Manifest {
        "containerd.io/gc.ref.content.m."
    } else if is_layer(media_type) {
        "containerd.io/gc.ref.content.l."
    } else {
        "containerd.io/gc.ref.content."
    }
}
