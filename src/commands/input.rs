//! The files that a command is given: `-` is standard input.

use std::env;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// The file name that stands for standard input.
const STDIN: &str = "-";

/// Where files lie that are too large for `/tmp`, which may be in memory (file-hierarchy(7)).
const LARGE_FILES: &str = "/var/tmp";

/// A file that can be read at any place, and looked at by its path as long as this lives.
pub(super) struct Input {
    pub(super) path: PathBuf,
    _copy: Option<File>,
}

impl Input {
    /// The file of this name. Of a pipe there is a copy first, without a name, in `$TMPDIR` or `/var/tmp`.
    pub(super) fn named(name: &Path) -> io::Result<Self> {
        if name != Path::new(STDIN) {
            return Ok(Self {
                path: std::path::absolute(name)?,
                _copy: None,
            });
        }
        let input = seekable_stdin()?;
        Ok(Self {
            path: format!("/proc/self/fd/{}", input.as_raw_fd()).into(),
            _copy: Some(input),
        })
    }
}

fn seekable_stdin() -> io::Result<File> {
    let input = File::open("/proc/self/fd/0")?;
    if input.metadata()?.is_file() {
        return Ok(input);
    }
    let dir = env::var_os("TMPDIR").filter(|dir| !dir.is_empty());
    let mut copy = File::options()
        .read(true)
        .write(true)
        .custom_flags(libc::O_TMPFILE)
        .mode(0o600)
        .open(dir.unwrap_or_else(|| LARGE_FILES.into()))?;
    io::copy(&mut io::stdin().lock(), &mut copy)?;
    Ok(copy)
}
