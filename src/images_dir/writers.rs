//! Which files are open for writing, as far as events have told.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// As many writers as are kept: more files than that are hardly open at once, and a file whose
/// writer is not kept still has to be quiet.
const WRITERS: usize = 1 << 14;

/// The files that were written to and not closed since. Names that are no entries are among them:
/// they may be renamed to one.
#[derive(Debug)]
pub(super) struct Writers {
    /// When each was written to last.
    last: HashMap<PathBuf, Instant>,
    /// A writer that has been silent for so long is given up: truncate(2) writes, and never closes.
    silence: Duration,
}

impl Writers {
    pub(super) fn new(silence: Duration) -> Self {
        Self {
            last: HashMap::new(),
            silence,
        }
    }

    /// A file was written to. Says whether it is a new writer.
    pub(super) fn written(&mut self, path: &Path, now: Instant) -> bool {
        if self.last.len() >= WRITERS && !self.last.contains_key(path) {
            let silence = self.silence;
            self.last
                .retain(|_, last| now.saturating_duration_since(*last) < silence);
            if self.last.len() >= WRITERS {
                return true;
            }
        }
        self.last.insert(path.to_owned(), now).is_none()
    }

    /// The writer closed the file, or the name is another file's now. Answers when the file was
    /// last written to, if it was open for writing.
    pub(super) fn closed(&mut self, path: &Path) -> Option<Instant> {
        self.last.remove(path)
    }

    /// Events were lost, and the ends of writing may be among them.
    pub(super) fn forget(&mut self) {
        self.last.clear();
    }

    /// Directories have other paths than before: `now` gives the one of each, or none if it is not
    /// followed any more. A writer of a file has the file open by whatever path.
    pub(super) fn relocate(&mut self, now: impl Fn(&Path) -> Option<PathBuf>) {
        let writers = std::mem::take(&mut self.last).into_iter();
        let relocated = writers.filter_map(|(path, last)| {
            let dir = now(path.parent()?)?;
            Some((dir.join(path.file_name()?), last))
        });
        self.last = relocated.collect();
    }

    /// When the writer of this file is given up, if there is one.
    pub(super) fn given_up_at(&self, path: &Path, now: Instant) -> Option<Instant> {
        let end = later(*self.last.get(path)?, self.silence);
        (end > now).then_some(end)
    }
}

/// A time that cannot be counted is far away.
pub(super) fn later(from: Instant, by: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    from + by.min(FAR)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENCE: Duration = Duration::from_secs(600);

    #[test]
    fn a_writer_is_known_by_the_new_path_of_its_directory() {
        let (mut writers, start) = (Writers::new(SILENCE), Instant::now());
        for path in ["old/a", "old/.b.part", "gone/c"] {
            writers.written(Path::new(path), start);
        }
        writers.relocate(|dir| (dir == Path::new("old")).then(|| PathBuf::from("new")));
        for (path, expected) in [
            ("new/a", true),
            ("new/.b.part", true),
            ("old/a", false),
            ("gone/c", false),
        ] {
            let is_open = writers.closed(Path::new(path)).is_some();
            assert_eq!(is_open, expected, "{path}");
        }
        writers.written(Path::new("a"), start);
        writers.forget();
        assert_eq!(writers.closed(Path::new("a")), None);
    }

    #[test]
    fn no_more_writers_are_kept_than_can_be_open() {
        let (mut writers, start) = (Writers::new(SILENCE), Instant::now());
        for number in 0..WRITERS + 10 {
            assert!(writers.written(Path::new(&number.to_string()), start));
        }
        assert_eq!(writers.last.len(), WRITERS);
        // One that is kept is still renewed, and those that are given up make room.
        assert!(!writers.written(Path::new("0"), start + Duration::from_secs(1)));
        let later = start + SILENCE + Duration::from_millis(500);
        assert!(writers.written(Path::new("one more"), later));
        assert_eq!(writers.last.len(), 2);
    }
}
