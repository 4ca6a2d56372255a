//! Where inotify has its limits, the directory is polled.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use stowd::source_event::EntrySource as _;

use super::harness::{Images, NEVER, inside, up_to_listing};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use stowd::images_dir::{Source, SourceOptions};
use stowd::source_event::SourceEvent;

/// In a user namespace of its own, whose limits are its own.
const LIMITED: &[&str] = &["unshare", "--user", "--map-root-user"];

const POLLED: SourceOptions = SourceOptions {
    settle: Duration::ZERO,
    rescan: Duration::ZERO,
    poll: Duration::from_millis(50),
};

fn limit(what: &str, to: u32) {
    let sysctl = Path::new("/proc/sys/user").join(what);
    fs::write(sysctl, to.to_string()).unwrap();
}

fn degraded(seen: &[SourceEvent]) -> Vec<&String> {
    let said = seen.iter().filter_map(|event| match event {
        SourceEvent::Degraded(why) => Some(why),
        _ => None,
    });
    said.collect()
}

#[test]
fn without_watches_it_polls_says_so_once_and_takes_them_when_it_can() {
    let name =
        "images_dir::limits::without_watches_it_polls_says_so_once_and_takes_them_when_it_can";
    inside(LIMITED, name, || async {
        let mut images = Images::with(POLLED, "images", |around| {
            fs::create_dir_all(around.join("images/deep/er")).unwrap();
            // Enough for the way to the images directory, and for itself.
            let way = around.components().count();
            limit("max_inotify_watches", u32::try_from(way).unwrap() + 1);
        });
        images.write("deep/er/a.tar");
        images.found("deep/er/a.tar").await;
        // What is watched is still told at once.
        images.write("b.tar");
        images.found("b.tar").await;
        for _ in 0..5 {
            images.listed().await;
        }
        let said = degraded(&images.seen);
        assert_eq!(said.len(), 1, "{said:?}");
        let said = said[0];
        assert!(
            said.contains("raise fs.inotify.max_user_watches (now "),
            "{said}"
        );

        limit("max_inotify_watches", 1000);
        while images.next().await != SourceEvent::Restored {}
        images.is_followed("deep/er/c.tar").await;
        images.quiet().await;
        assert_eq!(images.quiet().await, [], "it polls no more");
    });
}

#[test]
fn without_an_instance_it_polls_says_so_once_and_takes_one_when_it_can() {
    let name =
        "images_dir::limits::without_an_instance_it_polls_says_so_once_and_takes_one_when_it_can";
    inside(LIMITED, name, || async {
        limit("max_inotify_instances", 0);
        let mut images = Images::with(POLLED, "images", |around| {
            fs::create_dir(around.join("images")).unwrap();
        });
        images.write("a.tar");
        images.found("a.tar").await;
        for _ in 0..5 {
            images.listed().await;
        }
        let said = degraded(&images.seen);
        assert_eq!(said.len(), 1, "{said:?}");
        let said = said[0];
        assert!(
            said.contains("raise fs.inotify.max_user_instances (now "),
            "{said}"
        );

        limit("max_inotify_instances", 1);
        while images.next().await != SourceEvent::Restored {}
        images.is_followed("b.tar").await;
    });
}

#[test]
fn a_directory_that_may_not_be_read_is_polled_until_it_may() {
    let name = "images_dir::limits::a_directory_that_may_not_be_read_is_polled_until_it_may";
    // The owner of the files, without the right to read what the mode does not let it read.
    inside(&["unshare", "--user"], name, || async {
        let mut images = Images::with(POLLED, "images", |around| {
            let sub = around.join("images/sub");
            fs::create_dir_all(&sub).unwrap();
            fs::set_permissions(sub, Permissions::from_mode(0o300)).unwrap();
        });
        for _ in 0..3 {
            images.listed().await;
        }
        let said = degraded(&images.seen);
        assert_eq!(said.len(), 1, "{said:?}");
        let sub = images.at("sub");
        assert_eq!(
            *said[0],
            format!(
                "inotify cannot watch {}: Permission denied (os error 13)",
                sub.display()
            )
        );
        fs::set_permissions(sub, Permissions::from_mode(0o700)).unwrap();
        while images.next().await != SourceEvent::Restored {}
        images.is_followed("sub/a.tar").await;
    });
}

#[test]
fn what_could_not_be_looked_at_is_looked_at_again() {
    let name = "images_dir::limits::what_could_not_be_looked_at_is_looked_at_again";
    inside(&["unshare", "--user"], name, || async {
        let mut images = Images::over("images", |around| {
            fs::create_dir(around.join("images")).unwrap();
            fs::create_dir(around.join("store")).unwrap();
            fs::write(around.join("store/x"), "x").unwrap();
            symlink("../store/x", around.join("images/a.tar")).unwrap();
            fs::set_permissions(around.join("store"), Permissions::from_mode(0o000)).unwrap();
        });
        let unreadable = &images.listing.unreadable[0];
        assert_eq!(unreadable.path, images.at("a.tar"));
        let expected = "cannot be read: Permission denied (os error 13)";
        assert_eq!(unreadable.error, expected);
        // Neither an event nor a timer but its own tells of that.
        let store = images.around.join("store");
        fs::set_permissions(store, Permissions::from_mode(0o700)).unwrap();
        images.settled("a.tar").await;
    });
}

/// Opens as many files as may be open, but `spare`.
fn exhaust(spare: usize) -> Vec<File> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let current = Some(256);
    setrlimit(Resource::Nofile, Rlimit { current, maximum }).unwrap();
    let mut open = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        open.push(file);
    }
    open.truncate(open.len() - spare);
    open
}

#[test]
fn without_descriptors_it_says_so() {
    let name = "images_dir::limits::without_descriptors_it_says_so";
    inside(&["env"], name, || async {
        let images = tempfile::tempdir().unwrap();
        // One for the orders, none for inotify.
        let open = exhaust(1);
        let source = Source::start(images.path(), NEVER).unwrap();
        let events = up_to_listing(&source).await;
        let expected = "no file descriptor is left for inotify: raise LimitNOFILE of the unit";
        assert_eq!(events[0], SourceEvent::Degraded(expected.to_owned()));
        let SourceEvent::Listed(listing) = &events[1] else {
            panic!("{events:?}");
        };
        let error = &listing.unreadable[0].error;
        assert_eq!(error, "cannot be listed: Too many open files (os error 24)");
        drop(open);
        source.rescan();
        let events = up_to_listing(&source).await;
        assert_eq!(events[0], SourceEvent::Restored);
        let SourceEvent::Listed(listing) = &events[1] else {
            panic!("{events:?}");
        };
        assert!(listing.unreadable.is_empty() && !listing.directories.is_empty());
    });
}

#[test]
fn without_any_descriptor_it_cannot_start() {
    let name = "images_dir::limits::without_any_descriptor_it_cannot_start";
    inside(&["env"], name, || async {
        let images = tempfile::tempdir().unwrap();
        let open = exhaust(0);
        let error = Source::start(images.path(), NEVER).unwrap_err().to_string();
        drop(open);
        assert_eq!(
            error,
            "the images directory cannot be followed: eventfd: Too many open files (os error 24)"
        );
    });
}

#[test]
fn a_queue_that_overflows_ends_in_a_listing() {
    let name = "images_dir::limits::a_queue_that_overflows_ends_in_a_listing";
    inside(&["env"], name, || async {
        let mut images = Images::empty();
        // This process stands still while another one makes more events than the kernel keeps.
        let kept = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
        // Equal events that follow each other are one: two files take turns.
        let turns: u64 = kept.trim().parse::<u64>().unwrap() / 2 + 100;
        let script = r#"
            kill -STOP $PPID
            mkdir sub && : > sub/a.tar && : > 0.tar
            n=0; while [ $n -lt $0 ]; do n=$((n + 1)); : > .a; : > .b; done
            mkdir last && : > last/b.tar
            kill -CONT $PPID"#;
        let made = Command::new("sh")
            .args(["-c", script, &turns.to_string()])
            .current_dir(&images.dir)
            .status();
        assert!(made.unwrap().success());
        for path in ["sub/a.tar", "last/b.tar", "0.tar"] {
            images.found(path).await;
        }
        // The event of this directory was lost.
        images.is_followed("last/c.tar").await;
    });
}
