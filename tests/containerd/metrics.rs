//! `/metrics`, `/readyz` and `/healthz` of a real stowd over a real containerd, and what promtool says of them.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::support::{
    Daemon, Generation, PAUSE_IMAGE, Setup, Stowd, eventually_in_turn, fixture,
    on_the_reference_in_turn, write_static_image,
};

on_the_reference_in_turn!(
    a_node_is_measured_from_its_start_to_its_end,
    a_start_that_waits_for_containerd_is_measured_too,
    a_containerd_that_goes_away_ends_readiness_until_it_is_back,
    an_address_in_use_holds_nothing_and_is_taken_when_it_is_free,
);

const SOON: Duration = Duration::from_secs(120);
const SKOPEO: &str = "registry.stowd.test/skopeo:1.35";

fn promtool(arguments: &[&str], input: &str) -> String {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/programs/promtool/promtool");
    let mut child = Command::new(&program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}; tests/support/promtool", program.display()));
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    assert!(
        output.status.success(),
        "promtool {arguments:?}: {said}\n{input}"
    );
    said
}

fn asked(mut stream: impl Read + Write, path: &str) -> Result<(u16, String), String> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: stowd\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .map_err(|error| error.to_string())?;
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .map_err(|error| error.to_string())?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no answer")?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    Ok((status.ok_or("no status")?, body.to_owned()))
}

fn get_at(address: SocketAddr, path: &str) -> Result<(u16, String), String> {
    let stream = TcpStream::connect(address).map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(SOON)).unwrap();
    asked(stream, path)
}

fn get(socket: &Path, path: &str) -> Result<(u16, String), String> {
    let stream = UnixStream::connect(socket).map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(SOON)).unwrap();
    asked(stream, path)
}

/// Has stowd serve on a socket in its directory.
fn listen(setup: &mut Setup) -> PathBuf {
    let socket = setup.dir().join("metrics.sock");
    let listen = format!("[metrics]\nlisten = \"unix:{}\"\n", socket.display());
    setup.config.push_str(&listen);
    socket
}

/// What `/metrics` says, which promtool finds nothing wrong with.
fn metrics(socket: &Path) -> String {
    let (status, text) = get(socket, "/metrics").unwrap();
    assert_eq!(status, 200, "{text}");
    assert_eq!(promtool(&["check", "metrics"], &text), "", "{text}");
    text
}

fn value(text: &str, series: &str) -> Option<f64> {
    let lines = text.lines();
    let mut values = lines.filter_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    values.next().map(|value| value.parse().unwrap())
}

/// Waits until these series have these values.
fn wait_for(socket: &Path, series: &[(&str, f64)]) -> String {
    eventually_in_turn(SOON, "the metrics", || {
        let (_, text) = get(socket, "/metrics")?;
        match series
            .iter()
            .all(|(series, it)| value(&text, series) == Some(*it))
        {
            true => Ok(text),
            false => Err(text),
        }
    })
}

fn wait_readyz(socket: &Path, status: u16, beginning: &str) {
    eventually_in_turn(SOON, "/readyz", || {
        let (found, text) = get(socket, "/readyz")?;
        match found == status && text.starts_with(beginning) && text.lines().count() == 1 {
            true => Ok(()),
            false => Err(format!("{found} {text}")),
        }
    });
}

fn stow_pause(setup: &Setup) {
    let pause = write_static_image(setup.dir(), PAUSE_IMAGE, &["/bin/busybox", "true"]);
    setup.stow(&pause);
}

fn stowd_status(stowd: &Stowd) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_stowd"))
        .arg("--config")
        .arg(stowd.setup().dir().join("stowd.toml"))
        .arg("status")
        .env_remove("STOWD_TEST_CONTAINERD")
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn a_node_is_measured_from_its_start_to_its_end(generation: &Generation) {
    let mut setup = Setup::new(generation);
    let socket = listen(&mut setup);
    stow_pause(&setup);
    setup.stow(&fixture("umoci.tar").path);
    setup.stow(&fixture("skopeo-oci.tar").path);
    fs::write(setup.images().join("cut.tar"), [0; 700]).unwrap();
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    // READY and what is served are one.
    wait_readyz(
        &socket,
        200,
        "ready: 3 images from 4 entries, 1 failed (cut.tar: ",
    );
    assert_eq!(get(&socket, "/healthz"), Ok((200, "ok\n".to_owned())));
    wait_for(&socket, &[("stowd_images_pinned", 3.0)]);
    let text = metrics(&socket);
    for (series, expected) in [
        ("stowd_ready", 1.0),
        ("stowd_containerd_up", 1.0),
        ("stowd_entries{kind=\"archive\",outcome=\"imported\"}", 3.0),
        ("stowd_entries{kind=\"archive\",outcome=\"failed\"}", 1.0),
        ("stowd_failed_entries{class=\"content\"}", 1.0),
        ("stowd_failures_total{class=\"content\"}", 1.0),
        ("stowd_images_kept", 3.0),
        ("stowd_images_not_unpacked", 0.0),
        ("stowd_sources_out_of_sight", 0.0),
        ("stowd_import_duration_seconds_count{kind=\"archive\"}", 3.0),
        ("stowd_disappeared_total{what=\"name\"}", 0.0),
    ] {
        assert_eq!(value(&text, series), Some(expected), "{series} in\n{text}");
    }
    let get = |series: &str| value(&text, series).unwrap_or_else(|| panic!("{series} in\n{text}"));
    let stored = get("stowd_stored_bytes_total");
    let blobs = get("stowd_blobs_total{way=\"direct\"}") + get("stowd_blobs_total{way=\"sent\"}");
    // Two of the images share layers.
    assert!(blobs >= 6.0, "{blobs} in\n{text}");
    assert!(get("stowd_unpack_duration_seconds_count") >= 2.0, "{text}");
    assert!(stored > 1e6, "{stored}");
    assert!(get("stowd_read_bytes_total") > 1e6, "{text}");
    assert!(get("stowd_initial_load_seconds") > 0.0);
    assert!(get("stowd_last_success_timestamp_seconds") > 1.7e9);

    // The same archive once more: what it brings is there.
    let skipped = get("stowd_skipped_bytes_total");
    stowd
        .setup()
        .stow_as(&fixture("umoci.tar").path, "umoci-again.tar");
    wait_for(
        &socket,
        &[("stowd_entries{kind=\"archive\",outcome=\"imported\"}", 4.0)],
    );
    let text = eventually_in_turn(SOON, "skipped bytes", || {
        let text = metrics(&socket);
        match value(&text, "stowd_skipped_bytes_total") {
            Some(now) if now > skipped + 1e5 => Ok(text),
            _ => Err(text),
        }
    });
    assert_eq!(
        value(&text, "stowd_stored_bytes_total"),
        Some(stored),
        "{text}"
    );

    stowd.ctr(&["images", "rm", "--sync", SKOPEO]);
    let text = eventually_in_turn(SOON, "what has disappeared", || {
        let text = metrics(&socket);
        let lost = value(&text, "stowd_disappeared_total{what=\"name\"}").unwrap();
        let back = value(&text, "stowd_repaired_total{what=\"name\"}").unwrap();
        match lost >= 1.0 && back == lost {
            true => Ok(text),
            false => Err(text),
        }
    });
    assert_eq!(value(&text, "stowd_ready"), Some(1.0), "{text}");

    // What a killed one has left is replaced.
    stowd.kill();
    assert!(socket.exists());
    stowd.restart();
    stowd.wait_ready(SOON);
    wait_readyz(&socket, 200, "ready: ");
    assert_eq!(
        value(&metrics(&socket), "stowd_blobs_total{way=\"sent\"}"),
        Some(0.0)
    );
    assert_eq!(stowd.stop(), Some(0));
    assert!(!socket.exists(), "it was stopped in order");
}

fn a_start_that_waits_for_containerd_is_measured_too(generation: &Generation) {
    let mut setup = Setup::new(generation);
    let socket = listen(&mut setup);
    setup.binary = setup.dir().join("never");
    fs::write(&setup.binary, "#!/bin/sh\nexec sleep 1000\n").unwrap();
    fs::set_permissions(&setup.binary, fs::Permissions::from_mode(0o755)).unwrap();
    let mut stowd = setup.start();
    wait_readyz(
        &socket,
        503,
        "not ready: starting: containerd does not serve yet\n",
    );
    assert_eq!(get(&socket, "/healthz"), Ok((200, "ok\n".to_owned())));
    let text = metrics(&socket);
    assert_eq!(value(&text, "stowd_ready"), Some(0.0), "{text}");
    assert_eq!(value(&text, "stowd_containerd_up"), Some(0.0), "{text}");
    assert_eq!(value(&text, "stowd_initial_load_seconds"), None, "{text}");
    assert_eq!(stowd.stop(), Some(0));
    assert!(!socket.exists());
}

fn a_containerd_that_goes_away_ends_readiness_until_it_is_back(generation: &Generation) {
    let mut daemon = Daemon::start(generation);
    daemon.wait();
    let mut setup = Setup::new(generation);
    setup.attach(&daemon.address());
    let socket = listen(&mut setup);
    stow_pause(&setup);
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    wait_readyz(&socket, 200, "ready: 1 image from 1 entry; ");
    daemon.stop();
    wait_readyz(&socket, 503, "not ready: containerd does not answer: ");
    let text = metrics(&socket);
    assert_eq!(value(&text, "stowd_ready"), Some(0.0), "{text}");
    assert_eq!(value(&text, "stowd_containerd_up"), Some(0.0), "{text}");
    assert_eq!(value(&text, "stowd_images_kept"), Some(1.0), "{text}");
    daemon.restart();
    daemon.wait();
    wait_readyz(&socket, 200, "ready: 1 image from 1 entry; ");
    wait_for(&socket, &[("stowd_containerd_up", 1.0)]);
    let images = stowd.setup().images();
    let away = images.with_file_name("away");
    fs::rename(&images, &away).unwrap();
    wait_for(
        &socket,
        &[
            ("stowd_sources_out_of_sight", 1.0),
            ("stowd_images_kept", 1.0),
        ],
    );
    fs::rename(&away, &images).unwrap();
    wait_for(&socket, &[("stowd_sources_out_of_sight", 0.0)]);
    assert_eq!(stowd.stop(), Some(0));
}

fn an_address_in_use_holds_nothing_and_is_taken_when_it_is_free(generation: &Generation) {
    let mut setup = Setup::new(generation);
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap();
    setup.config = format!("[metrics]\nlisten = \"{address}\"\n");
    stow_pause(&setup);
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    let refused = format!("{address} is in use by another process");
    stowd.wait_until(SOON, "the warning", |stowd| {
        stowd
            .lines(&format!("metrics not served; trying again: {refused}"))
            .len()
            == 1
    });
    let told = eventually_in_turn(SOON, "the status", || {
        let text = stowd_status(&stowd);
        text.contains("\nmetrics: ")
            .then_some(text.clone())
            .ok_or(text)
    });
    assert!(told.contains(&format!("metrics: {refused}")), "{told}");
    drop(other);
    let ready = eventually_in_turn(SOON, "/readyz", || get_at(address, "/readyz"));
    assert_eq!(ready.0, 200, "{ready:?}");
    eventually_in_turn(SOON, "the status", || {
        let text = stowd_status(&stowd);
        (!text.contains("\nmetrics: ")).then_some(()).ok_or(text)
    });
    // Another address, at a reload.
    let file = stowd.setup().dir().join("stowd.toml");
    let socket = stowd.setup().dir().join("metrics.sock");
    let text = fs::read_to_string(&file).unwrap();
    let there = format!("unix:{}", socket.display());
    fs::write(&file, text.replace(&address.to_string(), &there)).unwrap();
    stowd.signal(Signal::HUP);
    wait_readyz(&socket, 200, "ready: ");
    assert!(
        TcpStream::connect(address).is_err(),
        "{address} is let go of"
    );
    assert_eq!(stowd.lines("reloaded; changed: metrics.listen").len(), 1);
    assert_eq!(stowd.stop(), Some(0));
}

#[test]
fn alerts_and_dashboard_are_right_for_promtool() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = |name: &str| root.join(name).display().to_string();
    promtool(
        &[
            "check",
            "rules",
            &file("packaging/monitoring/stowd.rules.yml"),
        ],
        "",
    );
    promtool(
        &[
            "test",
            "rules",
            &file("tests/fixtures/stowd.rules.test.yml"),
        ],
        "",
    );

    // The expressions of the dashboard, as rules.
    let text = fs::read_to_string(file("packaging/monitoring/grafana-dashboard.json")).unwrap();
    let dashboard = serde_json::from_str::<serde_json::Value>(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().unwrap());
    let expressions = targets.map(|target| target["expr"].as_str().unwrap());
    let expressions = expressions.map(|it| it.replace("$__rate_interval", "5m"));
    let expressions = expressions.collect::<Vec<_>>();
    assert!(expressions.len() > 15);
    let mut rules = "groups:\n- name: dashboard\n  rules:\n".to_owned();
    for (number, expression) in expressions.iter().enumerate() {
        let expression = serde_json::to_string(expression).unwrap();
        rules.push_str(&format!(
            "  - record: panel:{number}\n    expr: {expression}\n"
        ));
    }
    let dir = tempfile::tempdir().unwrap();
    let rules_file = dir.path().join("rules.yml");
    fs::write(&rules_file, rules).unwrap();
    promtool(&["check", "rules", rules_file.to_str().unwrap()], "");
}
