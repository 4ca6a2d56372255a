//! What it was measured on: figures of one machine say little of another.

use std::fs;
use std::path::Path;
use std::process::Command;

/// What of a processor makes hashing and decompressing fast, as `/proc/cpuinfo` calls it.
const FLAGS: [&str; 7] = ["sha_ni", "avx2", "avx512f", "bmi2", "vaes", "sha2", "asimd"];

/// A line a fact.
pub(crate) fn facts() -> Vec<String> {
    vec![processors(), system(), disk(Path::new("/var/tmp"))]
}

/// `containerd github.com/containerd/containerd 1.6.20~ds1 ...` without what says nothing.
pub(crate) fn version_of(containerd: &Path) -> String {
    let said = output(Command::new(containerd).arg("--version"));
    let version = said.split(' ').nth(2).unwrap_or(&said);
    version.to_owned()
}

/// The first line that a command prints; nothing when it fails.
pub(crate) fn output(command: &mut Command) -> String {
    let output = command.output();
    let Some(output) = output.ok().filter(|output| output.status.success()) else {
        return String::new();
    };
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().next().unwrap_or_default().to_owned()
}

/// How many processes wanted a processor or a disk, on average of the last minute.
pub(crate) fn load() -> f64 {
    let text = read("/proc/loadavg");
    let first = text.split(' ').next().unwrap_or_default();
    first.parse().unwrap_or_default()
}

/// Whether that is more than what it has got, so that what is measured has to share.
pub(crate) fn is_busy(load: f64) -> bool {
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    u32::try_from(count).is_ok_and(|count| load > f64::from(count))
}

fn processors() -> String {
    let info = read("/proc/cpuinfo");
    let field = |names: &[&str]| {
        let mut lines = info.lines();
        let line = lines.find(|line| names.iter().any(|name| line.starts_with(name)));
        let value = line.and_then(|line| line.split_once(':'));
        value.map_or("", |(_, value)| value.trim())
    };
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    let has = field(&["flags", "Features"]).split(' ').collect::<Vec<_>>();
    let mut flags = FLAGS.to_vec();
    flags.retain(|flag| has.contains(flag));
    let virtual_one = if has.contains(&"hypervisor") {
        ", virtual"
    } else {
        ""
    };
    format!(
        "{count} processors{virtual_one}: {} {}, {}, with {}",
        field(&["vendor_id", "CPU implementer"]),
        field(&["model name", "CPU part"]),
        std::env::consts::ARCH,
        flags.join(" ")
    )
}

fn system() -> String {
    let name = read("/etc/os-release");
    let mut lines = name.lines();
    let name = lines.find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let memory = read("/proc/meminfo");
    let mut words = memory.split_whitespace();
    let memory = words.nth(1).and_then(|word| word.parse::<u64>().ok());
    format!(
        "{}, Linux {}, {} GiB of memory",
        name.unwrap_or_default().trim_matches('"'),
        read("/proc/sys/kernel/osrelease").trim(),
        memory.unwrap_or_default() >> 20
    )
}

/// What the content is written to.
fn disk(dir: &Path) -> String {
    let mounts = read("/proc/self/mountinfo");
    // The fifth field is where it is mounted; type and source follow the field of one dash.
    let mount = |line: &str| {
        let (place, rest) = line.split_once(" - ")?;
        let point = place.split(' ').nth(4)?.to_owned();
        let mut rest = rest.split(' ');
        Some((point, rest.next()?.to_owned(), rest.next()?.to_owned()))
    };
    let above = mounts.lines().filter_map(mount);
    let above = above.filter(|(point, ..)| dir.starts_with(point));
    // Of two at one place the later one is on top.
    let Some((_, kind, source)) = above.max_by_key(|(point, ..)| point.len()) else {
        return String::new();
    };
    let device = fs::canonicalize(&source).unwrap_or_default();
    let device = device.file_name().unwrap_or_default().to_string_lossy();
    // A virtual disk that turns is a default of its hypervisor: only what is denied is told.
    let turns = match read(&format!("/sys/class/block/{device}/queue/rotational")).trim() {
        "0" => ", which does not rotate",
        _ => "",
    };
    format!("content on {kind} on {source}{turns}")
}

fn read(file: &str) -> String {
    fs::read_to_string(file).unwrap_or_default()
}
