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
    matter: BTreeSet<Mount>,
}

/// The mount table at one time.
#[derive(Debug, Default)]
pub(super) struct Table(Vec<u8>);

/// A mount.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mount {
    pub(super) point: PathBuf,
    /// Mount, parent, device, root and mount point, as the table has them: what tells one mount from
    /// another. What follows in the table can change while the mount stays what it is.
    fields: Vec<u8>,
}

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

    /// The mounts whose mount point matters.
    fn mounts(&self, matters: impl Fn(&Path) -> bool) -> BTreeSet<Mount> {
        self.all().filter(|mount| matters(&mount.point)).collect()
    }

    /// The mount that a path without links is on.
    pub(super) fn mount_of(&self, path: &Path) -> Option<Mount> {
        let above = self.all().filter(|mount| path.starts_with(&mount.point));
        // Of several at one point the last hides the others.
        above.max_by_key(|mount| mount.point.components().count())
    }

    /// What the table says of the server of a mount, by its number. `None` where it does not tell it from
    /// others, also after a reboot: the source of many is a word such as `tmpfs` or `s3fs`, or a device, and
    /// that holds another stick tomorrow.
    pub(super) fn server(&self, mount: u64) -> Option<Vec<u8>> {
        let number = mount.to_string();
        let mut lines = self.0.split(|byte| *byte == b'\n');
        let mut fields = lines.find_map(|line| {
            let mut fields = line.split(|byte| *byte == b' ');
            (fields.next()? == number.as_bytes()).then_some(fields)
        })?;
        let root = fields.nth(2)?;
        // Optional fields end with a hyphen.
        let mut fields = fields.skip_while(|field| *field != b"-").skip(1);
        let (kind, source) = (fields.next()?, fields.next()?);
        let is_named = source.iter().any(|byte| matches!(byte, b'/' | b':'));
        let is_server = match kind {
            // Its source is a tag of the virtual machine.
            b"virtiofs" | b"9p" => true,
            _ => is_named && !source.starts_with(b"/dev/"),
        };
        is_server.then(|| [kind, source, root].join(&b' '))
    }

    pub(super) fn has(&self, mount: &Mount) -> bool {
        self.all().any(|other| other == *mount)
    }

    fn all(&self) -> impl Iterator<Item = Mount> {
        let lines = self.0.split(|byte| *byte == b'\n');
        lines.filter_map(|line| {
            let fields: Vec<&[u8]> = line.splitn(6, |byte| *byte == b' ').take(5).collect();
            let point = unescaped(fields.get(4)?);
            let fields = fields.join(&b' ');
            Some(Mount { point, fields })
        })
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
    fn a_path_is_on_the_innermost_mount_and_there_on_the_last() {
        let table =
            Table(b"22 1 8:1 / / rw\n30 22 0:40 / /srv rw\n31 22 0:41 / /srv rw\n".to_vec());
        for (path, expected) in [
            ("/srv/a", "31"),
            ("/srv", "31"),
            ("/srvs", "22"),
            ("/", "22"),
        ] {
            let mount = table.mount_of(Path::new(path)).unwrap();
            assert!(
                mount.fields.starts_with(expected.as_bytes()),
                "{path}: {mount:?}"
            );
            assert!(table.has(&mount));
        }
        assert_eq!(Table::default().mount_of(Path::new("/srv")), None);
    }

    #[test]
    fn a_server_is_known_by_its_source_whatever_its_numbers_are() {
        let id = |line: &str| {
            let table =
                Table(format!("22 1 8:1 / / rw - ext4 /dev/sda1 rw\n{line}\n").into_bytes());
            assert_eq!(table.server(31), None);
            table.server(30)
        };
        let nfs = id("30 22 0:40 / /srv rw - nfs4 nas:/images rw,addr=10.0.0.1");
        assert!(nfs.is_some());
        for (line, is_same) in [
            (
                "30 7 0:52 / /srv rw shared:9 - nfs4 nas:/images rw,addr=10.0.0.2",
                true,
            ),
            (
                "30 22 0:40 / /srv rw - nfs4 nas:/others rw,addr=10.0.0.1",
                false,
            ),
            (
                "30 22 0:40 /sub /srv rw - nfs4 nas:/images rw,addr=10.0.0.1",
                false,
            ),
        ] {
            let other = id(line);
            assert!(other.is_some() && (other == nfs) == is_same, "{line}");
        }
        for kind in ["virtiofs", "9p"] {
            assert!(id(&format!("30 22 0:40 / /srv rw - {kind} images rw")).is_some());
        }
        for unknown in [
            "tmpfs tmpfs",
            "fuse.s3fs s3fs",
            "fuse /dev/fuse",
            "fuseblk /dev/sdb1",
        ] {
            assert_eq!(id(&format!("30 22 0:40 / /srv rw - {unknown} rw")), None);
        }
    }

    #[test]
    fn what_is_no_escape_is_left() {
        assert_eq!(unescaped(b"/a\\134b\\"), Path::new("/a\\b\\"));
        assert_eq!(unescaped(b"/a\\999\\12"), Path::new("/a\\999\\12"));
    }
}
