//! What stowd sends to the journal, field by field: the journal's socket is replaced by the test's
//! own in a mount namespace, which needs root.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;

use stowd::logging;
use tempfile::TempDir;

/// What the test runs in a process of its own, with stderr as systemd would have it.
#[test]
#[ignore = "a part of the other tests of this module"]
fn emitter() {
    println!("to {:?}", logging::init("trace").unwrap());
    let path = "/images/app.tar";
    let message_id = "5712d80e381e45b2b7bea173a696de47";
    tracing::error!(message_id, error = "first\nsecond", "failed");
    tracing::warn!("odd");
    tracing::info!(entry = %path, images = 3, bytes = 5_u64, "imported");
    tracing::debug!("detail");
    tracing::trace!("more");
}

/// The emitter with `directory` where the journal's socket is looked for.
fn emit(directory: &Path, stderr: &File) -> String {
    let stat = stderr.metadata().unwrap();
    let script = "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal \
                  && mount --bind \"$0\" /run/systemd/journal && exec \"$@\"";
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script])
        .arg(directory)
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "journal_fields::emitter",
            "--ignored",
            "--nocapture",
        ])
        .env_remove("RUST_LOG")
        .env("JOURNAL_STREAM", format!("{}:{}", stat.dev(), stat.ino()))
        .stderr(stderr.try_clone().unwrap())
        .output()
        .expect("unshare, of util-linux");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>: `NAME=value`, or the name, the length in 8 bytes,
/// little-endian, and the value.
fn fields(mut datagram: &[u8]) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    while !datagram.is_empty() {
        let end = datagram.iter().position(|byte| *byte == b'\n').unwrap();
        let line = String::from_utf8(datagram[..end].to_vec()).unwrap();
        datagram = &datagram[end + 1..];
        let (name, value) = match line.split_once('=') {
            Some((name, value)) => (name.to_owned(), value.to_owned()),
            None => {
                let (length, rest) = datagram.split_at(8);
                let length = u64::from_le_bytes(length.try_into().unwrap()) as usize;
                datagram = &rest[length + 1..];
                (line, String::from_utf8(rest[..length].to_vec()).unwrap())
            }
        };
        assert_eq!(fields.insert(name.clone(), value), None, "{name} twice");
    }
    fields
}

#[test]
fn every_line_has_its_fields() {
    let directory = TempDir::new().unwrap();
    let socket = UnixDatagram::bind(directory.path().join("socket")).unwrap();
    let stderr = File::create(directory.path().join("stderr")).unwrap();
    let stdout = emit(directory.path(), &stderr);
    assert!(stdout.contains("to Journal"), "{stdout}");
    assert_eq!(stderr.metadata().unwrap().len(), 0, "nothing twice");

    socket.set_nonblocking(true).unwrap();
    let mut datagrams = Vec::new();
    let mut buffer = [0; 65536];
    while let Ok(length) = socket.recv(&mut buffer) {
        datagrams.push(fields(&buffer[..length]));
    }
    // The first is empty: stowd tries whether the journal listens.
    assert!(datagrams.remove(0).is_empty());
    let of = |name: &str| -> Vec<&str> {
        datagrams
            .iter()
            .map(|fields| fields.get(name).map_or("none", String::as_str))
            .collect()
    };
    assert_eq!(
        of("MESSAGE"),
        ["failed", "odd", "imported", "detail", "more"]
    );
    assert_eq!(of("PRIORITY"), ["3", "4", "6", "7", "7"]);
    assert_eq!(of("SYSLOG_IDENTIFIER"), ["stowd"; 5]);
    assert_eq!(of("STOWD_ENTRY")[2], "/images/app.tar");
    assert_eq!(of("STOWD_IMAGES")[2], "3");
    assert_eq!(of("STOWD_BYTES")[2], "5");
    assert_eq!(of("STOWD_ERROR")[0], "first\nsecond");
    let ids = of("MESSAGE_ID");
    assert_eq!(ids[0], "5712d80e381e45b2b7bea173a696de47");
    assert_eq!(ids[1..], ["none"; 4]);
    assert_eq!(of("STOWD_TARGET"), ["systemd::journal_fields"; 5]);
    for (file, line) in of("CODE_FILE").iter().zip(of("CODE_LINE")) {
        assert!(file.ends_with("journal_fields.rs"), "{file}");
        assert!(line.parse::<u32>().is_ok(), "{line}");
    }
}

#[test]
fn without_the_socket_the_lines_are_on_stderr() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("stderr");
    let stdout = emit(directory.path(), &File::create(&path).unwrap());
    assert!(stdout.contains("to Stderr"), "{stdout}");
    let shown = std::fs::read_to_string(path).unwrap();
    assert!(shown.contains("imported"), "{shown}");
}
