//! What is imported of the archives of each directory of `fixtures/archives`.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use stowd::importer::{ImportRules, Reservations, import};
use stowd::ledger::NamesOfLater;
use stowd::platform::{Platform, Wanted};
use stowd::progress::Meter;
use stowd::told::Told;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::fixture_directories;
use crate::importer::entry;
use crate::memory_store::MemoryStore;
use crate::messages::Kept;

#[test]
fn every_fixture_is_imported_as_it_says() {
    fixture_directories::hold("archives", 15, differs);
}

/// What the fixtures' README tells.
fn differs(directory: &Path) -> Option<String> {
    let file = directory.join("expected");
    let archives = fs::read_dir(directory).unwrap();
    let archives = archives.map(|item| item.unwrap().path());
    let mut archives = archives.filter(|path| *path != file).collect::<Vec<_>>();
    archives.sort();
    let store = MemoryStore::default();
    let happened = archives.iter().map(|path| imported(&store, path));
    let happened = happened.collect::<String>();
    if std::env::var_os("BLESS").is_some() {
        fs::write(&file, &happened).unwrap();
    }
    let expected = fs::read_to_string(&file).unwrap_or_else(|error| error.to_string());
    (happened != expected).then(|| {
        format!(
            "{}\n-- happened:\n{happened}-- expected:\n{expected}",
            directory.display()
        )
    })
}

/// What an import into the store does, and says.
pub(crate) fn imported(store: &MemoryStore, path: &Path) -> String {
    let wanted = Wanted::from_config(&["linux/amd64".to_owned()], Platform::host()).unwrap();
    let rules = ImportRules {
        later: &NamesOfLater::new(),
        wanted: &wanted,
        extra_registries: &[],
        reservations: &Reservations::default(),
        told: &Told::default(),
    };
    let lines = Arc::new(Mutex::new(Vec::new()));
    let subscriber = tracing_subscriber::registry().with(Kept(Arc::clone(&lines)));
    // What is told is told on this thread.
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().unwrap();
    let given_up = CancellationToken::new();
    let report = tracing::subscriber::with_default(subscriber, || {
        let (entry, meter) = (entry(path), Meter::default());
        runtime.block_on(import(store, &entry, rules, meter, &given_up))
    });
    let name = path.display().to_string();
    let mut said = format!("{}\n", path.file_name().unwrap().display());
    let problems = match report {
        Ok(report) => {
            for image in report.images {
                said.push_str(&format!("imported {}\n", image.names.join(" ")));
            }
            report.problems
        }
        Err(error) => vec![error.to_string()],
    };
    for line in lines.lock().unwrap().iter() {
        let begins = [format!("note on {name}: "), format!("shadowed in {name}: ")];
        let note = begins.iter().find_map(|b| line.message.strip_prefix(b));
        said.extend(note.map(|note| format!("note {note}\n")));
    }
    said.extend(problems.iter().map(|problem| format!("failed {problem}\n")));
    said
}
