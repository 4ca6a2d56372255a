//! The log file when another program moves it, and when the disk takes no more.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use bytesize::ByteSize;
use stowd::config::ContainerdLog;

use super::rotation::{backups, config, everything, numbered, output, read};
use super::stowd::{Guard, command, with_log_file};
use super::{content_of, eventually, pid_in};

#[tokio::test]
async fn a_file_that_logrotate_moved_away_is_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("containerd.log");
    let (mut child, output) = output(&ContainerdLog {
        max_size: ByteSize::mib(1),
        ..config(&file)
    });
    child.write_all(b"before\n").unwrap();
    output.flush().await;
    fs::rename(&file, directory.path().join("containerd.log.1")).unwrap();
    child.write_all(b"after\n").unwrap();
    output.flush().await;
    assert_eq!(read(&file), "after\n");
    // With "create", another file is there already.
    fs::rename(&file, directory.path().join("containerd.log.2")).unwrap();
    fs::write(&file, "made by logrotate\n").unwrap();
    child.write_all(b"again\n").unwrap();
    output.flush().await;
    assert_eq!(read(&file), "made by logrotate\nagain\n");
    assert_eq!(read(&directory.path().join("containerd.log.1")), "before\n");
    assert_eq!(read(&directory.path().join("containerd.log.2")), "after\n");
}

#[tokio::test]
async fn a_file_that_logrotate_truncated_has_no_hole() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("containerd.log");
    let (mut child, output) = output(&config(&file));
    child.write_all(numbered(0..10).as_bytes()).unwrap();
    output.flush().await;
    File::options()
        .write(true)
        .open(&file)
        .unwrap()
        .set_len(0)
        .unwrap();
    // It fits only because the size is the file's, not a count of what was written.
    child.write_all(numbered(10..20).as_bytes()).unwrap();
    output.flush().await;
    assert_eq!(read(&file), numbered(10..20));
    assert!(backups(directory.path()).is_empty());
}

#[tokio::test]
async fn a_directory_that_was_removed_is_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("log/containerd.log");
    let (mut child, output) = output(&config(&file));
    fs::remove_dir_all(file.parent().unwrap()).unwrap();
    child.write_all(b"after\n").unwrap();
    output.flush().await;
    assert_eq!(read(&file), "after\n");
}

#[tokio::test]
async fn reopening_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("containerd.log");
    let (mut child, output) = output(&ContainerdLog {
        max_size: ByteSize::mib(1),
        ..config(&file)
    });
    for n in 0..50 {
        child.write_all(format!("line {n}\n").as_bytes()).unwrap();
        output.reopen();
    }
    output.flush().await;
    assert_eq!(read(&file), numbered(0..50));
}

#[tokio::test]
async fn of_a_link_the_target_is_rotated() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("disk/containerd.log");
    fs::create_dir(target.parent().unwrap()).unwrap();
    fs::write(&target, "").unwrap();
    let link = directory.path().join("link.log");
    symlink(&target, &link).unwrap();
    let (mut child, output) = output(&config(&link));
    child.write_all(numbered(0..30).as_bytes()).unwrap();
    output.flush().await;
    assert!(link.is_symlink());
    assert_eq!(everything(&target), numbered(0..30));
    assert_eq!(backups(target.parent().unwrap()).len(), 2);
}

/// A file system of its own, gone with the test. Needs root.
struct Mount(PathBuf);

impl Mount {
    fn new(arguments: &[&str], at: &Path) -> Self {
        let status = Command::new("mount")
            .args(arguments)
            .arg(at)
            .status()
            .unwrap();
        assert!(status.success(), "mount needs root");
        Self(at.to_owned())
    }

    fn tmpfs(options: &str, at: &Path) -> Self {
        fs::create_dir(at).unwrap();
        Self::new(&["-t", "tmpfs", "-o", options, "tmpfs"], at)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: what writes there may still have it open.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_loses_whole_lines_and_says_how_many() {
    let directory = tempfile::tempdir().unwrap();
    let disk = directory.path().join("disk");
    let _mount = Mount::tmpfs("size=1m", &disk);
    fs::write(disk.join("filler"), vec![0; (1 << 20) - (32 << 10)]).unwrap();
    let file = disk.join("containerd.log");
    // 10000 lines, more than there is room for, then one after another whenever it is told to.
    let script = r#"exec perl -e '$| = 1; my $n = 0;
        print "line ", $n++, " is long enough\n" while $n < 10000;
        open(F, ">", "$ARGV[0]/full"); print F "full"; close(F);
        select(undef, undef, undef, 0.01) until -e "$ARGV[0]/go";
        print "line ", $n++, " is long enough\n" while $n < 10010;' "$6""#;
    let mut command = command(directory.path(), script);
    with_log_file(&mut command, &file);
    let mut stowd = Guard::spawn(&mut command);
    let log = directory.path().join("log");
    content_of(&directory.path().join("state/full"));
    eventually("the complaint", || {
        let log = fs::read_to_string(&log).unwrap();
        let told = log.contains("containerd's log file cannot be written; lines are lost");
        if told && log.contains("No space left on device") {
            Ok(())
        } else {
            Err(log)
        }
    });
    let pid = pid_in(&directory.path().join("pid"));
    assert!(crate::process::is_running(pid), "the child goes on");
    fs::remove_file(disk.join("filler")).unwrap();
    fs::write(directory.path().join("state/go"), "").unwrap();
    stowd.0.wait().unwrap();

    let log = fs::read_to_string(&log).unwrap();
    let told = log
        .lines()
        .find(|line| line.contains("can be written again"))
        .unwrap();
    let lost: usize = told.rsplit_once("lines=").unwrap().1.parse().unwrap();
    let text = fs::read_to_string(&file).unwrap();
    let numbers: Vec<usize> = text
        .lines()
        .map(|line| {
            let number = line
                .strip_prefix("line ")
                .and_then(|l| l.strip_suffix(" is long enough"));
            number
                .unwrap_or_else(|| panic!("a cut line: {line}"))
                .parse()
                .unwrap()
        })
        .collect();
    assert!(numbers.is_sorted_by(|a, b| a < b));
    assert_eq!(numbers.last(), Some(&10009));
    assert!(lost > 0);
    assert_eq!(numbers.len() + lost, 10010);
}

#[tokio::test]
async fn a_file_that_cannot_be_renamed_grows_instead() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("containerd.log");
    fs::write(&file, "").unwrap();
    // As a container's runtime does it: a mount point cannot be renamed.
    let _mount = Mount::new(&["--bind", file.to_str().unwrap()], &file);
    let (mut child, output) = output(&config(&file));
    child.write_all(numbered(0..100).as_bytes()).unwrap();
    output.flush().await;
    assert_eq!(read(&file), numbered(0..100));
}

#[tokio::test]
async fn a_file_in_whose_place_none_can_be_made_keeps_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let disk = directory.path().join("disk");
    // The root and one file.
    let _mount = Mount::tmpfs("size=1m,nr_inodes=2", &disk);
    let file = disk.join("containerd.log");
    let (mut child, output) = output(&config(&file));
    child.write_all(numbered(0..100).as_bytes()).unwrap();
    output.flush().await;
    assert_eq!(read(&file), numbered(0..100));
    assert!(backups(&disk).is_empty());
}

#[tokio::test]
async fn a_file_that_cannot_be_made_again_is_tried_with_every_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("log/containerd.log");
    let (mut child, output) = output(&config(&file));
    fs::remove_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file.parent().unwrap(), "in the way").unwrap();
    child.write_all(b"lost\n").unwrap();
    output.flush().await;
    fs::remove_file(file.parent().unwrap()).unwrap();
    child.write_all(b"kept\n").unwrap();
    output.flush().await;
    assert_eq!(read(&file), "kept\n");
}

#[tokio::test]
async fn a_backup_that_cannot_be_compressed_stays_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let disk = directory.path().join("disk");
    // Inodes for the root, the file and one backup, none for the compressed one.
    let _mount = Mount::tmpfs("size=1m,nr_inodes=3", &disk);
    let file = disk.join("containerd.log");
    let (mut child, output) = output(&ContainerdLog {
        compress: true,
        ..config(&file)
    });
    child.write_all(numbered(0..20).as_bytes()).unwrap();
    output.flush().await;
    let [backup] = backups(&disk).try_into().unwrap();
    assert_eq!(backup.extension().unwrap(), "log");
    assert_eq!(everything(&file), numbered(0..20));
    // With the handle the threads go, which leave it as it is.
    drop((child, output));
    assert_eq!(backups(&disk), [backup]);
}
