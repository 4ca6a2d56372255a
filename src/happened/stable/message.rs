//! One message, and how a file lists those of its subject.

use tracing::Level;

/// What the lines about one thing that happens have in common.
#[derive(Debug, PartialEq, Eq)]
pub struct StableMessage {
    /// `MESSAGE_ID` (sd_journal_print(3)). It is never given to another message.
    pub id: &'static str,
    /// No other message begins like this.
    pub begins: &'static str,
    pub level: Level,
    /// As docs/messages.md has them: `entry` is `STOWD_ENTRY` in the journal.
    pub fields: &'static [&'static str],
    /// When it is told, or what it means, for docs/messages.md.
    pub when: &'static str,
    /// For `journalctl -x`, where something is wrong: what it is, and what to do about it.
    pub explanation: Option<&'static str>,
}

/// Names the messages of a file, and lists them:
/// `NAME = LEVEL "begins", [fields], "id", "when", "explanation";`.
macro_rules! messages {
    (@) => { None };
    (@ $explanation:literal) => { Some($explanation) };
    ($($name:ident = $level:ident $begins:literal, $fields:tt, $id:literal, $when:literal
        $(, $explanation:literal)?;)*) => {
        $(pub(super) static $name: super::message::StableMessage = super::message::StableMessage {
            id: $id,
            begins: $begins,
            level: tracing::Level::$level,
            fields: &$fields,
            when: $when,
            explanation: messages!(@ $($explanation)?),
        };)*
        pub(super) static ALL: &[&super::message::StableMessage] = &[$(&$name),*];
    };
}
pub(super) use messages;
