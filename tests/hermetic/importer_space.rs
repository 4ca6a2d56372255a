//! The space that an import takes: asked for before it is written, and given back when it fails.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use stowd::digest::Digest;
use stowd::importer::{ImportError, ImportReport, ImportRules, Reservations, import};
use stowd::ledger::{FailureClass, NamesOfLater};
use stowd::platform::{Platform, Wanted};
use stowd::progress::Meter;
use stowd::told::Told;
use tempfile::TempDir;
use tokio::sync::Barrier;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::importer::{Draft, entry, noise};
use crate::memory_store::MemoryStore;

const MIB: u64 = 1 << 20;

/// Room for documents.
const SOME: u64 = 64 << 10;

/// An archive, plain or compressed, of an image with a layer of 3 MiB.
fn archive(seed: u8, way: usize) -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let mut draft = Draft::new();
    let image = draft.image_with(noise(3 << 20, seed), "a");
    draft.index(&[(&format!("a:{seed}"), &image.manifest)]);
    let path = draft.written(dir.path())[way].clone();
    (dir, path)
}

async fn imported_by(
    store: &MemoryStore,
    archive: &Path,
    reservations: &Reservations,
    given_up: &CancellationToken,
) -> Result<ImportReport, ImportError> {
    let wanted = Wanted::from_config(&["linux/amd64".to_owned()], Platform::host()).unwrap();
    let rules = ImportRules {
        later: &NamesOfLater::new(),
        reservations,
        told: &Told::default(),
        wanted: &wanted,
        extra_registries: &[],
    };
    import(store, &entry(archive), rules, Meter::default(), given_up).await
}

/// Imports archives at once.
fn imported(store: &MemoryStore, archives: &[&Path]) -> Vec<Result<ImportReport, ImportError>> {
    let (reservations, given_up) = (Reservations::default(), CancellationToken::new());
    let imports = archives.iter();
    let imports = imports.map(|archive| imported_by(store, archive, &reservations, &given_up));
    soon(futures_util::future::join_all(imports))
}

fn soon<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let work = async { timeout(Duration::from_secs(60), work).await };
    runtime.block_on(work).expect("they wait for each other")
}

fn full(capacity: u64) -> MemoryStore {
    let store = MemoryStore::default();
    store.state().capacity = Some(capacity);
    store
}

#[test]
fn what_cannot_fit_is_refused_before_its_first_byte() {
    for way in 0..2 {
        let (_dir, path) = archive(1, way);
        let store = full(2 * MIB);
        let error = imported(&store, &[&path]).pop().unwrap();
        let error = error.unwrap_err();
        assert_eq!(error.class(), FailureClass::NoSpace { needs: 3 * MIB });
        let words = "3.0 MiB are to be written, 2.0 MiB are free";
        assert!(error.to_string().ends_with(words), "{error}");
        let state = store.state();
        assert_eq!((state.opened, state.chunks, state.collected), (0, 0, 0));
        assert_eq!(state.leases, 0);
    }
}

#[test]
fn what_the_store_has_takes_no_room() {
    for way in 0..2 {
        let (_dir, path) = archive(1, way);
        let store = full(3 * MIB + SOME);
        for _ in 0..2 {
            let report = imported(&store, &[&path]).pop().unwrap().unwrap();
            assert_eq!(report.problems, Vec::<String>::new());
            store.state().images.clear();
        }
        assert_eq!(store.state().opened, 3, "a layer and two documents");
    }
}

#[test]
fn what_another_import_has_still_to_write_is_not_free() {
    for way in 0..2 {
        let ((_one, one), (_two, two)) = (archive(1, way), archive(2, way));
        for (capacity, fit) in [(5 * MIB, 1), (6 * MIB + SOME, 2)] {
            let store = full(capacity);
            let reports = imported(&store, &[&one, &two]);
            let (good, bad): (Vec<_>, Vec<_>) = reports.into_iter().partition(Result::is_ok);
            assert_eq!(good.len(), fit, "{capacity}: {bad:?}");
            assert_eq!(store.state().opened, 3 * fit, "nothing of the other");
            for error in bad.into_iter().filter_map(Result::err) {
                assert_eq!(error.class(), FailureClass::NoSpace { needs: 3 * MIB });
            }
        }
    }
}

#[test]
fn a_layer_that_two_imports_bring_is_counted_once() {
    for way in 0..2 {
        let ((_one, one), (_two, two)) = (archive(1, way), archive(1, way));
        let store = full(3 * MIB + SOME);
        for report in imported(&store, &[&one, &two]) {
            assert_eq!(report.unwrap().problems, Vec::<String>::new());
        }
    }
}

/// An import that hangs at its first chunk, and what has it hang.
fn hangs(store: &MemoryStore) -> Arc<Barrier> {
    let gather = Arc::new(Barrier::new(2));
    store.state().gather = Some(Arc::clone(&gather));
    gather
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if is_so() {
            return;
        }
        sleep(Duration::from_millis(5)).await;
    }
    panic!("never: {what}");
}

#[test]
fn what_another_import_has_written_meanwhile_is_not_counted_when_there_is_room_again() {
    let dir = TempDir::new().unwrap();
    let mut draft = Draft::new();
    let (base, top) = (noise(3 << 20, 1), noise(2 << 20, 2));
    let [one, two] = [base, top].map(|layer| draft.image_with(layer, "b"));
    draft.index(&[("b:1", &one.manifest), ("b:2", &two.manifest)]);
    let both = draft.written(dir.path())[0].clone();
    let ((_base, base), (_other, other)) = (archive(1, 0), archive(3, 0));
    let store = full(7 * MIB + SOME);
    let (reservations, given_up) = (Reservations::default(), CancellationToken::new());
    let other_given_up = given_up.child_token();
    let imported = |archive, given_up| imported_by(&store, archive, &reservations, given_up);
    let work = async {
        // 6 of 7 MiB are reserved. Of both layers the second lacks room.
        let _other_hangs = hangs(&store);
        let other = imported(&other, &other_given_up);
        let rest = async {
            until("the other hangs", || store.state().gathered == 1).await;
            let base_hangs = hangs(&store);
            let base = imported(&base, &given_up);
            let both = async {
                until("the base hangs", || store.state().gathered == 2).await;
                imported(&both, &given_up).await
            };
            let ends = async {
                until("it asks what is there", || store.state().asked == 2).await;
                store.state().gather = None;
                base_hangs.wait().await;
                until("the base is there", || store.state().blobs.len() == 3).await;
                until("it asks again", || store.state().asked >= 4).await;
                other_given_up.cancel();
            };
            let (base, both, ()) = tokio::join!(base, both, ends);
            [base, both]
        };
        tokio::join!(other, rest)
    };
    let (other, [base, both]) = soon(work);
    assert!(matches!(other, Err(ImportError::Changed)), "{other:?}");
    for report in [base, both] {
        assert_eq!(report.unwrap().problems, Vec::<String>::new());
    }
}

#[test]
fn an_import_that_hangs_is_not_waited_for_for_ever() {
    let ((_one, one), (_two, two)) = (archive(1, 0), archive(2, 0));
    let store = full(5 * MIB);
    let _hangs = hangs(&store);
    let reservations = Reservations::with_deadline(Duration::from_millis(100));
    let given_up = CancellationToken::new();
    let one = imported_by(&store, &one, &reservations, &given_up);
    let two = async {
        until("the first hangs", || store.state().gathered == 1).await;
        let waited = imported_by(&store, &two, &reservations, &given_up).await;
        given_up.cancel();
        waited
    };
    let (_, waited) = soon(async { tokio::join!(one, two) });
    let error = waited.unwrap_err();
    assert_eq!(error.class(), FailureClass::NoSpace { needs: 3 * MIB });
    let words =
        "3.0 MiB are to be written, 5.0 MiB are free, 3.0 MiB of it for imports that do not get on";
    assert!(error.to_string().ends_with(words), "{error}");
}

#[test]
fn what_is_half_written_takes_no_room() {
    for way in 0..2 {
        let (_dir, path) = archive(1, way);
        let layer = noise(3 << 20, 1);
        let store = full(3 * MIB + SOME);
        let half = layer[..2 << 20].to_vec();
        store.state().ingests.insert(Digest::of(&layer), half);
        let report = imported(&store, &[&path]).pop().unwrap().unwrap();
        assert_eq!(report.problems, Vec::<String>::new());
    }
}

/// It waits for what another import has reserved, which hangs.
#[test]
fn an_import_that_waits_for_space_can_be_given_up() {
    let ((_one, one), (_two, two)) = (archive(1, 0), archive(2, 0));
    let store = full(5 * MIB);
    let _hangs = hangs(&store);
    let (reservations, given_up) = (Reservations::default(), CancellationToken::new());
    let waits = given_up.child_token();
    let hangs = imported_by(&store, &one, &reservations, &given_up);
    let gives_up = async {
        while store.state().opened == 0 {
            sleep(Duration::from_millis(5)).await;
        }
        let waiting = imported_by(&store, &two, &reservations, &waits);
        let cancels = async {
            sleep(Duration::from_millis(300)).await;
            waits.cancel();
        };
        let (waited, ()) = tokio::join!(waiting, cancels);
        given_up.cancel();
        waited
    };
    let (hung, waited) = soon(async { tokio::join!(hangs, gives_up) });
    for report in [hung, waited] {
        assert!(matches!(report, Err(ImportError::Changed)), "{report:?}");
    }
    assert_eq!(store.state().opened, 1);
}
