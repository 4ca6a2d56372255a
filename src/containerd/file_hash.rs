//! Hashes what a file has on the disk.
//!
//! It is read past the page cache (open(2), `O_DIRECT`): a page that is there still would hide what the
//! disk has lost, and pages that are wanted more would have to go for bytes that no process asks for.
//! Where a file system refuses that, the page cache is used, and left as it was found: only what was
//! there before stays (preadv2(2), `RWF_NOWAIT`, tells).

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt as _;

use rustix::fs::{Advice, fadvise};
use rustix::io::{Errno, ReadWriteFlags, preadv2};

use super::blob_file::{BLOCK, Block, set_direct};
use crate::digest::{Digest, Hasher};

/// What a file has on the disk.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BytesOnDisk {
    /// All of them, and this is their digest.
    Of(Digest),
    /// The disk, or the file system, says each time that some are lost.
    Lost,
}

/// What a file has, which is read a second time where bytes of it are lost.
pub(super) fn file_bytes(
    file: &File,
    mut goes_on: impl FnMut(u64) -> bool,
) -> io::Result<BytesOnDisk> {
    twice(|| hash(file, &mut goes_on))
}

fn twice(mut read: impl FnMut() -> io::Result<Digest>) -> io::Result<BytesOnDisk> {
    for _ in 0..2 {
        match read() {
            Err(error) if is_loss(&error) => {}
            read => return read.map(BytesOnDisk::Of),
        }
    }
    Ok(BytesOnDisk::Lost)
}

/// Whether a sector cannot be read, or a checksum is wrong. All else may pass, and says nothing of the bytes.
fn is_loss(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        // The block layer has two more words for it, which a read past the page cache hands on
        // (`blk_errors`, block/blk-core.c).
        Some(Errno::IO | Errno::BADMSG | Errno::UCLEAN | Errno::NODATA | Errno::ILSEQ)
    )
}

/// The digest of all bytes of a file. `goes_on` is told how many were read each time, and may wait; when it
/// says no, that is an error.
fn hash(file: &File, goes_on: impl FnMut(u64) -> bool) -> io::Result<Digest> {
    let is_direct = set_direct(file, true).is_ok();
    let reader = Reader {
        file,
        offset: 0,
        is_direct,
    };
    hash_read(reader, goes_on)
}

fn hash_read(mut reader: Reader, mut goes_on: impl FnMut(u64) -> bool) -> io::Result<Digest> {
    let (mut hasher, mut block) = (Hasher::default(), Block::new(BLOCK));
    loop {
        let read = match reader.read(block.room()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        hasher.update(&block.room()[..read]);
        if read == 0 {
            return Ok(hasher.finish());
        }
        if !goes_on(read as u64) {
            return Err(io::Error::other("it was given up"));
        }
    }
}

/// Reads a file from its first byte to its last.
struct Reader<'a> {
    file: &'a File,
    offset: u64,
    is_direct: bool,
}

impl Reader<'_> {
    fn read(&mut self, block: &mut [u8]) -> io::Result<usize> {
        let read = match self.is_direct {
            true => match self.file.read_at(block, self.offset) {
                // What open(2) says of a file system that cannot, or wants other blocks.
                Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => {
                    set_direct(self.file, false)?;
                    self.is_direct = false;
                    self.read_cached(block)
                }
                read => read,
            },
            false => self.read_cached(block),
        }?;
        self.offset += read as u64;
        Ok(read)
    }

    fn read_cached(&self, block: &mut [u8]) -> io::Result<usize> {
        if self.offset == 0 {
            // What is read ahead would seem to have been there before.
            let _ = fadvise(self.file, 0, None, Advice::Random);
        }
        let mut parts = [IoSliceMut::new(block)];
        if let Ok(read) = preadv2(self.file, &mut parts, self.offset, ReadWriteFlags::NOWAIT)
            && read > 0
        {
            return Ok(read);
        }
        let read = self.file.read_at(block, self.offset)?;
        // Where it is refused, more stays than was there before.
        let length = NonZeroU64::new(read as u64);
        if length.is_some() {
            let _ = fadvise(self.file, self.offset, length, Advice::DontNeed);
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|n| (n / 7 % 251) as u8).collect()
    }

    /// On a disk: what a temporary directory is on may have no page cache to go past.
    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        file.write_all(bytes).unwrap();
        file.sync_all().unwrap();
        file
    }

    fn is_cached(file: &File, offset: u64) -> bool {
        let mut byte = [0];
        let mut parts = [IoSliceMut::new(&mut byte)];
        preadv2(file, &mut parts, offset, ReadWriteFlags::NOWAIT).is_ok_and(|read| read == 1)
    }

    fn hash_cached(file: &File) -> Digest {
        let reader = Reader {
            file,
            offset: 0,
            is_direct: false,
        };
        hash_read(reader, |_| true).unwrap()
    }

    #[test]
    fn every_length_is_hashed_either_way() {
        for length in [0, 1, 4096, BLOCK - 1, BLOCK, 3 * BLOCK + 777] {
            let bytes = bytes(length);
            let (mut told, file) = (0, file(&bytes));
            let pace = |read| {
                told += read;
                true
            };
            assert_eq!(hash(&file, pace).unwrap(), Digest::of(&bytes), "{length}");
            assert_eq!(told, length as u64);
            set_direct(&file, false).unwrap();
            assert_eq!(hash_cached(&file), Digest::of(&bytes), "{length}");
        }
    }

    #[test]
    fn it_ends_when_it_is_not_wanted() {
        let bytes = bytes(3 * BLOCK);
        let (mut parts, file) = (0, file(&bytes));
        let hashed = hash(&file, |_| {
            parts += 1;
            parts < 2
        });
        hashed.unwrap_err();
        assert_eq!(parts, 2);
    }

    #[test]
    fn bytes_are_lost_when_the_disk_says_so_twice() {
        let read = |results: &[Option<Errno>]| {
            let mut results = results.iter();
            let read = twice(|| match results.next().expect("no third time") {
                Some(errno) => Err(io::Error::from(*errno)),
                None => Ok(Digest::of(b"abc")),
            });
            assert_eq!(results.next(), None, "it is read again");
            read.map_err(|error| Errno::from_io_error(&error).unwrap())
        };
        let whole = Ok(BytesOnDisk::Of(Digest::of(b"abc")));
        assert_eq!(read(&[None]), whole);
        for loss in [Errno::IO, Errno::BADMSG, Errno::UCLEAN, Errno::NODATA] {
            assert_eq!(read(&[Some(loss), None]), whole);
            assert_eq!(read(&[Some(loss), Some(Errno::IO)]), Ok(BytesOnDisk::Lost));
            assert_eq!(read(&[Some(loss), Some(Errno::MFILE)]), Err(Errno::MFILE));
        }
        assert_eq!(read(&[Some(Errno::MFILE)]), Err(Errno::MFILE));
    }

    /// Nothing is mapped at its beginning.
    #[test]
    fn a_file_that_has_lost_its_bytes_is_told() {
        let lost = File::open("/proc/self/mem").unwrap();
        assert_eq!(file_bytes(&lost, |_| true).unwrap(), BytesOnDisk::Lost);
    }

    /// The first MiB is in the page cache, the rest is not.
    #[test]
    fn the_page_cache_is_left_as_it_was() {
        const MIB: u64 = 1 << 20;
        let bytes = bytes(16 << 20);
        for is_direct in [true, false] {
            let file = file(&bytes);
            fadvise(&file, 0, None, Advice::DontNeed).unwrap();
            fadvise(&file, 0, None, Advice::Random).unwrap();
            let mut first = vec![0; 1 << 20];
            file.read_exact_at(&mut first, 0).unwrap();
            let digest = match is_direct {
                true => hash(&file, |_| true).unwrap(),
                false => hash_cached(&file),
            };
            assert_eq!(digest, Digest::of(&bytes));
            set_direct(&file, false).unwrap();
            let cached = (0..16).filter(|at| is_cached(&file, at * MIB));
            assert_eq!(cached.collect::<Vec<_>>(), [0], "direct: {is_direct}");
        }
    }

    /// What is in memory alone is on its way to the disk.
    #[test]
    fn what_was_just_written_is_hashed() {
        let mut file = file(&bytes(BLOCK));
        file.write_all(b"more").unwrap();
        let all = [bytes(BLOCK), b"more".to_vec()].concat();
        assert_eq!(hash(&file, |_| true).unwrap(), Digest::of(&all));
    }
}
