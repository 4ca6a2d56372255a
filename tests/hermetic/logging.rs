//! The log for people, as a process of its own writes it: a log is set up once in a process.

use std::fs::File;
use std::io::pipe;
use std::process::{Command, Output};

use stowd::logging;

/// What the other tests run in a process of its own, with `LEVEL` as the configuration has it.
#[test]
#[ignore = "a part of the other tests of this module"]
fn emitter() {
    let Ok(level) = std::env::var("LEVEL") else {
        return;
    };
    match logging::init(&level) {
        Ok(destination) => println!("to {destination:?}"),
        Err(error) => {
            println!("error: {error}");
            return;
        }
    }
    if let Ok(quote) = std::env::var("QUOTE") {
        return tracing::error!("failed: {quote}");
    }
    let path = "/images/app.tar";
    tracing::error!("an error");
    tracing::info!(entry = %path, images = 3, bytes = 5_u64, "imported");
    tracing::debug!("a detail");
    tracing::info!(target: "h2::codec", "a frame");
    tracing::warn!(target: "h2::codec", "a strange frame");
    println!("again: {}", logging::init(&level).unwrap_err());
}

fn emit(level: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "logging::emitter", "--ignored", "--nocapture"])
        .env_clear()
        .env("LEVEL", level);
    command
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

/// The lines of the log, without their time.
fn lines(output: Output) -> Vec<String> {
    assert!(output.status.success(), "{output:?}");
    let cut = |line: &str| {
        line.split_once("Z ")
            .map(|(_, rest)| rest.trim().to_owned())
    };
    text(output.stderr)
        .lines()
        .map(|line| cut(line).unwrap_or_else(|| panic!("no time: {line:?}")))
        .collect()
}

#[test]
fn people_get_level_and_message_without_colours() {
    assert_eq!(
        lines(emit("info").output().unwrap()),
        ["ERROR an error", "INFO imported", "WARN a strange frame",]
    );
}

#[test]
fn what_a_message_quotes_begins_no_line() {
    let quote = "a.tar\n2026-01-01T00:00:00.000000Z  INFO ready: 1 image\u{1b}[2J";
    assert_eq!(
        lines(emit("info").env("QUOTE", quote).output().unwrap()),
        [r"ERROR failed: a.tar\n2026-01-01T00:00:00.000000Z  INFO ready: 1 image\u{1b}[2J"]
    );
}

#[test]
fn dependencies_are_heard_when_they_are_named() {
    let shown = lines(emit("debug,h2=info").output().unwrap());
    assert_eq!(
        shown[2..],
        ["DEBUG a detail", "INFO a frame", "WARN a strange frame"]
    );
    assert_eq!(lines(emit("error").output().unwrap()), ["ERROR an error"]);
    assert_eq!(lines(emit("off").output().unwrap()), [""; 0]);
}

#[test]
fn rust_log_wins_unless_it_is_empty() {
    let set = emit("info").env("RUST_LOG", "error").output().unwrap();
    assert_eq!(lines(set), ["ERROR an error"]);
    let empty = emit("error").env("RUST_LOG", "").output().unwrap();
    assert_eq!(lines(empty), ["ERROR an error"]);
}

#[test]
fn a_rust_log_that_is_no_filter_is_warned_of_and_left() {
    let output = emit("warn").env("RUST_LOG", "stowd=loud").output().unwrap();
    let shown = lines(output);
    assert!(
        shown[0].starts_with("WARN RUST_LOG is no filter, log-level is used: error parsing"),
        "{shown:?}"
    );
    assert_eq!(shown[1..], ["ERROR an error", "WARN a strange frame"]);
}

#[test]
fn a_level_that_is_no_filter_is_an_error() {
    let output = emit("stowd=loud").output().unwrap();
    let stdout = text(output.stdout);
    assert!(
        stdout.contains("error: log-level \"stowd=loud\": "),
        "{stdout}"
    );
    assert_eq!(output.stderr, b"");
}

#[test]
fn a_second_log_is_an_error() {
    let stdout = text(emit("info").output().unwrap().stdout);
    assert!(
        stdout.contains("again: the log is set up already: "),
        "{stdout}"
    );
}

#[test]
fn a_journal_stream_that_is_not_stderr_is_not_followed() {
    let output = emit("info")
        .env("JOURNAL_STREAM", "8:4711")
        .output()
        .unwrap();
    let stdout = text(output.stdout.clone());
    assert!(stdout.contains("to Stderr"), "{stdout}");
    assert_eq!(lines(output).len(), 3);
}

#[test]
fn a_stderr_that_nobody_reads_is_no_error() {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let full = File::options().write(true).open("/dev/full").unwrap();
    for output in [
        emit("info").stderr(writer).output().unwrap(),
        emit("info").stderr(full).output().unwrap(),
        closed_stderr(),
    ] {
        assert!(output.status.success(), "{output:?}");
        let stdout = text(output.stdout);
        assert!(stdout.contains("again: "), "it went to its end: {stdout}");
    }
}

fn closed_stderr() -> Output {
    let emitter = emit("info");
    Command::new("sh")
        .args(["-c", "exec \"$0\" \"$@\" 2>&-"])
        .arg(emitter.get_program())
        .args(emitter.get_args())
        .env("LEVEL", "info")
        .output()
        .unwrap()
}

/// `script` of util-linux has a terminal for us.
#[test]
fn a_terminal_gets_colours_unless_it_is_asked_not_to() {
    let on_terminal = |environment: &[(&str, &str)]| {
        let emitter = emit("info");
        let mut words = vec![emitter.get_program()];
        words.extend(emitter.get_args());
        let words: Vec<_> = words.iter().map(|word| word.to_str().unwrap()).collect();
        let output = Command::new("script")
            .args(["-qec", &words.join(" "), "/dev/null"])
            .env_remove("NO_COLOR")
            .env_remove("RUST_LOG")
            .env("TERM", "xterm")
            .env("LEVEL", "info")
            .envs(environment.iter().copied())
            .output()
            .expect("script, of util-linux");
        let shown = text(output.stdout);
        let line = shown.lines().find(|line| line.contains("imported"));
        line.unwrap_or_else(|| panic!("{shown}"))
            .contains("\u{1b}[")
    };
    assert!(on_terminal(&[]));
    assert!(on_terminal(&[("NO_COLOR", "")]));
    assert!(!on_terminal(&[("NO_COLOR", "1")]));
    assert!(!on_terminal(&[("TERM", "dumb")]));
}
