//! What a failed call to containerd means: the one mapping from its gRPC statuses.

use std::error::Error;
use std::time::Duration;

use tonic::{Code, Status};

use crate::image_store::StoreError;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CallFailure {
    /// The call, as containerd's API names it.
    pub(super) call: &'static str,
    pub(super) kind: FailureKind,
    /// containerd's own words.
    pub(super) cause: String,
}

/// What a caller can act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailureKind {
    NotFound,
    AlreadyExists,
    /// Another writer is at the same ingest.
    Locked,
    /// What was sent has not the length or the digest that was told.
    WrongContent,
    /// What lies half written is not the beginning of this blob.
    OtherIngest,
    /// The ingest was removed under its writer.
    Removed,
    Unreachable,
    /// containerd answers, and what it asked itself does not, as a snapshotter of another process.
    PluginAway,
    NoSpace,
    /// The answer is longer than a message may be.
    TooLong,
    /// No part of containerd does this.
    Unsupported,
    Late(Duration),
    /// What was asked for can never be.
    Invalid,
    /// containerd has passed on what another program, or the kernel, said: there is nothing but the words.
    Untyped,
    Other,
}

impl CallFailure {
    pub(super) fn of(call: &'static str, status: &Status) -> Self {
        let cause = words(status);
        let kind = classify(status.code(), &cause, status.source().is_some());
        Self { call, kind, cause }
    }

    pub(super) fn late(call: &'static str, deadline: Duration) -> Self {
        Self {
            call,
            kind: FailureKind::Late(deadline),
            cause: String::new(),
        }
    }

    /// Whether containerd, or a part of it, does not answer.
    pub(super) fn is_away(&self) -> bool {
        matches!(
            self.kind,
            FailureKind::Unreachable | FailureKind::PluginAway
        )
    }

    /// Of an `Apply`: whether what failed is around the layer's bytes. containerd passes on what tar, a
    /// decompressor and the kernel say without a type (`core/diff/apply`), and what it types itself is not
    /// about the bytes. The words have names of the layer's files in them: those that count stand where no
    /// name can be.
    pub(super) fn is_around_layer(&self) -> bool {
        let is_typed_by_words = matches!(
            self.kind,
            FailureKind::Untyped | FailureKind::WrongContent | FailureKind::Removed
        );
        let end = end(&self.cause);
        !is_typed_by_words
            || AROUND_LAYER.iter().any(|errno| end.ends_with(errno))
            || BEFORE_LAYER
                .iter()
                .any(|words| self.cause.starts_with(words))
    }

    /// Whether containerd found new files in a directory that it was removing.
    pub(super) fn is_removal_race(&self) -> bool {
        self.cause.contains("directory not empty")
    }
}

/// How the kernel says that the machine is what is wrong, after the name of a file; and how a decompressor
/// ends for which there is no memory.
const AROUND_LAYER: [&str; 8] = [
    ": input/output error",
    ": read-only file system",
    ": cannot allocate memory",
    ": too many open files",
    ": stale file handle",
    ": permission denied",
    ": operation not permitted",
    "signal: killed",
];

/// How `Apply` begins to say that it has not come to the layer.
const BEFORE_LAYER: [&str; 3] = [
    "failed to mount ",
    "failed to activate mounts",
    "failed to create temp dir",
];

/// A cause without what may stand behind its last words: the name of its code, and what a decompressor said,
/// which was nothing.
fn end(cause: &str) -> &str {
    let cause = cause.trim_end_matches([':', ' ', '\n']);
    cause.strip_suffix(": unknown").unwrap_or(cause)
}

/// `local`: the status was made on this side of the socket, so it is about the connection.
fn classify(code: Code, cause: &str, local: bool) -> FailureKind {
    // containerd passes the errors of the operating system on as text, with the code Unknown. Before them
    // there may be names that others have chosen.
    let end = end(cause);
    if end.ends_with("no space left on device") || end.ends_with("disk quota exceeded") {
        return FailureKind::NoSpace;
    }
    match code {
        // The words of gRPC for Go, which makes no such answer, and of tonic, which takes none.
        Code::ResourceExhausted if cause.contains("larger than max") => FailureKind::TooLong,
        Code::OutOfRange if cause.contains("message length too large") => FailureKind::TooLong,
        Code::NotFound => FailureKind::NotFound,
        Code::AlreadyExists => FailureKind::AlreadyExists,
        Code::Unimplemented if !local => FailureKind::Unsupported,
        Code::Unavailable if !local && cause.contains(" locked") => FailureKind::Locked,
        Code::Unavailable if !local => FailureKind::PluginAway,
        Code::Unavailable => FailureKind::Unreachable,
        _ if local => FailureKind::Unreachable,
        _ if is_wrong_content(cause) => FailureKind::WrongContent,
        // `content/local/writer.go`: a commit renames `…/ingest/…/data`.
        _ if cause.contains("/ingest/") && cause.contains("no such file") => FailureKind::Removed,
        // What containerd says between SIGTERM and its end.
        _ if end.ends_with("database not open") => FailureKind::Unreachable,
        Code::InvalidArgument => FailureKind::Invalid,
        Code::Unknown => FailureKind::Untyped,
        _ => FailureKind::Other,
    }
}

/// containerd's `content/local/writer.go` and `metadata/content.go`. The code is
/// FailedPrecondition where the local store checks, Unknown where the metadata does.
fn is_wrong_content(cause: &str) -> bool {
    [
        "unexpected commit digest",
        "unexpected commit size",
        "failed size validation",
    ]
    .iter()
    .any(|text| cause.contains(text))
}

/// The status's message and what lies below it, in one line. tonic says no more than "transport
/// error" where the cause below it says "connection refused".
fn words(status: &Status) -> String {
    let mut words = status.message().to_owned();
    let mut below = status.source();
    while let Some(error) = below {
        let text = error.to_string();
        if !words.contains(&text) {
            words.push_str(": ");
            words.push_str(&text);
        }
        below = error.source();
    }
    words
}

impl From<CallFailure> for StoreError {
    fn from(failure: CallFailure) -> Self {
        let CallFailure { call, kind, cause } = failure;
        match kind {
            FailureKind::Unreachable | FailureKind::PluginAway => Self::Unreachable { call, cause },
            FailureKind::NoSpace => Self::NoSpace { call, cause },
            FailureKind::Late(deadline) => Self::Deadline {
                call,
                seconds: deadline.as_secs(),
            },
            FailureKind::NotFound
            | FailureKind::AlreadyExists
            | FailureKind::Locked
            | FailureKind::WrongContent
            | FailureKind::OtherIngest
            | FailureKind::Removed
            | FailureKind::TooLong
            | FailureKind::Unsupported
            | FailureKind::Invalid
            | FailureKind::Untyped
            | FailureKind::Other => Self::Refused { call, cause },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(code: Code, message: &str) -> FailureKind {
        CallFailure::of("Content.Write", &Status::new(code, message)).kind
    }

    #[test]
    fn what_containerd_says_is_told_apart() {
        for (code, message, expected) in [
            (
                Code::NotFound,
                "content sha256:00: not found",
                FailureKind::NotFound,
            ),
            (
                Code::AlreadyExists,
                "content sha256:00: already exists",
                FailureKind::AlreadyExists,
            ),
            (
                Code::Unavailable,
                "ref k8s.io/1/x locked for 1s: unavailable",
                FailureKind::Locked,
            ),
            (
                Code::Unavailable,
                "server is not initialized yet",
                FailureKind::PluginAway,
            ),
            (
                Code::FailedPrecondition,
                "unexpected commit digest sha256:00",
                FailureKind::WrongContent,
            ),
            (
                Code::Unknown,
                "\"x\" failed size validation: 1 != 2",
                FailureKind::WrongContent,
            ),
            (
                Code::Unknown,
                "write data: no space left on device",
                FailureKind::NoSpace,
            ),
            (
                Code::Unknown,
                "rename /r/ingest/x/data /r/blobs/sha256/00: no such file or directory",
                FailureKind::Removed,
            ),
            (Code::Unknown, "database not open", FailureKind::Unreachable),
            (
                Code::ResourceExhausted,
                "grpc: trying to send message larger than max (16777300 vs. 16777216)",
                FailureKind::TooLong,
            ),
            (
                Code::OutOfRange,
                "Error, decoded message length too large: found 17 bytes, the limit is: 16 bytes",
                FailureKind::TooLong,
            ),
            (
                Code::Unimplemented,
                "not implemented",
                FailureKind::Unsupported,
            ),
            (
                Code::InvalidArgument,
                "namespace is required",
                FailureKind::Invalid,
            ),
            (
                Code::Unknown,
                "failed to extract layer sha256:00: write /x: no space left on device: unknown",
                FailureKind::NoSpace,
            ),
            (
                Code::Unknown,
                "open /no space left on device: file exists",
                FailureKind::Untyped,
            ),
            (Code::Internal, "panic", FailureKind::Other),
        ] {
            assert_eq!(kind(code, message), expected, "{message}");
        }
    }

    #[test]
    fn what_a_layer_fails_of_is_told_from_what_is_around_it() {
        for (code, message, is_around) in [
            (Code::Unknown, "archive/tar: invalid tar header", false),
            (Code::Unknown, "failed to extract: unexpected EOF", false),
            (Code::Unknown, "write /x: input/output error", true),
            (Code::Unknown, "chown /x: operation not permitted", true),
            (Code::Unknown, "open /x: permission denied: unknown", true),
            (Code::Unknown, "signal: killed: ", true),
            (
                Code::Unknown,
                "failed to mount /tmp/x: no such device",
                true,
            ),
            (Code::Unknown, "write /x: no space left on device", true),
            (Code::Unknown, "database not open", true),
            // What the layer calls its files.
            (
                Code::Unknown,
                "open /no space left on device: is a directory",
                false,
            ),
            (
                Code::Unknown,
                "open /failed to mount /x: is a directory",
                false,
            ),
            (
                Code::Unknown,
                "open /input/output error: is a directory",
                false,
            ),
            (
                Code::Unknown,
                "open /unexpected commit digest: is a directory",
                false,
            ),
            (
                Code::Unknown,
                "link /ingest/x: no such file or directory",
                false,
            ),
            (
                Code::Unknown,
                "open /database not open: is a directory",
                false,
            ),
            (Code::NotFound, "content sha256:00: not found", true),
            (Code::Unimplemented, "not implemented", true),
            (Code::Cancelled, "context canceled", true),
            (Code::Internal, "panic", true),
            (Code::InvalidArgument, "no such option", true),
            (Code::FailedPrecondition, "not yet", true),
            (Code::PermissionDenied, "not for you", true),
        ] {
            let failure = CallFailure::of("Diff.Apply", &Status::new(code, message));
            assert_eq!(failure.is_around_layer(), is_around, "{message}");
        }
    }

    #[test]
    fn a_broken_connection_is_named_with_its_cause() {
        let broken = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        let failure = CallFailure::of("Images.List", &Status::from_error(Box::new(broken)));
        assert_eq!(failure.kind, FailureKind::Unreachable);
        assert!(failure.cause.contains("broken pipe"), "{}", failure.cause);
    }
}
