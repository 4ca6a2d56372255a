//! The map of a sparse member in the PAX format 1.0 (GNU tar's manual, "Sparse Formats"): before the
//! bytes of the file come lines of decimal numbers, how many runs of bytes there are, then where each
//! lies and how long it is, padded to a whole block.

use super::header::decimal;
use super::limits;
use crate::layout::DataRun;

/// Lines of a map, as they are read block by block.
#[derive(Default)]
pub(super) struct SparseMap {
    text: Vec<u8>,
    /// The end of the lines that were read.
    parsed: usize,
    /// How many numbers follow the first one.
    wanted: Option<u64>,
    numbers: Vec<u64>,
}

/// The map is none: what it says cannot be, or it is too long.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadMap;

impl SparseMap {
    /// Takes the next block; whether the map ends in it.
    pub(super) fn take(&mut self, block: &[u8]) -> Result<bool, BadMap> {
        if (self.text.len() + block.len()) as u64 > limits::EXTENSION_MAX {
            return Err(BadMap);
        }
        self.text.extend_from_slice(block);
        while !self.is_whole()
            && let Some(length) = self.text[self.parsed..].iter().position(|b| *b == b'\n')
        {
            let line = &self.text[self.parsed..self.parsed + length];
            let number = decimal(line).map_err(|_| BadMap)?;
            self.parsed += length + 1;
            match self.wanted {
                None => self.wanted = Some(number.checked_mul(2).ok_or(BadMap)?),
                Some(_) => self.numbers.push(number),
            }
        }
        Ok(self.is_whole())
    }

    fn is_whole(&self) -> bool {
        self.wanted == Some(self.numbers.len() as u64)
    }

    /// The runs of a file of `size` bytes, of which the archive has `stored`.
    pub(super) fn runs(&self, size: u64, stored: u64) -> Result<Vec<DataRun>, BadMap> {
        let (mut end, mut all) = (0_u64, 0_u64);
        let mut runs = Vec::new();
        for pair in self.numbers.chunks_exact(2) {
            let run = DataRun {
                at: pair[0],
                length: pair[1],
            };
            let next = run.at.checked_add(run.length).filter(|end| *end <= size);
            if run.at < end {
                return Err(BadMap);
            }
            end = next.ok_or(BadMap)?;
            all += run.length;
            if run.length > 0 {
                runs.push(run);
            }
        }
        match all == stored {
            true => Ok(runs),
            false => Err(BadMap),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(text: &[u8], size: u64, stored: u64) -> Result<Vec<DataRun>, BadMap> {
        let mut map = SparseMap::default();
        for block in text.chunks(3) {
            if map.take(block)? {
                return map.runs(size, stored);
            }
        }
        Err(BadMap)
    }

    #[test]
    fn a_map_is_lines_of_numbers() {
        let run = |at, length| DataRun { at, length };
        assert_eq!(
            map(b"2\n0\n5\n100\n7\n\0\0", 200, 12),
            Ok(vec![run(0, 5), run(100, 7)])
        );
        // GNU tar tells the end of a file that ends with a hole as an empty run.
        assert_eq!(map(b"2\n4\n5\n200\n0\n", 200, 5), Ok(vec![run(4, 5)]));
        assert_eq!(map(b"0\n", 9, 0), Ok(vec![]));
    }

    #[test]
    fn a_map_that_cannot_be_is_refused() {
        for (text, size, stored) in [
            (&b"1\n0\n5\n"[..], 4, 5),
            (b"1\n0\n5\n", 9, 6),
            (b"2\n5\n1\n4\n1\n", 9, 2),
            (b"2\n0\n5\n4\n1\n", 9, 6),
            (b"1\n18446744073709551615\n1\n", 9, 1),
            (b"1\n0\n", 9, 0),
            (b"1\n-1\n0\n", 9, 0),
            (b"x\n", 9, 0),
            (b"9223372036854775807\n1\n", 9, 0),
            (b"\0\0\0\0\0", 9, 0),
        ] {
            assert_eq!(map(text, size, stored), Err(BadMap), "{text:?}");
        }
        let endless = [b"1000000\n".to_vec(), b"1\n".repeat(1 << 20)].concat();
        assert_eq!(map(&endless, 1 << 40, 0), Err(BadMap));
    }
}
