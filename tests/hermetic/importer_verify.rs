//! The second reading of a broken archive: it finds what the first one found, and writes nothing.

use std::path::Path;

use stowd::importer::{ImportError, ImportReport, ImportRules, Reservations, verify};
use stowd::ledger::NamesOfLater;
use stowd::platform::{Platform, Wanted};
use stowd::progress::Meter;
use stowd::told::Told;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::importer::{Draft, entry, noise, run_with};
use crate::memory_store::MemoryStore;

const MIB: usize = 1 << 20;

fn read(store: &MemoryStore, path: &Path) -> Result<ImportReport, ImportError> {
    let rules = ImportRules {
        later: &NamesOfLater::new(),
        reservations: &Reservations::default(),
        told: &Told::default(),
        wanted: &Wanted::from_config(&["linux/amd64".to_owned()], Platform::host()).unwrap(),
        extra_registries: &[],
    };
    let given_up = CancellationToken::new();
    let entry = entry(path);
    let reading = verify(store, &entry, rules, Meter::default(), &given_up);
    tokio::runtime::Runtime::new().unwrap().block_on(reading)
}

/// What is wrong, in words.
fn problems(read: Result<ImportReport, ImportError>) -> Vec<String> {
    read.map_or_else(|error| vec![error.to_string()], |report| report.problems)
}

/// What was written to a store, and what is in it.
fn contents(store: &MemoryStore) -> (usize, usize, usize, usize) {
    let state = store.state();
    assert_eq!((state.leases, state.open), (0, 0));
    let (blobs, images) = (state.blobs.len(), state.images.len());
    (state.writes, state.opened, blobs, images)
}

/// A good image and another one.
fn draft() -> (Draft, String) {
    let mut draft = Draft::new();
    let good = draft.image(noise(MIB, 1));
    let other = draft.image(noise(2 * MIB, 2));
    draft.index(&[("good:1", &good.manifest), ("other:1", &other.manifest)]);
    (draft, other.layer.hex().to_owned())
}

#[test]
fn a_broken_archive_is_broken_the_second_time_too_and_nothing_is_written() {
    let dir = TempDir::new().unwrap();
    let (mut flipped, layer) = draft();
    let members = flipped.members.iter_mut();
    for (_, bytes) in members.filter(|(path, _)| path.ends_with(&layer)) {
        bytes[777_777] ^= 1;
    }
    let [plain, compressed] = flipped.written(dir.path());
    let cut = dir.path().join("cut.tar");
    let bytes = std::fs::read(&plain).unwrap();
    std::fs::write(&cut, &bytes[..2 * MIB]).unwrap();
    let cut_stream = dir.path().join("cut.tar.zst");
    let bytes = std::fs::read(&compressed).unwrap();
    std::fs::write(&cut_stream, &bytes[..2 * MIB]).unwrap();
    for path in [plain, compressed, cut, cut_stream] {
        let store = MemoryStore::default();
        let first = problems(run_with(&store, &entry(&path), Meter::default(), &[]));
        assert_eq!(first.len(), 1);
        let before = contents(&store);
        assert_eq!(problems(read(&store, &path)), first);
        assert_eq!(contents(&store), before, "{}", path.display());
    }
}

#[test]
fn nothing_is_wrong_with_a_whole_archive_and_nothing_is_written() {
    let dir = TempDir::new().unwrap();
    for path in draft().0.written(dir.path()) {
        let store = MemoryStore::default();
        let report = read(&store, &path).unwrap();
        assert_eq!(report.problems, Vec::<String>::new());
        assert_eq!(report.images, []);
        assert_eq!(contents(&store), (0, 0, 0, 0));
        // Nor with one that is there already.
        run_with(&store, &entry(&path), Meter::default(), &[]).unwrap();
        let before = contents(&store);
        let report = read(&store, &path).unwrap();
        assert_eq!(report.problems, Vec::<String>::new());
        assert_eq!(contents(&store), before);
    }
}
