//! Jobs whose file is on a file system that does not answer.
//!
//! A thread whose call does not return cannot be ended. So the job is, and others of that file system are
//! not begun before the call has returned: the threads that hang are as many as those of the jobs that
//! were under way, whatever is tried again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::sleep;

use crate::entry::Entry;
use crate::ledger::FailureClass;
use crate::plan::JobEnd;
use crate::progress::Meter;

/// A call that takes longer hangs.
const ANSWER: Duration = Duration::from_secs(60);
/// So often it is looked at while a job runs.
const PERIOD: Duration = Duration::from_secs(5);

/// The jobs that were ended, each with the device number of its file system.
#[derive(Debug, Clone, Default)]
pub(super) struct HungFiles(Arc<Mutex<Vec<(u64, Meter)>>>);

impl HungFiles {
    /// Works on an entry until the work ends, or a call about its file does not return. `meter` counts the
    /// calls.
    pub(super) async fn or_hang(
        &self,
        entry: &Entry,
        meter: &Meter,
        work: impl Future<Output = JobEnd>,
    ) -> JobEnd {
        let device = entry.identity.device;
        if self.has(device) {
            return hung();
        }
        tokio::select! {
            biased;
            end = work => end,
            () = hangs(meter) => {
                self.with(|all| all.push((device, meter.clone())));
                hung()
            }
        }
    }

    fn has(&self, device: u64) -> bool {
        self.with(|all| {
            all.retain(|(_, meter)| meter.hangs(Duration::ZERO));
            all.iter().any(|(other, _)| *other == device)
        })
    }

    // Nothing panics while it is locked.
    fn with<T>(&self, act: impl FnOnce(&mut Vec<(u64, Meter)>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn hangs(meter: &Meter) {
    while !meter.hangs(ANSWER) {
        sleep(PERIOD).await;
    }
}

fn hung() -> JobEnd {
    let error = "cannot be read: its file system does not answer".to_owned();
    JobEnd::Failed(FailureClass::Environment, error)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::entry::{Identity, Kind};

    fn entry(device: u64) -> Entry {
        Entry {
            path: "/i/a.tar".into(),
            kind: Kind::Archive,
            identity: Identity {
                device,
                inode: 1,
                size: 1,
                mtime: 0,
                ctime: 0,
            },
        }
    }

    /// Work whose call returns when the sender is dropped.
    fn hanging(meter: &Meter) -> (mpsc::Sender<()>, impl Future<Output = JobEnd> + use<>) {
        let (returns, returned) = mpsc::channel();
        let meter = meter.clone();
        let work = async move {
            let call = move || meter.calling(|| _ = returned.recv());
            tokio::task::spawn_blocking(call).await.unwrap();
            JobEnd::Whole
        };
        (returns, work)
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_hangs_ends_its_job_and_keeps_others_of_its_file_system_from_beginning() {
        let (hung_files, meter) = (HungFiles::default(), Meter::default());
        hung_files.with(|all| all.push((1, meter.clone())));
        let end = |device| {
            let (hung_files, meter) = (hung_files.clone(), Meter::default());
            async move {
                hung_files
                    .or_hang(&entry(device), &meter, async { JobEnd::Whole })
                    .await
            }
        };
        assert_eq!(end(1).await, JobEnd::Whole, "it hangs no more");
        let (returns, work) = hanging(&meter);
        let work = tokio::spawn(work);
        while !meter.hangs(Duration::ZERO) {
            tokio::task::yield_now().await;
        }
        hung_files.with(|all| all.push((1, meter.clone())));
        assert_eq!(end(1).await, hung());
        assert_eq!(end(2).await, JobEnd::Whole, "another file system");
        drop(returns);
        assert_eq!(work.await.unwrap(), JobEnd::Whole);
        assert_eq!(end(1).await, JobEnd::Whole, "it answers again");
    }
}
