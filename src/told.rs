//! What was said of entries. A failure, or a note, is a line of the log when it is new or another one, and
//! not at each attempt.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::entry::Identity;
use crate::one_line::without_numbers;

/// So many entries are remembered. When there are more, all are forgotten, and told of once more.
const ENTRIES_MAX: usize = 1000;

/// Clones share what was said.
#[derive(Debug, Clone, Default)]
pub struct Told(Arc<Mutex<HashMap<String, OfEntry>>>);

/// What was said of one version of an entry: the hash of the text, by that of its subject.
#[derive(Debug)]
struct OfEntry {
    identity: Identity,
    texts: HashMap<u64, u64>,
}

impl Told {
    /// Whether this is not what was said last of the subject, at this version of the entry. Numbers alone
    /// make no news: a registry's errors have a port in them, or the time that is to be waited.
    pub(crate) fn is_news(
        &self,
        entry: &str,
        identity: Identity,
        subject: impl Hash,
        text: &str,
    ) -> bool {
        let mut entries = self.entries();
        if entries.len() >= ENTRIES_MAX && !entries.contains_key(entry) {
            entries.clear();
        }
        let new = || OfEntry {
            identity,
            texts: HashMap::new(),
        };
        let told = entries.entry(entry.to_owned()).or_insert_with(new);
        if told.identity != identity {
            *told = new();
        }
        let mut hasher = DefaultHasher::new();
        for character in without_numbers(text) {
            character.hash(&mut hasher);
        }
        let text = hasher.finish();
        told.texts.insert(hash(subject), text) != Some(text)
    }

    /// The subject is well: what is said of it next is news.
    pub(crate) fn forget(&self, entry: &str, subject: impl Hash) {
        if let Some(told) = self.entries().get_mut(entry) {
            told.texts.remove(&hash(subject));
        }
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<String, OfEntry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hash(subject: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    subject.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(size: u64) -> Identity {
        Identity {
            device: 1,
            inode: 1,
            size,
            mtime: 1,
            ctime: 1,
        }
    }

    #[test]
    fn the_same_is_no_news_until_the_subject_was_well_or_the_entry_changes() {
        let told = Told::default();
        let is_news = |size, line: usize, text| told.is_news("a.txt", version(size), line, text);
        assert!(is_news(1, 1, "read udp 10.0.0.3:41873: refused"));
        assert!(!is_news(1, 1, "read udp 10.0.0.3:52001: refused"));
        assert!(is_news(1, 2, "read udp 10.0.0.3:41873: refused"));
        assert!(is_news(1, 1, "not found"));
        assert!(is_news(1, 1, "read udp 10.0.0.3:41873: refused"));
        told.forget("a.txt", 1_usize);
        assert!(is_news(1, 1, "read udp 10.0.0.3:41873: refused"));
        assert!(is_news(2, 2, "read udp 10.0.0.3:41873: refused"));
        assert!(told.is_news("b.txt", version(1), 2_usize, "x"));
        assert!(!is_news(2, 2, "read udp 10.0.0.3:41873: refused"));
    }

    #[test]
    fn entries_that_are_remembered_are_bounded() {
        let told = Told::default();
        for entry in 0..3 * ENTRIES_MAX {
            assert!(told.is_news(&format!("{entry}.txt"), version(1), 1, "x"));
        }
        assert_eq!(told.entries().len(), ENTRIES_MAX);
    }
}
