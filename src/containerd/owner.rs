//! Which process began a lease, so that the leases of a process that still runs are not cleared.

use std::fs;

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
    let mut parts = owner.split('.');
    let (Some(in_namespace), Some(pid), Some(tick)) = (parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let Ok(pid) = pid.parse() else {
        return false;
    };
    namespace().is_some_and(|own| own == in_namespace) && started(pid).as_deref() != Some(tick)
}

/// The inode number of the pid namespace.
fn namespace() -> Option<String> {
    let link = fs::read_link("/proc/self/ns/pid").ok()?;
    let text = link.to_str()?;
    Some(text.strip_prefix("pid:[")?.strip_suffix(']')?.to_owned())
}

fn started(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field, the name in parentheses, may hold anything; starttime is the 22nd.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(19).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_processes_that_are_known_to_have_ended_have() {
        let this = this_process();
        assert!(!this.is_empty());
        assert!(!has_ended(&this));

        let namespace = namespace().unwrap();
        let pid = std::process::id();
        assert!(
            has_ended(&format!("{namespace}.{pid}.1")),
            "the pid was given anew"
        );
        // Beyond the largest pid that Linux gives.
        assert!(has_ended(&format!("{namespace}.4194305.1")));
        for unknown in ["", "7", "x.y.z", "1.4194305.1"] {
            assert!(!has_ended(unknown), "{unknown}");
        }
    }
}
