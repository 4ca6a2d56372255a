//! Standard output as a terminal: how wide it is, and whether it has colours.

use std::env;
use std::io::{self, IsTerminal as _};

use rustix::termios::tcgetwinsize;

use crate::status::Style;

/// Begins a screen anew.
pub(super) const CLEAR: &str = "\x1b[H\x1b[2J\x1b[3J";

/// The columns of what is no terminal.
const USUAL: usize = 80;
/// A narrower terminal breaks the lines itself.
const NARROWEST: usize = 60;

pub(super) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

pub(super) fn style() -> Style {
    let columns = tcgetwinsize(io::stdout()).map_or(0, |size| usize::from(size.ws_col));
    let is_unset = |name| env::var_os(name).is_none_or(|value| value.is_empty());
    Style {
        width: match columns {
            0 => USUAL,
            columns => columns.max(NARROWEST),
        },
        is_coloured: is_terminal() && is_unset("NO_COLOR"),
    }
}
