//! Paths of members as messages show them.

use std::fmt;

use crate::one_line::{lossy, shortened};

/// The path of a member as a message shows it: control characters escaped, and cut to fit a
/// line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberName(String);

const SHOWN: usize = 120;

impl MemberName {
    pub(super) fn new(path: &[u8]) -> Self {
        // A path may be megabytes long: cut before it is looked at.
        Self(shortened(&lossy(path, SHOWN), SHOWN))
    }
}

impl fmt::Display for MemberName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_a_line() {
        assert_eq!(MemberName::new(b"a/b").to_string(), "a/b");
        assert_eq!(
            MemberName::new(b"a\nb\x1b[31m").to_string(),
            "a\\nb\\u{1b}[31m"
        );
        let long = MemberName::new(&vec![b'x'; 1 << 20]).to_string();
        assert_eq!(long.chars().count(), SHOWN);
        assert!(long.ends_with('…'));
    }
}
