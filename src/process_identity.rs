//! What tells a process apart from another one that gets its pid (proc(5)).

use std::fs;
use std::os::unix::fs::MetadataExt as _;

/// When the process of this pid began, in clock ticks since the boot (proc_pid_stat(5)); `None` where there
/// is none, or it has ended and was not waited for.
pub fn start_of(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may have any character in it.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    let state = fields.next()?;
    (!matches!(state, "Z" | "X")).then_some(())?;
    // `starttime` is the 22nd field, and the state the third.
    fields.nth(18)?.parse().ok()
}

/// The inode number of the PID namespace of this process; `None` where `/proc` cannot be read.
pub(crate) fn pid_namespace() -> Option<u64> {
    let namespace = fs::metadata("/proc/self/ns/pid").ok()?;
    Some(namespace.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_a_start_and_a_pid_that_is_none_has_not() {
        let own = start_of(std::process::id());
        assert!(own.is_some_and(|ticks| ticks > 0), "{own:?}");
        assert_eq!(own, start_of(std::process::id()));
        assert_ne!(own, start_of(1));
        assert_eq!(start_of(u32::MAX), None);
        assert!(pid_namespace().is_some_and(|inode| inode != 0));
    }
}
