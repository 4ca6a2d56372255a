//! The service manager's end of `sd_notify(3)`: every datagram, with its sender and its time.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::eventually::eventually_in_turn;
use rustix::net::sockopt::set_socket_passcred;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

/// One datagram.
#[derive(Debug, Clone)]
pub struct Datagram {
    /// When it was received.
    pub at: Instant,
    /// Who sent it, as the kernel says.
    pub pid: i32,
    /// Its assignments, in order.
    pub assignments: Vec<String>,
}

type OnReady = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Heard {
    datagrams: Vec<Datagram>,
    on_ready: Option<OnReady>,
    /// A mark of `hear_all` was heard.
    marked: bool,
    closed: bool,
}

/// A datagram of the test's own, which comes after all that was sent before it.
const MARK: &str = "X_TEST_MARK=1";

/// A bound notify socket, and all that was heard on it.
pub struct NotifySocket {
    path: PathBuf,
    heard: Arc<Mutex<Heard>>,
}

impl NotifySocket {
    /// Binds `path`, in place of what is there.
    pub fn bind(path: &Path) -> Self {
        let _ = std::fs::remove_file(path);
        let socket = UnixDatagram::bind(path).expect("a notify socket");
        set_socket_passcred(&socket, true).expect("SO_PASSCRED");
        socket
            .set_read_timeout(Some(Duration::from_millis(100)))
            .expect("a timeout");
        let heard = Arc::new(Mutex::new(Heard::default()));
        let told = Arc::clone(&heard);
        std::thread::spawn(move || listen(&socket, &told));
        Self {
            path: path.to_owned(),
            heard,
        }
    }

    /// What goes into `NOTIFY_SOCKET`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Called in the moment in which READY=1 is heard.
    pub fn on_ready(&self, act: impl FnOnce() + Send + 'static) {
        self.heard.lock().unwrap().on_ready = Some(Box::new(act));
    }

    /// Returns when all that was sent so far was heard.
    pub fn hear_all(&self) {
        self.heard.lock().unwrap().marked = false;
        let sender = UnixDatagram::unbound().expect("a socket");
        sender.send_to(MARK.as_bytes(), &self.path).expect("a mark");
        let heard = || match self.heard.lock().unwrap().marked {
            true => Ok(()),
            false => Err(String::new()),
        };
        eventually_in_turn(Duration::from_secs(60), "the mark is heard", heard);
    }

    /// All datagrams so far.
    pub fn datagrams(&self) -> Vec<Datagram> {
        self.heard.lock().unwrap().datagrams.clone()
    }

    /// All assignments so far, in order.
    pub fn messages(&self) -> Vec<String> {
        self.datagrams()
            .into_iter()
            .flat_map(|datagram| datagram.assignments)
            .collect()
    }

    /// The lines of STATUS so far.
    pub fn statuses(&self) -> Vec<String> {
        let messages = self.messages();
        messages
            .iter()
            .filter_map(|text| text.strip_prefix("STATUS="))
            .map(str::to_owned)
            .collect()
    }

    /// When READY=1 was heard.
    pub fn ready_at(&self) -> Option<Instant> {
        let datagrams = self.datagrams();
        let ready = datagrams
            .iter()
            .find(|d| d.assignments.iter().any(|a| a == "READY=1"));
        ready.map(|datagram| datagram.at)
    }
}

impl Drop for NotifySocket {
    fn drop(&mut self) {
        self.heard.lock().unwrap().closed = true;
    }
}

fn listen(socket: &UnixDatagram, heard: &Mutex<Heard>) {
    let mut bytes = vec![0; 64 << 10];
    while !heard.lock().unwrap().closed {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut slices = [IoSliceMut::new(&mut bytes)];
        let Ok(received) = recvmsg(socket, &mut slices, &mut ancillary, RecvFlags::empty()) else {
            continue;
        };
        let at = Instant::now();
        let mut pid = 0;
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmCredentials(credentials) = message {
                pid = credentials.pid.as_raw_nonzero().get();
            }
        }
        let text = String::from_utf8_lossy(&bytes[..received.bytes]);
        let assignments = text.lines().map(str::to_owned).collect::<Vec<_>>();
        let mut heard = heard.lock().unwrap();
        if assignments == [MARK] {
            heard.marked = true;
            continue;
        }
        let ready = assignments.iter().any(|assignment| assignment == "READY=1");
        heard.datagrams.push(Datagram {
            at,
            pid,
            assignments,
        });
        if let Some(act) = heard.on_ready.take_if(|_| ready) {
            drop(heard);
            act();
        }
    }
}
