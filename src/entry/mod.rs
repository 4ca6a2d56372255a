//! Entries: which files of the images directory count, what tells one version of a file from the next,
//! and their order (`name_order`).

mod name_order;

use std::ffi::OsStr;
use std::fs::Metadata;
use std::hash::{Hash, Hasher};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::compression::is_archive_name;

pub use name_order::InNameOrder;
pub(crate) use name_order::name_order;

/// A file of the images directory that stowd acts on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it is, links not resolved.
    pub path: PathBuf,
    pub kind: Kind,
    /// Which version of it was seen.
    pub identity: Identity,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file with images in it.
    Archive,
    /// A file with names of images to pull.
    List,
}

/// What a file name says about the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Entry(Kind),
    /// It is hidden, or will be renamed when it is whole: it is never mentioned.
    Temporary,
    /// Something else, which is mentioned once.
    Other,
}

const LISTS: [&str; 1] = [".txt"];
const TEMPORARY: [&str; 4] = [".part", ".partial", ".tmp", "~"];

impl Verdict {
    /// Judges a file by its name, in any case of letters.
    pub fn on(name: &OsStr) -> Self {
        let name = name.as_bytes().to_ascii_lowercase();
        // A name that is nothing but a suffix begins with a dot: hidden.
        let ends_in = |suffixes: &[&str]| suffixes.iter().any(|s| name.ends_with(s.as_bytes()));
        if name.starts_with(b".") || ends_in(&TEMPORARY) {
            Self::Temporary
        } else if is_archive_name(&name) {
            // The compression is what the first bytes say: the name only says that it is for stowd.
            Self::Entry(Kind::Archive)
        } else if ends_in(&LISTS) {
            Self::Entry(Kind::List)
        } else {
            Self::Other
        }
    }
}

/// A path for people, on one line whatever is in it.
pub fn shown(path: &Path) -> String {
    crate::one_line::one_line(&path.to_string_lossy())
}

/// The last name of a path, for people.
pub fn file_name(path: &Path) -> String {
    shown(Path::new(path.file_name().unwrap_or_default()))
}

/// One version of a file. Another length or other times, older or newer, make another version. Another
/// device or inode alone does not: device numbers change with a reboot, and FAT, exFAT and FUSE make
/// inodes up.
#[derive(Debug, Clone, Copy, Eq)]
pub struct Identity {
    /// The device that holds it.
    pub device: u64,
    /// Its inode there.
    pub inode: u64,
    /// Its length in bytes.
    pub size: u64,
    /// When its bytes changed, in nanoseconds since the epoch.
    pub mtime: i128,
    /// When its inode changed, in nanoseconds since the epoch.
    pub ctime: i128,
}

impl Identity {
    /// What `stat(2)` or `fstat(2)` told.
    pub fn of(metadata: &Metadata) -> Self {
        Self::from_parts(
            (metadata.dev(), metadata.ino()),
            metadata.size(),
            (metadata.mtime(), metadata.mtime_nsec()),
            (metadata.ctime(), metadata.ctime_nsec()),
        )
    }

    /// The same, from the device and the inode, the size, and the times in seconds and nanoseconds.
    pub(crate) fn from_parts(
        (device, inode): (u64, u64),
        size: u64,
        mtime: (i64, i64),
        ctime: (i64, i64),
    ) -> Self {
        let nanoseconds =
            |(seconds, rest): (i64, i64)| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
        Self {
            device,
            inode,
            size,
            mtime: nanoseconds(mtime),
            ctime: nanoseconds(ctime),
        }
    }
}

impl Identity {
    fn version(&self) -> (u64, i128, i128) {
        (self.size, self.mtime, self.ctime)
    }
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.version() == other.version()
    }
}

impl Hash for Identity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.version().hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(name: &str) -> Verdict {
        Verdict::on(OsStr::new(name))
    }

    #[test]
    fn every_documented_name_counts_in_any_case() {
        for name in [
            "a.tar",
            "a.tar.bz2",
            "a.tbz",
            "a.tbz2",
            "IMAGES.TAR.ZST",
            "a.TgZ",
        ] {
            assert_eq!(verdict(name), Verdict::Entry(Kind::Archive), "{name}");
        }
        assert_eq!(verdict("images.TXT"), Verdict::Entry(Kind::List));
    }

    #[test]
    fn files_on_their_way_are_passed_over() {
        for name in [
            ".a.tar",
            ".a.tar.Xy12",
            "a.tar.part",
            "a.tar.gz.partial",
            "a.tmp",
            "a.tar~",
            ".tar",
        ] {
            assert_eq!(verdict(name), Verdict::Temporary, "{name}");
        }
    }

    #[test]
    fn no_name_breaks_a_line() {
        let forged = Path::new("/images/a.tar\nREADY=1\x1b[2J.tar");
        assert_eq!(shown(forged), r"/images/a.tar\nREADY=1\u{1b}[2J.tar");
        assert_eq!(shown(Path::new("/bilder/größe.tar")), "/bilder/größe.tar");
    }

    #[test]
    fn anything_else_is_other() {
        for name in [
            "README.md",
            "footar",
            "a.zip",
            "a.tar.sig",
            "tar",
            "images.json",
            "footar.zst",
        ] {
            assert_eq!(verdict(name), Verdict::Other, "{name}");
        }
        assert_eq!(
            Verdict::on(OsStr::from_bytes(b"\xff\xfe.tar")),
            Verdict::Entry(Kind::Archive)
        );
    }
}
