//! `stowd doctor` beside a stowd that runs, one that does not, and what keeps it from starting.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::time::Duration;

use crate::support::{
    Generation, PAUSE_IMAGE, Setup, Stowd, on_each_generation_in_turn, write_static_image,
};

const SOON: Duration = Duration::from_secs(120);

/// The exit status, and the lines but for those of the machine alone.
fn doctor(stowd: &Stowd) -> (Option<i32>, Vec<String>) {
    let output = Command::new(env!("CARGO_BIN_EXE_stowd"))
        .arg("--config")
        .arg(stowd.setup().dir().join("stowd.toml"))
        .arg("doctor")
        .env("PATH", stowd.setup().generation().path())
        .output()
        .unwrap();
    assert_eq!(output.stderr, b"", "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let of_machine = [
        "cgroups: ",
        "overlay file system: ",
        "inotify: ",
        "containerd.root: ",
        "unit: ",
    ];
    let lines = text.lines().map(str::to_owned);
    let lines = lines.filter(|line| !of_machine.iter().any(|words| line.contains(words)));
    (output.status.code(), lines.collect())
}

/// Holds that a line begins so, and one only.
fn assert_has(lines: &[String], begins: &str) {
    let found = lines.iter().filter(|line| line.starts_with(begins)).count();
    assert_eq!(found, 1, "{begins:?} in {lines:#?}");
}

/// Everything is well but for the sandbox image, until that comes.
fn a_running_stowd_is_asked(generation: &Generation) {
    let mut stowd = Setup::new(generation).start();
    stowd.wait_ready(SOON);
    let address = stowd.setup().dir().join("c.sock");
    let pid = stowd.containerd_pid().expect("containerd");
    let served = format!(
        "ok    containerd.address: {} is served by pid {pid}: ",
        address.display()
    );
    let (status, lines) = doctor(&stowd);
    assert_eq!(status, Some(1), "{lines:#?}");
    assert_has(&lines, &served);
    assert_has(
        &lines,
        &format!("fail  sandbox image: {PAUSE_IMAGE} is not there: "),
    );
    assert_has(&lines, "ok    containerd: version ");
    assert_has(&lines, "ok    direct writes: into ");
    assert_has(&lines, "ok    runc: /");
    assert_has(&lines, "ok    shim: /");
    assert_has(&lines, "ok    user: root");

    let pause = write_static_image(stowd.setup().dir(), PAUSE_IMAGE, &["/bin/busybox", "true"]);
    stowd.setup().stow(&pause);
    stowd.wait_until(SOON, "the image is there", |stowd| {
        !stowd.lines("sandbox image there").is_empty()
    });
    let (status, lines) = doctor(&stowd);
    assert_eq!(status, Some(0), "{lines:#?}");
    assert_has(
        &lines,
        &format!("ok    sandbox image: {PAUSE_IMAGE} is there"),
    );
    assert!(
        lines.iter().all(|line| !line.starts_with("fail")),
        "{lines:#?}"
    );
    what_keeps_a_stopped_one_from_starting_is_found(&mut stowd);
}

fn what_keeps_a_stopped_one_from_starting_is_found(stowd: &mut Stowd) {
    assert_eq!(stowd.stop(), Some(0));
    let address = stowd.setup().dir().join("c.sock");
    let (status, lines) = doctor(stowd);
    assert_eq!(status, Some(0), "{lines:#?}");
    assert_has(
        &lines,
        &format!("ok    containerd.address: {} is free", address.display()),
    );
    assert_has(&lines, "ok    CRI: switched on");

    // containerd may have left it.
    let _ = fs::remove_file(&address);
    let other = UnixListener::bind(&address).unwrap();
    let (status, lines) = doctor(stowd);
    assert_eq!(status, Some(1), "{lines:#?}");
    let by = format!(
        "{} is served by pid {}: ",
        address.display(),
        std::process::id()
    );
    assert_has(&lines, &format!("fail  containerd.address: {by}"));
    drop(other);

    let images = stowd.setup().images();
    fs::set_permissions(&images, fs::Permissions::from_mode(0o777)).unwrap();
    let file = stowd.setup().dir().join("containerd.toml");
    let text = fs::read_to_string(&file).unwrap();
    let (version, rest) = text.split_once('\n').unwrap();
    fs::write(
        &file,
        format!("{version}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n{rest}"),
    )
    .unwrap();
    let (status, lines) = doctor(stowd);
    assert_eq!(status, Some(1), "{lines:#?}");
    assert_has(&lines, "fail  CRI: switched off");
    let open = format!("warn  permissions: {} (mode 0777): ", images.display());
    assert_has(&lines, &open);

    fs::write(&file, "version = 'x").unwrap();
    let (status, lines) = doctor(stowd);
    assert_eq!(status, Some(1), "{lines:#?}");
    assert_has(
        &lines,
        "fail  containerd.config: containerd does not take its configuration: ",
    );
}

on_each_generation_in_turn!(a_running_stowd_is_asked);
