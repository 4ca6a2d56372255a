//! The socket of the service manager.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicBool, Ordering};

use sd_notify::NotifyState;

/// Where the service manager listens, and a socket to reach it from.
#[derive(Debug)]
pub(super) struct ManagerSocket {
    address: SocketAddr,
    /// Opened at the start, so that a process without a file descriptor left can say why it ends. `None`:
    /// none was to be had at the start, and each message asks for one.
    socket: Option<UnixDatagram>,
    /// The last message was not sent.
    is_failing: AtomicBool,
}

impl ManagerSocket {
    /// `name` is that of `NOTIFY_SOCKET`: a path, or an abstract name after `@`.
    ///
    /// # Errors
    /// It is no name of a socket.
    pub(super) fn open(name: &OsStr) -> io::Result<Self> {
        let address = match name.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(name),
        };
        Ok(Self {
            address: address?,
            socket: UnixDatagram::unbound().ok(),
            is_failing: AtomicBool::default(),
        })
    }

    /// Why a message was not sent, where the one before it was: for as long as none is, that is no news.
    pub(super) fn first_failure(&self, sent: io::Result<()>) -> Option<io::Error> {
        let was_failing = self.is_failing.swap(sent.is_err(), Ordering::Relaxed);
        sent.err().filter(|_| !was_failing)
    }

    /// Sends one datagram. It is addressed each time: a service manager that executes itself anew binds
    /// another socket to the name.
    pub(super) fn send(&self, states: &[NotifyState<'_>]) -> io::Result<()> {
        let datagram = states.iter().map(|state| format!("{state}\n"));
        let datagram = datagram.collect::<String>();
        let own;
        let socket = match &self.socket {
            Some(socket) => socket,
            None => {
                own = UnixDatagram::unbound()?;
                &own
            }
        };
        socket.send_to_addr(datagram.as_bytes(), &self.address)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_that_is_away_is_news_once_until_it_is_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = ManagerSocket::open(path.as_os_str()).unwrap();
        let is_news = || {
            let sent = manager.send(&[NotifyState::Watchdog]);
            manager.first_failure(sent).is_some()
        };
        assert!(is_news());
        assert!(!is_news() && !is_news());
        let bound = UnixDatagram::bind(&path).unwrap();
        assert!(!is_news(), "it is sent");
        drop(bound);
        assert!(is_news());
        assert!(!is_news());
    }
}
