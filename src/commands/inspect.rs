//! `stowd inspect`: what the archives would bring to this node, and what not, and why.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use bytesize::ByteSize;
use serde_json::{Value, json};

use crate::entry::shown;
use crate::importer::{InspectedImage, Inspection, inspect};
use crate::naming::Reference;
use crate::one_line::one_line;
use crate::platform::Wanted;
use crate::progress::counted;

use super::input::Input;

/// The version of the output of `--json`. It grows when a field changes its meaning or goes.
const JSON_VERSION: u32 = 1;

/// What came of one file.
pub struct InspectedFile {
    path: PathBuf,
    result: Result<Inspection, String>,
}

impl InspectedFile {
    /// Inspects a file, with the platforms and the extra registries of the configuration.
    pub fn of(path: &Path, wanted: &Wanted, extra_registries: &[String]) -> Self {
        let result = match Input::named(path) {
            Ok(input) => {
                inspect(&input.path, wanted, extra_registries).map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        Self {
            path: path.to_owned(),
            result,
        }
    }
}

impl InspectedFile {
    /// Whether all of it would be imported.
    pub fn is_whole(&self) -> bool {
        matches!(&self.result, Ok(inspection) if inspection.problems.is_empty())
    }

    /// A paragraph for people.
    pub fn text(&self) -> String {
        let path = shown(&self.path);
        match &self.result {
            Ok(inspection) => text(&path, inspection),
            Err(error) => format!("{path}\n  would fail: {}\n", one_line(error)),
        }
    }

    /// The same for programs: see stowd(8).
    pub fn json(&self) -> Value {
        let path = self.path.to_string_lossy();
        match &self.result {
            Ok(inspection) => json!({
                "path": path,
                "whole": self.is_whole(),
                "bytes": inspection.size,
                "compression": inspection.compression.to_string(),
                "images": inspection.images.iter().map(image_json).collect::<Vec<_>>(),
                "blobs": inspection.blobs.len(),
                "blobBytes": inspection.blobs.values().sum::<u64>(),
                "problems": inspection.problems,
                "notes": inspection.notes.iter().map(ToString::to_string).collect::<Vec<_>>(),
            }),
            Err(error) => json!({
                "path": path,
                "whole": false,
                "problems": [error],
            }),
        }
    }
}

/// The document that `--json` prints.
pub fn json_document(files: &[InspectedFile]) -> String {
    let files = files.iter().map(InspectedFile::json).collect::<Vec<_>>();
    let document = json!({ "version": JSON_VERSION, "files": files });
    format!("{document:#}\n")
}

fn text(path: &str, inspection: &Inspection) -> String {
    let mut text = format!(
        "{path} ({}, {})\n",
        inspection.compression,
        iec(inspection.size)
    );
    for image in &inspection.images {
        add_image(&mut text, image);
    }
    for problem in &inspection.problems {
        add_line(&mut text, "would fail", problem);
    }
    for note in &inspection.notes {
        add_line(&mut text, "note", &note.to_string());
    }
    let images = counted(inspection.images.len(), "image", "images");
    let blobs = counted(inspection.blobs.len(), "blob", "blobs");
    let bytes = iec(inspection.blobs.values().sum());
    add_line(
        &mut text,
        "would be imported",
        &format!("{images}, {blobs}, {bytes}"),
    );
    text
}

fn add_image(text: &mut String, image: &InspectedImage) {
    // Each tag has its digest beside it. An image may have no tag.
    let is_shown = |name: &&Reference| {
        name.digest().is_none() || image.names.iter().all(|name| name.digest().is_some())
    };
    for name in image.names.iter().filter(is_shown) {
        let _ = writeln!(text, "  {name}");
    }
    let platforms = image.platforms.iter().map(ToString::to_string);
    let platforms = platforms.collect::<Vec<_>>().join(" ");
    let platforms = if platforms.is_empty() {
        "no platform"
    } else {
        &platforms
    };
    let layers = counted(image.layers, "layer", "layers");
    let other = if image.runs_on_host {
        ""
    } else {
        ", not for this node"
    };
    let size = iec(image.size);
    let _ = writeln!(
        text,
        "    {platforms}{other}, {layers}, {size}\n    {}",
        image.digest
    );
}

fn add_line(text: &mut String, begins: &str, line: &str) {
    let _ = writeln!(text, "  {begins}: {}", one_line(line));
}

fn image_json(image: &InspectedImage) -> Value {
    json!({
        "names": image.names.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "digest": image.digest.as_str(),
        "platforms": image.platforms.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "layers": image.layers,
        "bytes": image.size,
        "runsOnHost": image.runs_on_host,
    })
}

fn iec(bytes: u64) -> String {
    ByteSize::b(bytes).display().iec().to_string()
}
