//! The child's environment and arguments.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use stowd::config::{self, LineLevel};
use stowd::supervisor::arguments::arguments;
use stowd::supervisor::environment::Environment;

use super::stowd::{Guard, command};
use super::{content_of, eventually};

fn environment(own: &[(&str, &str)]) -> Environment {
    Environment::from_own(own.iter().map(|(n, v)| (n.into(), v.into())))
}

/// What reaches the child, `name=value` in the order of names.
fn child(own: &[(&str, &str)]) -> Vec<String> {
    let variables = environment(own).variables;
    (variables.iter())
        .map(|(n, v)| format!("{}={}", n.display(), v.display()))
        .collect()
}

#[test]
fn what_is_meant_for_stowd_does_not_reach_the_child() {
    for name in [
        "NOTIFY_SOCKET",
        "WATCHDOG_USEC",
        "WATCHDOG_PID",
        "LISTEN_FDS",
        "LISTEN_PID",
        "LISTEN_FDNAMES",
        "LISTEN_",
        "INVOCATION_ID",
        "JOURNAL_STREAM",
        "STOWD_IMAGES__DIR",
        "STOWD_",
    ] {
        assert!(child(&[(name, "x")]).is_empty(), "{name}");
        let prefixed = format!("CONTAINERD_{name}");
        assert!(child(&[(&prefixed, "x")]).is_empty(), "{prefixed}");
        // Nor does the prefixed one open a way for the plain one.
        assert!(child(&[(&prefixed, "x"), (name, "y")]).is_empty());
    }
}

#[test]
fn names_that_only_look_like_those_do() {
    for name in [
        "NOTIFY_SOCKET_",
        "MY_NOTIFY_SOCKET",
        "WATCHDOG",
        "LISTENER",
        "LISTEN",
        "STOWD",
        "JOURNAL_STREAMS",
        "notify_socket",
        "CONTAINERD",
        "LOG_LEVEL",
        "SYSTEMD_EXEC_PID",
        "CREDENTIALS_DIRECTORY",
        "RUST_LOG",
    ] {
        assert_eq!(child(&[(name, "x")]), [format!("{name}=x")]);
    }
}

#[test]
fn a_prefixed_name_reaches_the_child_alone_and_wins_in_any_order() {
    let plain = ("HTTPS_PROXY", "everybody");
    let prefixed = ("CONTAINERD_HTTPS_PROXY", "containerd");
    assert_eq!(child(&[plain, prefixed]), ["HTTPS_PROXY=containerd"]);
    assert_eq!(child(&[prefixed, plain]), ["HTTPS_PROXY=containerd"]);
    assert_eq!(
        child(&[plain, ("CONTAINERD_HTTPS_PROXY", "")]),
        ["HTTPS_PROXY="]
    );
    assert_eq!(
        child(&[("CONTAINERD_ADDRESS", "/a"), ("CONTAINERD_NAMESPACE", "n")]),
        ["ADDRESS=/a", "NAMESPACE=n"]
    );
}

#[test]
fn one_prefix_is_taken_away() {
    assert_eq!(
        child(&[("CONTAINERD_CONTAINERD_X", "1")]),
        ["CONTAINERD_X=1"]
    );
    // It is the child's variable then, not its flag.
    let twice = environment(&[("CONTAINERD_CONTAINERD_LOG_LEVEL", "debug")]);
    assert_eq!(twice.log_level, None);
    assert!(
        twice
            .variables
            .contains_key(OsStr::new("CONTAINERD_LOG_LEVEL"))
    );
}

#[test]
fn an_empty_name_is_dropped() {
    assert!(child(&[("CONTAINERD_", "v"), ("", "v")]).is_empty());
}

#[test]
fn each_name_occurs_once_and_the_first_value_counts() {
    assert_eq!(child(&[("A", "1"), ("B", "2"), ("A", "3")]), ["A=1", "B=2"]);
    assert_eq!(
        child(&[("CONTAINERD_A", "1"), ("A", "0"), ("CONTAINERD_A", "2")]),
        ["A=1"]
    );
}

#[test]
fn the_log_level_is_a_flag_and_no_variable() {
    let with = environment(&[("CONTAINERD_LOG_LEVEL", "debug"), ("LOG_LEVEL", "own")]);
    assert_eq!(with.log_level.as_deref(), Some(OsStr::new("debug")));
    assert_eq!(with.variables.len(), 1);
    assert_eq!(with.variables[OsStr::new("LOG_LEVEL")], "own");

    let empty = environment(&[("CONTAINERD_LOG_LEVEL", "")]);
    assert_eq!(empty, Environment::default());
}

#[test]
fn what_is_not_utf8_survives() {
    let bytes = |b: &[u8]| OsString::from_vec(b.to_vec());
    let environment = Environment::from_own([
        (bytes(b"A\xff"), bytes(b"\xfe\x80")),
        (bytes(b"CONTAINERD_B\xff"), bytes(b"\xc3")),
    ]);
    let expected = [
        (bytes(b"A\xff"), bytes(b"\xfe\x80")),
        (bytes(b"B\xff"), bytes(b"\xc3")),
    ];
    assert_eq!(
        environment.variables.into_iter().collect::<Vec<_>>(),
        expected
    );
}

#[test]
fn a_real_child_has_this_environment_and_these_arguments() {
    let directory = tempfile::tempdir().unwrap();
    // The shell's own environment as it was at its start, before the shell adds to it.
    let script = "cat /proc/$$/environ > \"$4/e\"; printf '%s\\n' \"$@\" > \"$4/a\";
        mv \"$4/e\" \"$4/environment\"";
    let mut command = command(directory.path(), script);
    let kept: Vec<_> = (command.get_envs())
        .map(|(n, v)| (n.to_owned(), v.unwrap().to_owned()))
        .collect();
    command.env_clear().envs(kept).envs([
        ("PATH", "/usr/bin:/bin"),
        ("HTTPS_PROXY", "everybody"),
        ("CONTAINERD_HTTPS_PROXY", "containerd"),
        ("CONTAINERD_LOG_LEVEL", "debug"),
        ("NOTIFY_SOCKET", "/run/x"),
        ("CONTAINERD_NOTIFY_SOCKET", "/run/x"),
        ("CONTAINERD_", "v"),
        ("WATCHDOG_USEC", "1"),
        ("LISTEN_FDS", "1"),
        ("STOWD_LOG_LEVEL", "debug"),
        ("INVOCATION_ID", "i"),
        ("JOURNAL_STREAM", "1:1"),
    ]);
    command.env("RAW", OsString::from_vec(b"\xff".to_vec()));
    let mut stowd = Guard::spawn(&mut command);
    stowd.0.wait().unwrap();

    let root = directory.path().join("root");
    let environment = std::fs::read(root.join("environment")).unwrap();
    let mut environment: Vec<&[u8]> = (environment.split(|b| *b == 0))
        .filter(|v| !v.is_empty() && !v.starts_with(b"TEST_SUPERVISOR_"))
        .collect();
    environment.sort_unstable();
    let expected: [&[u8]; 3] = [
        b"HTTPS_PROXY=containerd",
        b"PATH=/usr/bin:/bin",
        b"RAW=\xff",
    ];
    assert_eq!(environment, expected);

    let path = |name: &str| directory.path().join(name).display().to_string();
    let (address, root_path, state) = (path("run/containerd.sock"), path("root"), path("state"));
    let arguments = eventually("the arguments", || Ok(content_of(&root.join("a"))));
    let expected = [
        "--address",
        &address,
        "--root",
        &root_path,
        "--state",
        &state,
        "--log-level",
        "debug",
        script,
        "",
    ];
    assert_eq!(arguments, expected.join("\n"));
}

#[test]
fn the_flags_come_in_their_order_with_the_extra_ones_last() {
    let mut config = config::ContainerdConfig {
        address: "/a".into(),
        root: "/r".into(),
        state: "/s".into(),
        ..config::ContainerdConfig::default()
    };
    let bare = ["--address", "/a", "--root", "/r", "--state", "/s"];
    assert_eq!(arguments(&config, None), bare);

    config.config = Some(Path::new("/c.toml").into());
    config.extra_args = vec!["--log-level".into(), "warn".into()];
    let all = [
        &["--config", "/c.toml"],
        &bare[..],
        &["--log-level", "info", "--log-level", "warn"],
    ];
    assert_eq!(arguments(&config, Some(OsStr::new("info"))), all.concat());
}

#[test]
fn lines_that_are_asked_for_are_asked_of_containerd_unless_the_variable_says_another_level() {
    let mut config = config::ContainerdConfig::default();
    let asked = |config: &_, variable: Option<&str>| {
        let arguments = arguments(config, variable.map(OsStr::new));
        let mut pairs = arguments.windows(2);
        let level = pairs.find(|pair| pair[0] == "--log-level");
        level.map(|pair| pair[1].clone())
    };
    for (level, expected) in [
        (LineLevel::Error, None),
        (LineLevel::Info, None),
        (LineLevel::Debug, Some("debug")),
        (LineLevel::Trace, Some("trace")),
    ] {
        config.log.level = level;
        assert_eq!(asked(&config, None), expected.map(Into::into), "{level:?}");
        assert_eq!(asked(&config, Some("info")), Some("info".into()));
    }
}
