//! Registries that misbehave: small servers on loopback that answer as they are told.

use std::borrow::Cow;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with};

/// How long a server may take to see that something has changed.
const LOOK: Duration = Duration::from_millis(20);

/// What one request gets.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Not a byte, as long as the server lives.
    Silence,
    /// Nothing until the server is told to answer otherwise; then that.
    Held,
    /// This.
    Is {
        /// Its status, with the reason: `500 Internal Server Error`.
        status: &'static str,
        /// A header of its own, if any: `Retry-After: 7`.
        header: Option<&'static str>,
        /// Its body, in JSON.
        body: Cow<'static, str>,
    },
    /// What the registry at this address answers.
    Of(String),
    /// The same, a piece of so many bytes at a time and a pause after each.
    Slowly {
        /// The address.
        of: String,
        /// The length of a piece.
        piece: usize,
        /// The time after it.
        pause: Duration,
    },
}

impl Answer {
    /// A registry that is broken.
    pub const BROKEN: Self = Self::Is {
        status: "500 Internal Server Error",
        header: None,
        body: Cow::Borrowed(r#"{"errors":[{"code":"UNKNOWN","message":"the disk is on fire"}]}"#),
    };

    /// A registry that has had enough, as Docker Hub and Amazon's say it.
    pub const TOO_MANY: Self = Self::Is {
        status: "429 Too Many Requests",
        header: Some("Retry-After: 7"),
        body: Cow::Borrowed(
            r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"retry-after: 7s, allowed: 1/minute"}]}"#,
        ),
    };
}

/// A request.
#[derive(Debug, Clone)]
pub struct Request {
    /// When it was whole.
    pub at: Instant,
    /// `GET`, `HEAD`.
    pub method: String,
    /// `/v2/core/umoci/manifests/1.35`, with the query.
    pub path: String,
    /// Who says that they are allowed to.
    pub authorization: Option<String>,
}

type Answers = Arc<dyn Fn(&Request) -> Answer + Send + Sync>;

struct State {
    answers: Answers,
    told: u64,
    closed: bool,
    requests: Vec<Request>,
    held: usize,
}

/// A server that answers as it is told. Dropped, it closes all connections, and its port is free.
pub struct FakeRegistry {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    listener: Option<JoinHandle<()>>,
}

impl FakeRegistry {
    /// One that gives every request the same answer.
    pub fn start(answer: Answer) -> Self {
        Self::start_with(move |_| answer.clone())
    }

    /// One that answers each request by itself.
    pub fn start_with(answers: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("its address");
        let state = Arc::new(Mutex::new(State {
            answers: Arc::new(answers),
            told: 0,
            closed: false,
            requests: Vec::new(),
            held: 0,
        }));
        let shared = Arc::clone(&state);
        let listener = std::thread::spawn(move || listen(&listener, &shared));
        Self {
            address,
            state,
            listener: Some(listener),
        }
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Gives every request this answer from now on, those that are held among them.
    pub fn answer(&self, answer: Answer) {
        self.answer_with(move |_| answer.clone());
    }

    /// Answers each request by itself from now on, those that are held among them.
    pub fn answer_with(&self, answers: impl Fn(&Request) -> Answer + Send + Sync + 'static) {
        let mut state = self.state.lock().unwrap();
        state.answers = Arc::new(answers);
        state.told += 1;
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.state.lock().unwrap().requests.clone()
    }

    /// How many requests have no answer yet, and a client that still waits for it.
    pub fn held(&self) -> usize {
        self.state.lock().unwrap().held
    }
}

impl Drop for FakeRegistry {
    fn drop(&mut self) {
        self.state.lock().unwrap().closed = true;
        // It waits for a connection: this is one.
        drop(TcpStream::connect(self.address));
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
        if std::thread::panicking() {
            eprintln!("--- asked of {} ---", self.address);
            for request in self.requests() {
                eprintln!("{} {}", request.method, request.path);
            }
            eprintln!("--- end ---");
        }
    }
}

/// A port that is taken and refuses every connection. Dropped, it is free.
pub struct Refusing {
    address: SocketAddr,
    _socket: OwnedFd,
}

impl Refusing {
    /// Takes a free port.
    pub fn start() -> Self {
        // Bound and never listened on: no other program gets it, and no client is let in.
        let (family, kind) = (AddressFamily::INET, SocketType::STREAM);
        // Nor do programs that a test starts keep it.
        let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None).expect("a socket");
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        bind(&socket, &any).expect("a free port");
        let address = getsockname(&socket).expect("its address");
        Self {
            address: address.try_into().expect("an address of IPv4"),
            _socket: socket,
        }
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }
}

fn listen(listener: &TcpListener, state: &Arc<Mutex<State>>) {
    let mut connections = Vec::new();
    for stream in listener.incoming() {
        if state.lock().unwrap().closed {
            break;
        }
        let Ok(stream) = stream else { continue };
        let state = Arc::clone(state);
        connections.push(std::thread::spawn(move || {
            // That the other side goes away is its right.
            let _ = serve(stream, &state);
        }));
    }
    for connection in connections {
        let _ = connection.join();
    }
}

/// One request, one answer, and the end of the connection.
fn serve(mut stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(LOOK))?;
    let Some(head) = read_head(&mut stream, state)? else {
        return Ok(());
    };
    let Some(request) = parse(&head) else {
        return Ok(());
    };
    state.lock().unwrap().requests.push(request.clone());
    loop {
        let (answers, told) = {
            let state = state.lock().unwrap();
            (Arc::clone(&state.answers), state.told)
        };
        match answers(&request) {
            Answer::Silence => return hold(&stream, state, None).map(drop),
            Answer::Held => {
                if !hold(&stream, state, Some(told))? {
                    return Ok(());
                }
            }
            Answer::Is {
                status,
                header,
                body,
            } => {
                let header = header.map_or(String::new(), |header| format!("{header}\r\n"));
                let length = body.len();
                write!(
                    stream,
                    "HTTP/1.1 {status}\r\nContent-Type: application/json\r\n\
                     Content-Length: {length}\r\n{header}Connection: close\r\n\r\n"
                )?;
                if request.method != "HEAD" {
                    stream.write_all(body.as_bytes())?;
                }
                return stream.shutdown(Shutdown::Write);
            }
            Answer::Of(address) => {
                std::io::copy(&mut ask(&address, &head)?, &mut stream)?;
                return stream.shutdown(Shutdown::Write);
            }
            Answer::Slowly { of, piece, pause } => {
                let mut from = ask(&of, &head)?;
                let mut bytes = vec![0; piece];
                while !state.lock().unwrap().closed {
                    let length = from.read(&mut bytes)?;
                    if length == 0 {
                        break;
                    }
                    stream.write_all(&bytes[..length])?;
                    // A real slow registry: its pace is what is tested.
                    std::thread::sleep(pause);
                }
                return stream.shutdown(Shutdown::Write);
            }
        }
    }
}

/// Keeps a request without an answer until the server is told something new: whether it was.
fn hold(stream: &TcpStream, state: &Mutex<State>, told: Option<u64>) -> std::io::Result<bool> {
    state.lock().unwrap().held += 1;
    let waited = loop {
        match stream.peek(&mut [0]) {
            Ok(0) => break Ok(false),
            Ok(_) => std::thread::sleep(LOOK),
            Err(error) if is_timeout(&error) => {}
            Err(error) => break Err(error),
        }
        let state = state.lock().unwrap();
        if state.closed {
            break Ok(false);
        }
        if told.is_some_and(|told| told != state.told) {
            break Ok(true);
        }
    };
    state.lock().unwrap().held -= 1;
    waited
}

/// A request's head, with the empty line that ends it; `None` when there comes none. Pulls have no
/// bodies.
fn read_head(stream: &mut TcpStream, state: &Mutex<State>) -> std::io::Result<Option<String>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(0) => return Ok(None),
            Ok(_) => head.push(byte[0]),
            Err(error) if is_timeout(&error) => {
                if state.lock().unwrap().closed {
                    return Ok(None);
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(String::from_utf8(head).ok())
}

fn parse(head: &str) -> Option<Request> {
    let mut lines = head.lines();
    let mut words = lines.next()?.split(' ');
    let header = |line: &str| {
        let (name, value) = line.split_once(": ")?;
        let is_it = name.eq_ignore_ascii_case("authorization");
        is_it.then(|| value.to_owned())
    };
    Some(Request {
        at: Instant::now(),
        method: words.next()?.to_owned(),
        path: words.next()?.to_owned(),
        authorization: lines.find_map(header),
    })
}

/// Asks another server the same, and has it end the connection after its answer.
fn ask(address: &str, head: &str) -> std::io::Result<TcpStream> {
    let mut upstream = TcpStream::connect(address)?;
    let of_connection = |line: &&str| line.to_ascii_lowercase().starts_with("connection:");
    for line in head.lines().filter(|line| !of_connection(line)) {
        match line {
            "" => write!(upstream, "Connection: close\r\n\r\n")?,
            line => write!(upstream, "{line}\r\n")?,
        }
    }
    Ok(upstream)
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
