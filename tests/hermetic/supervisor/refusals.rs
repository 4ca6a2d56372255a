//! What keeps containerd from being started, and what is said of it.

use std::error::Error;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use stowd::config;
use stowd::supervisor::Supervisor;
use stowd::supervisor::binary::find;

use super::{fixture, scripted};

fn make_fifo(path: &Path) {
    rustix::fs::mknodat(
        rustix::fs::CWD,
        path,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
}

/// The whole of the error: no cause is left to be asked for.
async fn refusal(config: &config::ContainerdConfig) -> String {
    let error = Supervisor::start(config).await.unwrap_err();
    assert!(error.source().is_none(), "{error:?}");
    error.to_string()
}

#[tokio::test]
async fn a_missing_program_names_the_package() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = scripted(directory.path(), "");
    config.binary = "no-such-containerd".into();
    let path = std::env::var("PATH").unwrap();
    assert_eq!(
        refusal(&config).await,
        format!(
            "no-such-containerd: not found on PATH ({path}); install Debian's package containerd, \
             or set containerd.binary"
        )
    );
    config.binary = "/no/such/containerd".into();
    assert_eq!(
        refusal(&config).await,
        "containerd.binary /no/such/containerd: no such file; install Debian's package \
         containerd, or set containerd.binary"
    );
}

#[tokio::test]
async fn a_program_that_cannot_run_is_told_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = scripted(directory.path(), "");
    config.binary = directory.path().to_owned();
    assert_eq!(
        refusal(&config).await,
        format!(
            "containerd.binary {}: not a file",
            directory.path().display()
        )
    );

    config.binary = fixture("not-executable");
    let text = refusal(&config).await;
    assert!(text.contains("(chmod +x it"), "{text}");
    assert!(
        text.contains("not-executable: may not be executed: Permission denied"),
        "{text}"
    );

    config.binary = fixture("no-interpreter");
    let text = refusal(&config).await;
    assert!(
        text.contains("no-interpreter: cannot be executed: No such file")
            && text.contains("(the interpreter or loader that it names is missing)"),
        "{text}"
    );
}

#[test]
fn a_bare_name_is_looked_up_as_a_shell_does() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    for name in ["without", "not-executable", "executable"] {
        fs::create_dir(at(name)).unwrap();
    }
    symlink(fixture("not-executable"), at("not-executable/containerd")).unwrap();
    symlink(fixture("script"), at("executable/containerd")).unwrap();
    let path = |names: &[&str]| std::env::join_paths(names.iter().map(|n| at(n))).unwrap();
    let name = Path::new("containerd");

    let all = path(&["without", "not-executable", "executable"]);
    assert_eq!(find(name, &all).unwrap(), at("executable/containerd"));
    // One that is there but cannot run is the better hint.
    let error = find(name, &path(&["not-executable", "without"])).unwrap_err();
    assert!(error.to_string().contains("may not be executed"), "{error}");
    let error = find(name, &path(&["without"])).unwrap_err();
    assert!(error.to_string().contains("not found on PATH"), "{error}");
    // An empty element is the current directory: the result does not go through PATH again.
    let manifest = find(Path::new("Cargo.toml"), OsStr::new(":")).unwrap_err();
    assert!(manifest.to_string().contains("./Cargo.toml"), "{manifest}");
}

#[tokio::test]
async fn a_missing_configuration_is_told_before_anything_is_started() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = scripted(directory.path(), "touch \"$4/started\"");
    config.config = Some("/no/such/config.toml".into());
    assert_eq!(
        refusal(&config).await,
        "containerd.config /no/such/config.toml: cannot be read: No such file or directory (os error 2)"
    );
    assert!(!config.root.exists());
}

/// Whether containerd can do something with it is containerd's business.
#[tokio::test]
async fn a_configuration_that_nobody_writes_holds_nothing_up() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = directory.path().join("fifo");
    make_fifo(&fifo);
    let mut config = scripted(directory.path(), "echo started");
    config.config = Some(fifo);
    let exit = Supervisor::start(&config).await.unwrap().exited().await;
    assert_eq!(exit.last_lines, ["started"]);
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_is_told_with_its_key() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    type Set = fn(&mut config::ContainerdConfig, &Path);
    let set: [(&str, Set); 3] = [
        ("containerd.root", |c, p| c.root = p.into()),
        ("containerd.state", |c, p| c.state = p.into()),
        ("containerd.address", |c, p| c.address = p.join("s")),
    ];
    for (key, set) in set {
        for path in [file.clone(), file.join("below")] {
            let mut config = scripted(directory.path(), "");
            set(&mut config, &path);
            let text = refusal(&config).await;
            let start = format!("{key}: cannot make the directory {}: ", path.display());
            assert!(text.starts_with(&start), "{text}");
        }
    }
}

#[tokio::test]
async fn missing_directories_are_made_for_containerd_alone() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = scripted(directory.path(), "");
    config.root = directory.path().join("deep/below/root");
    Supervisor::start(&config).await.unwrap().exited().await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    for path in [
        &config.root,
        &config.state,
        config.address.parent().unwrap(),
    ] {
        assert_eq!(mode(path), 0o711, "{}", path.display());
    }
    assert_eq!(mode(&directory.path().join("deep")), 0o755);
    // Those that are there stay as they are.
    fs::set_permissions(&config.root, fs::Permissions::from_mode(0o700)).unwrap();
    Supervisor::start(&config).await.unwrap().exited().await;
    assert_eq!(mode(&config.root), 0o700);
}

#[tokio::test]
async fn a_log_file_that_cannot_be_one_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = scripted(directory.path(), "");
    let fifo = directory.path().join("fifo");
    make_fifo(&fifo);
    for (path, why) in [
        (directory.path().to_owned(), "Is a directory"),
        ("/dev/null".into(), "not a regular file"),
        (fifo, "No such device or address"),
        (fixture("script").join("below"), "Not a directory"),
    ] {
        config.log.file = Some(path.clone());
        let text = refusal(&config).await;
        let start = format!(
            "containerd.log.file {}: cannot be written: ",
            path.display()
        );
        assert!(text.starts_with(&start) && text.contains(why), "{text}");
    }
}
