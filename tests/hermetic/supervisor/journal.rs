//! The journal's stream, and stderr in its stead. A socket of the test stands for journald.

use std::fs;
use std::io::{BufRead, BufReader, PipeWriter, Write, pipe};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use stowd::config::{ContainerdLog, LineLevel};
use stowd::supervisor::output::{LogStream, MAX_WAITING, Output, entry, passes, priority};

use super::stowd::{Guard, command};
use super::{DEADLINE, content_of, eventually, pid_in};

/// The end of the pipe that the child would have, its output going to a journal at `socket`.
fn output(socket: &Path, config: &ContainerdLog) -> (PipeWriter, Output) {
    let (reader, writer) = pipe().unwrap();
    let journal = LogStream::Journal(socket.to_owned());
    (writer, Output::start(reader, config, journal).unwrap())
}

/// Takes a connection and its header, the seven lines of `journald-stream.c`.
fn accept(listener: &UnixListener) -> BufReader<UnixStream> {
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut stream = BufReader::new(stream);
    // Identifier, unit, priority, level prefix, forward to syslog, to kmsg, to the console.
    for expected in ["containerd", "", "6", "1", "0", "0", "0"] {
        assert_eq!(line(&mut stream), format!("{expected}\n"));
    }
    stream
}

fn line(stream: &mut BufReader<UnixStream>) -> String {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    line
}

#[test]
fn lines_go_to_the_journal_with_their_priority() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("stdout");
    let listener = UnixListener::bind(&socket).unwrap();
    let (mut child, _output) = output(&socket, &ContainerdLog::default());
    child
        .write_all(b"time=\"t\" level=error msg=bad\nplain\nno end")
        .unwrap();
    let mut journal = accept(&listener);
    assert_eq!(line(&mut journal), "<3>time=\"t\" level=error msg=bad\n");
    assert_eq!(line(&mut journal), "<6>plain\n");
    drop(child);
    assert_eq!(line(&mut journal), "<6>no end\n");
}

#[test]
fn the_priority_is_that_of_the_level() {
    for (line, expected) in [
        ("time=\"2026-11-21T10:00:00Z\" level=trace msg=\"x\"", 7),
        ("time=\"2026-11-21T10:00:00Z\" level=debug msg=\"x\"", 7),
        ("time=\"2026-11-21T10:00:00Z\" level=info msg=\"x\"", 6),
        ("time=\"2026-11-21T10:00:00Z\" level=warning msg=\"x\"", 4),
        ("level=warn", 4),
        ("level=error\n", 3),
        ("time=\"t\" level=fatal msg=\"x\"", 2),
        ("time=\"t\" level=panic msg=\"x\"", 2),
        ("{\"level\":\"error\",\"msg\":\"x\",\"time\":\"t\"}", 3),
        (
            "{\"error\":\"\\\"level\\\":\\\"fatal\\\"\",\"level\":\"warning\"}",
            4,
        ),
        ("panic: runtime error: index out of range", 2),
        ("fatal error: concurrent map writes", 2),
        // What another program says in a message.
        ("time=\"t\" msg=\"a level=error here\"", 6),
        ("containerd: invalid level=error", 6),
        ("time=\"t\" xlevel=error", 6),
        ("goroutine 1 [running]:", 6),
        ("level=unheard-of", 6),
        ("", 6),
    ] {
        assert_eq!(priority(line.as_bytes()), expected, "{line}");
    }
    // A prefix of the child's own is not taken for stowd's: journald takes one away.
    assert_eq!(entry(b"<0>x\n"), b"<6><0>x\n");
}

#[test]
fn lines_of_a_lesser_level_do_not_reach_the_journal_and_all_reach_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("stdout");
    let file = directory.path().join("containerd.log");
    let listener = UnixListener::bind(&socket).unwrap();
    let config = ContainerdLog {
        file: Some(file.clone()),
        tee: true,
        ..ContainerdLog::default()
    };
    let (mut child, output) = output(&socket, &config);
    let said = "level=debug msg=a\nlevel=info msg=b\nlevel=warning msg=c\nplain\n";
    child.write_all(said.as_bytes()).unwrap();
    let mut journal = accept(&listener);
    assert_eq!(line(&mut journal), "<4>level=warning msg=c\n");
    assert_eq!(line(&mut journal), "<6>plain\n");
    assert_eq!(content_of(&file), said);
    assert_eq!(output.last_lines().len(), 4, "an error may quote them");
}

#[test]
fn a_line_passes_from_its_level_up_and_one_without_a_level_always() {
    const LEVELS: [(&str, LineLevel); 5] = [
        ("trace", LineLevel::Trace),
        ("debug", LineLevel::Debug),
        ("info", LineLevel::Info),
        ("warning", LineLevel::Warn),
        ("error", LineLevel::Error),
    ];
    for (least_at, (_, least)) in LEVELS.into_iter().enumerate() {
        for (at, (word, _)) in LEVELS.into_iter().enumerate() {
            let text = format!("time=\"t\" level={word} msg=\"x\"");
            assert_eq!(passes(text.as_bytes(), least), at >= least_at, "{text}");
            let json = format!("{{\"level\":\"{word}\",\"msg\":\"x\"}}");
            assert_eq!(passes(json.as_bytes(), least), at >= least_at, "{json}");
        }
        for always in [
            "level=fatal msg=x",
            "level=panic msg=x",
            "panic: runtime error",
            "goroutine 1 [running]:",
            "level=unheard-of",
            "time=\"t\" msg=\"a level=info here\"",
        ] {
            assert!(passes(always.as_bytes(), least), "{always}");
        }
    }
}

#[test]
fn a_journal_that_comes_late_or_again_gets_every_line() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("stdout");
    let (mut child, output) = output(&socket, &ContainerdLog::default());
    child.write_all(b"early\n").unwrap();
    eventually("the line to be read", || {
        (output.last_lines() == ["early"])
            .then_some(())
            .ok_or("nothing".to_owned())
    });
    let listener = UnixListener::bind(&socket).unwrap();
    let mut journal = accept(&listener);
    assert_eq!(line(&mut journal), "<6>early\n");

    drop((journal, listener));
    fs::remove_file(&socket).unwrap();
    child.write_all(b"in between\n").unwrap();
    let listener = UnixListener::bind(&socket).unwrap();
    let mut journal = accept(&listener);
    assert_eq!(line(&mut journal), "<6>in between\n");
}

#[test]
fn a_journal_that_is_stuck_does_not_hold_the_child() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("stdout");
    let listener = UnixListener::bind(&socket).unwrap();
    let (mut child, output) = output(&socket, &ContainerdLog::default());
    // More than may wait here, in the pipe and in the socket together. It would hang.
    let total = 6 * MAX_WAITING / 1024;
    for n in 0..total {
        child.write_all(format!("{n:01023}\n").as_bytes()).unwrap();
    }
    drop(child);
    let mut journal = accept(&listener);
    // Dropping the handle gives the journal a last second; this thread reads meanwhile.
    drop(output);
    let mut got = Vec::new();
    for line in journal.lines_until_end() {
        assert_eq!(line.len(), 3 + 1023, "no line is cut");
        got.push(line[3..].parse::<usize>().unwrap());
    }
    assert!(got.is_sorted_by(|a, b| a < b), "in order, none twice");
    assert!(
        got.len() * 1024 > MAX_WAITING / 2,
        "what could wait did: {}",
        got.len()
    );
    assert!(got.len() < total, "the rest was dropped");
}

trait LinesUntilEnd {
    fn lines_until_end(&mut self) -> Vec<String>;
}

impl LinesUntilEnd for BufReader<UnixStream> {
    fn lines_until_end(&mut self) -> Vec<String> {
        self.lines().map(|line| line.unwrap()).collect()
    }
}

#[test]
fn a_file_and_the_journal_get_the_same_lines() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("stdout");
    let file = directory.path().join("containerd.log");
    let listener = UnixListener::bind(&socket).unwrap();
    let config = ContainerdLog {
        file: Some(file.clone()),
        tee: true,
        ..ContainerdLog::default()
    };
    let (mut child, _output) = output(&socket, &config);
    child.write_all(b"both\n").unwrap();
    let mut journal = accept(&listener);
    assert_eq!(line(&mut journal), "<6>both\n");
    assert_eq!(content_of(&file), "both\n");
}

#[tokio::test]
async fn without_tee_the_file_gets_them_alone() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("stdout");
    let file = directory.path().join("containerd.log");
    let listener = UnixListener::bind(&socket).unwrap();
    let config = ContainerdLog {
        file: Some(file.clone()),
        ..ContainerdLog::default()
    };
    let (mut child, output) = output(&socket, &config);
    child.write_all(b"alone\n").unwrap();
    output.flush().await;
    assert_eq!(fs::read_to_string(&file).unwrap(), "alone\n");
    listener.set_nonblocking(true).unwrap();
    assert_eq!(
        listener.accept().unwrap_err().kind(),
        std::io::ErrorKind::WouldBlock
    );
}

#[test]
fn without_a_journal_stderr_gets_the_lines_as_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let script = "echo 'level=error'; echo two >&2; printf three";
    let mut command = command(directory.path(), script);
    // What a parent's unit left: its stderr is another.
    command.env("JOURNAL_STREAM", "1:1").stderr(Stdio::piped());
    let stowd = command.spawn().unwrap().wait_with_output().unwrap();
    assert!(stowd.status.success());
    assert_eq!(stowd.stderr, b"level=error\ntwo\nthree\n");
    let log = fs::read_to_string(directory.path().join("log")).unwrap();
    let pid = pid_in(&directory.path().join("pid"));
    assert!(
        log.contains("containerd started: ") && log.contains(&format!(", pid {pid}")),
        "{log}"
    );
}

#[test]
fn a_stderr_that_nobody_reads_does_not_hold_the_child() {
    let directory = tempfile::tempdir().unwrap();
    let script = format!(
        "yes containerd | head -c {}; echo done > \"$4/done\"",
        4 * MAX_WAITING
    );
    let mut command = command(directory.path(), &script);
    command.stderr(Stdio::piped());
    let stowd = Guard::spawn(&mut command);
    content_of(&directory.path().join("root/done"));
    // Nor does it hold stowd for long.
    let exit = content_of(&directory.path().join("exit"));
    assert!(
        exit.starts_with("containerd exited: exit status: 0"),
        "{exit}"
    );
    drop(stowd);
}

#[test]
fn what_was_dropped_is_counted() {
    const LINE: u64 = "containerd\n".len() as u64;
    let directory = tempfile::tempdir().unwrap();
    let lines = 4 * MAX_WAITING as u64 / LINE;
    let script = format!(
        "yes containerd | head -n {lines}; echo done > \"$4/done\"; sleep 600 & echo $! > \"$4/pid\"; wait",
    );
    let mut command = command(directory.path(), &script);
    command.stderr(Stdio::piped());
    let mut stowd = Guard::spawn(&mut command);
    content_of(&directory.path().join("root/done"));
    let mut stderr = stowd.0.stderr.take().unwrap();
    let reader = std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
    let told = eventually("the count", || {
        let log = fs::read_to_string(directory.path().join("log")).unwrap();
        let told = log.lines().find(|line| line.contains("not taken in time"));
        told.map(str::to_owned).ok_or(log.clone())
    });
    super::kill(
        pid_in(&directory.path().join("root/pid")),
        rustix::process::Signal::KILL,
    );
    assert!(stowd.0.wait().unwrap().success());
    let written = reader.join().unwrap().unwrap();
    let dropped: u64 = told.rsplit_once("lines=").unwrap().1.parse().unwrap();
    assert_eq!(written + dropped * LINE, lines * LINE);
}

#[tokio::test]
async fn a_flush_takes_the_lines_along_and_does_not_wait_for_ever() {
    let directory = tempfile::tempdir().unwrap();
    let (mut child, output) = output(&directory.path().join("none"), &ContainerdLog::default());
    child.write_all(b"one\nno end").unwrap();
    tokio::time::timeout(Duration::from_secs(30), output.flush())
        .await
        .unwrap();
    assert_eq!(output.last_lines(), ["one", "no end"]);
}
