//! The directories that containerd is pointed at.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::config;

/// A directory that cannot be created or used.
#[derive(Debug, thiserror::Error)]
#[error("{key}: cannot make the directory {}: {cause}", .path.display())]
pub struct DirectoryError {
    /// The key of the configuration that names it.
    pub key: &'static str,
    pub path: PathBuf,
    pub cause: io::Error,
}

/// Makes containerd's root, its state and the socket's directory where they are missing, each with
/// mode 0711 as containerd itself does: others may pass through but not list.
///
/// # Errors
/// Names the key and the directory.
pub fn make(config: &config::ContainerdConfig) -> Result<(), DirectoryError> {
    let socket = config.address.parent().unwrap_or(Path::new(""));
    for (key, path) in [
        ("containerd.root", config.root.as_path()),
        ("containerd.state", config.state.as_path()),
        ("containerd.address", socket),
    ] {
        make_one(path).map_err(|cause| DirectoryError {
            key,
            path: path.to_owned(),
            cause,
        })?;
    }
    Ok(())
}

fn make_one(path: &Path) -> io::Result<()> {
    if path.as_os_str().is_empty() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(parent)?;
    }
    // Recursive: an existing directory is success, and a file in its place is an error.
    DirBuilder::new().recursive(true).mode(0o711).create(path)
}
