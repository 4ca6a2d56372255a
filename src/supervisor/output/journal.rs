//! What journald's stream protocol asks for (sd_journal_stream_fd(3), and systemd's
//! `journald-stream.c` for the header). Pure, but for one look at stderr.

use std::path::PathBuf;

use crate::config::LineLevel;
use crate::journal_stream;

/// Where journald takes streams.
pub(super) const SOCKET: &str = "/run/systemd/journal/stdout";

/// The header of a stream: identifier, unit (journald knows it by the control group), priority of
/// lines that say none (info), that lines may begin with `<N>`, and that nothing is forwarded
/// beyond what journald is configured to.
pub(super) const HEADER: &[u8] = b"containerd\n\n6\n1\n0\n0\n0\n";

/// The socket, when stderr of this process is the journal's. In a root directory of its own stowd may
/// have the stream and not the socket: then stderr is used.
pub(super) fn socket() -> Option<PathBuf> {
    let stderr = rustix::fs::fstat(std::io::stderr()).ok()?;
    journal_stream::names(
        &std::env::var_os("JOURNAL_STREAM")?,
        stderr.st_dev,
        stderr.st_ino,
    )
    .then(|| PathBuf::from(SOCKET))
    .filter(|socket| socket.exists())
}

/// A line as it is sent: with its syslog priority in front. journald removes one such prefix, so that a
/// prefix that the child wrote stays part of the text.
pub fn entry(line: &[u8]) -> Vec<u8> {
    let mut entry = Vec::with_capacity(line.len() + 4);
    entry.extend_from_slice(&[b'<', b'0' + priority(line), b'>']);
    entry.extend_from_slice(line);
    entry
}

/// The syslog priority (syslog(3)) of a line of containerd's, 0 to 7, from the `level` of its text
/// or JSON form. The messages that Go's runtime dies with are critical; anything else is info.
pub fn priority(line: &[u8]) -> u8 {
    const CRITICAL: u8 = 2;
    const INFO: u8 = 6;
    match level(line) {
        Some(b"trace" | b"debug") => 7,
        Some(b"warning" | b"warn") => 4,
        Some(b"error") => 3,
        Some(b"fatal" | b"panic") => CRITICAL,
        None if line.starts_with(b"panic: ") || line.starts_with(b"fatal error: ") => CRITICAL,
        _ => INFO,
    }
}

/// Whether a line of containerd's is of this level or a greater one. A line that says no level passes: it
/// is of a program that containerd has started, or of a Go runtime that dies.
pub fn passes(line: &[u8], least: LineLevel) -> bool {
    let level = match level(line) {
        Some(b"trace") => LineLevel::Trace,
        Some(b"debug") => LineLevel::Debug,
        Some(b"info") => LineLevel::Info,
        Some(b"warning" | b"warn") => LineLevel::Warn,
        _ => LineLevel::Error,
    };
    level >= least
}

/// `time="…" level=info msg="…"` or `{"level":"info","msg":"…"}`. What the message says does not
/// count: it comes after the level in the one form and is escaped in the other.
fn level(line: &[u8]) -> Option<&[u8]> {
    let (key, end): (&[u8], u8) = if line.starts_with(b"{") {
        (b"\"level\":\"", b'"')
    } else {
        (b"level=", b' ')
    };
    let at = line.windows(key.len()).position(|window| window == key)?;
    let head = &line[..at];
    let counts = line.starts_with(b"{")
        || head.is_empty()
        || (head.starts_with(b"time=") && head.ends_with(b" ") && !contains(head, b" msg="));
    let value = &line[at + key.len()..];
    let length = value.iter().position(|byte| *byte == end || *byte == b'\n');
    counts.then(|| &value[..length.unwrap_or(value.len())])
}

fn contains(line: &[u8], what: &[u8]) -> bool {
    line.windows(what.len()).any(|window| window == what)
}
