//! What was read of each image that a layout lists, before its names are assigned.

use super::image::WantedBlob;
use super::layer_check::MislabelledLayer;
use super::note::Note;
use super::problem::{Fault, quoted};
use crate::digest::Digest;
use crate::naming::Reference;
use crate::oci::Descriptor;
use crate::platform::Platform;

pub(super) struct ParsedImages {
    pub(super) list: Vec<ParsedImage>,
    /// What an operator may want to know.
    pub(super) notes: Vec<Note>,
    /// The path of the document that lists them.
    pub(super) listed_in: String,
}

/// An image before its names are assigned.
pub(super) struct ParsedImage {
    /// What a problem calls it if it has no names.
    pub(super) label: String,
    pub(super) names: FoundNames,
    pub(super) selection: Selection,
}

/// What of an image is wanted.
pub(super) enum Selection {
    Complete(CompleteImage),
    /// Nothing of it; the platforms that it has.
    OtherPlatforms(Vec<Platform>),
    /// It is no image, but an attestation on its own.
    NotAnImage,
    /// It cannot be imported.
    Bad(Fault),
}

/// An image that can be imported.
pub(super) struct CompleteImage {
    pub(super) target: Descriptor,
    /// Children before parents.
    pub(super) blobs: Vec<WantedBlob>,
    /// Layers that containerd unpacks all the same.
    pub(super) mislabelled: Vec<MislabelledLayer>,
    pub(super) runs_on_host: bool,
    pub(super) priority: NamePriority,
}

/// Which of the images that have one name gets it: the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum NamePriority {
    /// It has no platform.
    Unplatformed,
    /// It is for a wanted platform.
    Wanted,
    /// It is for the host.
    Host,
}

#[derive(Default)]
pub(super) struct FoundNames {
    /// Its usable names, canonical.
    pub(super) usable: Vec<Reference>,
    /// What was meant for a name, and why it is none; the first few.
    pub(super) refused: Vec<String>,
    /// What stands in the place of a name and was not meant for one; the first few.
    passed_over: Vec<String>,
}

/// How many refused names are remembered.
const REFUSED_MAX: usize = 8;

impl FoundNames {
    /// Takes names out of a list; `source` is what an error calls it.
    pub(super) fn read(&mut self, texts: &[String], source: &str) {
        for text in texts {
            self.add(text, source);
        }
    }

    /// Takes a name, and returns whether it is one. A digest alone is the identifier that CRI keeps
    /// beside an image's names.
    pub(super) fn add(&mut self, text: &str, source: &str) -> bool {
        if Digest::parse(text).is_ok() {
            let text = quoted(text);
            self.pass_over(format!("{source} says {text}, which is only an identifier"));
            return false;
        }
        match Reference::parse(text) {
            Ok(name) => {
                self.usable.push(name.canonical());
                true
            }
            Err(error) => {
                self.refuse(format!("{source}: {error}"));
                false
            }
        }
    }

    /// Remembers something that is no name.
    fn refuse(&mut self, reason: String) {
        if self.refused.len() < REFUSED_MAX {
            self.refused.push(reason);
        }
    }

    /// Remembers something that need not be a name: it counts only where there is none.
    pub(super) fn pass_over(&mut self, reason: String) {
        if self.passed_over.len() < REFUSED_MAX {
            self.passed_over.push(reason);
        }
    }

    /// What was found in place of names.
    pub(super) fn said(self) -> Vec<String> {
        let mut said = self.refused;
        said.extend(self.passed_over);
        said
    }

    /// Drops the names that are by the digest of something else. `ctr images export --platform`
    /// leaves the name of a whole on a part of it.
    pub(super) fn refuse_others(&mut self, target: &Digest) {
        for name in std::mem::take(&mut self.usable) {
            match name.digest() {
                Some(digest) if digest != target => {
                    self.refuse(format!("{name} is the name of something else"));
                }
                _ => self.usable.push(name),
            }
        }
    }

    pub(super) fn append(&mut self, other: Self) {
        self.usable.extend(other.usable);
        for reason in other.refused {
            self.refuse(reason);
        }
        for reason in other.passed_over {
            self.pass_over(reason);
        }
    }
}
