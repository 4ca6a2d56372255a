//! What `/proc` tells of a process (proc(5)): whether it runs, its memory, and how often it wakes up.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Whether it is there and not a zombie. Its command line would not tell: that is empty for a moment
/// of each execve(2) as well.
pub fn is_running(pid: impl Display) -> bool {
    let state = state(Path::new(&format!("/proc/{pid}")));
    !matches!(state, None | Some('Z' | 'X'))
}

/// Whether all of its threads are stopped: SIGSTOP is sent before it has stopped any.
pub fn is_stopped(pid: u32) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("its threads");
    let mut tasks = tasks.map(|task| task.expect("a thread").path());
    tasks.all(|task| state(&task) == Some('T'))
}

fn state(process: &Path) -> Option<char> {
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    // The state follows the name, which ends with the last parenthesis.
    stat.rsplit_once(") ")?.1.chars().next()
}

/// A field of its status that is told in kB, such as `VmHWM:`, in KiB.
pub fn kibibytes(pid: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    number(&status, field)
}

/// Fails with the names of the threads that woke up during this time.
pub fn stays_asleep(pid: u32, during: Duration) -> Result<(), String> {
    let wake_ups = wake_ups(pid, during);
    match wake_ups.is_empty() {
        true => Ok(()),
        false => Err(format!("wake-ups: {wake_ups:?}")),
    }
}

/// How often each of its threads is put on a processor during this time; of those that are at all, with
/// their names. Those that end meanwhile are left out.
pub fn wake_ups(pid: u32, during: Duration) -> Vec<(String, u64)> {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let before = switches(&process);
    std::thread::sleep(during);
    let more = |(task, (name, now)): (PathBuf, (String, u64))| {
        let before = before.get(&task).map_or(0, |(_, before)| *before);
        // One that has the number of another that ended began with none.
        (name, now.checked_sub(before).unwrap_or(now))
    };
    let after = switches(&process).into_iter().map(more);
    after.filter(|(_, wake_ups)| *wake_ups > 0).collect()
}

/// The name of each thread, and its context switches so far, wanted or not.
fn switches(process: &Path) -> BTreeMap<PathBuf, (String, u64)> {
    let tasks = fs::read_dir(process.join("task")).expect("its threads");
    let tasks = tasks.map(|task| task.expect("a thread").path());
    let switches = |task: PathBuf| {
        // It may have just ended.
        let status = fs::read_to_string(task.join("status")).ok()?;
        let fields = ["voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:"];
        let sum = fields.iter().map(|field| number(&status, field)).sum();
        let name = fs::read_to_string(task.join("comm")).ok()?;
        Some((task, (name.trim_end().to_owned(), sum)))
    };
    tasks.filter_map(switches).collect()
}

/// The number that a line of a status begins with after its name.
fn number(status: &str, field: &str) -> u64 {
    let mut lines = status.lines();
    let found = lines.find_map(|line| line.strip_prefix(field));
    let words = found.unwrap_or_else(|| panic!("no {field} in:\n{status}"));
    let word = words.split_whitespace().next().expect("a number");
    word.parse().expect("a number")
}
