//! What is said of files that are no entries.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::look::look_at;
use super::reach::Reach;
use crate::compression::of_misnamed;
use crate::source_event::{Ignored, LooksLike};

/// What marks a directory as an OCI layout, beside `index.json` (OCI image spec, "Image Layout").
pub(super) const OCI_LAYOUT: &str = "oci-layout";
/// Where such a directory has its blobs.
pub(super) const BLOBS: &str = "blobs";

const INDEX: &str = "index.json";

/// As much of a file as tells an archive.
const HEAD: u64 = 512;

/// What is to be said of a file that is no entry; `None`: nothing, it is a part of an OCI layout, of
/// which one line is enough.
pub(super) fn ignored(path: PathBuf, reach: &Reach) -> Option<Ignored> {
    if look_at(&path, reach).is_err() {
        return Some(path.into());
    }
    let name = path.file_name().unwrap_or_default();
    let is_part = is_blob(&path) || (name == INDEX && path.with_file_name(OCI_LAYOUT).exists());
    if is_part {
        return None;
    }
    let looks_like = match name == OCI_LAYOUT {
        true => LooksLike::OciLayout,
        false => of_content(&path),
    };
    Some(Ignored { path, looks_like })
}

/// Whether the path is that of a blob: `…/blobs/sha256/<hex>`.
fn is_blob(path: &Path) -> bool {
    let is_hex = |name: &OsStr| {
        let name = name.as_encoded_bytes();
        name.len() == 64 && name.iter().all(u8::is_ascii_hexdigit)
    };
    let above = path.parent().and_then(Path::file_name);
    above == Some(OsStr::new("sha256")) && path.file_name().is_some_and(is_hex)
}

/// Looks into regular files alone: opening a device may do something, and behind a link may be a file system
/// that hangs.
fn of_content(path: &Path) -> LooksLike {
    let is_file = path.symlink_metadata().is_ok_and(|found| found.is_file());
    if !is_file {
        return LooksLike::Nothing;
    }
    let open = File::options()
        .read(true)
        // A named pipe that has taken its place would make the open wait for a writer.
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path);
    let mut head = Vec::new();
    let read = open.and_then(|file| file.take(HEAD).read_to_end(&mut head));
    let found = read.ok().and_then(|_| of_misnamed(&head));
    found.map_or(LooksLike::Nothing, LooksLike::Archive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_regular_files_is_looked_into() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("app.img"), [0x1f, 0x8b, 8, 0]).unwrap();
        let looks_like = |name| ignored(at(name), &Reach::default()).unwrap().looks_like;
        assert!(matches!(looks_like("app.img"), LooksLike::Archive(_)));
        std::os::unix::fs::symlink("app.img", at("link.img")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        std::fs::create_dir(at("directory")).unwrap();
        for name in ["link.img", "socket", "directory", "none"] {
            assert!(matches!(looks_like(name), LooksLike::Nothing), "{name}");
        }
    }
}
