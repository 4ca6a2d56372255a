//! Which layout an archive has, and where in it.

use std::collections::BTreeSet;

use super::catalogue::Catalogue;
use super::layout_error::{LayoutError, Members};
use crate::compression;

/// What an OCI layout lists its images in (OCI image spec, "Image Layout").
pub(crate) const INDEX: &str = "index.json";
/// What marks an OCI layout. Some tools leave it out, or lose it; `index.json` is enough.
pub(crate) const OCI_LAYOUT: &str = "oci-layout";
/// What a docker-archive lists its images in (`docker save`, image spec v1.1 and v1.2).
pub(super) const SAVED: &str = "manifest.json";
/// What it did before Docker 1.10.
const LEGACY: &str = "repositories";

/// The layout of an archive, with the directory that it lies in: empty, or with a final slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Layout {
    Oci { root: String },
    Docker { root: String },
}

impl Layout {
    pub(super) fn root(&self) -> &str {
        match self {
            Self::Oci { root } | Self::Docker { root } => root,
        }
    }
}

pub(super) fn find(catalogue: &Catalogue) -> Result<Layout, LayoutError> {
    let mut roots = vec![String::new()];
    roots.extend(only_directory(catalogue).map(|directory| format!("{directory}/")));
    for root in &roots {
        let has = |file: &str| catalogue.file(&format!("{root}{file}")).is_some();
        let root = root.clone();
        if has(INDEX) {
            return Ok(Layout::Oci { root });
        } else if has(OCI_LAYOUT) {
            // Not a docker-archive, even with a manifest.json: half of it is lost.
            return Err(LayoutError::NoIndex {
                layout: format!("{root}{OCI_LAYOUT}"),
            });
        } else if has(SAVED) {
            return Ok(Layout::Docker { root });
        } else if has(LEGACY) {
            return Err(LayoutError::Legacy);
        }
    }
    let lists = roots
        .iter()
        .flat_map(|root| [INDEX, SAVED].map(|list| format!("{root}{list}")));
    if let Some(link) = lists.filter_map(|list| catalogue.broken_link(&list)).next() {
        return Err(LayoutError::BrokenLink(link));
    }
    if roots.iter().any(|root| is_file_system(catalogue, root)) {
        return Err(LayoutError::FileSystem);
    }
    match layouts_below(catalogue).as_slice() {
        [] => Err(LayoutError::Unrecognised {
            seen: members(catalogue),
        }),
        [root] => Ok(Layout::Oci { root: root.clone() }),
        roots => Err(LayoutError::SeveralLayouts {
            first: roots[0].clone(),
            count: roots.len(),
        }),
    }
}

/// The directories that are OCI layouts, among other things. Packages of other tools hold one so, such
/// as Zarf's, in `images/`.
fn layouts_below(catalogue: &Catalogue) -> Vec<String> {
    let markers = catalogue
        .iter()
        .filter_map(|(path, _)| path.strip_suffix(OCI_LAYOUT));
    let roots = markers.filter(|root| root.ends_with('/'));
    let roots = roots.filter(|root| catalogue.file(&format!("{root}{INDEX}")).is_some());
    roots.map(str::to_owned).collect()
}

/// Whether a directory of the archive is the root of a container.
fn is_file_system(catalogue: &Catalogue, root: &str) -> bool {
    let below = catalogue
        .iter()
        .filter_map(|(path, _)| path.strip_prefix(root));
    let tops = below.map(|path| path.split('/').next().unwrap_or_default());
    let tops = tops.collect::<BTreeSet<_>>();
    let has = |name| tops.contains(name);
    has(".dockerenv") || (has("etc") && (has("bin") || has("usr")))
}

/// The directory that everything lies in. The `._` files are what macOS adds to a tar.
fn only_directory(catalogue: &Catalogue) -> Option<&str> {
    let tops: BTreeSet<&str> = catalogue
        .iter()
        .map(|(path, _)| path)
        .filter(|path| !path.starts_with("._"))
        .map(|path| path.split('/').next().unwrap_or_default())
        .collect();
    match tops.len() {
        1 => tops.first().copied(),
        _ => None,
    }
}

fn members(catalogue: &Catalogue) -> Members {
    const SOME: usize = 4;
    let is_archive =
        |path: &str| compression::is_archive_name(path.as_bytes()) && !path.ends_with("/layer.tar");
    let some =
        |paths: &mut dyn Iterator<Item = &str>| paths.take(SOME).map(str::to_owned).collect();
    Members {
        some: some(&mut catalogue.iter().map(|(path, _)| path)),
        count: catalogue.len(),
        archives: some(
            &mut catalogue
                .iter()
                .map(|(path, _)| path)
                .filter(|path| is_archive(path)),
        ),
    }
}
