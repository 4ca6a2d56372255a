//! What the service manager hears, datagram by datagram. A process of its own speaks: the socket
//! is named by a variable of its environment.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use stowd::notify::{Notifier, feed_watchdog};
use stowd::progress::Progress;
use tempfile::TempDir;
use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio::time::timeout;

/// What the other tests run in a process of its own, with `SPEECH` as what it is to say.
#[test]
#[ignore = "a part of the other tests of this module"]
fn speaker() {
    let notifier = Notifier::default();
    match std::env::var("SPEECH").unwrap_or_default().as_str() {
        "hostile" => {
            let forged = "a.tar\nREADY=1\r\nSTATUS=all is well\0\x1b[2J";
            notifier.status(&format_args!("importing {forged}"));
            notifier.ready(&"ö".repeat(10_000));
            notifier.stopping(&format_args!("stopping: {forged}"));
        }
        "watchdog" => feed_for_a_moment(&notifier),
        "" => {}
        other => panic!("{other}"),
    }
}

fn feed_for_a_moment(notifier: &Notifier) {
    let (_turns, progress) = watch::channel(Progress::default());
    let moment = Duration::from_millis(300);
    let feed = async { timeout(moment, feed_watchdog(notifier, &progress)).await };
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    assert!(runtime.block_on(feed).is_err(), "it does not end");
}

fn speak(speech: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "notify::speaker", "--ignored", "--nocapture"])
        .env_remove("WATCHDOG_USEC")
        .env_remove("WATCHDOG_PID")
        .env_remove("NOTIFY_SOCKET")
        .env("SPEECH", speech);
    command
}

/// The service manager's end.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
    _directory: TempDir,
}

impl Manager {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        Self {
            socket,
            path,
            _directory: directory,
        }
    }

    fn receive(&self) -> Option<String> {
        let mut bytes = vec![0; 64 << 10];
        let length = self.socket.recv(&mut bytes).ok()?;
        Some(String::from_utf8(bytes[..length].to_vec()).unwrap())
    }

    /// What waits, once nobody speaks any more.
    fn rest(&self) -> Vec<String> {
        self.socket.set_nonblocking(true).unwrap();
        std::iter::from_fn(|| self.receive()).collect()
    }
}

fn succeeded(output: &Output) {
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn what_a_status_quotes_assigns_nothing() {
    let manager = Manager::new();
    succeeded(
        &speak("hostile")
            .env("NOTIFY_SOCKET", &manager.path)
            .output()
            .unwrap(),
    );
    let quoted = r"a.tar\nREADY=1\r\nSTATUS=all is well\u{0}\u{1b}[2J";
    assert_eq!(
        manager.rest(),
        [
            format!("STATUS=importing {quoted}\n"),
            format!("READY=1\nSTATUS={}…\n", "ö".repeat(499)),
            format!("STOPPING=1\nSTATUS=stopping: {quoted}\n"),
        ]
    );
}

#[test]
fn a_watchdog_without_a_limit_is_not_fed() {
    for (limit, heard) in [("0", vec![]), ("1", vec!["WATCHDOG=1\n"])] {
        let manager = Manager::new();
        let mut speaker = speak("watchdog");
        speaker
            .env("NOTIFY_SOCKET", &manager.path)
            .env("WATCHDOG_USEC", limit);
        succeeded(&speaker.output().unwrap());
        assert_eq!(manager.rest(), heard, "WATCHDOG_USEC={limit}");
    }
}
