//! A disk that is as slow as a test needs it.

use std::process::Command;

use crate::machine::Machine;

/// Where the machine finds the library.
const LIBRARY: &str = "/var/lib/stowd/slow-disk.so";

/// Lines for `[Service]` with which a program reads its files at this speed. The machine gets the
/// library for it.
pub(crate) fn install(machine: &Machine, bytes_per_second: u64) -> String {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/slow-disk.c");
    let output = Command::new("cc")
        .args([
            "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-pthread", source, "-ldl", "-o",
        ])
        .arg(machine.path(LIBRARY))
        .output()
        .expect("cc: apt-get install gcc libc6-dev");
    assert!(output.status.success(), "{output:?}");
    format!("Environment=LD_PRELOAD={LIBRARY} SLOW_DISK={bytes_per_second}")
}
