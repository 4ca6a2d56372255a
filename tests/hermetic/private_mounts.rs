//! Mounts that no other process sees, and that are gone when the test is, however it ends.

use std::path::Path;
use std::process::Command;

const INSIDE: &str = "STOWD_TEST_PRIVATE_MOUNTS";

/// Runs `body` in a mount namespace of its own: this test, `name` as the runner prints it, runs
/// itself once more in there. Without root a user namespace makes it possible.
pub(crate) fn in_private_mounts(name: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    let exe = std::env::current_exe().expect("the test's own binary");
    let mut unshare = Command::new("unshare");
    unshare.arg("--mount");
    if !rustix::process::geteuid().is_root() {
        unshare.arg("--map-root-user");
    }
    let output = unshare
        .arg(exe)
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare(1) of util-linux");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{}\n{said}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}

/// `mount OPTIONS SOURCE TARGET`.
pub(crate) fn mount(options: &[&str], source: &Path, target: &Path) {
    let mut mount = Command::new("mount");
    let output = mount.args(options).arg(source).arg(target).output();
    let output = output.expect("mount(8)");
    assert!(
        output.status.success(),
        "{mount:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
