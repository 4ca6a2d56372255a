//! What a running stowd takes of a configuration that is read again.

use tokio::sync::watch;

use crate::blocking::blocking;
use crate::config::{self, Changes, Config, Inputs, LoadError, LoadedConfig};
use crate::happened::DaemonEvent;
use crate::intake::Settings;
use crate::notify::Notifier;
use crate::platform::{Platform, PlatformError, Wanted};
use crate::puller::PullRules;
use crate::reporter::report;

/// What the intake needs of the configuration.
pub(super) fn settings(config: &Config) -> Result<Settings, PlatformError> {
    let wanted = Wanted::from_config(&config.images.platforms, Platform::host())?;
    Ok(Settings {
        dir: config.images.dir.clone(),
        state_dir: config.state_dir.clone(),
        namespace: config.containerd.namespace.clone(),
        settle: config.images.settle,
        parallel: config.images.parallel,
        scrub: config.images.scrub,
        scrub_rate: config.images.scrub_rate.as_u64(),
        unpin_removed: config.images.unpin_removed,
        wanted,
        pulls: PullRules::of(config),
        ready_timeout: config.lists.ready_timeout,
        unpack: config.images.unpack,
    })
}

/// The configuration that runs, and how to have a newer one.
pub(super) struct Reload<'a> {
    pub(super) config: Config,
    pub(super) inputs: Inputs,
    pub(super) changes: watch::Sender<Settings>,
    /// `metrics.listen`.
    pub(super) listen: watch::Sender<Option<String>>,
    pub(super) notifier: &'a Notifier,
}

impl Reload<'_> {
    /// Takes what can change while stowd runs, says what cannot, and has the images directory
    /// listed again in any case. A configuration that is wrong changes nothing.
    pub(super) async fn reload(&mut self) {
        self.notifier.reloading();
        let loaded = self.load().await;
        let is_wrong = loaded.is_err();
        match loaded {
            Ok(loaded) => {
                let Changes { taken, left } = self.config.take(loaded.config);
                let listen = &self.config.metrics.listen;
                self.listen.send_if_modified(|told| {
                    let is_other = told != listen;
                    told.clone_from(listen);
                    is_other
                });
                report(DaemonEvent::Reloaded(taken));
                if !left.is_empty() {
                    report(DaemonEvent::NotTakenBeforeRestart(left));
                }
            }
            Err(error) => {
                let problems = error.to_string().replace('\n', "; ");
                report(DaemonEvent::NotReloaded(problems));
            }
        }
        match settings(&self.config) {
            // The newest counts, should another not have been looked at yet.
            Ok(settings) => drop(self.changes.send_replace(settings)),
            Err(error) => report(DaemonEvent::NotReloaded(error.to_string())),
        }
        self.notifier.reloaded(is_wrong);
    }

    /// Reads the files on a thread that may wait: they may lie on a disk that hangs, and the task that
    /// asks for them feeds the watchdog.
    async fn load(&self) -> Result<LoadedConfig, LoadError> {
        let inputs = self.inputs.clone();
        blocking(move || config::load(&inputs)).await
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::fd::AsRawFd as _;
    use std::pin::pin;
    use std::sync::mpsc;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;
    use crate::config::ConfigFile;

    #[tokio::test]
    async fn a_file_that_does_not_answer_holds_no_other_task() {
        // The end of a pipe is a file that is read when its writer has closed it.
        let (reader, mut writer) = std::io::pipe().unwrap();
        let file = format!("/proc/self/fd/{}", reader.as_raw_fd());
        let config = Config::default();
        let (changes, changed) = watch::channel(settings(&config).unwrap());
        let mut reload = Reload {
            config,
            inputs: Inputs {
                file: ConfigFile::Named(file.into()),
                environment: Vec::new(),
                flags: Vec::new(),
            },
            changes,
            listen: watch::Sender::default(),
            notifier: &Notifier::default(),
        };
        let (answer, asked) = mpsc::channel::<()>();
        let disk = std::thread::spawn(move || {
            // On a reload that waits on this task the answer comes too late.
            let _ = asked.recv_timeout(Duration::from_secs(10));
            writer.write_all(b"images.settle = \"7s\"\n").unwrap();
        });
        let mut reloading = pin!(reload.reload());
        let early = timeout(Duration::from_millis(50), &mut reloading).await;
        assert!(early.is_err(), "it was read before it could be");
        answer.send(()).unwrap();
        reloading.await;
        disk.join().unwrap();
        assert_eq!(changed.borrow().settle, Duration::from_secs(7));
    }
}
