//! Reads files that may not be longer than they should be.

use std::fs::File;
use std::io::{self, Read as _};

/// The bytes of a file, or one more than the most it may have, so that the excess is noticed.
pub(super) fn up_to(most: u64, file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
