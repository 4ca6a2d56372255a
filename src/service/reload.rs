//! What a running stowd takes of a configuration that is read again.

use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::config::{self, Changes, Config, Inputs};
use crate::intake::Settings;
use crate::platform::{Platform, PlatformError, Wanted};
use crate::puller::PullRules;

/// What the intake needs of the configuration.
pub(super) fn settings(config: &Config) -> Result<Settings, PlatformError> {
    let wanted = Wanted::from_config(&config.images.platforms, Platform::host())?;
    Ok(Settings {
        dir: config.images.dir.clone(),
        state_dir: config.state_dir.clone(),
        namespace: config.containerd.namespace.clone(),
        settle: config.images.settle,
        parallel: config.images.parallel,
        rescan: config.images.rescan,
        unpin_removed: config.images.unpin_removed,
        wanted,
        pulls: PullRules {
            extra_registries: config.images.extra_registries.clone(),
            parallel: config.lists.parallel,
            timeout: config.lists.pull_timeout,
            auth_file: config.lists.auth_file.clone(),
        },
        ready_timeout: config.lists.ready_timeout,
    })
}

/// The configuration that runs, and how to have a newer one.
pub(super) struct Reload {
    pub(super) config: Config,
    pub(super) inputs: Inputs,
    pub(super) changes: watch::Sender<Settings>,
}

impl Reload {
    /// Takes what can change while stowd runs, says what cannot, and has the images directory
    /// listed again in any case. A configuration that is wrong changes nothing.
    pub(super) fn reload(&mut self) {
        match config::load(&self.inputs) {
            Ok(loaded) => {
                let Changes { taken, left } = self.config.take(loaded.config);
                let (taken, left) = (taken.join(" "), left.join(" "));
                info!(
                    taken,
                    "reloaded; changed: {}",
                    if taken.is_empty() { "nothing" } else { &taken }
                );
                if !left.is_empty() {
                    warn!(left, "changed, and not taken before a restart: {left}");
                }
            }
            Err(error) => {
                let problems = error.to_string().replace('\n', "; ");
                error!(error = problems, "not reloaded: {problems}");
            }
        }
        match settings(&self.config) {
            // The newest counts, should another not have been looked at yet.
            Ok(settings) => drop(self.changes.send_replace(settings)),
            Err(error) => error!(%error, "not reloaded: {error}"),
        }
    }
}
