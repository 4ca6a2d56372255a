//! Platforms: what this host runs, and which of an image's platforms are wanted.

/// A platform as indexes and configurations name it (OCI image spec, "Image Index").
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Platform {
    /// The operating system, as Go's GOOS.
    pub os: String,
    /// The processor, as Go's GOARCH.
    pub architecture: String,
    /// The processor's variant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// Which platforms of an image are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Every platform.
    All,
    /// Of each of these the best match.
    Each(Vec<Platform>),
}
