//! `stowd status` of a node that starts, is ready, fails, loses something, is killed and is stopped.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{
    Daemon, Generation, PAUSE_IMAGE, Setup, Stowd, eventually_in_turn, fixture,
    on_the_reference_in_turn, write_static_image,
};

const SOON: Duration = Duration::from_secs(120);
const SKOPEO: &str = "registry.stowd.test/skopeo:1.35";
const UMOCI: &str = "registry.stowd.test/umoci:1.35";

on_the_reference_in_turn!(
    a_node_is_shown_from_its_start_to_its_end,
    a_start_that_waits_for_containerd_is_one,
    what_is_out_of_sight_is_said,
    an_attached_containerd_that_goes_away_is_said_and_asked_also_without_a_daemon,
);

/// The exit status and the output.
fn status(stowd: &Stowd, arguments: &[&str]) -> (Option<i32>, String) {
    let setup = stowd.setup();
    let output = Command::new(env!("CARGO_BIN_EXE_stowd"))
        .arg("--config")
        .arg(setup.dir().join("stowd.toml"))
        .arg("status")
        .args(arguments)
        .env_remove("STOWD_TEST_CONTAINERD")
        .envs(setup.environment.iter().map(|(name, value)| (name, value)))
        .output()
        .unwrap();
    let waits = String::from_utf8(output.stderr.clone()).unwrap();
    let is_waiting = arguments.iter().any(|word| word.starts_with("--wait"));
    let is_told = |line: &str| is_waiting && line.starts_with("waiting: stowd");
    assert!(waits.lines().all(is_told), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let widest = text.lines().map(|line| line.chars().count()).max();
    let is_json = arguments.contains(&"--json");
    assert!(is_json || widest <= Some(80), "{text}");
    (output.status.code(), text)
}

/// Waits until the status has this exit status and all of these words.
fn wait_for(stowd: &Stowd, code: i32, words: &[&str]) -> String {
    eventually_in_turn(SOON, "the status", || {
        let (found, text) = status(stowd, &[]);
        let has_all = words.iter().all(|word| text.contains(word));
        match found == Some(code) && has_all {
            true => Ok(text),
            false => Err(format!("{found:?}\n{text}")),
        }
    })
}

/// The last word or words of the row of an image.
fn state<'t>(text: &'t str, image: &str) -> &'t str {
    let row = text.lines().find(|line| line.starts_with(image));
    let row = row.unwrap_or_else(|| panic!("{image} in\n{text}"));
    row.rsplit("  ").next().unwrap()
}

fn stow_pause(setup: &Setup) {
    let pause = write_static_image(setup.dir(), PAUSE_IMAGE, &["/bin/busybox", "true"]);
    setup.stow(&pause);
}

fn a_node_is_shown_from_its_start_to_its_end(generation: &Generation) {
    let setup = Setup::new(generation);
    stow_pause(&setup);
    setup.stow(&fixture("umoci.tar").path);
    setup.stow(&fixture("skopeo-oci.tar").path);
    let mut stowd = setup.start();
    let (code, text) = status(&stowd, &["--wait=2m"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(" stowd: ready since "), "{text}");
    assert!(text.contains("sandbox image there"), "{text}");
    assert_eq!(
        (state(&text, UMOCI), state(&text, PAUSE_IMAGE)),
        ("ok", "ok"),
        "{text}"
    );
    let file = stowd.setup().dir().join("lib/status.json");
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);

    let (code, text) = status(&stowd, &["--json"]);
    let document = serde_json::from_str::<serde_json::Value>(&text).unwrap();
    let image = &document["entries"][1]["images"][0];
    assert_eq!(
        (code, &document["exitStatus"]),
        (Some(0), &0.into()),
        "{text}"
    );
    for fact in ["whole", "pinned", "unpacked"] {
        assert_eq!(image[fact], true, "{fact} of {text}");
    }
    let (code, text) = status(&stowd, &[UMOCI]);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("   pinned: yes, by default\n unpacked: yes\n"),
        "{text}"
    );

    fs::write(stowd.setup().images().join("cut.tar"), [0; 700]).unwrap();
    wait_for(&stowd, 1, &["1 failed", "failed: cut.tar: "]);
    fs::remove_file(stowd.setup().images().join("cut.tar")).unwrap();
    wait_for(&stowd, 0, &[]);

    // It cannot be brought back at once.
    stowd.signal(Signal::STOP);
    stowd.ctr(&["images", "rm", "--sync", UMOCI]);
    stowd.ctr(&["images", "label", SKOPEO, "io.cri-containerd.pinned="]);
    let (code, text) = status(&stowd, &[]);
    assert_eq!(code, Some(5), "{text}");
    assert_eq!(state(&text, UMOCI), "name gone", "{text}");
    assert_eq!(state(&text, SKOPEO), "not pinned", "{text}");
    stowd.signal(Signal::CONT);
    wait_for(&stowd, 0, &[]);

    let pid = stowd.pid();
    stowd.kill();
    let killed = format!(" stowd: not running: pid {pid} was killed; ");
    let text = wait_for(&stowd, 3, &[&killed, "containerd does not answer"]);
    assert_eq!(state(&text, UMOCI), "recorded", "{text}");
    stowd.restart();
    stowd.wait_ready(SOON);
    // It was written before READY was told.
    assert_eq!(status(&stowd, &[]).0, Some(0));
    assert_eq!(stowd.stop(), Some(0));
    assert!(!file.exists());
    let text = wait_for(&stowd, 3, &[" stowd: not running; "]);
    assert_eq!(state(&text, UMOCI), "recorded", "{text}");
    fs::write(&file, "{\"version\": 1, ").unwrap();
    let named = format!("not known: cannot read {}", file.display());
    let text = wait_for(&stowd, 1, &[" stowd: not known; "]);
    assert!(text.replace("\n  ", "").contains(&named), "{text}");
    assert_eq!(state(&text, UMOCI), "recorded", "{text}");
}

fn a_start_that_waits_for_containerd_is_one(generation: &Generation) {
    let mut setup = Setup::new(generation);
    setup.binary = setup.dir().join("never");
    fs::write(&setup.binary, "#!/bin/sh\nexec sleep 1000\n").unwrap();
    fs::set_permissions(&setup.binary, Permissions::from_mode(0o755)).unwrap();
    let mut stowd = setup.start();
    wait_for(
        &stowd,
        4,
        &[" stowd: starting, pid ", "containerd does not answer"],
    );
    let begun = Instant::now();
    let (code, _) = status(&stowd, &["--wait=500ms"]);
    assert_eq!(code, Some(4));
    assert!(begun.elapsed() >= Duration::from_millis(500));
    assert_eq!(stowd.stop(), Some(0));
}

fn what_is_out_of_sight_is_said(generation: &Generation) {
    let setup = Setup::new(generation);
    stow_pause(&setup);
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    assert_eq!(status(&stowd, &[]).0, Some(0));
    let images = stowd.setup().images();
    let away = images.with_file_name("away");
    fs::rename(&images, &away).unwrap();
    let text = wait_for(&stowd, 5, &["1 out of sight", "out of sight: 1 entry, "]);
    fs::rename(&away, &images).unwrap();
    assert_eq!(state(&text, PAUSE_IMAGE), "out of sight", "{text}");
    wait_for(&stowd, 0, &[]);
    assert_eq!(stowd.stop(), Some(0));
}

fn an_attached_containerd_that_goes_away_is_said_and_asked_also_without_a_daemon(
    generation: &Generation,
) {
    let mut daemon = Daemon::start(generation);
    daemon.wait();
    let mut setup = Setup::new(generation);
    setup.attach(&daemon.address());
    stow_pause(&setup);
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    wait_for(&stowd, 0, &["containerd answers"]);
    daemon.stop();
    let text = wait_for(&stowd, 5, &["containerd does not answer", "containerd: "]);
    assert_eq!(state(&text, PAUSE_IMAGE), "recorded", "{text}");
    daemon.restart();
    daemon.wait();
    wait_for(&stowd, 0, &["containerd answers"]);
    assert_eq!(stowd.stop(), Some(0));
    let (code, text) = status(&stowd, &[]);
    assert_eq!(code, Some(3), "{text}");
    assert!(
        text.contains(" stowd: not running; containerd answers\n"),
        "{text}"
    );
    assert_eq!(state(&text, PAUSE_IMAGE), "ok", "{text}");
}
