//! Text that fits a number of columns. A character counts for one.

/// The text in so many columns: of a longer one the middle is left out, for `…`.
pub(super) fn cut_middle(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    let Some(kept) = width.checked_sub(1) else {
        return String::new();
    };
    let end = kept.div_ceil(2);
    let begin = text.chars().take(kept - end);
    let end = text.chars().skip(length - end);
    begin.chain(['…']).chain(end).collect()
}

/// The text in lines of so many columns, of which `first` are taken in the first line, and `indent` in the
/// others. It is broken at spaces, and a word that is longer than a line in itself.
pub(super) fn wrapped(text: &str, width: usize, first: usize, indent: usize) -> String {
    let mut lines = String::new();
    let (mut column, mut begin) = (first, first);
    let next_line = |lines: &mut String| {
        lines.push('\n');
        lines.push_str(&" ".repeat(indent));
        (indent, indent)
    };
    for word in text.split(' ') {
        let length = word.chars().count();
        let is_begun = column > begin;
        if is_begun && column + 1 + length > width {
            (column, begin) = next_line(&mut lines);
        } else if is_begun {
            lines.push(' ');
            column += 1;
        }
        for character in word.chars() {
            if column >= width && column > begin {
                (column, begin) = next_line(&mut lines);
            }
            lines.push(character);
            column += 1;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_goes_and_both_ends_stay() {
        assert_eq!(cut_middle("größe", 5), "größe");
        assert_eq!(cut_middle("registry.example/app:1.2", 11), "regis…p:1.2");
        assert_eq!(cut_middle("abcdef", 4), "a…ef");
        assert_eq!(cut_middle("abc", 1), "…");
        assert_eq!(cut_middle("abc", 0), "");
    }

    #[test]
    fn lines_are_broken_at_spaces_and_in_words_that_are_too_long() {
        assert_eq!(wrapped("one two three", 8, 0, 2), "one two\n  three");
        assert_eq!(wrapped("one", 8, 6, 2), "on\n  e");
        assert_eq!(
            wrapped("x sha256:0123456789", 8, 0, 2),
            "x\n  sha256\n  :01234\n  56789"
        );
        assert_eq!(wrapped("0123456789 b", 6, 3, 2), "012\n  3456\n  789\n  b");
    }
}
