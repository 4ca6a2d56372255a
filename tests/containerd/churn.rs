//! Files that change under stowd's hands, and a stowd that is killed at any moment.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use crate::support::{Setup, Stowd, fixture, generations};

const SOON: Duration = Duration::from_secs(120);

/// Names that are pinned by stowd.
fn pinned(stowd: &Stowd) -> BTreeSet<String> {
    let list = stowd.ctr(&["images", "list"]);
    let pinned = list
        .lines()
        .filter(|line| line.contains("io.stowd.pinned=pinned"));
    pinned
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

fn tags(stowd: &Stowd) -> BTreeSet<String> {
    pinned(stowd)
        .into_iter()
        .filter(|name| !name.contains('@'))
        .collect()
}

fn names(files: &[&str]) -> BTreeSet<String> {
    files.iter().flat_map(|file| fixture(file).names).collect()
}

/// Everything that is named is whole, and nothing of stowd's is left half done.
fn assert_clean(stowd: &Stowd) {
    let check = stowd.ctr(&["images", "check"]);
    for line in check
        .lines()
        .skip(1)
        .filter(|line| !line.starts_with("sha256:"))
    {
        assert!(line.contains("complete"), "{check}");
    }
    assert_eq!(stowd.ctr(&["leases", "list", "--quiet"]).trim(), "");
    let active = stowd.ctr(&["content", "active"]);
    assert_eq!(
        active.lines().count(),
        1,
        "only the heading is left: {active}"
    );
}

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

#[test]
fn a_file_that_is_replaced_or_removed_while_it_is_imported() {
    let generation = &generations()[2];
    for replaced in [true, false] {
        let setup = Setup::new(generation);
        setup.stow_as(&fixture("large.tar.bz2").path, "a.tar");
        let mut stowd = setup.start();
        stowd.wait_until(SOON, "the import is under way", Stowd::is_importing);
        let path = stowd.setup().images().join("a.tar");
        if replaced {
            let aside = stowd.setup().dir().join("aside");
            fs::copy(fixture("umoci.tar").path, &aside).unwrap();
            fs::rename(aside, &path).unwrap();
        } else {
            fs::remove_file(&path).unwrap();
        }
        stowd.wait_ready(SOON);
        let wanted = if replaced {
            names(&["umoci.tar"])
        } else {
            BTreeSet::new()
        };
        stowd.wait_until(
            SOON,
            "just what the directory asks for is pinned",
            |stowd| tags(stowd) == wanted,
        );
        assert_eq!(stowd.lines(" failed /"), Vec::<String>::new());
        assert_clean(&stowd);
    }
}

#[test]
fn a_file_that_is_removed_while_it_waits_is_forgotten() {
    let generation = &generations()[2];
    let mut setup = Setup::new(generation);
    setup.images = "settle = \"100ms\"\nparallel = 1\n".to_owned();
    setup.stow_as(&fixture("large.tar.bz2").path, "a.tar");
    setup.stow_as(&fixture("umoci.tar").path, "b.tar");
    setup.stow_as(&fixture("skopeo-oci.tar").path, "c.tar");
    let mut stowd = setup.start();
    stowd.wait_until(SOON, "the first is under way", Stowd::is_importing);
    fs::remove_file(stowd.setup().images().join("b.tar")).unwrap();
    stowd.wait_ready(SOON);
    assert_eq!(tags(&stowd), names(&["large.tar", "skopeo-oci.tar"]));
    assert_eq!(stowd.lines(" failed /"), Vec::<String>::new());
    let last = stowd.notify.statuses().pop().unwrap();
    assert!(last.contains(" from 2 entries"), "{last}");
}

#[test]
fn five_thousand_files_in_a_storm_are_each_imported_once() {
    let generation = &generations()[2];
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
fn killed_at_a_hundred_moments_of_loads_and_changes() {
    let generation = &generations()[2];
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
    for _ in 0..100 {
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
        |stowd| tags(stowd) == wanted,
    );
    assert_clean(&stowd);
}
