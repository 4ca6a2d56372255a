//! Text that somebody else wrote, for people: file names, and what containerd says.

/// How many problems of one entry are told: they are one line of the log.
const PROBLEMS_MAX: usize = 10;

/// The text on one line: whoever can name a file, or be quoted in an error, must not be able to
/// forge a line of the log, or an assignment of `sd_notify(3)`, by a line break or an escape
/// sequence.
pub fn shown(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

/// As [`shown`], and no longer than `most` characters; what is cut ends in `…`.
pub fn shortened(text: &str, most: usize) -> String {
    let mut line = shown(text);
    if let Some((end, _)) = line.char_indices().nth(most) {
        let kept = line[..end].char_indices().next_back();
        line.truncate(kept.map_or(0, |(last, _)| last));
        line.push('…');
    }
    line
}

/// Of many problems those that fit a line of the log, and how many more there are.
pub fn first_few(problems: &mut Vec<String>) {
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
            shown("a\nREADY=1\r\t\0\x1b[2J\u{85}ö"),
            r"a\nREADY=1\r\t\u{0}\u{1b}[2J\u{85}ö"
        );
    }

    #[test]
    fn what_is_cut_says_so() {
        assert_eq!(shortened("größe", 5), "größe");
        assert_eq!(shortened("größer", 5), "größ…");
        assert_eq!(shortened("\n\n\n", 5), r"\n\n…");
        assert_eq!(shortened("a", 0), "…");
    }
}
