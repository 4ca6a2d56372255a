//! What is written about the keys: the sample file, the manual page and the table of docs/configuration.md name
//! every key, with the default that the code has.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use stowd::config::{Config, ConfigFile, Inputs, KEYS, load};
use tempfile::TempDir;

/// Names and defaults as TOML has them; `None`: unset.
type Defaults = BTreeMap<String, Option<String>>;

fn of_the_code() -> Defaults {
    let config = Config::default();
    KEYS.iter()
        .map(|key| (key.name().to_owned(), key.text(&config)))
        .collect()
}

fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A name that is there twice would hide what one of them says.
fn collect(rows: impl Iterator<Item = (String, Option<String>)>) -> Defaults {
    let mut defaults = Defaults::new();
    for (name, default) in rows {
        let before = defaults.insert(name.clone(), default);
        assert_eq!(before, None, "{name} is there twice");
    }
    defaults
}

/// `#word = value` is a key that is unset, with an example.
fn of_sample(text: &str) -> Defaults {
    let mut table = String::new();
    collect(text.lines().filter_map(|line| {
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            table = format!("{name}.");
            return None;
        }
        let (word, value) = line.split_once(" = ")?;
        match word.strip_prefix('#') {
            Some(word) if word.starts_with(' ') => None,
            Some(word) => Some((format!("{table}{word}"), None)),
            None => Some((format!("{table}{word}"), Some(value.to_owned()))),
        }
    }))
}

/// `.It Ic NAME Pq default: Ql VALUE`, `.It Ic NAME Pq unset`.
fn of_manual(text: &str) -> Defaults {
    collect(text.lines().filter_map(|line| {
        let (name, default) = line.strip_prefix(".It Ic ")?.split_once(" Pq ")?;
        let default = match default.split_once("default: Ql ") {
            Some((_, value)) => Some(value.replace("\\(dq", "\"")),
            None => {
                assert_eq!(default, "unset", "{line}");
                None
            }
        };
        Some((name.to_owned(), default))
    }))
}

/// The rows under `| key | default | meaning |`: `` | `key` | `default` | meaning | ``, or `unset`.
fn of_the_table(text: &str) -> Defaults {
    let rows = text
        .lines()
        .skip_while(|line| !line.starts_with("| key | default |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    collect(rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let code = |cell: &str| Some(cell.strip_prefix('`')?.strip_suffix('`')?.to_owned());
        let name = code(cells[1]).unwrap_or_else(|| panic!("no `key`: {row}"));
        let default = code(cells[2]);
        assert!(default.is_some() || cells[2] == "unset", "{row}");
        assert!(!cells[3].is_empty(), "no meaning: {row}");
        (name, default)
    }))
}

#[test]
fn the_sample_file_has_every_key_and_its_default() {
    assert_eq!(of_sample(&document("config/config.toml")), of_the_code());
}

#[test]
fn the_manual_has_every_key_and_its_default() {
    let manual = document("packaging/man/stowd.toml.5");
    assert_eq!(of_manual(&manual), of_the_code());
}

#[test]
fn the_reference_has_every_key_and_its_default() {
    assert_eq!(
        of_the_table(&document("docs/configuration.md")),
        of_the_code()
    );
}

#[test]
fn every_key_of_the_sample_has_a_comment() {
    let sample = document("config/config.toml");
    let blocks = sample.split("\n\n").filter(|block| block.contains(" = "));
    for block in blocks {
        let comment = block.lines().find(|line| !line.starts_with('['));
        assert!(
            comment.is_some_and(|line| line.starts_with("# ")),
            "{block}"
        );
    }
}

#[test]
fn the_sample_loads_as_the_defaults_without_a_warning() {
    let loaded = load(&inputs(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("config/config.toml"),
    ))
    .unwrap();
    assert_eq!(loaded.config, Config::default());
    assert_eq!(loaded.warnings, [""; 0]);
}

#[test]
fn the_samples_of_unset_keys_load() {
    let sample = document("config/config.toml");
    let uncommented: String = sample
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(key) if !key.starts_with(' ') && key.contains(" = ") => format!("{key}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    assert_ne!(uncommented, sample);
    let (_directory, inputs) = written(&uncommented);
    let config = load(&inputs).unwrap().config;
    assert!(config.containerd.config.is_some());
    assert!(config.containerd.log.file.is_some());
    assert!(config.lists.auth_file.is_some());
}

#[test]
fn the_example_drop_ins_load_and_change_something() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/config.d");
    let mut count = 0;
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(name.ends_with(".toml.example"), "{name}");
        let text = fs::read_to_string(&path).unwrap();
        let copied = name.strip_suffix(".example").unwrap();
        assert!(
            text.contains(&format!("Copy to /etc/stowd/config.d/{copied}.")),
            "{name} says where it goes"
        );
        let (_directory, inputs) = written(&text);
        let loaded = load(&inputs).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_ne!(loaded.config, Config::default(), "{name}");
        assert_eq!(loaded.warnings, [""; 0], "{name}");
        count += 1;
    }
    assert!(count > 0);
}

fn written(text: &str) -> (TempDir, Inputs) {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("config.toml");
    fs::write(&file, text).unwrap();
    (directory, inputs(file))
}

fn inputs(file: PathBuf) -> Inputs {
    Inputs {
        file: ConfigFile::Named(file),
        environment: Vec::new(),
        flags: Vec::new(),
    }
}
