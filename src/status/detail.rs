//! All that is known of one entry or one image.

use std::fmt::Write as _;

use crate::one_line::one_line;
use crate::progress::counted;

use super::columns::wrapped;
use super::entry_report::EntryReport;
use super::header::iec;
use super::image_report::ImageReport;
use super::rfc3339;
use super::style::{Style, Tone};

/// The columns before what a line says: its label.
const LABELS: usize = 11;

pub(super) fn entry_detail(entry: &EntryReport, style: Style) -> String {
    let mut text = String::new();
    let (tone, word) = entry.word().unwrap_or((Tone::Good, "imported".to_owned()));
    add(&mut text, style, "file", &entry.entry.path);
    add_toned(&mut text, style, "state", tone, &word);
    if let Some(error) = entry.failure() {
        add_toned(&mut text, style, "error", Tone::Bad, error);
        add(&mut text, style, "retry", &entry.retry());
    }
    let bytes = entry.entry.bytes.filter(|bytes| *bytes > 0);
    if let (Some(bytes), Some(finished)) = (bytes, entry.entry.finished) {
        let seconds = entry.entry.seconds.unwrap_or(0.0);
        let when = rfc3339::text(finished);
        let last = format!("{when}, {}, in {seconds:.1} s", iec(bytes));
        add(&mut text, style, "last read", &last);
    }
    for image in &entry.images {
        text.push('\n');
        add_image(&mut text, style, image);
    }
    text
}

fn add_image(text: &mut String, style: Style, image: &ImageReport) {
    add(text, style, "image", image.name());
    let (tone, word) = image.word();
    add_toned(text, style, "state", tone, word);
    let names = image
        .image
        .names
        .iter()
        .filter(|name| *name != image.name());
    for name in names {
        add(text, style, "also", name);
    }
    if let Some(stored) = &image.stored {
        for (label, names) in [("gone", &stored.gone), ("moved", &stored.moved)] {
            for name in names {
                add_toned(text, style, label, Tone::Bad, name);
            }
        }
        for (name, instance) in &stored.left {
            add(
                text,
                style,
                "left",
                &format!("{name}, to instance {instance}"),
            );
        }
        for name in &image.shadowed {
            add_toned(text, style, "shadowed", Tone::Doubtful, name);
        }
        for damage in &stored.damage {
            add_toned(text, style, "damaged", Tone::Bad, &damage.to_string());
        }
        let pinned = match stored.pinned_by.as_slice() {
            [] => "no".to_owned(),
            by => format!("yes, by {}", by.join(", ")),
        };
        add(text, style, "pinned", &pinned);
    }
    let unpacked = match image.is_unpacked() {
        Some(true) => Some("yes"),
        Some(false) => Some("no"),
        None => None,
    };
    if let Some(unpacked) = unpacked {
        add(text, style, "unpacked", unpacked);
    }
    let error = image.image.unpack.as_ref();
    if let Some(error) = error.and_then(|unpack| unpack.error.as_ref()) {
        add_toned(text, style, "error", Tone::Bad, error);
    }
    add(text, style, "digest", image.image.digest.as_str());
    let blobs = image.image.blobs.len();
    let (bytes, shared) = (iec(image.bytes), iec(image.shared));
    let blobs = counted(blobs, "blob", "blobs");
    let size = format!("{bytes} in {blobs}, of which {shared} shared with other images");
    add(text, style, "size", &size);
}

fn add(text: &mut String, style: Style, label: &str, says: &str) {
    add_toned(text, style, label, Tone::Plain, says);
}

fn add_toned(text: &mut String, style: Style, label: &str, tone: Tone, says: &str) {
    let says = wrapped(&one_line(says), style.width, LABELS, LABELS);
    let _ = writeln!(text, "{label:>9}: {}", style.paint(tone, &says));
}
