//! A file on its way to become a blob, written past the page cache (open(2), `O_DIRECT`).
//!
//! ```text
//!   bytes --copied--> block that fills      block that is written <--- a thread that may wait
//!                          |                         |
//!                          +------- they change -----+
//! ```
//!
//! No process reads a blob before a container wants it. Through the page cache the blobs would cost as
//! much memory as they are long, which a node that has just booted does not have, and the disk would
//! rest until the fsync. So the disk writes one block while the next is hashed.
//!
//! Such a write needs memory, an offset and a length that are multiples of a disk's blocks: all but
//! the last block of a file are. Where a file system refuses it, the page cache is used after all.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use tokio::task::JoinHandle;

use super::blocking::{SlowDrop, begin_blocking, blocking};
use crate::blocking::finished;

/// The bytes that are written at a time. A file holds two such blocks at most.
pub(super) const BLOCK: usize = 512 << 10;

/// What every disk takes: those that want more than a page are refused, and use the page cache.
const ALIGNED: usize = 4 << 10;

/// A file that several threads have, and that none of the runtime's workers closes.
pub(super) type SharedFile = Arc<SlowDrop<File>>;

/// Writes a file from its first byte to its last.
#[derive(Debug)]
pub(super) struct BlobFile {
    file: SharedFile,
    filling: Block,
    /// Where in the file it goes.
    offset: u64,
    writing: Option<JoinHandle<io::Result<Block>>>,
}

impl BlobFile {
    /// An empty file for a blob of `size` bytes. Waits for the disk.
    pub(super) fn new(file: File, size: u64) -> Self {
        // A file system that cannot says so at once, or when it is written to.
        let _ = set_direct(&file, true);
        Self {
            file: Arc::new(SlowDrop::new(file)),
            filling: Block::new(usize::try_from(size).map_or(BLOCK, |size| size.min(BLOCK))),
            offset: 0,
            writing: None,
        }
    }

    /// Takes the next bytes. That an earlier write has failed may show only now, or at the end.
    pub(super) async fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.filling.is_full() {
                let spare = self.written().await?;
                self.begin(spare.unwrap_or_else(|| Block::new(BLOCK)));
            }
            bytes = self.filling.take(bytes);
        }
        Ok(())
    }

    /// Writes what is left. The file's bytes are its own then, and not yet on the disk. After a failure
    /// its blocks are free.
    pub(super) async fn finish(mut self) -> io::Result<SharedFile> {
        if let Err(error) = self.written().await {
            self.discard().await;
            return Err(error);
        }
        let (file, last, offset) = (self.file, self.filling, self.offset);
        blocking(move || {
            set_direct(&file, false)?;
            file.write_all_at(last.bytes(), offset)?;
            Ok(file)
        })
        .await
    }

    /// Closes the file. If it has no name, its blocks are free when this returns.
    pub(super) async fn discard(mut self) {
        // What has come of the write does not matter any more.
        let _ = self.written().await;
        blocking(move || drop(self.file)).await;
    }

    /// Waits for the write that is under way, and has its block back.
    async fn written(&mut self) -> io::Result<Option<Block>> {
        match self.writing.take() {
            Some(writing) => finished(writing).await.map(Some),
            None => Ok(None),
        }
    }

    /// Begins to write the full block, and to fill another.
    fn begin(&mut self, spare: Block) {
        let full = std::mem::replace(&mut self.filling, spare);
        let (file, offset) = (Arc::clone(&self.file), self.offset);
        self.offset += full.bytes().len() as u64;
        self.writing = Some(begin_blocking(move || {
            write_block(&file, full.bytes(), offset)?;
            Ok(full.emptied())
        }));
    }
}

fn write_block(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    match file.write_all_at(bytes, offset) {
        // What open(2) says of a file system that cannot, or wants other blocks.
        Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => {
            set_direct(file, false)?;
            file.write_all_at(bytes, offset)
        }
        written => written,
    }
}

/// Past the page cache, or through it: then what is written may have any length, at any place.
pub(super) fn set_direct(file: &File, direct: bool) -> io::Result<()> {
    let mut flags = fcntl_getfl(file)?;
    flags.set(OFlags::DIRECT, direct);
    Ok(fcntl_setfl(file, flags)?)
}

/// Memory that begins at a multiple of [`ALIGNED`].
#[derive(Debug)]
pub(super) struct Block {
    memory: Vec<u8>,
    begin: usize,
    length: usize,
    room: usize,
}

impl Block {
    pub(super) fn new(room: usize) -> Self {
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

    /// All of its room, to be read into.
    pub(super) fn room(&mut self) -> &mut [u8] {
        &mut self.memory[self.begin..][..self.room]
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
    use rustix::fs::{FlockOperation, flock};

    use super::*;

    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|n| (n / 7 % 251) as u8).collect()
    }

    /// On a disk: what a temporary directory is on may have no page cache to go past.
    fn file() -> File {
        tempfile::tempfile_in(env!("CARGO_MANIFEST_DIR")).unwrap()
    }

    fn is_direct(file: &File) -> bool {
        fcntl_getfl(file).unwrap().contains(OFlags::DIRECT)
    }

    /// Has it written in such parts, by a writer that was told of such a size.
    async fn assert_written(bytes: &[u8], size: u64, at_once: usize) {
        let mut writer = BlobFile::new(file(), size);
        for part in bytes.chunks(at_once) {
            writer.write(part).await.unwrap();
        }
        let file = writer.finish().await.unwrap();
        let mut back = vec![0; bytes.len()];
        file.read_exact_at(&mut back, 0).unwrap();
        assert!(back == bytes, "{} bytes", bytes.len());
        assert_eq!(file.metadata().unwrap().len(), bytes.len() as u64);
    }

    #[tokio::test]
    async fn every_length_arrives_whole() {
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
                assert_written(&bytes(length), length as u64, at_once).await;
            }
        }
    }

    #[tokio::test]
    async fn blocks_go_past_the_page_cache_and_what_is_left_goes_through_it() {
        let mut writer = BlobFile::new(file(), u64::MAX);
        writer.write(&bytes(2 * BLOCK + 1)).await.unwrap();
        writer.written().await.unwrap();
        assert!(is_direct(&writer.file));
        let file = writer.finish().await.unwrap();
        assert!(!is_direct(&file));
    }

    #[tokio::test]
    async fn what_a_disk_does_not_take_past_the_page_cache_goes_through_it() {
        // The first block is as long as the size that was told, which is not a disk's.
        let mut writer = BlobFile::new(file(), 1000);
        writer.write(&bytes(1001)).await.unwrap();
        writer.written().await.unwrap();
        assert!(!is_direct(&writer.file), "the disk took 1000 bytes");
        assert_written(&bytes(3 * BLOCK), 1000, 300_000).await;
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

    /// Until it is closed, a file without a name takes room from the next one.
    #[test]
    fn a_file_that_could_not_be_written_is_closed_before_that_is_told() {
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "").unwrap();
        // It takes no byte, and its lock ends when it is closed.
        let file = File::open(&path).unwrap();
        flock(&file, FlockOperation::LockExclusive).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .max_blocking_threads(1)
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut writer = BlobFile::new(file, u64::MAX);
            writer.write(&bytes(BLOCK + 1)).await.unwrap();
            // What would close it some time later has to wait.
            let busy = tokio::task::spawn_blocking(|| {
                std::thread::sleep(std::time::Duration::from_millis(300));
            });
            writer.finish().await.unwrap_err();
            let again = File::open(&path).unwrap();
            flock(&again, FlockOperation::NonBlockingLockExclusive).expect("it is open");
            busy.await.unwrap();
        });
    }

    #[tokio::test]
    async fn a_disk_that_takes_no_more_is_an_error_in_the_end() {
        // What was queued before it is not known to be written.
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut writer = BlobFile::new(full, u64::MAX);
        let mut told = Ok(());
        for _ in 0..3 {
            told = told.and(writer.write(&bytes(BLOCK)).await);
        }
        let told = told.and(writer.finish().await.map(drop));
        assert_eq!(told.unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
