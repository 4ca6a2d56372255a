//! Time that processes have spent on a processor, as `proc_pid_stat(5)` tells it.

use std::time::Duration;

/// What times are counted in there, on every architecture that containerd runs on.
const TICKS_PER_SECOND: u64 = 100;

/// Of a process that runs: user and system.
pub(crate) fn of_process(pid: u32) -> Duration {
    ticks(&format!("/proc/{pid}/stat"), 14)
}

/// Of all children of this process that have ended and were waited for.
pub(crate) fn of_ended_children() -> Duration {
    ticks("/proc/self/stat", 16)
}

/// The sum of a field, counted from 1, and the next.
fn ticks(file: &str, field: usize) -> Duration {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{file}: {error}"));
    // The second field is a name in parentheses, which may hold anything.
    let (_, rest) = text.rsplit_once(") ").expect("a name in parentheses");
    let fields = rest.split(' ').skip(field - 3).take(2);
    let ticks = fields.map(|field| field.parse::<u64>().expect("a number"));
    Duration::from_millis(ticks.sum::<u64>() * 1000 / TICKS_PER_SECOND)
}
