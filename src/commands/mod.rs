//! The commands: one file each.

use std::fmt::Display;
use std::io::{self, Write as _};

use crate::one_line::one_line;

pub mod check;
pub mod doctor;
pub mod import;
mod input;
pub mod inspect;
mod progress_bar;
pub mod remove;
pub mod run;
pub mod status;
pub mod verify;

/// A line on stderr. If that is closed, there is no other way to say so.
pub fn tell(line: &impl Display) {
    let _ = writeln!(io::stderr(), "stowd: {}", one_line(&line.to_string()));
}
