//! Reads ahead, on a thread of its own: while one chunk is hashed and written, the next is decoded.
//!
//! A fixed number of chunks circulates: the consumer returns each to the thread that fills it. So the
//! bytes are written to memory once, and no chunk is allocated for them.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::limits;

/// What a reader yields, chunk by chunk.
pub(super) struct ReadAhead {
    filled: Receiver<io::Result<Vec<u8>>>,
    emptied: SyncSender<Vec<u8>>,
    chunk: Vec<u8>,
    taken: usize,
}

/// Runs `consume` on what `reader` yields. The thread ends with the reader's end, or when
/// `consume` has ended.
pub(super) fn read_ahead<T>(
    reader: impl Read + Send,
    consume: impl FnOnce(ReadAhead) -> T,
) -> io::Result<T> {
    thread::scope(|scope| {
        let (to_consumer, filled) = sync_channel(limits::CHUNKS_AHEAD);
        // Room for all chunks: returning one never waits.
        let (emptied, to_reader) = sync_channel(limits::CHUNKS_AHEAD + 1);
        for _ in 0..limits::CHUNKS_AHEAD {
            // Both ends are here.
            let _ = emptied.try_send(Vec::new());
        }
        let read = move || fill(reader, &to_reader, &to_consumer);
        let thread = thread::Builder::new().name("decode".to_owned());
        thread.spawn_scoped(scope, read)?;
        Ok(consume(ReadAhead {
            filled,
            emptied,
            chunk: Vec::new(),
            taken: 0,
        }))
    })
}

impl ReadAhead {
    /// Whether nothing is left of the chunk at hand.
    pub(super) fn is_spent(&self) -> bool {
        self.taken == self.chunk.len()
    }

    /// Gets the next chunk, and says how long it is: 0 at the end, and after an error.
    pub(super) fn refill(&mut self) -> io::Result<usize> {
        let spent = std::mem::take(&mut self.chunk);
        self.taken = 0;
        if spent.capacity() > 0 {
            let _ = self.emptied.try_send(spent);
        }
        // Otherwise the thread has ended, and all that it sent was taken.
        if let Ok(chunk) = self.filled.recv() {
            self.chunk = chunk?;
        }
        Ok(self.chunk.len())
    }

    /// The next bytes of the chunk at hand.
    pub(super) fn take(&mut self, most: usize) -> &[u8] {
        let left = &self.chunk[self.taken..];
        let taken = &left[..left.len().min(most)];
        self.taken += taken.len();
        taken
    }
}

/// Fills chunk after chunk, until the consumer has ended.
fn fill(
    mut reader: impl Read,
    emptied: &Receiver<Vec<u8>>,
    filled: &SyncSender<io::Result<Vec<u8>>>,
) {
    while let Ok(mut chunk) = emptied.recv() {
        // Its capacity stays: only what a shorter one lacked is cleared anew.
        chunk.resize(limits::CHUNK, 0);
        let mut length = 0;
        let mut failed = None;
        while length < chunk.len() {
            match reader.read(&mut chunk[length..]) {
                Ok(0) => break,
                Ok(read) => length += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        let is_last = length < chunk.len();
        chunk.truncate(length);
        if length > 0 && filled.send(Ok(chunk)).is_err() {
            return;
        }
        if let Some(error) = failed {
            let _ = filled.send(Err(error));
        }
        if is_last {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Yields a byte at a time, then fails.
    struct Drip(usize);

    impl Read for Drip {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            match self.0.checked_sub(1) {
                None => Err(io::Error::other("dry")),
                Some(left) => {
                    self.0 = left;
                    buf[0] = left as u8;
                    Ok(1)
                }
            }
        }
    }

    #[test]
    fn everything_comes_in_order_and_then_the_end() {
        let bytes = (0..limits::CHUNK * 9 + 77).map(|n| (n / 3) as u8);
        let bytes = bytes.collect::<Vec<_>>();
        let read = read_ahead(bytes.as_slice(), |mut ahead| {
            let mut all = Vec::new();
            while ahead.refill().unwrap() > 0 {
                while !ahead.is_spent() {
                    all.extend_from_slice(ahead.take(1000));
                }
            }
            assert_eq!(ahead.refill().unwrap(), 0);
            all
        });
        assert!(read.unwrap() == bytes);
    }

    #[test]
    fn an_error_comes_after_the_bytes_before_it() {
        let read = read_ahead(Drip(limits::CHUNK + 3), |mut ahead| {
            assert_eq!(ahead.refill().unwrap(), limits::CHUNK);
            assert_eq!(ahead.refill().unwrap(), 3);
            assert_eq!(ahead.take(9), [2, 1, 0]);
            assert_eq!(ahead.refill().unwrap_err().to_string(), "dry");
            assert_eq!(ahead.refill().unwrap(), 0);
        });
        read.unwrap();
    }

    #[test]
    fn an_endless_reader_ends_with_its_consumer() {
        let first = read_ahead(io::repeat(7), |mut ahead| {
            ahead.refill().unwrap();
            ahead.take(1).to_vec()
        });
        assert_eq!(first.unwrap(), [7]);
    }
}
