//! Paths of members: normalised for the catalogue, and shortened for messages. No path of an
//! archive ever reaches the file system.

use std::fmt;

use crate::one_line::{lossy, shortened};

/// The path as the catalogue has it: no leading `/` or `./`, no `.`, no `..`, no empty parts.
/// `None` where it leads out of the archive or is empty.
pub(super) fn normalise(path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

/// What a hard link points to: a path from the root of the archive (POSIX pax, "linkname").
pub(super) fn hard_link_target(target: &str) -> Option<String> {
    normalise(target)
}

/// What a symbolic link at `path` points to: a path from the link's directory. An absolute one
/// leads out of the archive.
pub(super) fn symlink_target(path: &str, target: &str) -> Option<String> {
    if target.starts_with('/') {
        return None;
    }
    let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
    normalise(&format!("{directory}/{target}"))
}

/// The path of a member as a message shows it: control characters escaped, and cut to fit a
/// line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberName(String);

const SHOWN: usize = 120;

impl MemberName {
    pub(super) fn new(path: &[u8]) -> Self {
        // A path may be megabytes long: cut before it is looked at.
        Self(shortened(&lossy(path, SHOWN), SHOWN))
    }
}

impl fmt::Display for MemberName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_plain_or_no_path() {
        for (path, plain) in [
            ("a", Some("a")),
            ("./a/b", Some("a/b")),
            ("/etc/passwd", Some("etc/passwd")),
            ("a//b/./c/", Some("a/b/c")),
            ("a/../b", Some("b")),
            ("a/../../b", None),
            ("../b", None),
            ("..", None),
            (".", None),
            ("./", None),
            ("", None),
        ] {
            assert_eq!(normalise(path).as_deref(), plain, "{path}");
        }
    }

    #[test]
    fn links_are_followed_from_where_they_are() {
        let symlink = |path, target| symlink_target(path, target);
        assert_eq!(
            symlink("a/layer.tar", "../b/layer.tar").as_deref(),
            Some("b/layer.tar")
        );
        assert_eq!(symlink("layer.tar", "b.tar").as_deref(), Some("b.tar"));
        assert_eq!(symlink("layer.tar", "../b.tar"), None);
        assert_eq!(symlink("a/layer.tar", "/b.tar"), None);
        assert_eq!(
            hard_link_target("./b/layer.tar").as_deref(),
            Some("b/layer.tar")
        );
        assert_eq!(hard_link_target("../layer.tar"), None);
    }

    #[test]
    fn a_name_stays_a_line() {
        assert_eq!(MemberName::new(b"a/b").to_string(), "a/b");
        assert_eq!(
            MemberName::new(b"a\nb\x1b[31m").to_string(),
            "a\\nb\\u{1b}[31m"
        );
        let long = MemberName::new(&vec![b'x'; 1 << 20]).to_string();
        assert_eq!(long.chars().count(), SHOWN);
        assert!(long.ends_with('…'));
    }
}
