//! What was said of entries. A failure, or a note, is a line of the log when it is new or another one, and
//! not at each attempt.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::entry::Identity;
use crate::one_line::without_numbers;

/// So many entries are remembered. Where there are more, the one that was asked for least recently is
/// forgotten.
const ENTRIES_MAX: usize = 10_000;

/// Clones share what was said.
#[derive(Debug, Clone, Default)]
pub struct Told(Arc<Mutex<ToldEntries>>);

#[derive(Debug, Default)]
struct ToldEntries {
    by_name: HashMap<String, OfEntry>,
    /// How often one was asked for.
    asked: u64,
}

/// What was said of one version of an entry: the hash of the text, by that of its subject.
#[derive(Debug)]
struct OfEntry {
    /// The number of the last time that it was asked for.
    asked: u64,
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
        let told = entries.of(entry, identity);
        let mut hasher = DefaultHasher::new();
        for character in without_numbers(text) {
            character.hash(&mut hasher);
        }
        let text = hasher.finish();
        told.texts.insert(hash(subject), text) != Some(text)
    }

    /// The subject is well: what is said of it next is news.
    pub(crate) fn forget(&self, entry: &str, subject: impl Hash) {
        let by_name = &mut self.entries().by_name;
        if let Some(told) = by_name.get_mut(entry) {
            told.texts.remove(&hash(subject));
            if told.texts.is_empty() {
                by_name.remove(entry);
            }
        }
    }

    fn entries(&self) -> MutexGuard<'_, ToldEntries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ToldEntries {
    /// What was said of this version of an entry.
    fn of(&mut self, entry: &str, identity: Identity) -> &mut OfEntry {
        if self.by_name.len() >= ENTRIES_MAX && !self.by_name.contains_key(entry) {
            let oldest = self.by_name.iter().min_by_key(|(_, told)| told.asked);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                self.by_name.remove(&oldest);
            }
        }
        self.asked += 1;
        let asked = self.asked;
        let new = || OfEntry {
            asked,
            identity,
            texts: HashMap::new(),
        };
        let told = self.by_name.entry(entry.to_owned()).or_insert_with(new);
        if told.identity != identity {
            *told = new();
        }
        told.asked = asked;
        told
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
    fn of_more_entries_than_are_remembered_the_oldest_is_news_again_and_no_other() {
        let told = Told::default();
        let is_news = |entry: usize| told.is_news(&format!("{entry}.txt"), version(1), 1, "x");
        for entry in 0..ENTRIES_MAX {
            assert!(is_news(entry));
        }
        assert!(!is_news(0), "asked for again");
        assert!(is_news(ENTRIES_MAX));
        for entry in 2..=ENTRIES_MAX {
            assert!(!is_news(entry), "{entry}");
        }
        assert!(is_news(1), "it was the oldest");
        assert_eq!(told.entries().by_name.len(), ENTRIES_MAX);
        told.forget("1.txt", 1);
        assert_eq!(told.entries().by_name.len(), ENTRIES_MAX - 1);
    }
}
