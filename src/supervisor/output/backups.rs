//! The rotated files beside the log file: their names, and which of them are removed. Pure.
//!
//! `containerd.log` is rotated to `containerd-2026-11-21T10-00-00.123Z.log`, in UTC, and from
//! there to `….log.gz`, through `….log.gz.part`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// The suffix of a compressed file.
pub(super) const GZIP: &str = ".gz";
/// The suffix of a file that is being compressed.
pub(super) const PART: &str = ".gz.part";

/// What is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How many rotated files. 0: none.
    pub max_backups: usize,
    /// The longest age of a rotated file. Zero: no limit.
    pub max_age: Duration,
    /// Whether they are compressed.
    pub compress: bool,
}

/// How the rotated files of one log file are named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Naming {
    /// The file's name up to its extension, and a dash.
    prefix: Vec<u8>,
    /// The extension with its dot, or nothing.
    suffix: Vec<u8>,
}

/// Which files are to be removed and which one is to be compressed next.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Cleanup {
    /// Too many, too old, or half done.
    pub remove: Vec<OsString>,
    /// The oldest of those that stay and are not compressed yet.
    pub compress: Option<OsString>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Form {
    Plain,
    Gzip,
    Part,
}

impl Naming {
    /// For the log file of this path.
    pub fn of(file: &Path) -> Self {
        let bytes = |part: Option<&OsStr>| part.map(|p| p.as_bytes().to_vec()).unwrap_or_default();
        let mut prefix = bytes(file.file_stem());
        prefix.push(b'-');
        let mut suffix = bytes(file.extension());
        if !suffix.is_empty() {
            suffix.insert(0, b'.');
        }
        Self { prefix, suffix }
    }

    /// The name of a file that is rotated at this time, whose milliseconds count.
    pub fn name(&self, time: SystemTime) -> OsString {
        let time = humantime::format_rfc3339_millis(time).to_string();
        let stamp = time.replace(':', "-");
        OsString::from_vec([&self.prefix, stamp.as_bytes(), &self.suffix].concat())
    }

    /// The time in the name of a rotated file; `None` for any other file.
    pub fn time(&self, name: &OsStr) -> Option<SystemTime> {
        self.parse(name).map(|(time, _)| time)
    }

    fn parse(&self, name: &OsStr) -> Option<(SystemTime, Form)> {
        let name = name.as_bytes().strip_prefix(self.prefix.as_slice())?;
        let (name, form) = if let Some(name) = name.strip_suffix(PART.as_bytes()) {
            (name, Form::Part)
        } else if let Some(name) = name.strip_suffix(GZIP.as_bytes()) {
            (name, Form::Gzip)
        } else {
            (name, Form::Plain)
        };
        let stamp = name.strip_suffix(self.suffix.as_slice())?;
        let mut time = stamp.to_vec();
        for at in [13, 16] {
            if *time.get(at)? != b'-' {
                return None;
            }
            time[at] = b':';
        }
        let time = humantime::parse_rfc3339(std::str::from_utf8(&time).ok()?).ok()?;
        // Only what `name` would make: not the same time with more or fewer digits.
        (stamp.len() == "2026-11-21T10-00-00.123Z".len()).then_some((time, form))
    }

    /// Decides by the names in a directory. Names that are not of this log file are left alone.
    pub fn plan(
        &self,
        names: impl IntoIterator<Item = OsString>,
        policy: Policy,
        now: SystemTime,
    ) -> Cleanup {
        let mut backups: Vec<(SystemTime, Form, OsString)> = names
            .into_iter()
            .filter_map(|name| self.parse(&name).map(|(time, form)| (time, form, name)))
            .collect();
        backups.sort();
        let mut plan = Cleanup::default();
        // Compression renames the complete result before it removes the source. Where both exist, it was
        // interrupted between the two; a `.part` file is of one that was interrupted earlier.
        let compressed: Vec<SystemTime> = (backups.iter())
            .filter(|(_, form, _)| *form == Form::Gzip)
            .map(|(time, _, _)| *time)
            .collect();
        backups.retain(|(time, form, name)| {
            let stale = match form {
                Form::Plain => compressed.contains(time),
                Form::Gzip => false,
                Form::Part => true,
            };
            if stale {
                plan.remove.push(name.clone());
            }
            !stale
        });
        let surplus = backups.len().saturating_sub(policy.max_backups);
        for (index, (time, form, name)) in backups.into_iter().enumerate() {
            let too_old = !policy.max_age.is_zero()
                && (now.duration_since(time)).is_ok_and(|age| age > policy.max_age);
            if index < surplus || too_old {
                plan.remove.push(name);
            } else if policy.compress && form == Form::Plain && plan.compress.is_none() {
                plan.compress = Some(name);
            }
        }
        plan
    }
}
