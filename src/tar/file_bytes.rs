//! Where the bytes of a member come from, one after the other: from the archive, or, in the holes of a
//! sparse file, from nowhere.

use crate::layout::DataRun;

/// The bytes of a member that are still to come.
#[derive(Debug, Default)]
pub(super) struct FileBytes {
    /// The next is the last; none is empty.
    parts: Vec<FilePart>,
}

/// Bytes that come from one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FilePart {
    /// So many zeros, which the archive does not have.
    Hole(u64),
    /// So many bytes of the archive.
    Stored(u64),
}

impl FilePart {
    fn length(self) -> u64 {
        match self {
            Self::Hole(length) | Self::Stored(length) => length,
        }
    }
}

impl FileBytes {
    /// Those of a file that the archive has whole.
    pub(super) fn stored(size: u64) -> Self {
        Self::of([FilePart::Stored(size)])
    }

    /// Those of a sparse file of this length. The runs are in their order and end within it.
    pub(super) fn sparse(size: u64, runs: &[DataRun]) -> Self {
        let mut end = 0;
        let parts = runs.iter().flat_map(|run| {
            let hole = run.at - end;
            end = run.at + run.length;
            [FilePart::Hole(hole), FilePart::Stored(run.length)]
        });
        let mut parts = parts.collect::<Vec<_>>();
        parts.push(FilePart::Hole(size - end));
        Self::of(parts)
    }

    fn of(parts: impl IntoIterator<Item = FilePart>) -> Self {
        let parts = parts.into_iter().filter(|part| part.length() > 0);
        let mut parts = parts.collect::<Vec<_>>();
        parts.reverse();
        Self { parts }
    }

    /// What comes next; `None` at the end.
    pub(super) fn next(&self) -> Option<FilePart> {
        self.parts.last().copied()
    }

    /// Passes over the first `bytes` of what comes next, which has as many.
    pub(super) fn advance(&mut self, bytes: u64) {
        if let Some(FilePart::Hole(left) | FilePart::Stored(left)) = self.parts.last_mut() {
            *left -= bytes;
            if *left == 0 {
                self.parts.pop();
            }
        }
    }

    /// Passes over bytes of the file; says how many of them the archive has.
    pub(super) fn skip(&mut self, mut bytes: u64) -> u64 {
        let mut stored = 0;
        while let Some(part) = self.next()
            && bytes > 0
        {
            let passed = part.length().min(bytes);
            if matches!(part, FilePart::Stored(_)) {
                stored += passed;
            }
            self.advance(passed);
            bytes -= passed;
        }
        stored
    }

    /// How many there are.
    pub(super) fn left(&self) -> u64 {
        self.parts.iter().map(|part| part.length()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_lie_before_between_and_behind_the_runs() {
        let run = |at, length| DataRun { at, length };
        let parts = |size, runs: &[DataRun]| {
            let mut parts = FileBytes::sparse(size, runs).parts;
            parts.reverse();
            parts
        };
        let (hole, stored) = (FilePart::Hole, FilePart::Stored);
        assert_eq!(
            parts(20, &[run(2, 3), run(5, 1), run(10, 4)]),
            [hole(2), stored(3), stored(1), hole(4), stored(4), hole(6)]
        );
        assert_eq!(parts(5, &[run(0, 5)]), [stored(5)]);
        assert_eq!(parts(5, &[run(5, 0)]), [hole(5)]);
        assert_eq!(parts(0, &[]), []);
        let mut bytes = FileBytes::sparse(20, &[run(2, 3), run(10, 4)]);
        assert_eq!((bytes.left(), bytes.skip(11)), (20, 4));
        assert_eq!((bytes.next(), bytes.left()), (Some(stored(3)), 9));
        assert_eq!((bytes.skip(100), bytes.next()), (3, None));
    }
}
