//! The order of entries: natural version order, in which `1.10` comes after `1.9`.
//!
//! Names in one directory, of which none is hidden, are in the order of `ls -v`
//! (<https://www.gnu.org/software/coreutils/manual/html_node/Version-sort-ordering-rules.html>): an
//! operator can look at it. It depends on no locale.

use std::cmp::Ordering;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A path that is ordered as entries are.
#[derive(Debug, Clone)]
pub struct InNameOrder<P>(pub P);

impl<P: AsRef<Path>> Ord for InNameOrder<P> {
    fn cmp(&self, other: &Self) -> Ordering {
        name_order(self.0.as_ref(), other.0.as_ref())
    }
}

impl<P: AsRef<Path>> PartialOrd for InNameOrder<P> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<P: AsRef<Path>> PartialEq for InNameOrder<P> {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_ref() == other.0.as_ref()
    }
}

impl<P: AsRef<Path>> Eq for InNameOrder<P> {}

/// Compares one component after the other; equal are only paths that are equal. A directory comes right
/// before what is in it.
pub(crate) fn name_order(a: &Path, b: &Path) -> Ordering {
    let (mut a, mut b) = (a.components(), b.components());
    loop {
        let order = match (a.next(), b.next()) {
            (Some(a), Some(b)) => names(a.as_os_str().as_bytes(), b.as_os_str().as_bytes()),
            (a, b) => return a.is_some().cmp(&b.is_some()),
        };
        if order.is_ne() {
            return order;
        }
    }
}

/// Suffixes count only where the rest is equal: `app-1.tar` comes before `app-1.1.tar`.
fn names(a: &[u8], b: &[u8]) -> Ordering {
    let order = versions(without_suffixes(a), without_suffixes(b));
    // Of two numbers that are equal one may have more zeros in front.
    order.then_with(|| versions(a, b)).then_with(|| a.cmp(b))
}

/// A suffix begins with a dot and a letter: `.tar.zst`, but not `.1` of a version.
fn without_suffixes(name: &[u8]) -> &[u8] {
    let mut rest = name;
    while let Some(dot @ 1..) = rest.iter().rposition(|byte| *byte == b'.')
        && let [first, more @ ..] = &rest[dot + 1..]
        && (first.is_ascii_alphabetic() || *first == b'~')
        && more
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || *byte == b'~')
    {
        rest = &rest[..dot];
    }
    rest
}

/// Compares text by its bytes and digits by their value, in turn.
fn versions(mut a: &[u8], mut b: &[u8]) -> Ordering {
    while !(a.is_empty() && b.is_empty()) {
        let (text, number) = part(&mut a);
        let (other_text, other_number) = part(&mut b);
        let order = weights(text).cmp(weights(other_text));
        let order = order.then(number.len().cmp(&other_number.len()));
        let order = order.then_with(|| number.cmp(other_number));
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

/// Takes text and the digits after it, without the zeros in front of these, off the beginning.
fn part<'a>(name: &mut &'a [u8]) -> (&'a [u8], &'a [u8]) {
    let mut take = |are_digits: bool| {
        let is_other = |byte: &u8| byte.is_ascii_digit() != are_digits;
        let end = name.iter().position(is_other).unwrap_or(name.len());
        let (taken, rest) = name.split_at(end);
        *name = rest;
        taken
    };
    let (text, digits) = (take(false), take(true));
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    (text, &digits[zeros..])
}

/// `~` comes before the end of a text, `1.0~rc1` before `1.0`; letters come before anything else.
fn weights(text: &[u8]) -> impl Iterator<Item = u16> {
    let weight = |byte: &u8| match byte {
        b'~' => 0,
        letter if letter.is_ascii_alphabetic() => u16::from(*letter),
        other => 0x100 + u16::from(*other),
    };
    text.iter().map(weight).chain([1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::path::PathBuf;

    #[test]
    fn each_list_is_in_name_order() {
        let long = format!("a-1{}.tar", "0".repeat(200));
        let longer = format!("a-2{}.tar", "0".repeat(200));
        for list in [
            &["bundle-1.9.tar", "bundle-1.10.tar", "bundle-2.tar"][..],
            // The suffix is no part of the version, nor is its number.
            &[
                "app.tar",
                "app-1.tar",
                "app-1.0.tar",
                "app-1.0.1.tar",
                "app-1.1.tar.zst",
            ],
            &[
                "app-1.9.tar.bz2",
                "app-1.10.tar.gz",
                "app-1.10.tar.lz4",
                "app-1.11.tar",
            ],
            &[
                "registry.k8s.io_pause_3.9.tar",
                "registry.k8s.io_pause_3.10.tar",
            ],
            &[
                "app-1.0~rc1.tar",
                "app-1.0~rc2.tar",
                "app-1.0.tar",
                "app-1.0-1.tar",
            ],
            // Dates, and numbers that are longer than any integer.
            &["2026-09-30.tar", "2026-10-01.tar", "2026-10-2.tar"],
            &[
                "a-9.tar",
                "a-99999999999999999999.tar",
                "a-100000000000000000000.tar",
                &long,
                &longer,
            ],
            // More zeros first, where the value is the same.
            &[
                "a-0.tar",
                "a-001.tar",
                "a-01.tar",
                "a-1.tar",
                "a-002.tar",
                "a-02.tar",
                "a-10.tar",
            ],
            &[
                "1.tar", "2.tar", "10.tar", "A.tar", "B.tar", "a.tar", "b.tar",
            ],
            // A directory, one component after the other.
            &[
                "/",
                "/i",
                "/i/a-9",
                "/i/a-9/z.tar",
                "/i/a-10/a.tar",
                "/i/b/a.tar",
                "/i/b.tar",
            ],
            &["1.9/10.tar", "1.10/9.tar"],
        ] {
            let paths = list.iter().map(Path::new).collect::<Vec<_>>();
            assert_ordered(&paths);
        }
    }

    #[test]
    fn a_name_need_not_be_text() {
        let names = [
            &b"a-\xff9"[..],
            b"a-\xff10",
            b"a-\xff\xff1",
            b"\xc3\xa9-2",
            b"\xc3\xa9-10",
        ];
        assert_ordered(&names.map(|name| Path::new(OsStr::from_bytes(name))));
    }

    /// All words of some letters: if each is less than each one after it, the order has no circle and
    /// takes no two of them for equal.
    #[test]
    fn the_order_is_total() {
        let mut words = vec![Vec::new()];
        let mut all = Vec::new();
        for _ in 0..3 {
            let longer = words.iter().flat_map(|word: &Vec<u8>| {
                let letters = b"019a~.-\xff";
                letters.iter().map(|letter| [word, &[*letter][..]].concat())
            });
            words = longer.collect();
            all.extend(
                words
                    .iter()
                    .map(|word| PathBuf::from(OsStr::from_bytes(word))),
            );
        }
        // Paths that are equal may be written in several ways.
        all.sort();
        all.dedup();
        all.sort_by(|a, b| name_order(a, b));
        assert!(all.len() > 500);
        assert_ordered(&all);
    }

    #[test]
    fn paths_are_equal_however_they_are_written() {
        for (a, b) in [
            ("/i/a.tar", "/i//a.tar"),
            ("/i/a", "/i/a/"),
            ("/i/./a", "/i/a"),
        ] {
            assert_eq!(InNameOrder(a).cmp(&InNameOrder(b)), Ordering::Equal);
            assert_eq!(InNameOrder(a), InNameOrder(b));
        }
    }

    fn assert_ordered<P: AsRef<Path>>(paths: &[P]) {
        for (number, a) in paths.iter().map(AsRef::as_ref).enumerate() {
            assert_eq!(name_order(a, a), Ordering::Equal);
            for b in paths[number + 1..].iter().map(AsRef::as_ref) {
                assert_eq!(name_order(a, b), Ordering::Less, "{a:?} {b:?}");
                assert_eq!(name_order(b, a), Ordering::Greater, "{b:?} {a:?}");
            }
        }
    }
}
