//! Who imports and unpacks.

use std::time::Duration;

use stowd::unpack::UnpackWhen;

use super::pods::{FirstContainer, first_container};
use crate::archives::Archive;
use crate::attached::Stowd;
use crate::cpu_time;
use crate::ctr::{self, Mode, Then};
use crate::options::Options;
use crate::support::{Daemon, Generation, kibibytes};

/// A way from an archive to a container.
#[derive(Debug, Clone)]
pub(super) enum Way {
    Stowd(Stowd),
    Ctr(Mode, Then),
}

/// What it took, from containerd serving.
#[derive(Debug, Clone, Copy)]
pub(super) struct UnpackTook {
    /// Until READY, or ctr's exit.
    pub(super) imported: Duration,
    /// Until all images were unpacked, where that ends without containers.
    pub(super) unpacked: Option<Duration>,
    pub(super) first: Option<FirstContainer>,
    /// Of the processors until then, containers left out.
    pub(super) containerd: Duration,
    /// Of stowd or of ctr.
    pub(super) own: Duration,
    /// The most that stowd had resident at once, in bytes.
    pub(super) peak: Option<u64>,
}

/// All that are wanted and that this generation has.
pub(super) fn ways(generation: &Generation, options: &Options) -> Vec<Way> {
    let stowd = |unpack| {
        Way::Stowd(Stowd {
            binary: options.binary(),
            direct: None,
            unpack,
        })
    };
    let mut ways = vec![
        stowd(UnpackWhen::BeforeReady),
        stowd(UnpackWhen::AfterReady),
        stowd(UnpackWhen::Never),
    ];
    for mode in ctr::modes(generation) {
        if *mode != Mode::Transfer || !options.no_transfer {
            ways.push(Way::Ctr(*mode, Then::Unpack));
        }
        if *mode != Mode::Transfer {
            ways.push(Way::Ctr(*mode, Then::Leave));
        }
    }
    ways
}

impl Way {
    /// As the tables have it.
    pub(super) fn name(&self) -> String {
        let command = |mode| match mode {
            Mode::Only => "`ctr images import`",
            Mode::Local => "`ctr images import --local`",
            Mode::Transfer => "`ctr images import`, Transfer service",
        };
        match self {
            Self::Stowd(stowd) if stowd.unpack == UnpackWhen::BeforeReady => "**stowd**".to_owned(),
            Self::Stowd(stowd) => format!("**stowd**, `images.unpack = \"{}\"`", stowd.unpack),
            Self::Ctr(mode, Then::Unpack) => command(*mode).to_owned(),
            Self::Ctr(mode, Then::Leave) => format!("as k3s: {} `--no-unpack`", command(*mode)),
        }
    }

    /// Whether the targets are about it.
    pub(super) fn is_stowd(&self) -> bool {
        self.is_stowd_that_unpacks(UnpackWhen::BeforeReady)
    }

    pub(super) fn is_stowd_that_unpacks(&self, when: UnpackWhen) -> bool {
        matches!(self, Self::Stowd(stowd) if stowd.unpack == when)
    }

    /// Returns when containerd serves it and its program is in the page cache.
    pub(super) fn wait_serving(&self, daemon: &mut Daemon) {
        daemon.wait();
        if let Self::Stowd(stowd) = self {
            stowd.wait_serving(daemon);
        }
    }

    /// Imports the archive, unpacks its images and runs a container of the last one, as far as that is its
    /// way.
    pub(super) fn import(&self, daemon: &Daemon, archive: &Archive) -> UnpackTook {
        let before = cpu_time::of_process(daemon.pid());
        let containerd = || cpu_time::of_process(daemon.pid()) - before;
        let image = archive.names.last().expect("an archive has images");
        let archives = std::slice::from_ref(archive);
        match self {
            Self::Stowd(stowd) => {
                let attached = stowd.ready(daemon, archives);
                let imported = attached.to_ready;
                let unpacked = match stowd.unpack {
                    UnpackWhen::BeforeReady => Some(imported),
                    UnpackWhen::AfterReady => Some(attached.unpacked(archive.names.len())),
                    UnpackWhen::Never => None,
                };
                let (containerd, own) = (containerd(), cpu_time::of_process(attached.pid()));
                let peak = kibibytes(attached.pid(), "VmHWM:") << 10;
                // After READY, it would compete with what stowd still does.
                let first = (stowd.unpack != UnpackWhen::AfterReady)
                    .then(|| first_container(daemon, image, imported));
                attached.stop();
                UnpackTook {
                    imported,
                    unpacked,
                    first,
                    containerd,
                    own,
                    peak: Some(peak),
                }
            }
            Self::Ctr(mode, then) => {
                let ended = cpu_time::of_ended_children();
                let imported = ctr::import(daemon, *mode, *then, archives);
                let own = cpu_time::of_ended_children() - ended;
                UnpackTook {
                    imported,
                    unpacked: (*then == Then::Unpack).then_some(imported),
                    containerd: containerd(),
                    own,
                    first: Some(first_container(daemon, image, imported)),
                    peak: None,
                }
            }
        }
    }
}
