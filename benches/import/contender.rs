//! Who is measured.

use std::time::Duration;

use stowd::unpack::UnpackWhen;

use crate::archives::Archive;
use crate::attached::Stowd;
use crate::cpu_time;
use crate::ctr::{self, Mode, Then};
use crate::options::{Direct, Options};
use crate::support::{Daemon, Generation};

/// One who imports.
#[derive(Debug, Clone)]
pub(crate) enum Contender {
    /// This project, as a daemon.
    Stowd(Stowd),
    /// What everybody has.
    Ctr(Mode),
}

/// What one import took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Took {
    /// Until the images were listed.
    pub(crate) wall: Duration,
    /// Of the processors: everybody's, containerd's included.
    pub(crate) cpu: Duration,
}

/// All that are wanted and that this generation has.
pub(crate) fn contenders(generation: &Generation, options: &Options) -> Vec<Contender> {
    let binary = options.binary();
    let values: &[Option<bool>] = match options.direct {
        _ if !Stowd::knows(&binary, "STOWD_IMAGES__DIRECT", "true") => &[None],
        Direct::Default => &[None],
        Direct::True => &[Some(true)],
        Direct::False => &[Some(false)],
        Direct::Both => &[Some(true), Some(false)],
    };
    let stowds = values.iter().map(|direct| Stowd {
        binary: binary.clone(),
        direct: *direct,
        unpack: UnpackWhen::Never,
    });
    let modes = ctr::modes(generation).iter().copied();
    let modes = modes.filter(|mode| *mode != Mode::Transfer || !options.no_transfer);
    let stowds = stowds.map(Contender::Stowd);
    stowds.chain(modes.map(Contender::Ctr)).collect()
}

/// Those of them that are stowd.
pub(crate) fn stowds(contenders: &[Contender]) -> impl Iterator<Item = (String, &Stowd)> {
    contenders.iter().filter_map(|contender| match contender {
        Contender::Stowd(stowd) => Some((contender.name(), stowd)),
        Contender::Ctr(_) => None,
    })
}

impl Contender {
    /// As the tables have it.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Stowd(Stowd { direct: None, .. }) => "**stowd**".to_owned(),
            Self::Stowd(Stowd {
                direct: Some(direct),
                ..
            }) => format!("**stowd**, `images.direct = {direct}`"),
            Self::Ctr(Mode::Only) => "`ctr images import`".to_owned(),
            Self::Ctr(Mode::Local) => "`ctr images import --local`".to_owned(),
            Self::Ctr(Mode::Transfer) => "`ctr images import`, Transfer service".to_owned(),
        }
    }

    /// Whether the targets are about it.
    pub(crate) fn is_stowd(&self) -> bool {
        matches!(self, Self::Stowd(_))
    }

    /// Whether the targets compare stowd with it.
    pub(crate) fn is_reference(&self) -> bool {
        matches!(self, Self::Ctr(Mode::Only | Mode::Local))
    }

    /// Returns when containerd serves it and its program is in the page cache.
    pub(crate) fn wait_serving(&self, daemon: &mut Daemon) {
        daemon.wait();
        if let Self::Stowd(stowd) = self {
            stowd.wait_serving(daemon);
        }
    }

    /// Imports the archives, until their images are listed.
    pub(crate) fn import(&self, daemon: &Daemon, archives: &[Archive]) -> Took {
        let containerd = cpu_time::of_process(daemon.pid());
        let (wall, own) = match self {
            Self::Stowd(stowd) => {
                let attached = stowd.ready(daemon, archives);
                let own = cpu_time::of_process(attached.pid());
                let wall = attached.to_ready;
                attached.stop();
                (wall, own)
            }
            Self::Ctr(mode) => {
                let ended = cpu_time::of_ended_children();
                let wall = ctr::import(daemon, *mode, Then::Leave, archives);
                (wall, cpu_time::of_ended_children() - ended)
            }
        };
        let cpu = own + cpu_time::of_process(daemon.pid()) - containerd;
        ctr::assert_listed(daemon, archives);
        Took { wall, cpu }
    }

    /// Has it import the next time as if it never had.
    pub(crate) fn forget(&self, daemon: &Daemon) {
        if let Self::Stowd(stowd) = self {
            stowd.forget(daemon);
        }
    }
}
