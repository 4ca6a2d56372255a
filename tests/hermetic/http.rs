//! The HTTP server against clients that mean well and clients that do not.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use stowd::config::ListenAddress;
use stowd::http::{HttpAnswer, Listener, serve};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// A machine may be busy with something else.
const SOON: Duration = Duration::from_secs(60);

/// A server on a socket, until it is dropped.
struct Served {
    dir: TempDir,
    _runtime: Runtime,
}

fn bind(runtime: &Runtime, path: &Path) -> Result<Listener, String> {
    let bound = runtime.block_on(Listener::bind(&ListenAddress::Unix(path.to_owned())));
    bound.map_err(|error| error.to_string())
}

impl Served {
    fn start() -> Self {
        let (dir, runtime) = (TempDir::new().unwrap(), Runtime::new().unwrap());
        let listener = bind(&runtime, &dir.path().join("http")).unwrap();
        let answer = |path: &str| match path {
            "/well" => Some(HttpAnswer::line(true, "well")),
            "/ill" => Some(HttpAnswer::line(false, "ill")),
            _ => None,
        };
        runtime.spawn(async move { serve(&listener, answer).await });
        Self {
            dir,
            _runtime: runtime,
        }
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.dir.path().join("http")).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream
    }

    /// All that comes back of these bytes until the server hangs up.
    fn ask(&self, request: &[u8]) -> String {
        let mut stream = self.connect();
        // The server may hang up before all is written.
        let _ = stream.write_all(request);
        answer(&mut stream)
    }

    fn get(&self, path: &str) -> String {
        self.ask(format!("GET {path} HTTP/1.1\r\nHost: stowd\r\n\r\n").as_bytes())
    }
}

fn answer(stream: &mut UnixStream) -> String {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => bytes.extend_from_slice(&chunk[..read]),
            // What it has not read is thrown away with the connection.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("the server does not hang up: {error}"),
        }
    }
    String::from_utf8(bytes).unwrap()
}

#[test]
fn each_request_has_its_answer() {
    let served = Served::start();
    let well = served.get("/well");
    assert!(well.starts_with("HTTP/1.1 200 OK\r\n"), "{well}");
    assert!(well.ends_with("\r\n\r\nwell\n"), "{well}");
    assert!(well.contains("\r\nconnection: close\r\n"), "{well}");
    assert!(well.contains("\r\ncontent-type: text/plain; charset=utf-8\r\n"));
    let ill = served.get("/ill");
    assert!(
        ill.starts_with("HTTP/1.1 503 Service Unavailable\r\n"),
        "{ill}"
    );
    assert!(ill.ends_with("\r\n\r\nill\n"), "{ill}");
    assert!(served.get("/well?verbose=1").starts_with("HTTP/1.1 200 "));
    let head = served.ask(b"HEAD /well HTTP/1.1\r\nHost: stowd\r\n\r\n");
    assert!(
        head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
    assert!(head.contains("\r\ncontent-length: 5\r\n"), "{head}");
    let unknown = served.get("/etc/passwd");
    assert!(unknown.starts_with("HTTP/1.1 404 "), "{unknown}");
    assert!(
        unknown.ends_with("there are /metrics, /readyz and /healthz\n"),
        "{unknown}"
    );
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "X"] {
        let request =
            format!("{method} /well HTTP/1.1\r\nHost: stowd\r\nContent-Length: 2\r\n\r\nhi");
        let refused = served.ask(request.as_bytes());
        assert!(refused.starts_with("HTTP/1.1 405 "), "{method}: {refused}");
        assert!(
            refused.contains("\r\nallow: GET, HEAD\r\n"),
            "{method}: {refused}"
        );
    }
}

#[test]
fn what_is_no_request_is_refused_and_costs_little() {
    let served = Served::start();
    let long = format!("GET /well HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    let lines = "X: x\r\n".repeat(1000);
    let many = format!("GET /well HTTP/1.1\r\n{lines}\r\n");
    for request in [&long, &many] {
        let refused = served.ask(request.as_bytes());
        assert!(refused.starts_with("HTTP/1.1 431 "), "{refused}");
    }
    let garbage = served.ask(&[0x16; 64]);
    assert!(garbage.starts_with("HTTP/1.1 400 "), "{garbage}");
    // One answer, however many requests come at once.
    let one = served.ask(
        b"GET /well HTTP/1.1\r\nHost: stowd\r\n\r\n"
            .repeat(3)
            .as_slice(),
    );
    assert_eq!(one.matches("HTTP/1.1").count(), 1, "{one}");
    assert!(served.get("/well").starts_with("HTTP/1.1 200 "));
}

/// Clients that say nothing, or never end what they say, keep none away that asks.
#[test]
fn clients_that_hang_are_hung_up_on_and_hold_up_no_other_one() {
    let served = Served::start();
    let mut silent = served.connect();
    let mut slow = served.connect();
    slow.write_all(b"GET /well HTTP/1.1\r\nX: ").unwrap();
    let crowd = (0..200).map(|_| served.connect()).collect::<Vec<_>>();
    for _ in 0..10 {
        assert!(served.get("/well").starts_with("HTTP/1.1 200 "));
    }
    // Each of them ends, whether its time is over or others have come.
    let began = Instant::now();
    for stream in [&mut silent, &mut slow] {
        assert_eq!(answer(stream), "");
    }
    for mut stream in crowd {
        assert_eq!(answer(&mut stream), "");
    }
    assert!(began.elapsed() < SOON);
}

#[test]
fn a_socket_that_is_left_is_replaced_and_another_file_is_not() {
    let runtime = Runtime::new().unwrap();
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("new/dir/http");
    let listener = bind(&runtime, &path).unwrap();
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o666);
    let dir_mode = fs::metadata(dir.path().join("new")).unwrap().permissions();
    assert_eq!(dir_mode.mode() & 0o777, 0o711);
    let refused = bind(&runtime, &path).unwrap_err();
    assert!(
        refused.ends_with("is in use by another process"),
        "{refused}"
    );
    drop(listener);
    assert!(!path.exists(), "it goes with the listener");

    // As a process leaves it that is killed.
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let listener = bind(&runtime, &path).unwrap();
    UnixStream::connect(&path).unwrap();
    // What another process has put there is its own.
    fs::remove_file(&path).unwrap();
    fs::write(&path, "mine").unwrap();
    drop(listener);
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    let refused = bind(&runtime, &path).unwrap_err();
    assert!(refused.contains("is no socket"), "{refused}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    let refused = bind(&runtime, &path.join("below")).unwrap_err();
    assert!(refused.starts_with("cannot listen on unix:"), "{refused}");
}

#[test]
fn an_address_in_use_is_said() {
    let runtime = Runtime::new().unwrap();
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = ListenAddress::Tcp(other.local_addr().unwrap());
    let refused = runtime.block_on(Listener::bind(&address)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        format!("{address} is in use by another process")
    );
}
