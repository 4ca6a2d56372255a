//! Joins tasks that block, or that were spawned, with one rule for panics and for cancelled tasks.
//!
//! A panic of the task goes on in the task that joins it. A task is cancelled when its set is dropped
//! or the runtime ends; that is no panic, and it has no result.

use tokio::task::{JoinError, JoinHandle, spawn_blocking};

/// Runs `work` on a thread that may block.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    finished(spawn_blocking(work)).await
}

/// The result of work that was given to a thread that may block.
///
/// Where the runtime ends before the work has begun, this never returns: the caller ends with the
/// runtime.
pub(crate) async fn finished<T>(work: JoinHandle<T>) -> T {
    match joined(work.await) {
        Some(value) => value,
        None => std::future::pending().await,
    }
}

/// The result of a task; `None` where the task was cancelled.
pub(crate) fn joined<T>(ended: Result<T, JoinError>) -> Option<T> {
    match ended {
        Ok(value) => Some(value),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_cancelled) => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
    }

    #[test]
    fn a_result_comes_back() {
        assert_eq!(runtime().block_on(blocking(|| 7)), 7);
    }

    #[test]
    fn a_cancelled_task_has_no_result_and_does_not_panic() {
        let ended = runtime().block_on(async {
            let task = tokio::spawn(std::future::pending::<()>());
            task.abort();
            task.await
        });
        assert_eq!(joined(ended), None);
    }

    #[test]
    fn a_panic_goes_on_in_the_task_that_joins() {
        let run = || runtime().block_on(blocking(|| panic!("inside")));
        let panic = catch_unwind(AssertUnwindSafe(run)).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"inside"));
    }
}
