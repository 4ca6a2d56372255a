//! What is wrong with a configuration.

use std::fmt;

use super::origin::Origin;

/// One thing that is wrong, in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where it was said.
    pub source: Origin,
    /// The dotted name of the key; empty where no key is to blame.
    pub key: String,
    /// What is wrong, and the fix where there is one.
    pub what: String,
}

impl Problem {
    pub(super) fn new(source: Origin, key: &str, what: impl Into<String>) -> Self {
        Self {
            source,
            key: key.to_owned(),
            what: what.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.source)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.what)
    }
}
