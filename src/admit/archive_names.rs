//! Which names the images of one archive get.

use tracing::info;

use super::desired::DesiredImage;
use super::warn_of_refused;
use crate::layout::Resolution;
use crate::naming::{AssignedNames, NameClaim};

/// How many names that images of one archive do not get are told, each in a line.
const UNNAMED_MAX: usize = 20;

/// What each image of an archive is to be, in their order. Says which extra names are not given;
/// `entry` is what messages call the archive.
pub(crate) fn archive_names(
    entry: &str,
    resolution: &Resolution,
    extra_registries: &[String],
) -> Vec<DesiredImage> {
    let claims = resolution.images.iter().map(|image| NameClaim {
        names: &image.names,
        digest: Some(&image.target.digest),
        runs_on_host: image.runs_on_host,
    });
    let claims = claims.collect::<Vec<_>>();
    let AssignedNames {
        images,
        refused,
        notes,
    } = AssignedNames::among(&claims, &resolution.claimed, extra_registries);
    for error in refused.iter().take(UNNAMED_MAX) {
        warn_of_refused(error);
    }
    for note in notes.iter().take(UNNAMED_MAX) {
        info!(entry, "{entry}: {note}");
    }
    let named = resolution.images.iter().zip(images);
    let desired = named.map(|(image, names)| DesiredImage {
        target: image.target.clone(),
        names,
        runs_on_host: image.runs_on_host,
    });
    desired.collect()
}
