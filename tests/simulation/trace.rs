//! How a failing history is told.

/// One line of a trace.
pub(crate) fn brief(value: &impl std::fmt::Debug) -> String {
    let mut text = format!("{value:?}");
    text.truncate(
        text.char_indices()
            .nth(300)
            .map_or(text.len(), |(end, _)| end),
    );
    text
}
