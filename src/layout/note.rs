//! What an operator may want to know of an archive although nothing failed.

use std::fmt;

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
            Self::More(count) => write!(f, "and {count} more notes of the kind"),
        }
    }
}
