//! What is said of files that are no entries.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::look::announce;
use super::reach::Reach;
use crate::compression::of_misnamed;
use crate::layout::{INDEX, OCI_LAYOUT, claimed_digest};
use crate::source_event::{Ignored, LooksLike};

/// As much of a file as tells an archive.
const HEAD: u64 = 512;

/// What is to be said of a file that is no entry; `None`: nothing, it is a part of an OCI layout, of
/// which one line is enough.
pub(super) fn ignored(path: PathBuf, reach: &Reach) -> Option<Ignored> {
    if announce(&path, reach).is_err() {
        return Some(path.into());
    }
    let name = path.file_name().unwrap_or_default();
    let is_blob = path.to_str().and_then(claimed_digest).is_some();
    let is_part = is_blob || (name == INDEX && path.with_file_name(OCI_LAYOUT).exists());
    if is_part {
        return None;
    }
    let looks_like = match name == OCI_LAYOUT {
        true => LooksLike::OciLayout,
        false => of_content(&path),
    };
    Some(Ignored { path, looks_like })
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
    fn of_an_oci_layout_its_blobs_alone_are_passed_over() {
        let hex = "ab".repeat(32);
        for (path, is_told) in [
            (format!("layout/blobs/sha256/{hex}"), false),
            (format!("layout/blobs/sha256/{}", hex.to_uppercase()), true),
            (format!("checksums/sha256/{hex}"), true),
        ] {
            let told = ignored(Path::new("/proc/none").join(&path), &Reach::default());
            assert_eq!(told.is_some(), is_told, "{path}");
        }
    }

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
