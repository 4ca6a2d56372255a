//! What is listened on.

use std::fs::{self, DirBuilder, Metadata, Permissions};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time::timeout;
use tokio_util::either::Either;

use crate::blocking::blocking;
use crate::config::ListenAddress;

/// How long a process that has the socket may take to say so.
const ASKED: Duration = Duration::from_secs(1);
/// Who may pass through the directory of the socket may connect: it tells no more than `status.json`.
const MODE: u32 = 0o666;

/// Why an address is not listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("{0} is in use by another process")]
    InUse(ListenAddress),
    #[error("{} is there, and is no socket: it is left alone", .0.display())]
    NoSocket(PathBuf),
    #[error("cannot listen on {address}: {cause}")]
    System {
        address: ListenAddress,
        cause: io::Error,
    },
}

/// Connections come from here. The file of a socket goes with it.
#[derive(Debug)]
pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

impl Listener {
    /// Listens. A socket that a process has left behind is replaced, and the directory of one is made.
    pub async fn bind(address: &ListenAddress) -> Result<Self, BindError> {
        let bound = match address {
            ListenAddress::Tcp(at) => Ok(bind_tcp(*at).await),
            ListenAddress::Unix(path) => bind_unix(path).await,
        };
        bound?.map_err(|cause| match cause.kind() {
            ErrorKind::AddrInUse => BindError::InUse(address.clone()),
            _ => BindError::System {
                address: address.clone(),
                cause,
            },
        })
    }

    pub(super) async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener) => listener.accept().await.map(|(it, _)| Either::Left(it)),
            Self::Unix(listener, _) => listener.accept().await.map(|(it, _)| Either::Right(it)),
        }
    }
}

async fn bind_tcp(address: SocketAddr) -> io::Result<Listener> {
    TcpListener::bind(address).await.map(Listener::Tcp)
}

async fn bind_unix(path: &Path) -> Result<io::Result<Listener>, BindError> {
    let owned = path.to_owned();
    let found = blocking(move || fs::symlink_metadata(&owned)).await;
    let is_there = match found {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(BindError::NoSocket(path.to_owned()));
        }
        Ok(_) if !is_left(path).await => return Ok(Err(ErrorKind::AddrInUse.into())),
        // What else is wrong with it is told when it is bound.
        found => found.is_ok(),
    };
    let owned = path.to_owned();
    Ok(blocking(move || bound(&owned, is_there)).await)
}

/// Whether no process has the socket any more.
async fn is_left(path: &Path) -> bool {
    let connected = timeout(ASKED, UnixStream::connect(path)).await;
    matches!(connected, Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused)
}

/// `is_left`: the file of a socket is there that no process has.
fn bound(path: &Path, is_left: bool) -> io::Result<Listener> {
    if is_left {
        fs::remove_file(path)?;
    }
    if let Some(dir) = path.parent() {
        // As the supervisor makes it: others may pass through, and not list.
        DirBuilder::new().recursive(true).mode(0o711).create(dir)?;
    }
    let listener = UnixListener::bind(path)?;
    let file = SocketFile {
        path: path.to_owned(),
        found: fs::symlink_metadata(path)?,
    };
    fs::set_permissions(path, Permissions::from_mode(MODE))?;
    Ok(Listener::Unix(listener, file))
}

/// The file of a socket, which is removed with this.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    found: Metadata,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_own =
            |now: &Metadata| (now.dev(), now.ino()) == (self.found.dev(), self.found.ino());
        // Another process may have put its own there.
        if fs::symlink_metadata(&self.path).is_ok_and(|now| is_own(&now)) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A connection.
pub(super) type Stream = Either<TcpStream, UnixStream>;
