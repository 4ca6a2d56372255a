//! Calls about the images directory, whose file system may not answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// A call that takes longer hangs.
const ANSWER: Duration = Duration::from_secs(30);

/// Whether the images directory answers. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Answers {
    limit: Duration,
    is_silent: Arc<AtomicBool>,
}

impl Default for Answers {
    fn default() -> Self {
        Self::within(ANSWER)
    }
}

impl Answers {
    fn within(limit: Duration) -> Self {
        Self {
            limit,
            is_silent: Arc::default(),
        }
    }

    /// What a call gives; `None` where it does not return in time, one before it has not returned yet, or
    /// there is no thread for it. One at a time may be made.
    pub(super) fn of<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        if self.is_silent.swap(true, Ordering::SeqCst) {
            return None;
        }
        let (sender, receiver) = mpsc::sync_channel(1);
        let is_silent = Arc::clone(&self.is_silent);
        let work = move || {
            let given = call();
            is_silent.store(false, Ordering::SeqCst);
            let _ = sender.send(given);
        };
        if thread::Builder::new()
            .name("ledger".to_owned())
            .spawn(work)
            .is_err()
        {
            self.is_silent.store(false, Ordering::SeqCst);
            return None;
        }
        receiver.recv_timeout(self.limit).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_does_not_return_is_given_up_and_none_is_made_before_it_has_returned() {
        let answers = Answers::within(Duration::from_millis(50));
        assert_eq!(answers.of(|| 1), Some(1));
        assert_eq!(answers.of(|| 2), Some(2), "the one before has returned");
        let (release, released) = mpsc::channel();
        assert_eq!(answers.of(move || released.recv()), None);
        assert_eq!(answers.clone().of(|| 3), None);
        release.send(()).unwrap();
        while answers.is_silent.load(Ordering::SeqCst) {
            thread::yield_now();
        }
        assert_eq!(
            Answers {
                limit: ANSWER,
                ..answers
            }
            .of(|| 4),
            Some(4)
        );
    }
}
