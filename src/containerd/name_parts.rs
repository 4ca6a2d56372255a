//! All names in parts, for lists that are too long for one answer.
//!
//! A part is cut in two by one bit of one character, counted from the end of the names: there, in tags,
//! names differ. containerd's filters take Go's regular expressions (`pkg/filters`).

/// Names that one filter finds. Each name is in one of the two halves of a part.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct NamePart {
    /// Which half of each cut: all of them must hold.
    halves: Vec<bool>,
}

/// The characters that differ in the names of images. All others count as having no bit set.
const CHARACTERS: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_.:/-";

/// In `CHARACTERS`, whose numbers are below 64 + 32.
const BITS: usize = 7;

/// Names are told apart by so many of their last characters.
const DEPTH: usize = 64;

impl NamePart {
    /// The filter, in the words of containerd; none finds all names.
    pub(super) fn filters(&self) -> Vec<String> {
        let cuts = self.halves.iter().enumerate();
        let cuts = cuts.map(|(number, is_set)| format!("name~=\"{}\"", pattern(number, *is_set)));
        let all = cuts.collect::<Vec<_>>().join(",");
        if all.is_empty() {
            Vec::new()
        } else {
            vec![all]
        }
    }

    /// The two halves of the part; `None`: it is cut no further.
    pub(super) fn cut(&self) -> Option<[Self; 2]> {
        let half = |is_set| {
            let mut halves = self.halves.clone();
            halves.push(is_set);
            Self { halves }
        };
        (self.halves.len() < BITS * DEPTH).then(|| [half(false), half(true)])
    }
}

/// Finds the names in which the bit of a cut is set, or those in which it is not. Names that are too
/// short have no bit set.
fn pattern(cut: usize, is_set: bool) -> String {
    let (from_end, bit) = (cut / BITS, cut % BITS);
    let characters = CHARACTERS.iter().enumerate();
    let set = characters.filter(|(number, _)| number & (1 << bit) != 0);
    // A hyphen is the last of them.
    let set = set.map(|(_, character)| char::from(*character));
    let set = set.collect::<String>();
    match is_set {
        true => format!("(?s)[{set}].{{{from_end}}}$"),
        false => format!("(?s)(^.{{0,{from_end}}}$|[^{set}].{{{from_end}}}$)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a name is in a part, told without a regular expression.
    fn has(part: &NamePart, name: &str) -> bool {
        let mut cuts = part.halves.iter().enumerate();
        cuts.all(|(cut, is_set)| {
            let character = name.bytes().rev().nth(cut / BITS);
            let number = character.and_then(|c| CHARACTERS.iter().position(|known| *known == c));
            *is_set == number.is_some_and(|number| number & (1 << (cut % BITS)) != 0)
        })
    }

    #[test]
    fn each_name_is_in_one_half() {
        let mut parts = vec![NamePart::default()];
        let names = (0..2000).map(|number| format!("r.example/{}:{number}", "x".repeat(600)));
        let names = names.chain(["".to_owned(), "a".to_owned(), "größe".to_owned()]);
        let names = names.collect::<Vec<_>>();
        for _ in 0..12 {
            parts = parts.iter().flat_map(|part| part.cut().unwrap()).collect();
            for name in &names {
                assert_eq!(
                    parts.iter().filter(|part| has(part, name)).count(),
                    1,
                    "{name}"
                );
            }
        }
        let most = parts
            .iter()
            .map(|part| names.iter().filter(|name| has(part, name)).count());
        assert!(most.max().unwrap() < 500);
    }

    #[test]
    fn a_part_is_cut_so_often_and_no_more() {
        let mut part = NamePart::default();
        assert_eq!(part.filters(), Vec::<String>::new());
        for _ in 0..BITS * DEPTH {
            part = part.cut().unwrap()[1].clone();
        }
        assert_eq!(part.cut(), None);
    }

    #[test]
    fn a_filter_is_one_conjunction() {
        let half = &NamePart::default().cut().unwrap()[0];
        let [filter] = <[String; 1]>::try_from(half.cut().unwrap()[1].filters()).unwrap();
        assert!(
            filter.starts_with("name~=\"(?s)(^.{0,0}$|[^1357"),
            "{filter}"
        );
        assert!(filter.contains("\",name~=\"(?s)[2367"), "{filter}");
    }
}
