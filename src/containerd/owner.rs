//! Which process began a lease, so that the leases of a process that still runs are not cleared.

use crate::process_identity::{pid_namespace, start_of};

/// This process, told apart from all others of this machine: its pid namespace, its pid and the
/// clock tick at which it started (proc(5), `/proc/pid/stat`). Empty where `/proc` cannot be read.
pub(super) fn this_process() -> String {
    let pid = std::process::id();
    match (namespace(), started(pid)) {
        (Some(namespace), Some(started)) => format!("{namespace}.{pid}.{started}"),
        _ => String::new(),
    }
}

/// Whether the process that called itself `owner` has certainly ended. One in another pid namespace
/// cannot be seen from here: its leases are left to their expiry.
pub(super) fn has_ended(owner: &str) -> bool {
    look(owner) == Some(false)
}

/// Whether the process that called itself `owner` certainly runs.
pub(super) fn runs(owner: &str) -> bool {
    look(owner) == Some(true)
}

/// Whether it runs; `None` where that cannot be seen.
fn look(owner: &str) -> Option<bool> {
    let (in_namespace, pid, tick) = parse(owner)?;
    (namespace()? == in_namespace).then(|| started(pid).as_deref() == Some(tick))
}

/// The pid of the process that called itself `owner`, in its own pid namespace.
pub(super) fn pid(owner: &str) -> Option<u32> {
    parse(owner).map(|(_, pid, _)| pid)
}

/// The pid namespace, the pid and the tick.
fn parse(owner: &str) -> Option<(&str, u32, &str)> {
    let mut parts = owner.split('.');
    let namespace = parts.next()?;
    let pid = parts.next()?.parse().ok()?;
    Some((namespace, pid, parts.next()?))
}

fn namespace() -> Option<String> {
    pid_namespace().map(|inode| inode.to_string())
}

fn started(pid: u32) -> Option<String> {
    start_of(pid).map(|tick| tick.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_processes_that_are_known_to_have_ended_have() {
        let this = this_process();
        assert!(!this.is_empty());
        assert!(!has_ended(&this) && runs(&this));
        assert_eq!(pid(&this), Some(std::process::id()));

        let namespace = namespace().unwrap();
        assert!(
            has_ended(&format!("{namespace}.{}.1", std::process::id())),
            "the pid was given anew"
        );
        // Beyond the largest pid that Linux gives.
        assert!(has_ended(&format!("{namespace}.4194305.1")));
        for unknown in ["", "7", "x.y.z", "1.4194305.1"] {
            assert!(!has_ended(unknown) && !runs(unknown), "{unknown}");
        }
    }
}
