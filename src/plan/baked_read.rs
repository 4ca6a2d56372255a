//! Whether the file of the baked set is to be read again.

/// What is known of the file of the set.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum BakedRead {
    /// No question was asked since it was read.
    #[default]
    Fresh,
    Stale,
    Asked,
}
