//! The files of a configuration: finding drop-ins, reading text, and what is odd about a file.

use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FsWord, OFlags, fcntl_setfl, fstatfs, makedev};

use super::layer::Layer;
use super::origin::Origin;
use super::problem::Problem;

/// A configuration is a few kilobytes; what is longer than this is not one.
const LONGEST: u64 = 1 << 20;

/// The file system of pipes without a name (statfs(2), `PIPEFS_MAGIC`).
const PIPEFS: FsWord = 0x5049_5045;

/// The drop-ins of a directory in lexical order: `*.toml`, but no dotfiles. A missing directory
/// has none.
pub(super) fn drop_ins(
    directory: &Path,
    warnings: &mut Vec<String>,
) -> Result<Vec<PathBuf>, Problem> {
    let problem = |error: io::Error| Problem::new(file(directory), "", cannot_read(&error));
    let listing = match fs::read_dir(directory) {
        Ok(listing) => listing,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(problem(error)),
    };
    warn_of_writers(
        directory,
        &fs::metadata(directory).map_err(problem)?,
        warnings,
    );
    let mut found = Vec::new();
    for entry in listing {
        let name = entry.map_err(problem)?.file_name();
        if name.as_bytes().ends_with(b".toml") && !name.as_bytes().starts_with(b".") {
            found.push(directory.join(name));
        }
    }
    found.sort();
    Ok(found)
}

/// Reads one file; `None` where it is missing and may be.
pub(super) fn read(
    path: &Path,
    may_be_missing: bool,
    warnings: &mut Vec<String>,
) -> Result<Option<Layer>, Problem> {
    let problem = |what: String| Problem::new(file(path), "", what);
    let (metadata, bytes) = match bytes_of(path) {
        Ok(read) => read,
        Err(error) if error.kind() == ErrorKind::NotFound && may_be_missing => {
            // A link to nowhere is there, though what it names is not.
            if fs::symlink_metadata(path).is_err() {
                return Ok(None);
            }
            return Err(problem(
                "a symbolic link to a file that is missing".to_owned(),
            ));
        }
        Err(error) => return Err(problem(cannot_read(&error))),
    };
    if bytes.len() as u64 > LONGEST {
        return Err(problem(
            "longer than 1 MiB: this is no configuration file".to_owned(),
        ));
    }
    warn_of_writers(path, &metadata, warnings);
    let text = std::str::from_utf8(&bytes).map_err(|error| {
        problem(format!(
            "not text in UTF-8, from byte {} on",
            error.valid_up_to() + 1
        ))
    })?;
    // Editors on other systems put a byte-order mark there.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    Layer::of_toml(file(path), text).map(Some)
}

fn bytes_of(path: &Path) -> io::Result<(Metadata, Vec<u8>)> {
    let file = OpenOptions::new()
        .read(true)
        // Opening a FIFO without a writer would block the start.
        .custom_flags(OFlags::NONBLOCK.bits() as i32)
        .open(path)?;
    let metadata = file.metadata()?;
    let kind = metadata.file_type();
    if kind.is_fifo() && fstatfs(&file)?.f_type == PIPEFS {
        // The shell's, as in --config <(command): its writer is there, or was.
        fcntl_setfl(&file, OFlags::empty())?;
    } else if !(kind.is_file() || kind.is_dir() || is_null(&metadata)) {
        // Reading a directory gives an error that names it as one.
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut bytes)?;
    Ok((metadata, bytes))
}

/// `/dev/null`, which is in common use as an empty file.
fn is_null(metadata: &Metadata) -> bool {
    metadata.file_type().is_char_device() && metadata.rdev() == makedev(1, 3)
}

fn warn_of_writers(path: &Path, metadata: &Metadata, warnings: &mut Vec<String>) {
    if metadata.mode() & 0o002 != 0 && (metadata.is_file() || metadata.is_dir()) {
        let path = file(path);
        warnings.push(format!(
            "{path}: everyone may write here, and so decide what runs as root; chmod o-w {path}"
        ));
    }
}

fn cannot_read(error: &io::Error) -> String {
    let fix = match error.kind() {
        ErrorKind::NotFound => "; without --config a missing file leaves the defaults",
        ErrorKind::PermissionDenied => "; stowd reads it as the user that it runs as",
        _ => "",
    };
    format!("cannot be read: {error}{fix}")
}

fn file(path: &Path) -> Origin {
    Origin::File(path.to_owned())
}
