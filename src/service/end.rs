//! When the daemon ends, and why.

use crate::containerd::{ClaimError, NotServing};
use crate::image_store::StoreError;
use crate::images_dir::Unwatchable;
use crate::intake::IntakeError;
use crate::platform::PlatformError;
use crate::progress::counted;
use crate::state_dir::AlreadyRunning;
use crate::supervisor::{Exit, SupervisorError};

/// When the service ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// When it is told to.
    Daemon,
    /// When the initial load is over.
    Once,
}

/// What ends the daemon. Nothing that concerns one entry alone does.
#[derive(Debug, thiserror::Error)]
pub enum FatalError {
    /// Two daemons on one state directory.
    #[error(transparent)]
    StateDir(#[from] AlreadyRunning),
    /// `images.platforms` names none.
    #[error("images.platforms: {0}")]
    Platforms(#[from] PlatformError),
    /// A signal cannot be heard.
    #[error("signals cannot be heard: {0}")]
    Signals(#[from] std::io::Error),
    /// containerd cannot be started.
    #[error(transparent)]
    Supervisor(#[from] SupervisorError),
    /// containerd was started, or is attached to, and does not serve.
    #[error(transparent)]
    NotServing(#[from] NotServing),
    /// containerd ended without being asked to.
    #[error("{0}")]
    ContainerdExited(Exit),
    /// containerd does not do what no stowd can do without.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Two daemons of one instance on one containerd.
    #[error(transparent)]
    Instance(#[from] ClaimError),
    /// The images directory cannot be followed.
    #[error(transparent)]
    Unwatchable(#[from] Unwatchable),
    /// Entries cannot be taken in any more.
    #[error(transparent)]
    Intake(#[from] IntakeError),
    /// `Mode::Once`, and lists have had their time.
    #[error("not every list was pulled within lists.ready-timeout")]
    Unfinished,
    /// `Mode::Once`, and there is nothing to load.
    #[error("the images directory {0} is missing")]
    DirectoryMissing(String),
    /// `Mode::Once`, and a directory of entries that are known is missing, unmounted or another one.
    #[error("not every entry could be seen: {0} out of sight")]
    OutOfSight(usize),
    /// `Mode::Once`, and so many images are in the store and not unpacked.
    #[error("{} not unpacked; the lines before say why", counted(*.0, "image is", "images are"))]
    NotUnpacked(usize),
    /// `Mode::Once`, and a signal came before the end.
    #[error("stopped before every entry had an outcome")]
    Interrupted,
}

/// Why a load ends, if not of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// The initial load is over, and no more was asked for.
    Loaded,
    /// It was asked to.
    Asked,
}
