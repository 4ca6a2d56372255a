//! The files that a command is given: `-` is standard input.

use std::env;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::entry::{Kind, Verdict};

/// The file name that stands for standard input.
const STDIN: &str = "-";

/// Where files lie that are too large for `/tmp`, which may be in memory (file-hierarchy(7)).
const LARGE_FILES: &str = "/var/tmp";

/// Why a file cannot be taken as an archive, whatever is in it.
#[derive(Debug, thiserror::Error)]
pub(super) enum UnfitInput {
    #[error("cannot be looked at: {0}")]
    Look(#[from] io::Error),
    #[error(
        "an OCI layout in a directory, and no archive: pack it with tar -C {} -cf FILE.tar .",
        .0.display()
    )]
    Layout(PathBuf),
    #[error("a directory, and no archive")]
    Directory,
    #[error("a list of images, and no archive: put it into the images directory")]
    List,
    #[error("it is no regular file, and cannot be copied to {}: {cause}; TMPDIR names another directory", dir.display())]
    Copy {
        /// Where the copy was to lie.
        dir: PathBuf,
        cause: io::Error,
    },
}

/// A file that can be read at any place, and looked at by its path as long as this lives.
pub(super) struct Input {
    pub(super) path: PathBuf,
    _open: Option<File>,
}

impl Input {
    /// The file of this name. Of a pipe, a socket or a terminal there is a copy first, without a name, in
    /// `$TMPDIR` or `/var/tmp`: it blocks as long as that is written to.
    pub(super) fn named(name: &Path) -> Result<Self, UnfitInput> {
        if name == Path::new(STDIN) {
            let input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
            // It may be another user's, and not be opened by its path.
            let is_file = input.metadata()?.is_file() && File::open(path_of(&input)).is_ok();
            return match is_file {
                true => Ok(Self::open(input)),
                false => Self::copied(input),
            };
        }
        let looked = fs::metadata(name)?;
        if looked.is_dir() {
            return Err(match name.join("oci-layout").exists() {
                true => UnfitInput::Layout(name.to_owned()),
                false => UnfitInput::Directory,
            });
        }
        if !looked.is_file() {
            return Self::copied(File::open(name)?);
        }
        if Verdict::on(name.file_name().unwrap_or_default()) == Verdict::Entry(Kind::List) {
            return Err(UnfitInput::List);
        }
        Ok(Self {
            path: std::path::absolute(name)?,
            _open: None,
        })
    }

    fn open(file: File) -> Self {
        Self {
            path: path_of(&file),
            _open: Some(file),
        }
    }

    fn copied(mut from: impl Read) -> Result<Self, UnfitInput> {
        let dir = env::var_os("TMPDIR").filter(|dir| !dir.is_empty());
        let dir = dir.map_or_else(|| LARGE_FILES.into(), PathBuf::from);
        let copy = || {
            let mut copy = File::options()
                .read(true)
                .write(true)
                .custom_flags(libc::O_TMPFILE)
                .mode(0o600)
                .open(&dir)?;
            io::copy(&mut from, &mut copy)?;
            Ok(copy)
        };
        match { copy }() {
            Ok(copy) => Ok(Self::open(copy)),
            Err(cause) => Err(UnfitInput::Copy { dir, cause }),
        }
    }
}

fn path_of(file: &File) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}
