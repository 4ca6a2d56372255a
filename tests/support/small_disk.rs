//! A disk that is soon full.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A small file system of its own; gone with the value.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Of so many megabytes, at a path that is not there yet.
    pub fn at(path: PathBuf, megabytes: u32) -> Self {
        std::fs::create_dir(&path).unwrap();
        let disk = Self(path);
        disk.mount(&format!("size={megabytes}m"));
        disk
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Has it have so many megabytes.
    pub fn grow(&self, megabytes: u32) {
        self.mount(&format!("remount,size={megabytes}m"));
    }

    fn mount(&self, options: &str) {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(&self.0)
            .status();
        assert!(mounted.unwrap().success(), "mount -o {options}");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // What swept the directory may have unmounted it already.
        let umount = Command::new("umount").arg("--lazy").arg(&self.0).output();
        drop(umount);
    }
}
