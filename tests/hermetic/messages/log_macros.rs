//! Lines of the log are written by the reporter alone. What another file logs is in no table and is
//! counted by nothing.

use std::fs;
use std::path::{Path, PathBuf};

/// Those of `tracing` that write a line for an operator.
const MACROS: [&str; 4] = ["error!", "warn!", "info!", "event!"];

/// The lines of a source that use one of them, by number. Lines of comment do not count.
fn log_lines(source: &str) -> Vec<usize> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let uses = |line: &str, name: &str| {
        let mut places = line.match_indices(name);
        places.any(|(at, _)| !line[..at].ends_with(is_word))
    };
    let logs = |line: &str| {
        !line.trim_start().starts_with("//") && MACROS.iter().any(|name| uses(line, name))
    };
    let numbered = source.lines().zip(1..);
    numbered
        .filter_map(|(line, number)| logs(line).then_some(number))
        .collect()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for item in fs::read_dir(folder).unwrap() {
        let path = item.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else {
            found.push(path);
        }
    }
    found
}

#[test]
fn a_line_that_logs_is_found() {
    let source = "use tracing::info;\n// info!(\"in a comment\")\n    info!(pid, \"started\");\n\
                  Err(e) => tracing::warn!(%e, \"{e}\"),\n#[error(\"none\")]\ndebug!(\"developers\")\n\
                  tracing::event!(Level::INFO, \"x\");\nmy_error!(\"none\")\nif is_error != error {}\n";
    assert_eq!(log_lines(source), [3, 4, 7]);
}

#[test]
fn the_reporter_alone_writes_to_the_log() {
    let mut reported = 0;
    let mut elsewhere = Vec::new();
    for path in sources(Path::new("src")) {
        let lines = log_lines(&fs::read_to_string(&path).unwrap());
        if path == Path::new("src/reporter.rs") {
            reported = lines.len();
        } else {
            let path = path.display();
            elsewhere.extend(lines.iter().map(|line| format!("{path}:{line}")));
        }
    }
    assert!(reported > 40, "the reporter was not read");
    assert_eq!(elsewhere, [""; 0], "make it a value of src/happened");
}
