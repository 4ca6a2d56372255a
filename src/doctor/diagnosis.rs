//! What was found of one thing.

use std::fmt;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    pub severity: Severity,
    /// What was looked at.
    pub subject: &'static str,
    /// What was found and, where it is not good, the remedy.
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Good,
    /// Worth a look: stowd and pods start all the same.
    Doubtful,
    /// stowd, or pods, would not start.
    Bad,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Good => "ok",
            Self::Doubtful => "warn",
            Self::Bad => "fail",
        })
    }
}

impl Diagnosis {
    pub(super) fn good(subject: &'static str, text: impl Into<String>) -> Self {
        Self::new(Severity::Good, subject, text)
    }

    pub(super) fn doubtful(subject: &'static str, text: impl Into<String>) -> Self {
        Self::new(Severity::Doubtful, subject, text)
    }

    pub(super) fn bad(subject: &'static str, text: impl Into<String>) -> Self {
        Self::new(Severity::Bad, subject, text)
    }

    fn new(severity: Severity, subject: &'static str, text: impl Into<String>) -> Self {
        Self {
            severity,
            subject,
            text: text.into(),
        }
    }
}
