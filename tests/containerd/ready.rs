//! READY: never before the last entry has an outcome, always after.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::support::{
    Daemon, Fixture, Generation, PAUSE_IMAGE, Setup, Stowd, children, ctr, eventually_in_turn,
    fixture, fixtures, on_each_generation_in_turn, on_the_reference_in_turn, reference,
    stays_asleep,
};

on_each_generation_in_turn!(waits_for_one_big_archive);

const SOON: Duration = Duration::from_secs(120);

/// Starts stowd; answers it once it is ready, with the images that the store had in that moment.
fn ready(setup: Setup) -> (Stowd, BTreeSet<String>) {
    let generation = setup.generation().clone();
    let mut stowd = setup.start();
    let (asked, answer) = mpsc::channel();
    let address = stowd.address();
    stowd.notify.on_ready(move || {
        let names = ctr(&generation, &address, &["images", "list", "--quiet"]);
        let _ = asked.send(names.lines().map(str::to_owned).collect());
    });
    stowd.wait_ready(SOON);
    let names = answer.recv_timeout(SOON).expect("the store was asked");
    (stowd, names)
}

/// Every datagram came from stowd, STATUS told of the load, READY came once and with the result.
fn assert_told_in_order(stowd: &Stowd) {
    let datagrams = stowd.notify.datagrams();
    for datagram in &datagrams {
        assert_eq!(
            datagram.pid,
            stowd.pid() as i32,
            "{datagram:?} is from another process"
        );
    }
    let readies = datagrams
        .iter()
        .filter(|d| d.assignments.contains(&"READY=1".to_owned()));
    let readies = readies.collect::<Vec<_>>();
    assert_eq!(readies.len(), 1, "{datagrams:?}");
    let status = &readies[0].assignments[1];
    assert!(status.starts_with("STATUS=ready: "), "{status}");
    assert_eq!(datagrams[0].assignments, ["STATUS=starting containerd"]);
}

fn ready_line(stowd: &Stowd) -> usize {
    let log = stowd.log();
    let ready = log.lines().position(|line| line.contains(" ready: "));
    ready.unwrap_or_else(|| panic!("no line says ready:\n{log}"))
}

fn waits_for_one_big_archive(generation: &Generation) {
    let setup = Setup::new(generation);
    let big = fixture("large.tar.zst");
    setup.stow(&big.path);
    let (stowd, names) = ready(setup);
    for name in &big.names {
        assert!(
            names.contains(name),
            "{name} was not there at READY: {names:?}"
        );
    }
    assert_told_in_order(&stowd);
    let statuses = stowd.notify.statuses();
    let last = format!(
        "ready: {} images from 1 entry; watching {}; sandbox image missing: {PAUSE_IMAGE}",
        big.names.len(),
        stowd.setup().images().display()
    );
    assert_eq!(statuses.last(), Some(&last));
}

#[test]
fn waits_for_the_last_of_many() {
    let generation = &reference();
    let setup = Setup::new(generation);
    let good = |fixture: &Fixture| !fixture.names.is_empty() && fixture.file.ends_with(".tar");
    let many = fixtures().into_iter().filter(good).collect::<Vec<_>>();
    assert!(many.len() > 10);
    for (number, fixture) in many.iter().enumerate() {
        setup.stow_as(
            &fixture.path,
            &format!("{:02}/{}", number % 7, fixture.file),
        );
    }
    let (stowd, names) = ready(setup);
    for name in many.iter().flat_map(|fixture| &fixture.names) {
        assert!(names.contains(name), "{name} was not there at READY");
    }
    assert_told_in_order(&stowd);
    let log = stowd.log();
    let outcomes = log
        .lines()
        .enumerate()
        .filter(|(_, line)| line.contains(" imported /"));
    let outcomes = outcomes.map(|(at, _)| at).collect::<Vec<_>>();
    assert_eq!(outcomes.len(), many.len());
    assert!(outcomes.iter().all(|at| *at < ready_line(&stowd)), "{log}");
}

#[test]
fn a_corrupt_archive_fails_alone_and_holds_nobody() {
    let generation = &reference();
    let setup = Setup::new(generation);
    let good = fixture("skopeo-oci.tar");
    let bytes = std::fs::read(&good.path).unwrap();
    std::fs::write(setup.images().join("a-cut.tar"), &bytes[..bytes.len() / 2]).unwrap();
    std::fs::write(
        setup.images().join("b-page.tar.gz"),
        "<html>404 Not Found</html>\n",
    )
    .unwrap();
    std::fs::write(setup.images().join("c-empty.tar"), "").unwrap();
    setup.stow(&good.path);
    let (stowd, names) = ready(setup);
    assert!(names.contains(&good.names[0]), "{names:?}");
    assert_told_in_order(&stowd);
    for file in ["a-cut.tar", "b-page.tar.gz", "c-empty.tar"] {
        let failed = stowd.lines(" failed /");
        assert_eq!(
            failed.iter().filter(|line| line.contains(file)).count(),
            1,
            "{failed:?}"
        );
    }
    let last = stowd.notify.statuses().pop().unwrap();
    let first = "ready: 1 image from 4 entries, 3 failed (a-cut.tar: 1 attempt, next at 20";
    assert!(last.starts_with(first), "{last}");
}

#[test]
fn an_empty_and_a_missing_directory_are_ready_at_once() {
    let generation = &reference();
    let empty = Setup::new(generation);
    let missing = Setup::new(generation);
    std::fs::remove_dir(missing.images()).unwrap();
    for setup in [empty, missing] {
        let (stowd, names) = ready(setup);
        assert_eq!(names, BTreeSet::new());
        assert_told_in_order(&stowd);
        let last = stowd.notify.statuses().pop().unwrap();
        assert!(
            last.starts_with("ready: 0 images from 0 entries; watching /"),
            "{last}"
        );
    }
}

#[test]
fn a_file_that_is_being_written_holds_ready_until_it_has_settled() {
    let generation = &reference();
    let mut setup = Setup::new(generation);
    setup.images = "settle = \"500ms\"\n".to_owned();
    let slow = fixture("skopeo-oci.tar");
    let bytes = std::fs::read(&slow.path).unwrap();
    let mut file = std::fs::File::create(setup.images().join("slow.tar")).unwrap();
    let (written, last_write) = mpsc::channel();
    file.write_all(&bytes[..1000]).unwrap();
    let writer = std::thread::spawn(move || {
        // A real slow writer: its pace is what is tested.
        for piece in bytes[1000..].chunks(bytes.len() / 10) {
            std::thread::sleep(Duration::from_millis(200));
            file.write_all(piece).unwrap();
        }
        written.send(Instant::now()).unwrap();
    });
    let (stowd, names) = ready(setup);
    writer.join().unwrap();
    let last_write = last_write.recv().unwrap();
    let ready_at = stowd.notify.ready_at().unwrap();
    assert!(
        ready_at > last_write + Duration::from_millis(400),
        "READY came too early"
    );
    assert!(names.contains(&slow.names[0]));
    assert_eq!(
        stowd.lines(" failed /"),
        Vec::<String>::new(),
        "it was read half-written"
    );
}

#[test]
fn the_timeout_is_extended_while_bytes_move_and_the_watchdog_fed_after() {
    let generation = &reference();
    let mut setup = Setup::new(generation);
    setup
        .environment
        .push(("WATCHDOG_USEC".to_owned(), "2000000".to_owned()));
    setup.stow(&fixture("large.tar.bz2").path);
    let (mut stowd, _) = ready(setup);
    let before = stowd.notify.messages();
    let ready = before
        .iter()
        .position(|message| message == "READY=1")
        .unwrap();
    let extended = |message: &String| message.starts_with("EXTEND_TIMEOUT_USEC=");
    assert!(before[..ready].iter().any(extended), "{before:?}");
    let told = stowd.notify.statuses();
    let progress = told
        .iter()
        .filter(|line| line.starts_with("importing 1/1: large.tar.bz2, "));
    assert!(progress.count() >= 3, "{told:?}");
    let fed = |stowd: &Stowd| {
        stowd
            .notify
            .messages()
            .iter()
            .filter(|m| *m == "WATCHDOG=1")
            .count()
    };
    stowd.wait_until(SOON, "the watchdog is fed again and again", |stowd| {
        fed(stowd) >= 3
    });
    assert!(!stowd.notify.messages()[ready..].iter().any(extended));
    assert_eq!(stowd.stop(), Some(0));
    let last = stowd.notify.messages();
    let stopping = last
        .iter()
        .position(|message| message == "STOPPING=1")
        .unwrap();
    assert!(
        last[stopping..]
            .iter()
            .all(|message| message != "READY=1" && message != "WATCHDOG=1")
    );
}

#[test]
fn once_ends_by_itself_and_tells_by_its_exit_status() {
    let generation = &reference();
    for (page, status) in [(None, 0), (Some("not an archive"), 1)] {
        let mut setup = Setup::new(generation);
        setup.arguments = vec!["run".to_owned(), "--once".to_owned()];
        setup.stow(&fixture("umoci.tar").path);
        if let Some(page) = page {
            std::fs::write(setup.images().join("page.tar"), page).unwrap();
        }
        let mut stowd = setup.start();
        assert_eq!(stowd.wait(SOON).code(), Some(status));
        assert_eq!(stowd.lines(" imported /").len(), 1);
        assert!(
            stowd.notify.ready_at().is_some(),
            "a unit of Type=notify may bake images too"
        );
        assert!(children(stowd.pid()).is_empty());
    }
}

/// No clock is waited for but that of the next rescan, and without a unit there is no watchdog.
fn with_nothing_to_do_it_does_not_wake_up(generation: &Generation) {
    let mut setup = Setup::new(generation);
    setup.alone();
    setup.stow(&fixture("skopeo-docker.tar.gz").path);
    let (stowd, _) = ready(setup);
    let still = || {
        let asleep = stays_asleep(stowd.pid(), Duration::from_secs(20));
        asleep.map_err(|error| format!("{error}\n{}", stowd.log()))
    };
    // What the load has left to do ends first, and after ten seconds the threads that it needed.
    let limit = Duration::from_secs(300);
    eventually_in_turn(limit, "twenty seconds without a wake-up", still);
}

on_the_reference_in_turn!(with_nothing_to_do_it_does_not_wake_up);

/// Attached, since containerd would have the limit as well.
#[test]
fn out_of_file_descriptors_it_is_not_ready_with_nothing_imported() {
    let generation = &reference();
    let mut daemon = Daemon::start(generation);
    daemon.wait();
    let (mut loaded, mut refused) = (0, 0);
    for limit in 5..40 {
        let mut setup = Setup::new(generation);
        setup.arguments = vec!["run".to_owned(), "--once".to_owned()];
        // Where the store cannot be talked to, it is waited for.
        let limited = format!("timeout --signal=KILL 20 prlimit --nofile={limit}");
        setup.wrapper = limited.split(' ').map(str::to_owned).collect();
        setup.containerd = "start-timeout = \"2s\"\n".to_owned();
        setup.attach(&daemon.address());
        setup.stow(&fixture("umoci.tar").path);
        let mut stowd = setup.start();
        let status = stowd.wait(SOON).code();
        let is_ready = stowd.notify.ready_at().is_some();
        let has_outcome = stowd.lines(" imported /").len() + stowd.lines(" failed /").len() == 1;
        assert!(has_outcome || !is_ready, "{limit}: {}", stowd.log());
        assert!(has_outcome || status != Some(0), "{limit}: {}", stowd.log());
        loaded += usize::from(status == Some(0));
        refused += usize::from(!has_outcome);
    }
    assert!(
        loaded > 0 && refused > 0,
        "{loaded} loaded, {refused} refused"
    );
}
