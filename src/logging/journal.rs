//! A layer that sends each line to journald, in the journal's own protocol
//! (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>).
//!
//! What the protocol has a name for has it: `MESSAGE`, `MESSAGE_ID`, `PRIORITY`, `SYSLOG_IDENTIFIER`,
//! `CODE_FILE`, `CODE_LINE`. Every other field is `STOWD_` and its name in capitals, so that it is never
//! taken for one of systemd's.

use std::fmt::Debug;
use std::io;
use std::os::unix::net::UnixDatagram;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use crate::one_line::beginning;

const SOCKET: &str = "/run/systemd/journal/socket";

/// Under which name the journal keeps stowd's lines.
const IDENTIFIER: &str = "stowd";

/// The most characters of a value. A datagram is refused that is larger than the send buffer, of 208 KiB
/// mostly (socket(7), `wmem_default`).
const LONGEST: usize = 8000;

pub(super) struct JournalLayer {
    socket: UnixDatagram,
}

impl JournalLayer {
    /// # Errors
    /// Nothing listens where journald should.
    pub(super) fn connect() -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        // journald passes over a datagram without a field.
        socket.send_to(&[], SOCKET)?;
        Ok(Self { socket })
    }
}

impl<S: Subscriber> Layer<S> for JournalLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let mut entry = JournalEntry::default();
        entry.put("PRIORITY", priority(metadata.level()));
        entry.put("SYSLOG_IDENTIFIER", IDENTIFIER);
        entry.put("STOWD_TARGET", metadata.target());
        if let (Some(file), Some(line)) = (metadata.file(), metadata.line()) {
            entry.put("CODE_FILE", file);
            entry.put("CODE_LINE", &line.to_string());
        }
        event.record(&mut entry);
        // There is no other place to report it.
        let _ = self.socket.send_to(&entry.0, SOCKET);
    }
}

/// That of syslog(3).
fn priority(level: &Level) -> &'static str {
    match *level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        Level::DEBUG | Level::TRACE => "7",
    }
}

/// The fields of a line, as they are sent.
#[derive(Default)]
struct JournalEntry(Vec<u8>);

impl JournalEntry {
    /// `NAME`, the length of the value in 8 bytes, little-endian, and the value, which may have line breaks.
    fn put(&mut self, name: &str, value: &str) {
        let value = beginning(value, LONGEST);
        self.0.extend_from_slice(name.as_bytes());
        self.0.push(b'\n');
        self.0
            .extend_from_slice(&(value.len() as u64).to_le_bytes());
        self.0.extend_from_slice(value.as_bytes());
        self.0.push(b'\n');
    }
}

impl Visit for JournalEntry {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(&journal_name(field.name()), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

/// The name of a field in the journal, which takes capitals, digits and `_`.
fn journal_name(name: &str) -> String {
    let characters = name.chars().map(|character| match character {
        '.' => '_',
        character => character.to_ascii_uppercase(),
    });
    let is_allowed = |c: &char| matches!(c, 'A'..='Z' | '0'..='9' | '_');
    let capitals = characters.filter(is_allowed).collect::<String>();
    match capitals.as_str() {
        "MESSAGE" | "MESSAGE_ID" => capitals,
        _ => format!("STOWD_{capitals}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systemd_has_a_name_for_keeps_it_and_all_else_is_stowds() {
        for (name, expected) in [
            ("message", "MESSAGE"),
            ("message_id", "MESSAGE_ID"),
            ("next_try", "STOWD_NEXT_TRY"),
            ("priority", "STOWD_PRIORITY"),
            ("otel.kind", "STOWD_OTEL_KIND"),
            ("_pid", "STOWD__PID"),
            ("größe", "STOWD_GRE"),
        ] {
            assert_eq!(journal_name(name), expected);
        }
    }

    #[test]
    fn a_value_is_sent_with_its_length_and_cut_where_it_is_too_long() {
        let mut entry = JournalEntry::default();
        entry.put("MESSAGE", "a\nb=c");
        assert_eq!(entry.0, b"MESSAGE\n\x05\0\0\0\0\0\0\0a\nb=c\n");
        let mut entry = JournalEntry::default();
        entry.put("X", &"ö".repeat(2 * LONGEST));
        assert_eq!(entry.0.len(), "X\n".len() + 8 + 2 * LONGEST + 1);
    }
}
