//! How often an entry is brought back. A name that cannot be had, or a client that deletes an image again
//! and again, must not have an archive imported for ever.

use std::collections::HashSet;
use std::time::Duration;

use crate::entry::Identity;

/// How often in a row.
const TIMES_MAX: u32 = 5;

/// What is there for so long was brought back for good. What was given up is tried once more after as
/// long, when the store is listed then.
const FOR_GOOD: Duration = Duration::from_secs(10 * 60);

/// The tries to bring one version of an entry back.
#[derive(Debug)]
pub(super) struct BroughtBack {
    identity: Identity,
    /// What was lacking since the first time.
    names: HashSet<String>,
    times: u32,
    last: Duration,
    is_given_up: bool,
    /// That it was given up was told.
    is_told: bool,
}

/// What is to be done about an entry that the store lacks something of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    BringBack,
    /// Nothing from now on, and that is news.
    GiveUp,
    Nothing,
}

impl BroughtBack {
    /// This version was not brought back yet.
    pub(super) fn new(identity: Identity, uptime: Duration) -> Self {
        Self {
            identity,
            names: HashSet::new(),
            times: 0,
            last: uptime,
            is_given_up: false,
            is_told: false,
        }
    }

    /// The store lacks these names and blobs of this version. That it lacks others than before is not that
    /// what was brought back has gone again.
    pub(super) fn lacks(
        &mut self,
        identity: Identity,
        names: &[String],
        uptime: Duration,
    ) -> Again {
        let is_long_ago = self.last + FOR_GOOD <= uptime;
        if self.identity != identity || (is_long_ago && !self.is_given_up) {
            *self = Self::new(identity, uptime);
        }
        if self.times >= TIMES_MAX && !(is_long_ago && self.is_given_up) {
            self.is_given_up = true;
            return match std::mem::replace(&mut self.is_told, true) {
                true => Again::Nothing,
                false => Again::GiveUp,
            };
        }
        let is_again = names.iter().any(|name| self.names.contains(name));
        self.names.extend(names.iter().cloned());
        self.times += u32::from(is_again || self.times == 0);
        self.last = uptime;
        self.is_given_up = false;
        Again::BringBack
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(ctime: i128) -> Identity {
        Identity {
            device: 1,
            inode: 1,
            size: 1,
            mtime: 1,
            ctime,
        }
    }

    fn names<const N: usize>(names: [&str; N]) -> Vec<String> {
        names.map(str::to_owned).to_vec()
    }

    const SECOND: Duration = Duration::from_secs(1);

    fn again_and_again(entry: &mut BroughtBack, ctime: i128, from: Duration) -> Vec<Again> {
        let times = (0..10).map(|second| from + second * SECOND);
        times
            .map(|now| entry.lacks(version(ctime), &names(["a", "b"]), now))
            .collect()
    }

    #[test]
    fn it_is_given_up_once_and_then_tried_now_and_then() {
        let given_up = |news: Again| {
            let mut all = vec![Again::BringBack; 5];
            all.extend([news; 1]);
            all.extend([Again::Nothing; 4]);
            all
        };
        let mut entry = BroughtBack::new(version(1), Duration::ZERO);
        let all = again_and_again(&mut entry, 1, Duration::ZERO);
        assert_eq!(all, given_up(Again::GiveUp));
        // It was away all the time: one try, which is no news.
        let later = FOR_GOOD + 10 * SECOND;
        let mut all = vec![Again::BringBack];
        all.extend([Again::Nothing; 9]);
        assert_eq!(again_and_again(&mut entry, 1, later), all);
        // That try was the last one, and it stayed: the next time is the first.
        assert_eq!(
            entry.lacks(version(1), &names(["a"]), 3 * FOR_GOOD),
            Again::BringBack
        );
        let all = again_and_again(&mut entry, 1, 5 * FOR_GOOD);
        assert_eq!(all, given_up(Again::GiveUp));
        // Another version was not given up.
        let all = again_and_again(&mut entry, 2, 5 * FOR_GOOD + 10 * SECOND);
        assert_eq!(all, given_up(Again::GiveUp));
    }

    /// Two hundred images of one archive, a few a second.
    #[test]
    fn what_is_deleted_once_each_is_brought_back() {
        let mut entry = BroughtBack::new(version(1), Duration::ZERO);
        for number in 0..40 {
            let names = names([&format!("{number}:1"), &format!("{number}:2")]);
            let again = entry.lacks(version(1), &names, number * SECOND);
            assert_eq!(again, Again::BringBack, "{number}");
        }
    }
}
