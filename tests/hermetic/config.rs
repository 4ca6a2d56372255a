//! The configuration as users meet it: `stowd check` in each directory of `fixtures/config`, and
//! what a fixture cannot say.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rustix::fs::FileType;
use stowd::config::{
    Config, ConfigFile, Flag, Inputs, KEYS, LoadError, LoadedConfig, Origin, load,
};
use tempfile::TempDir;

use crate::fixture_directories;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/config");

#[test]
fn every_fixture_says_what_it_should() {
    fixture_directories::hold("config", 25, differs);
}

/// What a fixture's README tells: the expected files against what happens.
fn differs(directory: &Path) -> Option<String> {
    let output = in_fixture(directory);
    let here = format!("{}/", directory.display());
    let plain = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&here, "");
    let (stdout, stderr) = (plain(&output.stdout), plain(&output.stderr));
    let happened = match output.status.code() {
        Some(0) => (Some(not_default(&stdout)), stderr),
        Some(78) if stdout.is_empty() => (None, stderr),
        _ => return Some(format!("{here}: {output:?}")),
    };
    let toml = directory.join("expected.toml");
    let err = directory.join("expected.err");
    if std::env::var_os("BLESS").is_some() {
        let write = |path: &Path, text: &str| match text {
            "" => drop(fs::remove_file(path)),
            text => fs::write(path, text).unwrap(),
        };
        match &happened.0 {
            Some(text) => fs::write(&toml, text).unwrap(),
            None => drop(fs::remove_file(&toml)),
        }
        write(&err, &happened.1);
    }
    let expected = (
        fs::read_to_string(toml).ok(),
        fs::read_to_string(err).unwrap_or_default(),
    );
    if expected.0.is_none() && expected.1.is_empty() {
        return Some(format!("{here} expects nothing"));
    }
    (happened != expected)
        .then(|| format!("{here}\n-- happened: {happened:#?}\n-- expected: {expected:#?}"))
}

fn in_fixture(directory: &Path) -> Output {
    let read = |name| fs::read_to_string(directory.join(name)).ok();
    let arguments = read("args").unwrap_or("--config\nconfig.toml\ncheck".to_owned());
    let environment = read("env").unwrap_or_default();
    Command::new(env!("CARGO_BIN_EXE_stowd"))
        .args(arguments.lines())
        .env_clear()
        .envs(environment.lines().filter_map(|line| line.split_once('=')))
        .current_dir(directory)
        .output()
        .unwrap()
}

/// The output of `check` without what was not set, and without the tables that leaves empty.
fn not_default(stdout: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for line in stdout
        .lines()
        .filter(|l| !l.is_empty() && !l.ends_with("# default"))
    {
        if line.starts_with('[') && kept.last().is_some_and(|last| last.starts_with('[')) {
            kept.pop();
        }
        kept.push(line);
    }
    if kept.last().is_some_and(|last| last.starts_with('[')) {
        kept.pop();
    }
    kept.iter().map(|line| format!("{line}\n")).collect()
}

/// A configuration in a directory of its own.
struct Site(TempDir);

impl Site {
    fn new(files: &[(&str, &str)]) -> Self {
        let site = Self(TempDir::new().unwrap());
        for (name, text) in files {
            let path = site.path(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn inputs(&self) -> Inputs {
        Inputs {
            file: ConfigFile::IfPresent(self.path("config.toml")),
            environment: Vec::new(),
            flags: Vec::new(),
        }
    }

    fn load(&self) -> Result<LoadedConfig, LoadError> {
        load(&self.inputs())
    }

    /// The one problem, its file's path cut to its name.
    fn problem(&self) -> String {
        let text = self.load().unwrap_err().to_string();
        text.replace(&format!("{}/", self.0.path().display()), "")
    }
}

fn origin<'a>(loaded: &'a LoadedConfig, name: &str) -> &'a Origin {
    loaded.origin(KEYS.iter().find(|key| key.name() == name).unwrap())
}

#[test]
fn with_no_file_at_all_the_defaults_run() {
    let loaded = Site::new(&[]).load().unwrap();
    assert_eq!(loaded.config, Config::default());
    assert_eq!(loaded.warnings, [""; 0]);
    for key in KEYS {
        assert_eq!(loaded.origin(key), &Origin::Default, "{}", key.name());
    }
}

#[test]
fn drop_ins_count_without_the_file() {
    let site = Site::new(&[("config.d/1.toml", "images.dir = '/x'")]);
    let loaded = site.load().unwrap();
    assert_eq!(loaded.config.images.dir, Path::new("/x"));
    assert_eq!(
        origin(&loaded, "images.dir"),
        &Origin::File(site.path("config.d/1.toml"))
    );
}

#[test]
fn what_check_prints_is_a_file_that_says_the_same() {
    for case in fs::read_dir(FIXTURES).unwrap().map(|e| e.unwrap().path()) {
        if !case.join("expected.toml").exists() || !case.join("config.toml").exists() {
            continue;
        }
        let printed = in_fixture(&case).stdout;
        let again = Site::new(&[("config.toml", &String::from_utf8(printed).unwrap())]);
        let environment = fs::read_to_string(case.join("env")).unwrap_or_default();
        let mut inputs = again.inputs();
        inputs.file = ConfigFile::Named(case.join("config.toml"));
        inputs.environment = environment
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        if fs::read_to_string(case.join("args")).is_ok_and(|args| args.contains("--images-dir")) {
            inputs.flags = vec![
                flag("--images-dir", "images.dir", "/flag"),
                flag("--log-level", "log-level", "trace"),
            ];
        }
        assert_eq!(
            again.load().unwrap().config,
            load(&inputs).unwrap().config,
            "{}",
            case.display()
        );
    }
}

fn flag(name: &'static str, key: &'static str, value: &str) -> Flag {
    Flag {
        name,
        key,
        value: value.into(),
    }
}

#[test]
fn values_that_are_not_utf8_are_named() {
    let site = Site::new(&[]);
    let broken = || OsString::from_vec(b"/x\xff".to_vec());
    let mut inputs = site.inputs();
    inputs.environment = vec![
        ("STOWD_IMAGES__DIR".into(), broken()),
        (OsString::from_vec(b"STOWD_\xff".to_vec()), "x".into()),
        (OsString::from_vec(b"OTHER_\xff".to_vec()), broken()),
    ];
    inputs.flags = vec![Flag {
        name: "--images-dir",
        key: "images.dir",
        value: broken(),
    }];
    let problems: Vec<_> = load(&inputs)
        .unwrap_err()
        .problems
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        problems,
        [
            "environment STOWD_IMAGES__DIR: not UTF-8: /x\u{fffd}",
            "environment STOWD_\u{fffd}: unknown variable; STOWD_ begins the names of stowd's own \
             alone, stowd.toml(5) lists them",
            "--images-dir: images.dir: not UTF-8: /x\u{fffd}",
        ]
    );
}

#[test]
fn a_flag_of_no_key_is_refused() {
    let mut inputs = Site::new(&[]).inputs();
    inputs.flags = vec![flag("--colour", "colour", "red")];
    assert_eq!(
        load(&inputs).unwrap_err().to_string(),
        "--colour: colour: unknown key"
    );
}

#[test]
fn files_that_everyone_may_write_to_are_warned_of() {
    let site = Site::new(&[("config.toml", ""), ("config.d/1.toml", "")]);
    for name in ["config.toml", "config.d", "config.d/1.toml"] {
        let before = fs::metadata(site.path(name)).unwrap().permissions();
        let mode = before.mode() | 0o002;
        fs::set_permissions(site.path(name), Permissions::from_mode(mode)).unwrap();
        let path = site.path(name).display().to_string();
        assert_eq!(
            site.load().unwrap().warnings,
            [format!(
                "{path}: everyone may write here, and so decide what runs as root; chmod o-w {path}"
            )]
        );
        fs::set_permissions(site.path(name), before).unwrap();
    }
    assert_eq!(site.load().unwrap().warnings, [""; 0]);
}

#[test]
fn a_link_to_nowhere_is_an_error() {
    for name in ["config.toml", "config.d/1.toml"] {
        let site = Site::new(&[("config.d/0.toml", "")]);
        symlink("/nonexistent", site.path(name)).unwrap();
        assert_eq!(
            site.problem(),
            format!("{name}: a symbolic link to a file that is missing")
        );
    }
}

#[test]
fn a_link_to_a_file_is_read_and_keeps_its_name() {
    let site = Site::new(&[("elsewhere", "images.dir = '/x'")]);
    symlink(site.path("elsewhere"), site.path("config.toml")).unwrap();
    let loaded = site.load().unwrap();
    assert_eq!(
        origin(&loaded, "images.dir"),
        &Origin::File(site.path("config.toml"))
    );
}

#[test]
fn a_file_where_its_directory_should_be_is_an_error() {
    let site = Site::new(&[("stowd", "")]);
    let mut inputs = site.inputs();
    inputs.file = ConfigFile::IfPresent(site.path("stowd/config.toml"));
    let text = load(&inputs).unwrap_err().to_string();
    assert!(text.contains("cannot be read: Not a directory"), "{text}");
}

/// Root may read everything, so root asks as nobody.
#[test]
fn an_unreadable_file_is_an_error() {
    let site = Site::new(&[("config.toml", "images.dir = '/x'")]);
    fs::set_permissions(site.path("config.toml"), Permissions::from_mode(0o000)).unwrap();
    fs::set_permissions(site.0.path(), Permissions::from_mode(0o755)).unwrap();
    // A copy, as the build's own directory may be closed to others. `cp` makes it: a file that this
    // process wrote could be held open by a child of another test, and then cannot be executed.
    let program = site.path("stowd");
    let copied = Command::new("cp")
        .arg(env!("CARGO_BIN_EXE_stowd"))
        .arg(&program)
        .status()
        .unwrap();
    assert!(copied.success());
    let mut command = Command::new(program);
    command
        .args(["check", "--config"])
        .arg(site.path("config.toml"))
        .env_clear();
    if rustix::process::geteuid().is_root() {
        command.uid(65534).gid(65534);
    }
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        format!(
            "stowd: {}: cannot be read: Permission denied (os error 13); stowd reads it as the \
             user that it runs as\n",
            site.path("config.toml").display()
        )
    );
}

#[test]
fn a_file_may_come_through_a_pipe() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_stowd"))
        .args(["check", "--config", "/dev/stdin"])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"images.dir = '/x'").unwrap();
    let output = child.wait_with_output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(stdout.contains("dir = \"/x\" # /dev/stdin\n"), "{stdout}");
}

#[test]
fn what_is_neither_a_file_nor_written_by_anybody_holds_nothing_up() {
    let fifo = |path: &Path| {
        let mode = rustix::fs::Mode::RUSR;
        rustix::fs::mknodat(rustix::fs::CWD, path, FileType::Fifo, mode, 0).unwrap();
    };
    let refused = "cannot be read: not a regular file";
    let site = Site::new(&[]);
    fifo(&site.path("config.toml"));
    assert_eq!(site.problem(), format!("config.toml: {refused}"));

    let site = Site::new(&[("config.d/20.toml", "images.dir = '/x'")]);
    fifo(&site.path("config.d/10.toml"));
    assert_eq!(site.problem(), format!("config.d/10.toml: {refused}"));
}

#[test]
fn a_file_that_is_too_long_is_an_error() {
    let longest = "#".repeat(1 << 20);
    let site = Site::new(&[("config.toml", &longest)]);
    assert_eq!(site.load().unwrap().config, Config::default());
    fs::write(site.path("config.toml"), longest + "#").unwrap();
    assert_eq!(
        site.problem(),
        "config.toml: longer than 1 MiB: this is no configuration file"
    );
}

/// The writer takes its time: what it has not written yet is waited for.
#[test]
fn a_slow_pipe_is_read_to_its_end() {
    let output = Command::new("bash")
        .arg("-c")
        .arg("\"$0\" check --config <(sleep 0.3; echo images.dir = \\'/x\\')")
        .arg(env!("CARGO_BIN_EXE_stowd"))
        .output()
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(stdout.contains("dir = \"/x\" # /dev/fd/"), "{stdout}");
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(env!("CARGO_BIN_EXE_stowd"))
        .args(["check", "--config", "/dev/null"])
        .env_clear()
        .stdout(writer)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(output.stderr, b"");
}

#[test]
fn a_full_disk_is_an_error() {
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_stowd"))
        .args(["check", "--config", "/dev/null"])
        .env_clear()
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("No space left on device"), "{stderr}");
}

#[test]
fn help_is_complete_and_a_wrong_command_line_is_2() {
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_stowd"))
            .args(arguments)
            .env_clear()
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
        )
    };
    for arguments in [&["--help"][..], &["run", "--help"], &["check", "--help"]] {
        let (status, text) = run(arguments);
        assert_eq!(status, Some(0));
        for part in [
            "Usage:",
            "--config <FILE>",
            "--log-level <LEVEL>",
            "Exit status:",
            "78",
            "Files:",
            "/etc/stowd/config.toml",
            "Examples:",
        ] {
            assert!(
                text.contains(part),
                "{arguments:?} without {part:?}:\n{text}"
            );
        }
        for line in text.lines() {
            assert!(line.chars().count() <= 100, "{arguments:?}: {line}");
        }
    }
    assert_eq!(run(&["fly"]).0, Some(2));
    assert_eq!(run(&["help"]), run(&["--help"]));
    assert_eq!(run(&["help", "check"]), run(&["check", "--help"]));
    let name = format!("stowd {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(run(&["-V"]), (Some(0), name.clone()));
    let (status, version) = run(&["--version"]);
    assert_eq!(status, Some(0));
    assert!(version.starts_with(&name), "{version}");
    for part in ["\nbuilt from ", "containerd.services v1", "CRI runtime.v1"] {
        assert!(version.contains(part), "{version}");
    }
    assert_eq!(run(&["version"]), (Some(0), version));
}

/// A unit that forgets the command fails, and does not run as another one would.
#[test]
fn without_a_command_help_is_printed() {
    let output = Command::new(env!("CARGO_BIN_EXE_stowd")).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("Usage: stowd"), "{text}");
    assert!(text.contains("Run the daemon"), "{text}");
}

/// The script is one that the shell takes, and knows what there is.
#[test]
fn completions_of_bash_complete_commands_and_options() {
    let script = "eval \"$($0 completions bash)\"
        complete_at() { COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _stowd stowd \"${!#}\" '' || true
            echo \"${COMPREPLY[*]}\"; }
        complete_at stowd ch
        complete_at stowd run --onc";
    let output = Command::new("bash")
        .args(["-c", script, env!("CARGO_BIN_EXE_stowd")])
        .output()
        .unwrap();
    let answered = String::from_utf8_lossy(&output.stdout);
    assert_eq!(answered, "check\n--once\n", "{output:?}");
}

/// What a reload asks: silent where all is well, and 78 with what is wrong on stderr.
#[test]
fn a_quiet_check_says_only_what_is_wrong() {
    let site = Site::new(&[("config.toml", "images.settle = \"1s\"\n")]);
    let check = || {
        Command::new(env!("CARGO_BIN_EXE_stowd"))
            .args(["check", "--quiet", "--config"])
            .arg(site.path("config.toml"))
            .env_clear()
            .output()
            .unwrap()
    };
    let Output {
        status,
        stdout,
        stderr,
    } = check();
    assert_eq!(
        (status.code(), stdout, stderr),
        (Some(0), Vec::new(), Vec::new())
    );
    fs::write(site.path("config.toml"), "images.settle = 1\n").unwrap();
    let output = check();
    assert_eq!(
        (output.status.code(), &*output.stdout),
        (Some(78), &b""[..])
    );
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("images.settle"), "{said}");
}
