//! Paths as text: a path on Linux is bytes, a JSON string is not.
//!
//! UTF-8 stays as it is, but for `%`, which becomes `%25`; any other byte becomes `%` and two
//! upper-case hexadecimal digits.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The text of a path.
pub(super) fn write(path: &Path) -> String {
    let mut text = String::new();
    for chunk in path.as_os_str().as_bytes().utf8_chunks() {
        text.push_str(&chunk.valid().replace('%', "%25"));
        for byte in chunk.invalid() {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

/// The path of a text; `None` where a `%` has no two digits after it.
pub(super) fn read(text: &str) -> Option<PathBuf> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend(rest.as_bytes());
    }
    Some(OsString::from_vec(bytes).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;

    #[test]
    fn every_path_comes_back() {
        let paths: [&[u8]; 8] = [
            b"",
            b"a/b.tar",
            b"100%.tar",
            b"%41.tar",
            "ä\n\u{1f4e6}.tar".as_bytes(),
            b"\xff\xfe.tar",
            b"a\xc3",
            b"\xe2\x82%\xac",
        ];
        for path in paths {
            let path = Path::new(OsStr::from_bytes(path));
            assert_eq!(read(&write(path)).as_deref(), Some(path), "{path:?}");
        }
        let every = (0..=255u8).collect::<Vec<_>>();
        let every = Path::new(OsStr::from_bytes(&every));
        assert_eq!(read(&write(every)).unwrap(), every);
    }

    #[test]
    fn the_form_is_the_documented_one() {
        let path = Path::new(OsStr::from_bytes("ä 5%\u{7f}".as_bytes()));
        assert_eq!(write(path), "ä 5%25\u{7f}");
        assert_eq!(write(Path::new(OsStr::from_bytes(b"x\xffy"))), "x%FFy");
    }

    #[test]
    fn a_broken_escape_is_no_path() {
        for text in ["%", "a%2", "%zz", "%+1", "%ä", "x%f"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
