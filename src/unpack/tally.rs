//! How many images are unpacked.

use std::fmt;

/// Images that are unpacked, and those of which that has failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UnpackTally {
    pub unpacked: usize,
    pub failed: usize,
}

impl fmt::Display for UnpackTally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} unpacked", self.unpacked)?;
        match self.failed {
            0 => Ok(()),
            failed => write!(f, ", {failed} not unpacked"),
        }
    }
}
