//! When images are unpacked (`images.unpack`).

use std::fmt;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UnpackWhen {
    /// READY waits for it.
    #[default]
    BeforeReady,
    /// READY does not wait for it.
    AfterReady,
    /// Not by stowd.
    Never,
}

impl UnpackWhen {
    pub(crate) const ALL: [Self; 3] = [Self::BeforeReady, Self::AfterReady, Self::Never];

    /// As it is written in a configuration.
    pub fn word(self) -> &'static str {
        match self {
            Self::BeforeReady => "before-ready",
            Self::AfterReady => "after-ready",
            Self::Never => "never",
        }
    }

    pub(crate) fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|when| when.word() == word)
    }
}

impl fmt::Display for UnpackWhen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
