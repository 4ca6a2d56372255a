//! Text from outside on one line: file names, what archives and lists hold, what containerd and
//! registries say.

use std::borrow::Cow;

/// How many problems of one entry are told: they are one line of the log.
const PROBLEMS_MAX: usize = 10;

/// The text with its control characters escaped, and those that are not seen and change how the rest of a
/// line looks. A file name, or words that an error quotes, must not forge a line of the log, or an assignment
/// of `sd_notify(3)`, by a line break or an escape sequence.
pub(crate) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() || is_invisible(character) {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

/// Separators of lines, marks of direction and characters without a width (Unicode, "Default ignorable" and
/// "Bidi control").
fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e0fff}'
    )
}

/// As [`one_line`], and no longer than `most` characters; what is cut ends in `…`.
pub(crate) fn shortened(text: &str, most: usize) -> String {
    // No character becomes shorter, so that no more than these are needed.
    let mut line = one_line(beginning(text, most + 1));
    if let Some((end, _)) = line.char_indices().nth(most) {
        let kept = line[..end].char_indices().next_back();
        line.truncate(kept.map_or(0, |(last, _)| last));
        line.push('…');
    }
    line
}

/// The text in quotation marks, with quotation marks and control characters inside escaped. Of a text
/// with more than `most` characters these, and `…` after the marks.
pub(crate) fn quoted(text: &str, most: usize) -> String {
    let shown = beginning(text, most);
    let more = if shown.len() < text.len() { "…" } else { "" };
    format!("{shown:?}{more}")
}

/// The text as it is, for a message that escapes it: of a text with more than `most` characters these,
/// and `…`.
pub(crate) fn cut(text: &str, most: usize) -> Cow<'_, str> {
    let shown = beginning(text, most);
    if shown.len() < text.len() {
        Cow::Owned(format!("{shown}…"))
    } else {
        Cow::Borrowed(text)
    }
}

/// Bytes as text, and no more of them than [`shortened`] and [`cut`] need for `most` characters.
pub(crate) fn lossy(bytes: &[u8], most: usize) -> Cow<'_, str> {
    // A character has four bytes at most, so that the last one that counts is whole.
    String::from_utf8_lossy(&bytes[..bytes.len().min(4 * (most + 1))])
}

/// The characters of a text but for its digits: texts that differ by numbers alone are alike.
pub(crate) fn without_numbers(text: &str) -> impl Iterator<Item = char> {
    text.chars().filter(|character| !character.is_ascii_digit())
}

/// The first `most` characters.
pub(crate) fn beginning(text: &str, most: usize) -> &str {
    match text.char_indices().nth(most) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

/// Of many problems those that fit a line of the log, and how many more there are.
pub(crate) fn first_few(problems: &mut Vec<String>) {
    let more = problems.len().saturating_sub(PROBLEMS_MAX);
    problems.truncate(PROBLEMS_MAX);
    if more > 0 {
        problems.push(format!("and {more} more"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_breaks_a_line() {
        assert_eq!(
            one_line("a\nREADY=1\r\t\0\x1b[2J\u{85}ö"),
            r"a\nREADY=1\r\t\u{0}\u{1b}[2J\u{85}ö"
        );
        assert_eq!(
            one_line("\u{202e}rat\u{200b}.\u{2028}"),
            r"\u{202e}rat\u{200b}.\u{2028}"
        );
    }

    #[test]
    fn what_is_cut_says_so() {
        assert_eq!(shortened("größe", 5), "größe");
        assert_eq!(shortened("größer", 5), "größ…");
        assert_eq!(shortened("\n\n\n", 5), r"\n\n…");
        assert_eq!(shortened("a", 0), "…");
        assert_eq!(quoted("a\"ö", 3), r#""a\"ö""#);
        assert_eq!(quoted("a\"ö", 2), r#""a\""…"#);
        assert_eq!(cut("größe", 5), "größe");
        assert_eq!(cut("größer", 5), "größe…");
        let long = "🦀".repeat(9);
        assert_eq!(cut(&lossy(long.as_bytes(), 2), 2), "🦀🦀…");
        assert_eq!(cut(&lossy(&long.as_bytes()[..8], 2), 2), "🦀🦀");
    }
}
