//! How a node is, in one word and one exit status.

/// How it is; the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// What the daemon says of itself cannot be read.
    Unknown,
    NotRunning,
    Starting,
    /// containerd is away, something is out of sight, damaged or lacking.
    Degraded,
    /// Something has failed, or the sandbox image is missing.
    Failures,
    Well,
}

impl Condition {
    /// The exit status of `stowd status`.
    pub fn exit_status(self) -> u8 {
        match self {
            Self::Well => 0,
            Self::Unknown | Self::Failures => 1,
            Self::NotRunning => 3,
            Self::Starting => 4,
            Self::Degraded => 5,
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Well => "ready",
            Self::Failures => "failures",
            Self::Unknown => "unknown",
            Self::NotRunning => "not-running",
            Self::Starting => "starting",
            Self::Degraded => "degraded",
        }
    }

    /// Whether the daemon has told READY.
    pub fn is_ready(self) -> bool {
        matches!(self, Self::Well | Self::Failures | Self::Degraded)
    }
}
