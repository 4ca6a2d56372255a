//! The least that an import can cost on this machine, whatever does it: the archive is decompressed
//! (into nothing, by the fastest decoder at hand), and its blobs are hashed and written, each
//! followed by an fsync, on all processors at once. The longer of the two is the floor.

mod decode;
pub(crate) mod processors;
mod store;

use std::time::Duration;

use crate::archives::Archive;
use crate::figures::median_time;
use crate::options::Input;

use decode::Decoder;

/// What it took, round by round.
#[derive(Debug)]
pub(crate) struct Floor {
    decoded: Vec<(Decoder, Vec<Duration>)>,
    stored: Vec<Duration>,
}

impl Floor {
    /// Nothing has been measured yet.
    pub(crate) fn new(archives: &[Archive]) -> Self {
        let decoders = decode::at_hand(archives).into_iter();
        Self {
            decoded: decoders.map(|decoder| (decoder, Vec::new())).collect(),
            stored: Vec::new(),
        }
    }

    /// Measures both once more.
    pub(crate) fn measure(&mut self, archives: &[Archive], input: Input) {
        self.stored.push(store::store(archives, input));
        for (decoder, times) in &mut self.decoded {
            times.push(decode::decode(*decoder, archives, input));
        }
        // Who is much slower the first time will not be the fastest: the rounds need not wait for it.
        let limit = self.fastest().map(|(_, times)| median_time(times) * 3 / 2);
        let limit = limit.unwrap_or_default();
        self.decoded
            .retain(|(_, times)| median_time(times) <= limit);
    }

    /// What the longer of the two is, with its times.
    pub(crate) fn longer(&self) -> (String, &[Duration]) {
        match self.fastest() {
            Some((decoder, times)) if median_time(times) > median_time(&self.stored) => {
                (decoder.to_string(), times)
            }
            _ => ("hash, write, fsync".to_owned(), &self.stored),
        }
    }

    fn fastest(&self) -> Option<(Decoder, &[Duration])> {
        let decoded = self.decoded.iter();
        let fastest = decoded.min_by_key(|(_, times)| median_time(times))?;
        Some((fastest.0, &fastest.1))
    }
}
