//! Paths in an archive: those of its members, of what links lead to, and of the files that its
//! documents name. All are normalised in one way, so that they are found by each other. No path of an
//! archive ever reaches the file system.

/// The path as the catalogue has it: no leading `/` or `./`, no `.`, no `..`, no empty parts. A
/// backslash separates parts too: tools on Windows write it, and no image format has one in a name.
/// `None` where the path leads out of the archive or is empty.
pub(crate) fn normalise(path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split(['/', '\\']) {
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

/// What a symbolic link at `path`, which is normalised, points to: a path from the link's directory.
/// An absolute one leads out of the archive.
pub(crate) fn symlink_target(path: &str, target: &str) -> Option<String> {
    if target.starts_with(['/', '\\']) {
        return None;
    }
    let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
    normalise(&format!("{directory}/{target}"))
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
            (r"blobs\sha256\00", Some("blobs/sha256/00")),
            (r".\a/b\c", Some("a/b/c")),
            (r"a\..\..\b", None),
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
        assert_eq!(
            symlink("a/layer.tar", r"..\b\layer.tar").as_deref(),
            Some("b/layer.tar")
        );
        assert_eq!(symlink("layer.tar", "b.tar").as_deref(), Some("b.tar"));
        assert_eq!(symlink("layer.tar", "../b.tar"), None);
        assert_eq!(symlink("a/layer.tar", "/b.tar"), None);
    }
}
