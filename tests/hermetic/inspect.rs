//! `stowd inspect` says what an import does, and neither asks nor changes anything.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use stowd::importer::inspect;
use stowd::platform::{Platform, Wanted};
use tempfile::TempDir;

use crate::archive_fixtures::imported;
use crate::fixture_directories;
use crate::importer::{Draft, noise};
use crate::memory_store::MemoryStore;

/// What an inspection says, in the words of [`imported`].
fn inspected(path: &Path) -> String {
    let wanted = Wanted::from_config(&["linux/amd64".to_owned()], Platform::host()).unwrap();
    let inspection = inspect(path, &wanted, &[]);
    let mut said = format!("{}\n", path.file_name().unwrap().display());
    match inspection {
        Ok(inspection) => {
            for image in &inspection.images {
                let names = image.names.iter().map(ToString::to_string);
                let names = names.collect::<Vec<_>>().join(" ");
                said.push_str(&format!("imported {names}\n"));
            }
            said.extend(inspection.notes.iter().map(|note| format!("note {note}\n")));
            let problems = inspection.problems.iter();
            said.extend(problems.map(|problem| format!("failed {problem}\n")));
        }
        Err(error) => said.push_str(&format!("failed {error}\n")),
    }
    said
}

/// How an inspection of the archive differs from an import into an empty store.
fn differs(path: &Path) -> Option<String> {
    let store = MemoryStore::default();
    let (imported, inspected) = (imported(&store, path), inspected(path));
    (imported != inspected).then(|| format!("-- imported:\n{imported}-- inspected:\n{inspected}"))
}

#[test]
fn every_fixture_is_inspected_as_it_is_imported() {
    fixture_directories::hold("archives", 15, |directory| {
        let archives = fs::read_dir(directory).unwrap();
        let archives = archives.map(|item| item.unwrap().path());
        let mut archives = archives.filter(|path| !path.ends_with("expected"));
        archives.find_map(|path| differs(&path))
    });
}

/// A good image, one whose layer has other bytes, and one that lacks its layer.
fn mixed(dir: &Path) -> [PathBuf; 2] {
    let mut draft = Draft::new();
    let good = draft.image(noise(300_000, 1));
    let wrong = draft.image(noise(300_000, 2));
    let lacking = draft.image(noise(300_000, 3));
    let names = [("good:1", &good.manifest), ("wrong:1", &wrong.manifest)];
    draft.index(&[&names[..], &[("lacking:1", &lacking.manifest)]].concat());
    let layer = wrong.layer.hex().to_owned();
    let members = draft.members.iter_mut();
    for (_, bytes) in members.filter(|(path, _)| path.ends_with(&layer)) {
        bytes[777] ^= 1;
    }
    draft.remove(&lacking.layer);
    draft.written(dir)
}

#[test]
fn what_is_broken_is_inspected_as_it_is_imported() {
    let dir = TempDir::new().unwrap();
    for path in mixed(dir.path()) {
        assert_eq!(differs(&path), None);
        let bytes = fs::read(&path).unwrap();
        for length in [0, 100, 1000, bytes.len() / 2, bytes.len() - 1] {
            fs::write(&path, &bytes[..length]).unwrap();
            assert_eq!(differs(&path), None, "cut to {length} bytes");
        }
    }
}

/// Runs the command with the default configuration.
fn stowd(arguments: &[&str], input: Stdio) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stowd"));
    command.args(["inspect", "--config", "/dev/null"]);
    command.args(arguments).env_clear().stdin(input);
    command.output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn the_command_shows_each_image_and_each_failure() {
    let dir = TempDir::new().unwrap();
    let [plain, _] = mixed(dir.path());
    let path = plain.display().to_string();
    let output = stowd(&[&path], Stdio::null());
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = text(&output);
    for part in [
        "(tar, ",
        "\n  docker.io/library/good:1\n    ",
        ", 1 layer, 293.",
        "\n  would fail: docker.io/library/wrong:1: ",
        "\n  would fail: docker.io/library/lacking:1: blob sha256:",
        "\n  would be imported: 1 image, 3 blobs, 293.",
    ] {
        assert!(text.contains(part), "no {part:?} in:\n{text}");
    }
    let output = stowd(&["/nowhere.tar"], Stdio::null());
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(stowd(&[], Stdio::null()).status.code(), Some(2));
}

#[test]
fn json_has_the_same_and_says_its_version() {
    let dir = TempDir::new().unwrap();
    let [plain, compressed] = mixed(dir.path());
    let paths = [plain, compressed].map(|path| path.display().to_string());
    let output = stowd(
        &["--json", &paths[0], &paths[1], "/nowhere.tar"],
        Stdio::null(),
    );
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["version"], 1);
    let files = document["files"].as_array().unwrap();
    assert_eq!(files.len(), 3);
    for (file, compression) in files.iter().zip(["tar", "zstd"]) {
        assert_eq!(file["whole"], false);
        assert_eq!(file["compression"], compression);
        assert_eq!(file["images"].as_array().unwrap().len(), 1);
        assert_eq!(file["images"][0]["names"][0], "docker.io/library/good:1");
        assert_eq!(file["images"][0]["layers"], 1);
        assert_eq!(file["problems"].as_array().unwrap().len(), 2);
        assert_eq!(file["blobs"], 3);
    }
    assert_eq!(files[2]["problems"].as_array().unwrap().len(), 1);
}

#[test]
fn standard_input_may_be_a_pipe_or_a_file() {
    let dir = TempDir::new().unwrap();
    let mut draft = Draft::new();
    let image = draft.image(noise(300_000, 1));
    draft.index(&[("good:1", &image.manifest)]);
    for path in draft.written(dir.path()) {
        let file = stowd(&["-"], File::open(&path).unwrap().into());
        assert_eq!(file.status.code(), Some(0), "{file:?}");
        let mut cat = Command::new("cat")
            .arg(&path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let piped = stowd(&["-"], cat.stdout.take().unwrap().into());
        assert!(cat.wait().unwrap().success());
        assert_eq!(text(&piped), text(&file));
        assert!(text(&file).starts_with("- ("), "{file:?}");
    }
}
