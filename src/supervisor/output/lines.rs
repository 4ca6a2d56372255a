//! Splits bytes into lines, and keeps the last ones. Pure.

use std::collections::VecDeque;

use crate::one_line::{cut, lossy};

/// A longer line is cut in pieces, so that the memory for a line without an end is bounded.
pub const MAX_LINE: usize = 1 << 20;

/// How many lines are kept for the error about the child's exit.
const REMEMBERED: usize = 20;
/// Characters of each of them.
const REMEMBERED_LENGTH: usize = 1024;

/// Holds the beginning of a line until its end has come.
#[derive(Debug, Default)]
pub struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    /// Takes what was read. Returns all lines that are complete now, in one piece, each with its line
    /// feed; empty when there is none.
    pub fn push(&mut self, read: &[u8]) -> Vec<u8> {
        match read.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => {
                let mut whole = std::mem::take(&mut self.begun);
                whole.extend_from_slice(&read[..=end]);
                self.begun.extend_from_slice(&read[end + 1..]);
                whole
            }
            None => {
                self.begun.extend_from_slice(read);
                if self.begun.len() < MAX_LINE {
                    return Vec::new();
                }
                self.rest()
            }
        }
    }

    /// The incomplete line, with a line feed added; empty when there is none.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut rest = std::mem::take(&mut self.begun);
        if !rest.is_empty() {
            rest.push(b'\n');
        }
        rest
    }
}

/// The last lines that were not blank.
#[derive(Debug, Default)]
pub struct LastLines {
    lines: VecDeque<String>,
}

impl LastLines {
    /// Takes whole lines.
    pub fn record(&mut self, block: &[u8]) {
        let newest = block
            .rsplit(|byte| *byte == b'\n')
            .map(<[u8]>::trim_ascii_end)
            .filter(|line| !line.is_empty())
            .take(REMEMBERED);
        let text = |line| cut(&lossy(line, REMEMBERED_LENGTH), REMEMBERED_LENGTH).into_owned();
        let newest: Vec<String> = newest.map(text).collect();
        self.lines.extend(newest.into_iter().rev());
        let surplus = self.lines.len().saturating_sub(REMEMBERED);
        self.lines.drain(..surplus);
    }

    /// The oldest first.
    pub fn to_vec(&self) -> Vec<String> {
        self.lines.iter().cloned().collect()
    }
}
