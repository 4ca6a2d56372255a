//! What a reload may change of pulls.

use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullRules {
    /// What is pulled is also named as if it came from these.
    pub extra_registries: Vec<String>,
    /// Pulls at once, of all lists together.
    pub parallel: usize,
    /// How long one image may take.
    pub timeout: Duration,
    /// Where the credentials are, if not in containerd's own configuration.
    pub auth_file: Option<PathBuf>,
}
