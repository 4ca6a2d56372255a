//! A file on its way to become a blob, written past the page cache (open(2), `O_DIRECT`).
//!
//! ```text
//!   bytes --copied--> block that fills      block that is written <--- a thread that may wait
//!                          |                         |
//!                          +------- they change -----+
//! ```
//!
//! What stowd writes nobody reads before a container wants it. Through the page cache it would cost
//! as much memory as the blobs are long, of which a node that has just booted has none at hand, and
//! the disk would rest until the fsync. So the disk writes one block while the next is hashed.
//!
//! Such a write needs memory, an offset and a length that are multiples of a disk's blocks: all but
//! the last block of a file are. Where a file system refuses it, the page cache is used after all.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use tokio::task::{JoinHandle, spawn_blocking};

use super::blobs_dir::{blocking, joined};
use crate::image_store::StoreError;

/// The bytes that are written at a time. A file holds two such blocks at most.
const BLOCK: usize = 512 << 10;

/// What every disk takes: those that want more than a page are refused, and use the page cache.
const ALIGNED: usize = 4 << 10;

/// Writes a file from its first byte to its last.
#[derive(Debug)]
pub(super) struct BlobFile {
    file: Arc<File>,
    filling: Block,
    /// Where in the file it goes.
    offset: u64,
    writing: Option<JoinHandle<io::Result<Block>>>,
}

impl BlobFile {
    /// An empty file for a blob of `size` bytes.
    pub(super) fn new(file: File, size: u64) -> Self {
        Self {
            file: Arc::new(file),
            filling: Block::new(usize::try_from(size).map_or(BLOCK, |size| size.min(BLOCK))),
            offset: 0,
            writing: None,
        }
    }

    /// Takes the next bytes. That an earlier write has failed may show only now, or at the end.
    pub(super) async fn write(&mut self, mut bytes: &[u8]) -> Result<io::Result<()>, StoreError> {
        while !bytes.is_empty() {
            if self.filling.is_full() {
                let spare = match self.written().await? {
                    Ok(spare) => spare.unwrap_or_else(|| Block::new(BLOCK)),
                    Err(error) => return Ok(Err(error)),
                };
                self.begin(spare);
            }
            bytes = self.filling.take(bytes);
        }
        Ok(Ok(()))
    }

    /// Writes what is left. The file's bytes are its own then, and not yet on the disk.
    pub(super) async fn finish(mut self) -> Result<io::Result<Arc<File>>, StoreError> {
        if let Err(error) = self.written().await? {
            return Ok(Err(error));
        }
        let (file, last, offset) = (self.file, self.filling, self.offset);
        blocking(move || {
            use_page_cache(&file)?;
            file.write_all_at(last.bytes(), offset)?;
            Ok(file)
        })
        .await
    }

    /// Waits for the write that is under way, and has its block back.
    async fn written(&mut self) -> Result<io::Result<Option<Block>>, StoreError> {
        match self.writing.take() {
            Some(writing) => Ok(joined(writing).await?.map(Some)),
            None => Ok(Ok(None)),
        }
    }

    /// Begins to write the full block, and to fill another.
    fn begin(&mut self, spare: Block) {
        let full = std::mem::replace(&mut self.filling, spare);
        let (file, offset) = (Arc::clone(&self.file), self.offset);
        self.offset += full.bytes().len() as u64;
        self.writing = Some(spawn_blocking(move || {
            write_block(&file, full.bytes(), offset)?;
            Ok(full.emptied())
        }));
    }
}

fn write_block(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    match file.write_all_at(bytes, offset) {
        // What open(2) says of a file system that cannot, or wants other blocks.
        Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => {
            use_page_cache(file)?;
            file.write_all_at(bytes, offset)
        }
        written => written,
    }
}

/// Lets what is written to it be of any length, at any place.
pub(super) fn use_page_cache(file: &File) -> io::Result<()> {
    let flags = fcntl_getfl(file)?;
    Ok(fcntl_setfl(file, flags - OFlags::DIRECT)?)
}

/// Memory that begins at a multiple of [`ALIGNED`].
#[derive(Debug)]
struct Block {
    memory: Vec<u8>,
    begin: usize,
    length: usize,
    room: usize,
}

impl Block {
    fn new(room: usize) -> Self {
        let memory = vec![0; room + ALIGNED];
        let begin = memory.as_ptr().align_offset(ALIGNED);
        let length = 0;
        Self {
            memory,
            begin,
            length,
            room,
        }
    }

    fn is_full(&self) -> bool {
        self.length == self.room
    }

    fn bytes(&self) -> &[u8] {
        &self.memory[self.begin..][..self.length]
    }

    /// Takes as many bytes as there is room for; returns the others.
    fn take<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let (taken, left) = bytes.split_at(bytes.len().min(self.room - self.length));
        let free = self.begin + self.length;
        self.memory[free..][..taken.len()].copy_from_slice(taken);
        self.length += taken.len();
        left
    }

    fn emptied(mut self) -> Self {
        self.length = 0;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|n| (n / 7 % 251) as u8).collect()
    }

    async fn written(file: File, bytes: &[u8], at_once: usize) -> Vec<u8> {
        let mut writer = BlobFile::new(file, bytes.len() as u64);
        for part in bytes.chunks(at_once) {
            writer.write(part).await.unwrap().unwrap();
        }
        let file = writer.finish().await.unwrap().unwrap();
        let mut back = vec![0; bytes.len()];
        file.read_exact_at(&mut back, 0).unwrap();
        assert_eq!(file.metadata().unwrap().len(), bytes.len() as u64);
        back
    }

    #[tokio::test]
    async fn every_length_arrives_whole_past_the_page_cache_and_through_it() {
        let dir = tempfile::tempdir().unwrap();
        for flags in [OFlags::empty(), OFlags::DIRECT] {
            for length in [
                0,
                1,
                4096,
                BLOCK - 1,
                BLOCK,
                BLOCK + 1,
                3 * BLOCK,
                3 * BLOCK + 777,
            ] {
                for at_once in [1000, 300_000, 2 * BLOCK] {
                    let flags = flags | OFlags::TMPFILE | OFlags::RDWR;
                    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
                    let file = rustix::fs::open(dir.path(), flags, mode);
                    // A tmpfs may know no O_DIRECT.
                    let Ok(file) = file else { continue };
                    let bytes = bytes(length);
                    assert!(
                        written(file.into(), &bytes, at_once).await == bytes,
                        "{length}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_block_is_where_a_disk_wants_it() {
        for room in [1, 4096, BLOCK] {
            let mut block = Block::new(room);
            let bytes = bytes(room + 1);
            assert_eq!(block.take(&bytes), &bytes[room..]);
            assert!(block.is_full());
            assert_eq!(block.bytes().as_ptr().align_offset(ALIGNED), 0);
            assert_eq!(block.bytes(), &bytes[..room]);
            assert!(block.emptied().bytes().is_empty());
        }
    }

    #[tokio::test]
    async fn a_disk_that_takes_no_more_is_an_error_in_the_end() {
        // What was queued before it is not known to be written.
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut writer = BlobFile::new(full, u64::MAX);
        let mut told = Ok(());
        for _ in 0..3 {
            told = told.and(writer.write(&bytes(BLOCK)).await.unwrap());
        }
        let told = told.and(writer.finish().await.unwrap().map(drop));
        assert_eq!(told.unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
