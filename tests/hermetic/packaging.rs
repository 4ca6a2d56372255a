//! The installer, into a directory of the test's own.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

fn install(root: &Path, arguments: &[&str]) {
    let output = Command::new("packaging/install")
        .args(arguments)
        .env("DESTDIR", root)
        .env("BINARY", env!("CARGO_BIN_EXE_stowd"))
        .env_remove("PREFIX")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// Every file and link below `root`, and every directory that is empty.
fn leaves(root: &Path) -> Vec<String> {
    let mut leaves = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        let items: Vec<_> = fs::read_dir(&directory).unwrap().collect();
        if items.is_empty() {
            leaves.push(format!("{}/", directory.display()));
        }
        for item in items {
            let item = item.unwrap();
            if item.file_type().unwrap().is_dir() {
                directories.push(item.path());
            } else {
                leaves.push(item.path().display().to_string());
            }
        }
    }
    leaves.sort();
    let below = format!("{}/", root.display());
    leaves.iter().map(|leaf| leaf.replace(&below, "")).collect()
}

#[test]
fn what_was_installed_is_taken_away_but_for_what_is_the_users() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    install(root, &[]);
    let unit = root.join("usr/local/lib/systemd/system/stowd.service");
    let text = fs::read_to_string(&unit).unwrap();
    for command in ["ExecStart=", "ExecReload="] {
        let line = format!("\n{command}/usr/local/bin/stowd ");
        assert!(text.contains(&line), "{command} in {text}");
    }
    let wants = root.join("etc/systemd/system/multi-user.target.wants");
    fs::create_dir_all(&wants).unwrap();
    symlink(
        "/usr/local/lib/systemd/system/stowd.service",
        wants.join("stowd.service"),
    )
    .unwrap();

    install(root, &["--uninstall"]);
    // Directories that any machine has are not the installer's to remove.
    assert_eq!(
        leaves(root),
        [
            "etc/stowd/config.toml",
            "etc/systemd/system/multi-user.target.wants/",
            "usr/local/bin/",
            "usr/local/lib/",
            "usr/local/share/doc/",
            "usr/local/share/man/",
            "var/lib/",
        ]
    );

    install(root, &[]);
    fs::write(root.join("var/lib/stowd/images/a.tar"), "").unwrap();
    fs::write(root.join("etc/stowd/config.d/10.toml"), "").unwrap();
    install(root, &["--uninstall"]);
    let left = leaves(root);
    for file in ["etc/stowd/config.d/10.toml", "var/lib/stowd/images/a.tar"] {
        assert!(left.iter().any(|leaf| leaf == file), "{file} of {left:?}");
    }
}

#[test]
fn the_installed_configuration_changes_nothing() {
    let root = tempfile::tempdir().unwrap();
    install(root.path(), &[]);
    let text = fs::read_to_string(root.path().join("etc/stowd/config.toml")).unwrap();
    let is_inert = |line: &str| line.is_empty() || line.starts_with(['#', '[']);
    let left: Vec<_> = text.lines().filter(|line| !is_inert(line)).collect();
    assert_eq!(left, [""; 0]);
    // To be changed, a key is there with its default.
    assert!(text.contains("\n#log-level = \"info\"\n"), "{text}");
    assert!(text.contains("\n#extra-args = []\n"), "{text}");
}

#[test]
fn the_completions_of_three_shells_are_installed() {
    let root = tempfile::tempdir().unwrap();
    install(root.path(), &[]);
    for (file, word) in [
        ("bash-completion/completions/stowd", "complete -F _stowd"),
        ("zsh/site-functions/_stowd", "#compdef stowd"),
        ("fish/vendor_completions.d/stowd.fish", "complete -c stowd"),
    ] {
        let path = root.path().join("usr/local/share").join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(word), "{}: {text}", path.display());
    }
}

#[test]
fn manual_pages_have_titles_of_their_own() {
    for page in fs::read_dir("packaging/man").unwrap() {
        let path = page.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        for line in [
            "\n.ds doc-volume-operating-system stowd\n.Dt ",
            "\n.Os stowd\n",
        ] {
            assert!(text.contains(line), "{line:?} of {}", path.display());
        }
    }
}
