//! What the service manager hears, datagram by datagram. A process of its own speaks: the socket
//! is named by a variable of its environment.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use stowd::notify::{Notifier, feed_watchdog, report_load};
use stowd::progress::{Meter, Progress, Work};
use tempfile::TempDir;
use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing_subscriber::layer::SubscriberExt as _;

use super::messages::Messages;

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
        "much" => say_much_and_wait(&notifier),
        "reloads" => reload_early_wrong_and_right(&notifier),
        "watchdog" => feed_for_a_moment(&notifier),
        "last words" => {
            allow_descriptors(0);
            notifier.stopping(&"failed");
        }
        "" => {}
        other => panic!("{other}"),
    }
}

/// No descriptor of a higher number is to be had from now on; those that are open stay open.
pub(crate) fn allow_descriptors(most: u64) {
    let limit = Rlimit {
        current: Some(most),
        ..getrlimit(Resource::Nofile)
    };
    setrlimit(Resource::Nofile, limit).unwrap();
}

/// Step by step, each when the one before was heard.
fn reload_early_wrong_and_right(notifier: &Notifier) {
    let reload = |is_wrong| {
        notifier.reloading();
        notifier.reloaded(is_wrong);
    };
    let steps: [&dyn Fn(); 7] = [
        &|| notifier.status(&"importing"),
        &|| reload(true),
        &|| reload(false),
        &|| notifier.ready(&"ready"),
        &|| reload(true),
        &|| notifier.status(&"busy"),
        &|| reload(false),
    ];
    for step in steps {
        step();
        std::io::stdin().read_line(&mut String::new()).unwrap();
    }
}

fn say_much_and_wait(notifier: &Notifier) {
    for n in 0..1000 {
        notifier.status(&n);
    }
    notifier.ready(&"ready");
    notifier.stopping(&"stopping");
    println!("said");
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

fn feed_for_a_moment(notifier: &Notifier) {
    let (_turns, progress) = watch::channel(Progress::default());
    let moment = Duration::from_millis(300);
    let feed = async { timeout(moment, feed_watchdog(notifier, &progress)).await };
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    assert!(runtime.block_on(feed).is_err(), "it does not end");
}

fn speak(speech: &str) -> Command {
    // Who waits for the service manager is ended, and the test fails.
    let mut command = Command::new("timeout");
    command
        .arg("60")
        .arg(std::env::current_exe().unwrap())
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

    /// As much as the socket takes, so that the next sender has to wait.
    fn fill(&self) {
        let sender = UnixDatagram::unbound().unwrap();
        sender.set_nonblocking(true).unwrap();
        while sender.send_to(b"filler", &self.path).is_ok() {}
    }

    fn receive(&self) -> Option<String> {
        let mut bytes = vec![0; 64 << 10];
        let length = self.socket.recv(&mut bytes).ok()?;
        Some(String::from_utf8(bytes[..length].to_vec()).unwrap())
    }

    /// What waits, once nothing is sent any more.
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
fn without_a_descriptor_left_it_is_still_told() {
    let manager = Manager::new();
    // systemd may name its socket by an abstract name as well.
    let name = format!("stowd-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let abstract_manager = Manager {
        socket: UnixDatagram::bind_addr(&address).unwrap(),
        path: format!("@{name}").into(),
        _directory: tempfile::tempdir().unwrap(),
    };
    for manager in [manager, abstract_manager] {
        let mut speaker = speak("last words");
        speaker.env("NOTIFY_SOCKET", &manager.path);
        succeeded(&speaker.output().unwrap());
        assert_eq!(manager.rest(), ["STOPPING=1\nSTATUS=failed\n"]);
    }
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

#[test]
fn a_manager_that_is_slow_holds_nobody_up_and_misses_only_what_is_outdated() {
    let manager = Manager::new();
    manager.fill();
    let mut speaker = speak("much")
        .env("NOTIFY_SOCKET", &manager.path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(speaker.stdout.take().unwrap()).lines();
    assert!(
        lines.any(|line| line.unwrap().ends_with("said")),
        "it waits"
    );
    let mut heard = Vec::new();
    while heard
        .last()
        .is_none_or(|last| last != "STOPPING=1\nSTATUS=stopping\n")
    {
        heard.push(manager.receive().expect("STOPPING, in the end"));
    }
    drop(speaker.stdin.take());
    assert!(speaker.wait().unwrap().success());
    heard.retain(|datagram| datagram != "filler");
    // The one before is the one that was on its way.
    let last = heard.len().saturating_sub(3);
    assert!(last <= 1, "{heard:?}");
    assert_eq!(
        heard[last..],
        [
            "STATUS=999\n",
            "READY=1\nSTATUS=ready\n",
            "STOPPING=1\nSTATUS=stopping\n",
        ]
    );
}

#[test]
fn a_manager_that_reads_nothing_does_not_keep_stowd_from_ending() {
    let manager = Manager::new();
    manager.fill();
    let mut speaker = speak("hostile");
    succeeded(
        &speaker
            .env("NOTIFY_SOCKET", &manager.path)
            .output()
            .unwrap(),
    );
    assert!(manager.rest().iter().all(|datagram| datagram == "filler"));
}

#[test]
fn a_reload_is_told_after_ready_and_a_wrong_configuration_until_it_is_right() {
    let manager = Manager::new();
    let mut speaker = speak("reloads")
        .env("NOTIFY_SOCKET", &manager.path)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut next = speaker.stdin.take().unwrap();
    let wrong = "; not reloaded: the configuration on disk is wrong";
    let reloading = "RELOADING=1\nMONOTONIC_USEC=";
    for expected in [
        vec!["STATUS=importing\n".to_owned()],
        vec![format!("STATUS=importing{wrong}\n")],
        vec!["STATUS=importing\n".to_owned()],
        vec!["READY=1\nSTATUS=ready\n".to_owned()],
        vec![
            reloading.to_owned(),
            format!("READY=1\nSTATUS=ready{wrong}\n"),
        ],
        vec![format!("STATUS=busy{wrong}\n")],
        vec![reloading.to_owned(), "READY=1\nSTATUS=busy\n".to_owned()],
    ] {
        for expected in expected {
            let heard = manager.receive().expect("a message");
            // The time is a number.
            let heard = heard.trim_end_matches(|c: char| c.is_ascii_digit() || c == '\n');
            assert_eq!(heard, expected.trim_end());
        }
        next.write_all(b"\n").unwrap();
    }
    assert!(speaker.wait().unwrap().success());
}

/// A configuration that is wrong ends stowd before its service begins, and `stowd check` is no service.
#[test]
fn a_start_that_fails_is_told_and_a_check_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("stowd.toml");
    std::fs::write(&file, "images.setle = \"2s\"\ninstance = 3\n").unwrap();
    for (command, is_told) in [("run", true), ("check", false)] {
        let manager = Manager::new();
        let ended = Command::new(env!("CARGO_BIN_EXE_stowd"))
            .arg("--config")
            .arg(&file)
            .arg(command)
            .env("NOTIFY_SOCKET", &manager.path)
            .output()
            .unwrap();
        assert_eq!(ended.status.code(), Some(78), "{ended:?}");
        let told = manager.rest();
        assert_eq!(told.len(), usize::from(is_told), "{command}: {told:?}");
        for told in told {
            let status = told.strip_prefix("STOPPING=1\nSTATUS=failed: configuration: ");
            let status = status.unwrap_or_else(|| panic!("{told}"));
            for part in ["images.setle", "instance"] {
                assert!(status.contains(part), "{status}");
            }
            assert_eq!(status.lines().count(), 1, "{status}");
        }
    }
}

#[test]
fn a_load_that_takes_long_is_a_line_every_ten_seconds_and_a_short_one_is_none() {
    for (seconds, lines) in [(9, 0), (35, 3)] {
        let told = Messages::default();
        let subscriber = tracing_subscriber::registry().with(told.layer());
        let _told = tracing::subscriber::set_default(subscriber);
        let clock = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build();
        clock.unwrap().block_on(load_for(seconds));
        let told = told.all();
        assert_eq!(told.len(), lines, "{told:?}");
        for line in told {
            assert!(
                line.starts_with("loading: importing 1/3: large.tar, "),
                "{line}"
            );
            assert!(line.contains(" MiB of 200.0 MiB, "), "{line}");
            assert!(
                line.ends_with("/s, 3 min left") || line.ends_with("/s, 2 min left"),
                "{line}"
            );
        }
    }
}

/// A MiB of the first of three archives each second.
async fn load_for(seconds: u32) {
    let meter = Meter::default();
    let (told, progress) = watch::channel(Progress {
        open: 3,
        working: vec![Work {
            name: "large.tar".to_owned(),
            size: 100 << 20,
            meter: meter.clone(),
        }],
        waiting_bytes: 100 << 20,
        ..Progress::default()
    });
    let work = async {
        for _ in 0..seconds {
            sleep(Duration::from_secs(1)).await;
            meter.add(1 << 20);
        }
        told.send_modify(|progress| progress.loaded = true);
    };
    let notifier = Notifier::default();
    let (loaded, ()) = tokio::join!(report_load(&notifier, progress, |now| now.loaded), work);
    loaded.unwrap();
}
