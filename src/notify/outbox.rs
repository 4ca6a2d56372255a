//! Messages that wait for the service manager. They are sent from a thread of its own: a stuck service
//! manager never delays shutdown.

use std::collections::VecDeque;
use std::mem::discriminant;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use sd_notify::NotifyState;

use crate::happened::DaemonEvent;
use crate::reporter::report;

use super::manager_socket::ManagerSocket;

/// How long the last messages may take once the outbox is closed.
const LAST_MESSAGES: Duration = Duration::from_secs(1);

/// A datagram.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// READY, with a status.
    Ready(String),
    /// RELOADING, with the time that systemd tells reloads apart by (sd_notify(3)).
    Reloading,
    Status(String),
    /// EXTEND_TIMEOUT_USEC, in microseconds.
    Extend(u32),
    Watchdog,
    /// STOPPING, with a status.
    Stopping(String),
}

impl Message {
    fn send(&self, manager: &ManagerSocket) {
        let sent = match self {
            Self::Ready(status) => manager.send(&[NotifyState::Ready, NotifyState::Status(status)]),
            Self::Reloading => NotifyState::monotonic_usec_now()
                .and_then(|now| manager.send(&[NotifyState::Reloading, now])),
            Self::Status(status) => manager.send(&[NotifyState::Status(status)]),
            Self::Extend(by) => manager.send(&[NotifyState::ExtendTimeoutUsec(*by)]),
            Self::Watchdog => manager.send(&[NotifyState::Watchdog]),
            Self::Stopping(status) => {
                manager.send(&[NotifyState::Stopping, NotifyState::Status(status)])
            }
        };
        if let Some(error) = manager.first_failure(sent) {
            report(DaemonEvent::ManagerNotTold(error.to_string()));
        }
    }
}

/// Messages on their way, in order. One of each kind at most: a later status or beat of the
/// watchdog takes the place of one that was not sent yet. READY comes once, and after each RELOADING;
/// STOPPING comes once.
#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<Message>,
    closed: bool,
    /// The thread has sent the last one.
    done: bool,
}

impl Waiting {
    fn put(&mut self, message: Message) {
        let kind = discriminant(&message);
        self.messages.retain(|other| discriminant(other) != kind);
        self.messages.push_back(message);
    }
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits on: messages; the end of the outbox.
    fn send_all(&self, manager: &ManagerSocket) {
        let mut waiting = self.lock();
        loop {
            if let Some(message) = waiting.messages.pop_front() {
                drop(waiting);
                message.send(manager);
                waiting = self.lock();
            } else if waiting.closed {
                waiting.done = true;
                return self.changed.notify_all();
            } else {
                waiting = self
                    .changed
                    .wait(waiting)
                    .unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

/// Sends messages from a thread of its own. Dropping it waits up to a second for the messages left.
#[derive(Debug)]
pub(super) struct Outbox {
    manager: Arc<ManagerSocket>,
    /// `None`: the system gave no thread, and messages are sent at once.
    shared: Option<Arc<Shared>>,
}

impl Outbox {
    pub(super) fn open(manager: ManagerSocket) -> Self {
        let manager = Arc::new(manager);
        let told = Arc::clone(&manager);
        let shared = Arc::new(Shared::default());
        let sender = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("notify".to_owned())
            .spawn(move || sender.send_all(&told));
        Self {
            manager,
            shared: thread.is_ok().then_some(shared),
        }
    }

    pub(super) fn put(&self, message: Message) {
        match &self.shared {
            Some(shared) => {
                shared.lock().put(message);
                shared.changed.notify_all();
            }
            None => message.send(&self.manager),
        }
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        let Some(shared) = &self.shared else {
            return;
        };
        let mut waiting = shared.lock();
        waiting.closed = true;
        shared.changed.notify_all();
        // A manager that does not read is not waited for, and does not get the last messages.
        let _ = shared
            .changed
            .wait_timeout_while(waiting, LAST_MESSAGES, |waiting| !waiting.done);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_overtaken_is_dropped_and_nothing_else() {
        let mut waiting = Waiting::default();
        let status = |text: &str| Message::Status(text.to_owned());
        for message in [
            status("1"),
            Message::Extend(1),
            status("2"),
            Message::Extend(2),
            Message::Ready("ready".to_owned()),
            Message::Watchdog,
            status("3"),
            Message::Watchdog,
            Message::Stopping("stopping".to_owned()),
        ] {
            waiting.put(message);
        }
        assert_eq!(
            waiting.messages,
            [
                Message::Extend(2),
                Message::Ready("ready".to_owned()),
                status("3"),
                Message::Watchdog,
                Message::Stopping("stopping".to_owned()),
            ]
        );
    }
}
