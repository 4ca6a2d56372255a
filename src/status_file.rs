//! `status.json` on disk: where it is, and how it is written.
//!
//! It is `/run/stowd/status.json` where the state directory is `/var/lib/stowd`, and in the state directory
//! where that is another one: it is found by the configuration alone, and no two daemons share it, as no two
//! share a state directory. It lies in a directory that systemd does not make (`RuntimeDirectory=`), because
//! systemd would empty that when the unit stops, and the bundles of living containers are in it.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::status::{STATUS_VERSION, StatusDocument};

const NAME: &str = "status.json";
const USUAL_STATE_DIR: &str = "/var/lib/stowd";
const RUN_DIR: &str = "/run/stowd";
/// A longer file is none of stowd's.
const MAX: u64 = 256 << 20;

/// What every version of the document has.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

/// Where the daemon with this state directory writes it.
pub fn path_for(state_dir: &Path) -> PathBuf {
    let dir = match state_dir == Path::new(USUAL_STATE_DIR) {
        true => Path::new(RUN_DIR),
        false => state_dir,
    };
    dir.join(NAME)
}

/// Puts it in the place of the one before, whole or not at all, readable by everyone. It is not synced: after
/// a loss of power nothing of it is believed.
pub fn write(path: &Path, document: &StatusDocument) -> io::Result<()> {
    let json = serde_json::to_vec(document)?;
    let new = path.with_extension("json.new");
    if let Some(dir) = path.parent() {
        // As the supervisor makes it: others may pass through, and not list.
        DirBuilder::new().recursive(true).mode(0o711).create(dir)?;
    }
    let put = || {
        let mut file = File::create(&new)?;
        // Whatever the umask is.
        file.set_permissions(Permissions::from_mode(0o644))?;
        file.write_all(&json)?;
        fs::rename(&new, path)
    };
    put().inspect_err(|_| _ = fs::remove_file(&new))
}

/// Takes it away.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Reads it; `None` where there is none.
pub fn read(path: &Path) -> io::Result<Option<StatusDocument>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut json = Vec::new();
    file.take(MAX).read_to_end(&mut json)?;
    let Version { version } = serde_json::from_slice(&json)?;
    if version != STATUS_VERSION {
        let text = format!("of version {version}, and this stowd reads version {STATUS_VERSION}");
        return Err(io::Error::other(text));
    }
    Ok(Some(serde_json::from_slice(&json)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lies_in_run_for_the_usual_daemon_and_beside_the_ledger_of_another() {
        let path = |state_dir| path_for(Path::new(state_dir)).display().to_string();
        assert_eq!(path("/var/lib/stowd"), "/run/stowd/status.json");
        assert_eq!(path("/var/lib/stowd/"), "/run/stowd/status.json");
        assert_eq!(path("/srv/b"), "/srv/b/status.json");
    }
}
