//! The words of `stowd status`.

use std::time::Duration;

use clap::Args;

pub(super) const STATUS_ABOUT: &str = "\
Shows what is on board: each image with the file that brought it, and whether it
is whole, pinned and unpacked as containerd says now; what failed, why, and when
it is tried again; what is ignored, shadowed or out of sight; the sandbox image,
and the room that the images take. With NAME, a file of the images directory or
an image, all that is known of that.

It works when stowd is stopped, too: from its ledger, and from containerd where
that answers. It says so then. Only root may ask containerd; others see what
stowd knew.";

pub(super) const STATUS_AFTER: &str = "\
Exit status:
  0   ready, and all is well
  1   ready, and something has failed or the sandbox image is missing; or NAME is
      not on board, or what the daemon says of itself cannot be read
  2   the command line is wrong
  3   stowd does not run
  4   it is starting
  5   degraded: containerd does not answer, or something is out of sight,
      damaged, gone or not pinned
  78  the configuration is wrong

Files:
  /run/stowd/status.json   what the daemon says of itself; in state-dir where
                           that is not /var/lib/stowd
  /etc/stowd/config.toml   the configuration, see stowd.toml(5)

Environment:
  NO_COLOR   no colours, even on a terminal

Examples:
  sudo stowd status
  sudo stowd status registry.k8s.io/pause:3.10
  sudo stowd status --wait=10m && kubeadm init
  sudo stowd status --json | jq '.entries[] | select(.error)'";

/// The options of `status`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct StatusArgs {
    /// A file of the images directory, or an image: all that is known of it
    #[arg(value_name = "NAME")]
    pub name: Option<String>,

    /// Print JSON, for programs; stowd(8) describes it
    #[arg(long)]
    pub json: bool,

    /// Show it again whenever it changes, until Ctrl-C
    #[arg(long, conflicts_with = "wait")]
    pub watch: bool,

    /// Wait until stowd is ready, or for TIMEOUT ("90s", "10m"), first, and tell
    /// what for
    #[arg(long, value_name = "TIMEOUT", require_equals = true, num_args = 0..=1)]
    #[arg(value_parser = humantime::parse_duration)]
    pub wait: Option<Option<Duration>>,
}
