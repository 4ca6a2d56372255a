//! Which names the images of one archive get.

use super::desired::DesiredImage;
use super::warn_of_refused;
use crate::happened::Happened;
use crate::layout::{Note, Resolution};
use crate::naming::{AssignedNames, NameClaim};
use crate::reporter::report;

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
        shadowed,
    } = AssignedNames::among(&claims, &resolution.claimed, extra_registries);
    for error in refused.iter().take(UNNAMED_MAX) {
        warn_of_refused(error);
    }
    for shadowed in shadowed.into_iter().take(UNNAMED_MAX) {
        report(Happened::Noted {
            entry: entry.to_owned(),
            note: Note::Shadowed(shadowed),
        });
    }
    let named = resolution.images.iter().zip(images);
    let desired = named.map(|(image, names)| DesiredImage {
        target: image.target.clone(),
        names,
        runs_on_host: image.runs_on_host,
    });
    desired.collect()
}
