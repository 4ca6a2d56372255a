//! What a reload may change of pulls.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::Config;

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

impl PullRules {
    /// Those of a configuration.
    pub fn of(config: &Config) -> Self {
        Self {
            extra_registries: config.images.extra_registries.clone(),
            parallel: config.lists.parallel,
            timeout: config.lists.pull_timeout,
            auth_file: config.lists.auth_file.clone(),
        }
    }
}
