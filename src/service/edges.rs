//! What the daemon is given: the store that it fills, and the source of entries.

use std::path::Path;

use crate::config::Config;
use crate::containerd::Containerd;
use crate::image_store::StoreError;
use crate::images_dir::{Source, SourceOptions, Unwatchable};
use crate::source_event::EntrySource;

use super::store_service::StoreService;

/// How the daemon comes by a store and by a source.
pub trait Edges {
    type Store: StoreService;
    type Source: EntrySource;

    /// The store of this configuration. It need not serve yet.
    ///
    /// # Errors
    /// It cannot be talked to, whether it serves or not.
    fn store(&self, config: &Config) -> Result<Self::Store, StoreError>;

    /// Begins to follow the images directory.
    ///
    /// # Errors
    /// As those of [`Source::start`].
    fn source(&self, dir: &Path, options: SourceOptions) -> Result<Self::Source, Unwatchable>;
}

/// The edges of a daemon: containerd, and the images directory.
#[derive(Debug)]
pub struct HostEdges;

impl Edges for HostEdges {
    type Store = Containerd;
    type Source = Source;

    fn store(&self, config: &Config) -> Result<Containerd, StoreError> {
        Containerd::of_config(config)
    }

    fn source(&self, dir: &Path, options: SourceOptions) -> Result<Source, Unwatchable> {
        Source::start(dir, options)
    }
}
