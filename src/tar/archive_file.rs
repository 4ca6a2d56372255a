//! The file of an archive, read at positions of its own: what is read does not depend on the file's
//! cursor, and several bodies may be read at once.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::OFlags;

use super::error::{ArchiveError, InputError};
use crate::progress::Meter;

#[derive(Debug)]
pub(super) struct ArchiveFile {
    pub(super) file: File,
    /// Its length in bytes, as it was opened.
    pub(super) size: u64,
    pub(super) meter: Meter,
    /// Ends all reading soon after it is set.
    pub(super) stop: Arc<AtomicBool>,
}

impl ArchiveFile {
    pub(super) fn open(
        path: &Path,
        meter: Meter,
        stop: Arc<AtomicBool>,
    ) -> Result<Self, ArchiveError> {
        let open = || {
            let file = File::options()
                .read(true)
                // A named pipe would make the open wait for a writer.
                .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
                .open(path)?;
            let metadata = file.metadata()?;
            Ok((file, metadata))
        };
        let (file, metadata) = meter.calling(open).map_err(ArchiveError::Open)?;
        if !metadata.is_file() {
            return Err(ArchiveError::NotAFile);
        }
        Ok(Self {
            file,
            size: metadata.len(),
            meter,
            stop,
        })
    }

    /// Reads some bytes at an offset; 0 at the end of the file.
    pub(super) fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, InputError> {
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err(InputError::Stopped);
            }
            match self.meter.calling(|| self.file.read_at(buf, offset)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(InputError::Failed { offset, cause }),
                Ok(read) => {
                    self.meter.has_read(read as u64);
                    return Ok(read);
                }
            }
        }
    }

    /// Up to `length` bytes at an offset; fewer only at the end of the file.
    pub(super) fn bytes_at(&self, length: usize, offset: u64) -> Result<Vec<u8>, InputError> {
        let mut bytes = vec![0; length];
        let mut filled = 0;
        while filled < length {
            match self.read_at(&mut bytes[filled..], offset + filled as u64)? {
                0 => break,
                read => filled += read,
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }
}
