//! Which files are being written: written to, and not closed since.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::time::{Duration, Instant};

use super::inotify::Wd;

/// As many as are kept: more files than that are hardly open at once, and for one that is not kept
/// there is still the quiet time after its last change.
const KEPT: usize = 1 << 14;

/// The files that are being written, by the watch on their directory and their name in it, so that
/// a directory may be renamed meanwhile.
#[derive(Debug, Default)]
pub(super) struct Writing {
    files: HashMap<(Wd, OsString), Instant>,
    changed: bool,
}

impl Writing {
    /// A file was written to, or made empty to be written.
    pub(super) fn begun(&mut self, wd: Wd, name: &OsStr, now: Instant) {
        let file = (wd, name.to_owned());
        if self.files.len() < KEPT || self.files.contains_key(&file) {
            self.changed |= self.files.insert(file, now).is_none();
        }
    }

    /// It was closed, or the name is no longer its. Whether it was being written.
    pub(super) fn ended(&mut self, wd: Wd, name: &OsStr) -> bool {
        let was = self.files.remove(&(wd, name.to_owned())).is_some();
        self.changed |= was;
        was
    }

    /// Nothing is known any more: closes may have been missed.
    pub(super) fn forget(&mut self) {
        self.changed |= !self.files.is_empty();
        self.files.clear();
    }

    /// The watches are new: forgets those of watches that have ended. The others may go by new
    /// paths.
    pub(super) fn keep(&mut self, watched: impl Fn(Wd) -> bool) {
        self.changed |= !self.files.is_empty();
        self.files.retain(|(wd, _), _| watched(*wd));
    }

    /// Forgets those that were silent for `patience`: truncate(2) writes and never closes, and a
    /// file must not wait for that for ever.
    pub(super) fn give_up(&mut self, now: Instant, patience: Duration) {
        let before = self.files.len();
        self.files
            .retain(|_, last| now.saturating_duration_since(*last) < patience);
        self.changed |= before != self.files.len();
    }

    /// The files, if there is anything new about which they are since it was asked last.
    pub(super) fn news(&mut self) -> Option<impl Iterator<Item = (Wd, &OsStr)>> {
        let files = self.files.keys().map(|(wd, name)| (*wd, name.as_os_str()));
        std::mem::take(&mut self.changed).then_some(files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(writing: &mut Writing) -> Option<Vec<(i32, String)>> {
        let news = writing.news()?;
        let files = news.map(|(wd, name)| (wd.0, name.to_str().unwrap().to_owned()));
        let mut files: Vec<_> = files.collect();
        files.sort();
        Some(files)
    }

    #[test]
    fn news_are_told_once_and_only_when_there_are_any() {
        let mut writing = Writing::default();
        let (wd, a, now) = (Wd(1), OsStr::new("a"), Instant::now());
        assert_eq!(files(&mut writing), None);
        writing.begun(wd, a, now);
        assert_eq!(files(&mut writing), Some(vec![(1, "a".to_owned())]));
        writing.begun(wd, a, now);
        assert_eq!(files(&mut writing), None);
        assert!(writing.ended(wd, a));
        assert!(!writing.ended(wd, a));
        assert_eq!(files(&mut writing), Some(vec![]));
    }

    #[test]
    fn a_file_that_is_silent_for_too_long_is_given_up() {
        let mut writing = Writing::default();
        let (now, minute) = (Instant::now(), Duration::from_secs(60));
        writing.begun(Wd(1), OsStr::new("silent"), now);
        writing.begun(Wd(1), OsStr::new("busy"), now);
        writing.begun(Wd(1), OsStr::new("busy"), now + minute);
        writing.give_up(now + minute, minute);
        assert_eq!(files(&mut writing), Some(vec![(1, "busy".to_owned())]));
    }

    #[test]
    fn files_of_watches_that_ended_are_forgotten() {
        let mut writing = Writing::default();
        let (a, now) = (OsStr::new("a"), Instant::now());
        writing.begun(Wd(1), a, now);
        writing.begun(Wd(2), a, now);
        writing.keep(|wd| wd == Wd(2));
        assert_eq!(files(&mut writing), Some(vec![(2, "a".to_owned())]));
        writing.forget();
        assert_eq!(files(&mut writing), Some(vec![]));
    }

    #[test]
    fn no_more_are_kept_than_can_be_open() {
        let mut writing = Writing::default();
        let now = Instant::now();
        for number in 0..=KEPT {
            writing.begun(Wd(1), OsStr::new(&number.to_string()), now);
        }
        assert_eq!(files(&mut writing).map(|files| files.len()), Some(KEPT));
        // One that is kept is still renewed.
        writing.begun(Wd(1), OsStr::new("0"), now + Duration::from_secs(1));
        writing.give_up(now + Duration::from_secs(1), Duration::from_secs(1));
        assert_eq!(files(&mut writing), Some(vec![(1, "0".to_owned())]));
    }
}
