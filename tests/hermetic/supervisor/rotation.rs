//! The log file and its rotation: no line lost, cut or twice.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{PipeWriter, Read, Write, pipe};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytesize::ByteSize;
use stowd::config::ContainerdLog;
use stowd::supervisor::Supervisor;
use stowd::supervisor::output::{LogStream, Naming, Output, Policy};

use super::{eventually, scripted};

pub(super) fn config(file: &Path) -> ContainerdLog {
    ContainerdLog {
        file: Some(file.to_owned()),
        max_size: ByteSize::b(100),
        max_backups: 1000,
        compress: false,
        ..ContainerdLog::default()
    }
}

/// The child's end of the pipe.
pub(super) fn output(config: &ContainerdLog) -> (PipeWriter, Output) {
    let (reader, writer) = pipe().unwrap();
    let output = Output::start(reader, config, LogStream::Stderr).unwrap();
    (writer, output)
}

/// The rotated files of `containerd.log`, the oldest first.
pub(super) fn backups(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    let mut backups: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with("containerd-")
        })
        .collect();
    backups.sort();
    backups
}

pub(super) fn read(file: &Path) -> String {
    let mut text = String::new();
    let mut open = File::open(file).unwrap();
    if file.extension().is_some_and(|e| e == "gz") {
        flate2::read::GzDecoder::new(open)
            .read_to_string(&mut text)
            .unwrap();
    } else {
        open.read_to_string(&mut text).unwrap();
    }
    text
}

/// Everything that was logged, in order.
pub(super) fn everything(file: &Path) -> String {
    let mut files = backups(file.parent().unwrap());
    files.push(file.to_owned());
    files.iter().map(|file| read(file)).collect()
}

pub(super) fn numbered(numbers: impl Iterator<Item = usize>) -> String {
    numbers.map(|n| format!("line {n}\n")).collect()
}

#[tokio::test]
async fn under_load_no_line_is_lost_or_cut_or_twice() {
    const LINES: usize = 200_000;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("log/containerd.log");
    let code = format!(
        r#"exec perl -e '$| = 0; for (1..{LINES}) {{ print "line $_ ", "x" x ($_ % 23), "\n" }}'"#
    );
    let mut containerd = scripted(directory.path(), &code);
    containerd.log = ContainerdLog {
        max_size: ByteSize::kib(128),
        compress: true,
        ..config(&file)
    };
    let mut supervisor = Supervisor::start(&containerd).await.unwrap();
    assert!(supervisor.exited().await.status.success());
    let files = eventually("all to be compressed", || {
        let files = backups(file.parent().unwrap());
        let done = files.iter().all(|file| file.extension().unwrap() == "gz");
        if done {
            Ok(files)
        } else {
            Err(format!("{files:?}"))
        }
    });
    assert!(files.len() > 30, "{}", files.len());
    let text = everything(&file);
    let mut lines = text.lines();
    for n in 1..=LINES {
        assert_eq!(
            lines.next().unwrap(),
            format!("line {n} {}", "x".repeat(n % 23))
        );
    }
    assert_eq!(lines.next(), None);
    for file in files {
        let size = read(&file).len();
        assert!(size <= 128 << 10, "{size}");
    }
}

#[tokio::test]
async fn a_file_is_appended_to_and_rotated_between_lines() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("containerd.log");
    fs::write(
        &file,
        "from an earlier run, seventy bytes or so, which leave room for one more\n",
    )
    .unwrap();
    let (mut child, output) = output(&config(&file));
    child.write_all(numbered(0..10).as_bytes()).unwrap();
    output.flush().await;
    // 72 bytes, and room for 28: three lines of 7. One file holds 14.
    let [first] = backups(directory.path()).try_into().unwrap();
    assert!(
        read(&first).ends_with("one more\nline 0\nline 1\nline 2\nline 3\n"),
        "{}",
        read(&first)
    );
    assert_eq!(read(&file), numbered(4..10));

    // One that is longer than the file may be has a file of its own, whole.
    let long = "y".repeat(250) + "\n";
    child.write_all(long.as_bytes()).unwrap();
    child.write_all(b"after\n").unwrap();
    output.flush().await;
    let files = backups(directory.path());
    assert_eq!(files.len(), 3);
    assert_eq!(read(&files[2]), long);
    assert_eq!(read(&file), "after\n");
}

#[tokio::test]
async fn the_file_and_its_backups_are_not_for_everybody() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("containerd.log");
    let (mut child, output) = output(&ContainerdLog {
        compress: true,
        ..config(&file)
    });
    child.write_all(numbered(0..20).as_bytes()).unwrap();
    output.flush().await;
    let [backup] = eventually("a compressed backup", || {
        let files = backups(directory.path());
        let done = files.iter().all(|file| file.extension().unwrap() == "gz");
        <[PathBuf; 1]>::try_from(files)
            .ok()
            .filter(|_| done)
            .ok_or("not yet".to_owned())
    });
    for file in [file, backup] {
        assert_eq!(
            fs::metadata(&file).unwrap().mode() & 0o7137,
            0,
            "{}",
            file.display()
        );
    }
}

#[tokio::test]
async fn zero_as_the_size_means_no_rotation() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("containerd.log");
    let (mut child, output) = output(&ContainerdLog {
        max_size: ByteSize::b(0),
        ..config(&file)
    });
    child.write_all(numbered(0..100).as_bytes()).unwrap();
    output.flush().await;
    assert_eq!(backups(directory.path()), [""; 0].map(PathBuf::from));
    assert_eq!(read(&file), numbered(0..100));
}

#[tokio::test]
async fn backups_beyond_the_number_go_the_oldest_first() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("containerd.log");
    let (mut child, output) = output(&ContainerdLog {
        max_backups: 2,
        ..config(&file)
    });
    for n in 0..100 {
        child.write_all(format!("line {n}\n").as_bytes()).unwrap();
    }
    output.flush().await;
    let files = eventually("two backups", || {
        let files = backups(directory.path());
        if files.len() == 2 {
            Ok(files)
        } else {
            Err(format!("{files:?}"))
        }
    });
    assert_eq!(
        everything(&file),
        numbered(100 - everything(&file).lines().count()..100)
    );
    assert!(read(&files[0]) < read(&files[1]));
}

#[test]
fn what_an_earlier_run_left_is_tidied_at_start() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("containerd.log");
    let naming = Naming::of(&file);
    let backup = |days: u64, suffix: &str| {
        let age = Duration::from_secs(days * 24 * 60 * 60);
        let mut name = naming.name(SystemTime::now() - age);
        name.push(suffix);
        directory.path().join(name)
    };
    let (old, fresh, cut) = (backup(40, ""), backup(1, ""), backup(2, ".gz.part"));
    let half = backup(3, "");
    let mut whole = half.clone().into_os_string();
    whole.push(".gz");
    let whole = PathBuf::from(whole);
    for path in [&old, &fresh, &cut, &half, &whole] {
        fs::write(path, "text\n").unwrap();
    }
    let stranger = directory.path().join("containerd-notes.log");
    fs::write(&stranger, "not ours").unwrap();
    let (_child, _output) = output(&ContainerdLog {
        compress: true,
        ..config(&file)
    });
    let mut compressed = fresh.clone().into_os_string();
    compressed.push(".gz");
    let mut expected = vec![PathBuf::from(compressed), whole, stranger];
    expected.sort();
    eventually("the directory to be tidy", || {
        let files = backups(directory.path());
        if files == expected {
            Ok(())
        } else {
            Err(format!("{files:?}"))
        }
    });
    assert_eq!(read(&expected[1]), "text\n");
}

#[test]
fn the_plan_goes_by_the_names() {
    let naming = Naming::of(Path::new("/var/log/containerd.log"));
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    assert_eq!(
        naming.name(at(1_795_168_800)),
        "containerd-2026-11-20T10-00-00.000Z.log"
    );
    assert_eq!(
        Naming::of(Path::new("log")).name(at(0)),
        "log-1970-01-01T00-00-00.000Z"
    );
    for stranger in [
        "containerd.log",
        "containerd-.log",
        "containerd-2026.log",
        "xcontainerd-2026-11-20T10-00-00.000Z.log",
        "containerd-2026-11-20T10-00-00Z.log",
        "containerd-2026-11-20T10:00:00.000Z.log",
        "containerd-2026-13-20T10-00-00.000Z.log",
        "containerd-2026-11-20T10-00-00.000Z.log.1",
        "containerd-2026-11-20T10-00-00.000Z.txt",
        "containerd-2026-11-20T10-00-00.000Z",
    ] {
        assert_eq!(naming.time(stranger.as_ref()), None, "{stranger}");
    }
    let names: Vec<OsString> = (1..=5).map(|n| naming.name(at(n * 100))).collect();
    let plan = |max_backups, max_age, compress| {
        let max_age = Duration::from_secs(max_age);
        let policy = Policy {
            max_backups,
            max_age,
            compress,
        };
        naming.plan(names.clone(), policy, at(600))
    };
    assert_eq!(plan(5, 0, false), Default::default());
    assert_eq!(plan(2, 0, false).remove, names[..3]);
    assert_eq!(plan(5, 250, false).remove, names[..3]);
    assert_eq!(plan(5, 500, false).remove, [""; 0]);
    assert_eq!(plan(0, 0, true).remove, names);
    assert_eq!(plan(0, 0, true).compress, None);
    assert_eq!(plan(2, 0, true).compress.as_ref(), Some(&names[3]));
}
