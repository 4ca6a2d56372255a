//! Forks the child so that it dies with stowd, and only with stowd.
//!
//! The kernel sends the parent-death signal when the *thread* that forked ends, not the process
//! (prctl(2), PR_SET_PDEATHSIG). A runtime's threads come and go, so one thread that never ends
//! forks every child.
//!
//! This is one of four places with `unsafe`: the signal can only be set between fork and exec, and
//! there std offers nothing but `pre_exec`.
#![allow(unsafe_code)]

use std::io;
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;

use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal};
use tokio::process::Child;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// One child to fork.
struct SpawnRequest {
    command: Command,
    /// The runtime that waits for the child's exit.
    runtime: Handle,
    reply: oneshot::Sender<io::Result<Child>>,
}

/// The channel to the thread that forks. The sender is never dropped, so the thread never ends.
static PARENT: Mutex<Option<mpsc::Sender<SpawnRequest>>> = Mutex::new(None);

/// Runs `command` as a child in a process group of its own, which gets SIGKILL when this process
/// ends, however it ends. Dropping the child kills it too.
///
/// # Errors
/// Those of fork and exec, and of starting the thread.
pub(super) async fn spawn(command: Command) -> io::Result<Child> {
    let (reply, answer) = oneshot::channel();
    parent()?
        .send(SpawnRequest {
            command,
            runtime: Handle::current(),
            reply,
        })
        .map_err(|_| io::Error::other("the thread that forks has ended"))?;
    answer
        .await
        .unwrap_or_else(|_| Err(io::Error::other("the thread that forks gave no answer")))
}

/// Starts the thread with the first child.
fn parent() -> io::Result<mpsc::Sender<SpawnRequest>> {
    let mut parent = PARENT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(sender) = &*parent {
        return Ok(sender.clone());
    }
    let (sender, jobs) = mpsc::channel::<SpawnRequest>();
    thread::Builder::new()
        .name("child-parent".to_owned())
        .spawn(move || {
            for job in jobs {
                // A runtime that cannot watch children panics, after the fork: that child ends with
                // this process. This thread must not, or its other children would end as well.
                let child = catch_unwind(AssertUnwindSafe(|| fork(job.command, &job.runtime)))
                    .unwrap_or_else(|_| Err(io::Error::other("the runtime watches no children")));
                // If the task that asked has given up, the child is dropped, and that kills it.
                drop(job.reply.send(child));
            }
        })?;
    Ok(parent.insert(sender).clone())
}

fn fork(mut command: Command, runtime: &Handle) -> io::Result<Child> {
    let _entered = runtime.enter();
    let parent = getpid();
    // A Ctrl-C on the terminal goes to the foreground group: it is for stowd, which stops the
    // child in order.
    command.process_group(0);
    // SAFETY: between fork and exec only async-signal-safe calls are allowed. The closure makes
    // two bare system calls; it neither allocates nor locks.
    unsafe { command.pre_exec(move || die_with(parent)) };
    tokio::process::Command::from(command)
        .kill_on_drop(true)
        .spawn()
}

/// Runs in the child, before exec.
fn die_with(parent: Pid) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // A parent that died before the signal was set sends none.
    if getppid() == Some(parent) {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(
            rustix::io::Errno::SRCH.raw_os_error(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_whose_parent_is_gone_does_not_run() {
        let mut command = Command::new("true");
        // SAFETY: as above.
        unsafe { command.pre_exec(|| die_with(Pid::INIT)) };
        let error = command.spawn().unwrap_err();
        assert_eq!(
            error.raw_os_error(),
            Some(rustix::io::Errno::SRCH.raw_os_error())
        );
    }

    #[test]
    fn a_runtime_that_watches_no_children_ends_no_other_child() {
        let able = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let unable = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let mut sleep = Command::new("sleep");
        sleep.arg("600");
        let mut child = able.block_on(spawn(sleep)).unwrap();
        let error = unable.block_on(spawn(Command::new("true"))).unwrap_err();
        assert_eq!(error.to_string(), "the runtime watches no children");
        // The thread that forked still runs, and forks again.
        let mut next = able.block_on(spawn(Command::new("true"))).unwrap();
        assert!(able.block_on(next.wait()).unwrap().success());
        assert!(child.try_wait().unwrap().is_none());
    }
}
