//! The name that was probably meant by an unknown one.

/// The candidate that is close enough to `name` for a suggestion: a slip or two, another style
/// (`maxSize`, `state_dir`), or the right word in the wrong table.
pub(super) fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let last = last_word(name);
    let slips = (last.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| {
            let whole = distance(name, candidate);
            let elsewhere = distance(last, last_word(candidate)) + 1;
            (whole.min(elsewhere), whole, candidate)
        })
        .filter(|(score, ..)| *score <= slips)
        .min()
        .map(|(.., candidate)| candidate)
}

fn last_word(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(_, word)| word)
}

/// Letters to insert, remove or replace (Levenshtein), not counting case, `-` and `_`.
fn distance(a: &str, b: &str) -> usize {
    let letters = |text: &str| -> String {
        text.chars()
            .filter(|letter| !matches!(letter, '-' | '_'))
            .flat_map(char::to_lowercase)
            .collect()
    };
    strsim::levenshtein(&letters(a), &letters(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 6] = [
        "state-dir",
        "containerd.log.max-size",
        "images.dir",
        "images.settle",
        "images.parallel",
        "lists.pull-timeout",
    ];

    #[test]
    fn slips_styles_and_wrong_tables_are_seen() {
        for (wrong, right) in [
            ("images.setle", "images.settle"),
            ("images.directory", ""),
            ("state_dir", "state-dir"),
            ("containerd.log.maxSize", "containerd.log.max-size"),
            ("images.pull-timeout", "lists.pull-timeout"),
            ("settle", "images.settle"),
            ("imags.settle", "images.settle"),
            ("colour", ""),
            ("x", ""),
            ("", ""),
        ] {
            assert_eq!(nearest(wrong, NAMES).unwrap_or_default(), right, "{wrong}");
        }
    }

    #[test]
    fn case_and_style_are_no_distance() {
        for (a, b, n) in [
            ("", "", 0),
            ("", "abc", 3),
            ("kitten", "sitting", 3),
            ("flaw", "lawn", 2),
            ("Max-Size", "max_size", 0),
        ] {
            assert_eq!((distance(a, b), distance(b, a)), (n, n), "{a} {b}");
        }
    }
}
