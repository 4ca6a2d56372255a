//! `status.json`: what is written is read, and who is taken for a daemon that runs.

use std::fs;

use stowd::status::{DaemonPhase, Leftover, Machine, SeenDaemon, StatusDocument};
use stowd::status_file;

use super::scene::document;
use super::{CASES, scene};

#[test]
fn a_daemon_runs_if_its_process_is_that_of_this_boot() {
    let machine = Machine {
        boot_id: "b".to_owned(),
        pid_namespace: 4_026_531_836,
    };
    let seen = |machine: &Machine, start| {
        let document = Some(document(DaemonPhase::Ready));
        SeenDaemon::of(document, machine, |pid| {
            (pid == 1234).then_some(start).flatten()
        })
    };
    assert!(matches!(
        seen(&machine, Some(77)),
        SeenDaemon::Runs {
            is_elsewhere: false,
            ..
        }
    ));
    let killed = SeenDaemon::NotRunning(Leftover::OfAKilled(1234));
    assert_eq!(seen(&machine, None), killed, "its process is gone");
    assert_eq!(
        seen(&machine, Some(78)),
        killed,
        "another process has its pid"
    );
    let rebooted = Machine {
        boot_id: "c".to_owned(),
        ..machine.clone()
    };
    let another = SeenDaemon::NotRunning(Leftover::OfAnotherBoot);
    assert_eq!(seen(&rebooted, Some(77)), another);
    let elsewhere = Machine {
        pid_namespace: 1,
        ..machine.clone()
    };
    assert!(matches!(
        seen(&elsewhere, None),
        SeenDaemon::Runs {
            is_elsewhere: true,
            ..
        }
    ));
    assert_eq!(
        SeenDaemon::of(None, &machine, |_| None),
        SeenDaemon::NotRunning(Leftover::Nothing)
    );
}

#[test]
fn the_file_is_what_was_written_and_of_another_version_it_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run/status.json");
    assert_eq!(status_file::read(&path).unwrap(), None);
    for (_, change) in CASES {
        let mut scene = scene(*change);
        let document = StatusDocument {
            on_board: std::mem::take(&mut scene.board),
            ..document(scene.phase)
        };
        status_file::write(&path, &document).unwrap();
        assert_eq!(status_file::read(&path).unwrap().as_ref(), Some(&document));
    }
    fs::write(&path, r#"{"version":2}"#).unwrap();
    let error = status_file::read(&path).unwrap_err().to_string();
    assert_eq!(error, "of version 2, and this stowd reads version 1");
    status_file::remove(&path).unwrap();
    status_file::remove(&path).unwrap();
    assert_eq!(fs::read_dir(dir.path().join("run")).unwrap().count(), 0);
}
