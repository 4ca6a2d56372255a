//! Sees what is mounted over a directory, of which inotify says nothing.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// The mount table of this process (proc_pid_mountinfo(5)). poll(2) tells by `POLLPRI` that it has
/// changed.
const TABLE: &str = "/proc/self/mountinfo";

/// The mounts that matter.
#[derive(Debug, Default)]
pub(super) struct Mounts {
    table: Option<File>,
    matter: BTreeSet<Vec<u8>>,
}

/// The mount table at one time.
#[derive(Debug)]
pub(super) struct Table(Vec<u8>);

impl Mounts {
    /// Without /proc there is nothing to see.
    pub(super) fn new() -> Self {
        Self {
            table: File::open(TABLE).ok(),
            matter: BTreeSet::new(),
        }
    }

    /// What to poll for `POLLPRI`.
    pub(super) fn table(&self) -> Option<&File> {
        self.table.as_ref()
    }

    /// Takes `table`, which was read *before* the directories were looked at, for what is known.
    pub(super) fn know(&mut self, table: &Table, matters: impl Fn(&Path) -> bool) {
        self.matter = table.mounts(matters);
    }

    /// Whether anything that matters differs from what is known.
    pub(super) fn differ(&self, table: &Table, matters: impl Fn(&Path) -> bool) -> bool {
        self.matter != table.mounts(matters)
    }
}

impl Table {
    /// The table as it is now.
    pub(super) fn read() -> Self {
        Self(fs::read(TABLE).unwrap_or_default())
    }

    /// The mounts whose mount point matters: what tells one mount from another.
    fn mounts(&self, matters: impl Fn(&Path) -> bool) -> BTreeSet<Vec<u8>> {
        let lines = self.0.split(|byte| *byte == b'\n');
        let mounts = lines.filter_map(|line| {
            // Mount, parent, device, root, mount point. What follows can change while the mount
            // stays what it is.
            let fields: Vec<&[u8]> = line.splitn(6, |byte| *byte == b' ').take(5).collect();
            let point = fields.get(4)?;
            matters(&unescaped(point)).then(|| fields.join(&b' '))
        });
        mounts.collect()
    }
}

/// Space, tab, newline and backslash are written in octal.
fn unescaped(field: &[u8]) -> PathBuf {
    let mut path = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let octal = after.get(..3).and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 8).ok()
        });
        match (byte, octal) {
            (b'\\', Some(byte)) => {
                path.push(byte);
                rest = &after[3..];
            }
            _ => {
                path.push(byte);
                rest = after;
            }
        }
    }
    OsString::from_vec(path).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_known_by_its_point_and_by_what_is_mounted() {
        let before = b"22 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /srv/my\\040images rw - tmpfs tmpfs rw
31 22 0:41 / /srv/other rw - tmpfs tmpfs rw
";
        let matters = |point: &Path| point == Path::new("/srv/my images");
        let mut mounts = Mounts {
            table: None,
            matter: BTreeSet::new(),
        };
        let table = Table(before.to_vec());
        assert!(mounts.differ(&table, matters));
        mounts.know(&table, matters);
        let after = |from: &str, to: &str| {
            let text = String::from_utf8(before.to_vec()).unwrap();
            assert!(text.contains(from));
            mounts.differ(&Table(text.replace(from, to).into_bytes()), matters)
        };
        assert!(!after("/srv/other", "/srv/another"));
        assert!(!after("shared:1", "shared:2"));
        assert!(after("0:40", "0:42"));
        assert!(after("/srv/my", "/srv/his"));
    }

    #[test]
    fn what_is_no_escape_is_left() {
        assert_eq!(unescaped(b"/a\\134b\\"), Path::new("/a\\b\\"));
        assert_eq!(unescaped(b"/a\\999\\12"), Path::new("/a\\999\\12"));
    }
}
