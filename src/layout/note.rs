//! What an operator may want to know of an archive although nothing failed.

use std::fmt;

use super::layer_check::MislabelledLayer;
use super::problem::ImageProblem;
use crate::naming::Shadowed;

/// One thing that is worth a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// An image does not get a name of its own.
    Shadowed(Shadowed),
    /// A name of an image cannot be one; it has others.
    NameRefused { image: String, reason: String },
    /// An image without a name is not imported.
    LeftOut(ImageProblem),
    /// Where else names could be cannot be read; the text says why.
    NamesNotRead(String),
    /// A layer is compressed in another way than its media type says, and containerd unpacks it all
    /// the same.
    Mislabelled(MislabelledLayer),
    /// The archive has no end marker, and everything else.
    NoEndMarker,
    /// There are so many more notes.
    More(usize),
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shadowed(shadowed) => shadowed.fmt(f),
            Self::NameRefused { image, reason } => write!(f, "{image}: {reason}"),
            Self::LeftOut(problem) => problem.fmt(f),
            Self::NamesNotRead(reason) => f.write_str(reason),
            Self::Mislabelled(layer) => write!(f, "{layer}: containerd unpacks it all the same"),
            Self::NoEndMarker => f.write_str(
                "the tar archive has no end marker (two blocks of zeros); \
                 what its images need is there, and each blob has its digest",
            ),
            Self::More(count) => write!(f, "and {count} more notes of the kind"),
        }
    }
}
