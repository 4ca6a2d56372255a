//! Platforms: what this host runs, and which of an image's platforms are wanted.
