//! What the images of an archive, and those of the lines of a list, are to be: their names are given
//! among all of them.

use std::slice;

use super::desired::DesiredImage;
use crate::happened::Happened;
use crate::image_list::{ImageList, Line};
use crate::image_store::Descriptor;
use crate::layout::{Note, Resolution};
use crate::naming::{ExtraNames, ReferenceError};
use crate::reporter::report;

/// How many names that images of one archive do not get are told, each in a line.
const UNNAMED_MAX: usize = 20;

/// What each image of an archive is to be, in their order. Says which extra names are not given;
/// `entry` is what messages call the archive.
pub(crate) fn archive_images(
    entry: &str,
    resolution: &Resolution,
    extra_registries: &[String],
) -> Vec<DesiredImage> {
    let images = || resolution.images.iter().enumerate();
    let claims = images().map(|(number, image)| (number, &*image.names, image.runs_on_host));
    let extra = ExtraNames::among(claims, &resolution.claimed, extra_registries);
    let (mut refused, mut shadowed) = (Vec::new(), Vec::new());
    let desired = images().map(|(number, image)| {
        let given = extra.given(number, &image.names, &image.target.digest);
        refused.extend(given.refused);
        shadowed.extend(given.shadowed);
        DesiredImage {
            target: image.target.clone(),
            names: given.names,
            left: Vec::new(),
            runs_on_host: image.runs_on_host,
        }
    });
    let desired = desired.collect();
    refused.iter().take(UNNAMED_MAX).for_each(warn_of_refused);
    for shadowed in shadowed.into_iter().take(UNNAMED_MAX) {
        report(Happened::Noted {
            entry: entry.to_owned(),
            note: Note::Shadowed(shadowed),
        });
    }
    desired
}

/// The extra names of all lines of a list, by the lines' numbers.
pub(crate) fn line_names<'a>(list: &ImageList, extra_registries: &'a [String]) -> ExtraNames<'a> {
    let own = list.lines.iter().map(|line| &line.reference);
    let lines = list.lines.iter();
    let claims = lines.map(|line| (line.number, slice::from_ref(&line.reference), true));
    ExtraNames::among(claims, own, extra_registries)
}

/// What the image of a line is to be, which the store has under `target`. Says which extra names cannot
/// be.
pub(crate) fn line_image(line: &Line, target: &Descriptor, extra: &ExtraNames<'_>) -> DesiredImage {
    let own = slice::from_ref(&line.reference);
    let given = extra.given(line.number, own, &target.digest);
    given.refused.iter().for_each(warn_of_refused);
    DesiredImage {
        target: target.clone(),
        names: given.names,
        left: Vec::new(),
        runs_on_host: true,
    }
}

/// Tells of a name that no image may have.
fn warn_of_refused(error: &ReferenceError) {
    report(Happened::NotNamed {
        image: error.text().to_owned(),
        error: error.rule().to_string(),
    });
}
