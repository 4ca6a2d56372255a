//! A storm of files, and a stowd that is killed at many moments while files come and go.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use crate::dice::Dice;
use crate::support::{Setup, Stowd, assert_clean, fixture, names, pinned_tags, reference};
use crate::{SOON, rounds};

#[test]
fn five_thousand_files_in_a_storm_are_each_imported_once() {
    let generation = &reference();
    let setup = Setup::new(generation);
    let small = setup.dir().join("small.tar.zst");
    fs::copy(fixture("umoci.tar.zst").path, &small).unwrap();
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    // All are one broken file but ten: what is tested is that none is missed, not the importer.
    let broken = stowd.setup().dir().join("broken");
    fs::write(&broken, "broken").unwrap();
    for number in 0..5000 {
        let from = if number % 500 == 0 { &small } else { &broken };
        let name = format!("{:02}/{number:04}.tar", number % 50);
        let to = stowd.setup().images().join(name);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, to).unwrap();
    }
    let entries = |stowd: &Stowd| stowd.notify.statuses().last().cloned().unwrap_or_default();
    stowd.wait_until(Duration::from_secs(300), "all have an outcome", |stowd| {
        entries(stowd).starts_with("ready: 1 image from 5000 entries, 4990 failed ")
    });
    let imported = stowd.lines(" imported /");
    assert_eq!(imported.len(), 10, "each once");
    let first = stowd.lines("(attempt 1)").len();
    assert_eq!(first, 4990, "each once");
}

#[test]
fn killed_at_many_moments_of_loads_and_changes() {
    let generation = &reference();
    let setup = Setup::new(generation);
    let files = [
        "large.tar",
        "large.tar.zst",
        "umoci.tar",
        "skopeo-docker.tar.gz",
        "ctr.tar.xz",
        "podman-oci.tar",
    ];
    let mut dice = Dice(0x5eed);
    let mut there = BTreeSet::new();
    let mut stowd = setup.start();
    for _ in 0..rounds(100) {
        let file = files[dice.below(files.len() as u64) as usize];
        let path = stowd.setup().images().join(file);
        if there.remove(file) {
            fs::remove_file(path).unwrap();
        } else {
            there.insert(file);
            fs::copy(fixture(file).path, path).unwrap();
        }
        // The moment is what is random: no condition can be waited for.
        std::thread::sleep(Duration::from_millis(dice.below(500)));
        stowd.restart();
    }
    stowd.wait_ready(SOON);
    let wanted = names(&there.into_iter().collect::<Vec<_>>());
    stowd.wait_until(
        SOON,
        "just what the directory asks for is pinned",
        |stowd| pinned_tags(stowd) == wanted,
    );
    assert_clean(&stowd);
}
