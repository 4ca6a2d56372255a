//! The socket of the service manager.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use sd_notify::NotifyState;

/// Where the service manager listens, and a socket to reach it from.
#[derive(Debug)]
pub(super) struct ManagerSocket {
    address: SocketAddr,
    /// Opened at the start, so that a process without a file descriptor left can say why it ends. `None`:
    /// none was to be had at the start, and each message asks for one.
    socket: Option<UnixDatagram>,
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
        })
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
