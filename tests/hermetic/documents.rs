//! README.md and docs/: their links lead somewhere, and their command lines are ones that stowd takes.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser as _;
use stowd::cli::Cli;
use stowd::config::{ConfigFile, Inputs, load};

use crate::markdown::blocks;

/// The README and all of docs/, with their texts.
fn documents() -> Vec<(PathBuf, String)> {
    let docs = fs::read_dir("docs").unwrap();
    let docs = docs.map(|file| file.unwrap().path());
    let files = docs.chain([PathBuf::from("README.md")]);
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        (path, text)
    };
    files.map(read).collect()
}

/// What is between `](` and `)`, outside of blocks.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let prose = text.split("```").step_by(2);
    prose.flat_map(|text| {
        text.split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
    })
}

/// As the places that show Markdown make it of a heading.
fn anchor(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = heading
        .chars()
        .filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
    kept.collect::<String>().replace(' ', "-")
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    for (path, text) in documents() {
        let links = links(&text).filter(|link| !link.contains("://"));
        for link in links {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = path.parent().unwrap_or(Path::new("")).join(file);
            let there = fs::read_to_string(&target);
            let there = there.unwrap_or_else(|error| panic!("{}: {link}: {error}", path.display()));
            let mut headings = there
                .lines()
                .filter(|line| line.starts_with('#'))
                .map(anchor);
            let is_there = heading.is_empty() || headings.any(|found| found == heading);
            assert!(is_there, "{}: {link}: no such heading", path.display());
        }
    }
}

#[test]
fn the_readme_names_every_document() {
    let readme = fs::read_to_string("README.md").unwrap();
    for (path, _) in documents() {
        let name = path.display().to_string();
        let is_named = name == "README.md" || readme.contains(&format!("]({name})"));
        assert!(is_named, "{name}");
    }
}

/// The commands of a line that are stowd's, each in words.
fn of_stowd(line: &str) -> impl Iterator<Item = Vec<&str>> {
    let line = line.split(" #").next().unwrap_or_default();
    let commands = line.split(['|', ';', '&']);
    commands.filter_map(|command| {
        let words = command.split_whitespace();
        let words = words.skip_while(|word| *word == "sudo");
        let words = words.collect::<Vec<_>>();
        (words.first() == Some(&"stowd")).then_some(words)
    })
}

#[test]
fn stowd_takes_every_command_line() {
    let mut count = 0;
    for (path, text) in documents() {
        let lines = blocks(&text, "sh").into_iter().flatten();
        for words in lines.flat_map(of_stowd) {
            count += 1;
            if let Err(error) = Cli::try_parse_from(&words) {
                // `--version` and `--help` end so as well.
                assert!(
                    !error.use_stderr(),
                    "{}: {words:?}: {error}",
                    path.display()
                );
            }
        }
    }
    assert!(count > 10, "{count} commands found");
}

#[test]
fn scripts_of_the_sources_that_are_called_are_there() {
    for (path, text) in documents() {
        let lines = blocks(&text, "sh").into_iter().flatten();
        let words = lines.flat_map(str::split_whitespace);
        let ours = |word: &&str| {
            let places = ["packaging/", "tests/", "benches/"];
            places.iter().any(|place| word.starts_with(place))
        };
        for script in words.filter(ours) {
            assert!(Path::new(script).is_file(), "{}: {script}", path.display());
        }
    }
}

/// Blocks of TOML with a table of stowd's are configurations of stowd; others are containerd's.
#[test]
fn the_configurations_are_ones_that_stowd_takes() {
    let mut count = 0;
    for (path, text) in documents() {
        for block in blocks(&text, "toml") {
            let tables = ["[containerd]", "[images]", "[lists]", "[metrics]"];
            if !block.iter().any(|line| tables.contains(line)) {
                continue;
            }
            count += 1;
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("config.toml");
            fs::write(&file, block.join("\n")).unwrap();
            let inputs = Inputs {
                file: ConfigFile::Named(file),
                environment: Vec::new(),
                flags: Vec::new(),
            };
            let loaded = load(&inputs);
            assert!(loaded.is_ok(), "{}: {:?}", path.display(), loaded.err());
        }
    }
    assert!(count > 0);
}
