//! Tells `stowd --version` what it was built from.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=BUILD_REVISION");
    // It grows with each commit. Cargo would build anew each time if it were told of a missing file.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"])
        && Path::new(&log).exists()
    {
        println!("cargo:rerun-if-changed={log}");
    }
    let given = std::env::var("BUILD_REVISION").ok();
    let revision = given.or_else(|| git(&["rev-parse", "--short=12", "HEAD"]));
    let revision = revision.as_deref().unwrap_or("unknown revision");
    println!("cargo:rustc-env=BUILD_REVISION={revision}");
    let target = std::env::var("TARGET").unwrap_or_default();
    println!("cargo:rustc-env=BUILD_TARGET={target}");
}

/// What git answers in a checkout; nothing in an archive of the sources.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
