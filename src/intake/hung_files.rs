//! Jobs whose file does not answer.
//!
//! A thread whose call does not return cannot be ended. So the job is, and its file is left alone before
//! the call has returned. A medium that cannot read one file still reads others: they are tried, until so
//! many hang that their file system is the one that does not answer. This bounds the threads that hang,
//! whatever is tried again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::sleep;

use crate::entry::{Entry, Identity};
use crate::ledger::FailureClass;
use crate::plan::JobEnd;
use crate::progress::Meter;

/// A call that takes longer hangs.
const ANSWER: Duration = Duration::from_secs(60);
/// So often it is looked at while a job runs.
const PERIOD: Duration = Duration::from_secs(5);
/// Where so many files hang nothing else of their file system is tried.
const HUNG_MAX: usize = 4;

/// The jobs that were ended, each with the file that it read.
#[derive(Debug, Clone, Default)]
pub(super) struct HungFiles(Arc<Mutex<Vec<(Identity, Meter)>>>);

impl HungFiles {
    /// Works on an entry until the work ends, or a call about its file does not return. `meter` counts the
    /// calls.
    pub(super) async fn watch(
        &self,
        entry: &Entry,
        meter: &Meter,
        work: impl Future<Output = JobEnd>,
    ) -> JobEnd {
        let file = entry.identity;
        if self.may_hang(&file) {
            return hung();
        }
        tokio::select! {
            biased;
            end = work => end,
            () = hangs(|| meter.hangs(ANSWER)) => {
                self.with(|all| all.push((file, meter.clone())));
                hung()
            }
        }
    }

    /// Whether a job for the file is not to begin.
    fn may_hang(&self, file: &Identity) -> bool {
        self.with(|all| {
            all.retain(|(_, meter)| meter.hangs(Duration::ZERO));
            let beside = || all.iter().filter(|(other, _)| other.device == file.device);
            let is_itself = beside().any(|(other, _)| other.inode == file.inode);
            is_itself || beside().count() >= HUNG_MAX
        })
    }

    // Nothing panics while it is locked.
    fn with<T>(&self, act: impl FnOnce(&mut Vec<(Identity, Meter)>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Returns when it hangs at two looks in a row: a process that was stopped for a while must not take that
/// for a call that hangs.
async fn hangs(look: impl Fn() -> bool) {
    let mut looks = 0;
    while looks < 2 {
        sleep(PERIOD).await;
        looks = if look() { looks + 1 } else { 0 };
    }
}

fn hung() -> JobEnd {
    let error = "cannot be read: its file system does not answer".to_owned();
    JobEnd::Failed(FailureClass::Environment, error)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::entry::Kind;

    fn file(device: u64, inode: u64) -> Identity {
        Identity {
            device,
            inode,
            size: 1,
            mtime: 0,
            ctime: 0,
        }
    }

    /// Acts while the files of device 1 with these inodes hang.
    fn hanging(hung_files: &HungFiles, inodes: &[u64], act: &dyn Fn()) {
        let [inode, others @ ..] = inodes else {
            return act();
        };
        let meter = Meter::default();
        hung_files.with(|all| all.push((file(1, *inode), meter.clone())));
        meter.calling(|| hanging(hung_files, others, act));
    }

    #[test]
    fn a_file_that_hangs_keeps_no_other_one_from_being_read_and_several_do() {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.build().unwrap();
        let hung_files = HungFiles::default();
        let end = |device, inode| {
            let entry = Entry {
                path: "/i/a.tar".into(),
                kind: Kind::Archive,
                identity: file(device, inode),
            };
            let work = async { JobEnd::Whole };
            runtime.block_on(hung_files.watch(&entry, &Meter::default(), work))
        };
        hanging(&hung_files, &[1], &|| {
            assert_eq!(end(1, 1), hung(), "its call has not returned");
            assert_eq!(end(1, 2), JobEnd::Whole, "another file beside it");
        });
        assert_eq!(end(1, 1), JobEnd::Whole, "it answers again");
        hanging(&hung_files, &[1, 2, 3, 4], &|| {
            assert_eq!(end(1, 5), hung());
            assert_eq!(end(2, 5), JobEnd::Whole, "another file system");
        });
        assert_eq!(end(1, 5), JobEnd::Whole, "it answers again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_returns_between_two_looks_does_not_hang() {
        let looks = Cell::new(0);
        let look = || {
            looks.set(looks.get() + 1);
            looks.get() != 2
        };
        hangs(look).await;
        assert_eq!(looks.get(), 4);
    }
}
