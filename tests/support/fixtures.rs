//! The real archives that `tests/fixtures/make-archives` made.

use std::path::PathBuf;

/// A line of its `archives.tsv`.
#[derive(Debug, Clone)]
pub struct Fixture {
    /// Where the file is.
    pub path: PathBuf,
    /// Its name.
    pub file: String,
    /// The images that this host gets from it; none where the only right answer is an error.
    pub names: Vec<String>,
}

/// All of them. Panics when they were not made.
pub fn fixtures() -> Vec<Fixture> {
    let dir = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/fixtures"));
    let index = std::fs::read_to_string(dir.join("archives.tsv")).unwrap_or_else(|error| {
        panic!(
            "{}: {error}: run tests/run, or tests/fixtures/make-archives",
            dir.display()
        )
    });
    let fixtures = index.lines().map(|line| {
        let fields = line.split('\t').collect::<Vec<_>>();
        let names = fields[3]
            .split(' ')
            .filter(|name| *name != "-")
            .map(str::to_owned);
        Fixture {
            path: dir.join(fields[0]),
            file: fields[0].to_owned(),
            names: names.collect(),
        }
    });
    fixtures.collect()
}

/// One of them, by its file name.
pub fn fixture(file: &str) -> Fixture {
    let found = fixtures().into_iter().find(|fixture| fixture.file == file);
    found.unwrap_or_else(|| panic!("{file} is not in archives.tsv"))
}
