//! Random histories: whatever is done, the events lead to what a new look at the directory finds.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;
use stowd::source_event::EntrySource as _;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::harness::{Images, NEVER, first_listing};
use stowd::entry::Identity;
use stowd::images_dir::{Source, SourceOptions};
use stowd::source_event::SourceEvent;

/// How many there are. More of them: `STOWD_HISTORIES=1000`.
const HISTORIES: u64 = 20;
const STEPS: usize = 60;

/// xorshift64* of Marsaglia and Vigna.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(number).unwrap() % end
    }

    fn of<'a>(&mut self, these: &[&'a str]) -> &'a str {
        these[self.below(these.len())]
    }

    fn file(&mut self) -> String {
        let dir = self.of(&["images", "images", "images/d", "images/d/e", "images/l"]);
        let name = self.of(&["a.tar", "b.tar", "c.txt", ".a.tar", "b.tar.part", "other"]);
        format!("{dir}/{name}")
    }

    fn dir(&mut self) -> &'static str {
        self.of(&["images/d", "images/d/e", "images/f", "images/.h", "pool/s"])
    }
}

/// Does one thing that removes nothing from where it is, but takes much out of sight.
fn hide(random: &mut Random, around: &Path, number: usize) -> String {
    let at = |path: &str| around.join(path);
    let file = random.file();
    let dir = random.of(&["images/d", "images/d/e", "pool/e"]);
    let pool = random.of(&["pool", "pool2", "nowhere", ".", "images"]);
    let exchange = |a: &str, b: &str| {
        let (a, b) = (at(a), at(b));
        Ok(renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE)?)
    };
    let (done, what) = match random.below(8) {
        0..3 => (
            fs::write(at(&file), number.to_string()),
            format!("write {file}"),
        ),
        3 => (fs::create_dir_all(at(dir)), format!("mkdir {dir}")),
        4 => (
            symlink(at(pool), at("images/.l"))
                .and_then(|()| fs::rename(at("images/.l"), at("images/l"))),
            format!("link images/l {pool}"),
        ),
        5 => (exchange("images/d", "pool2"), "exchange".to_owned()),
        6 => (exchange("images", "other"), "exchange all".to_owned()),
        _ => match random.below(2) {
            0 => (fs::rename(at("images"), at("away")), "away".to_owned()),
            _ => (fs::rename(at("away"), at("images")), "back".to_owned()),
        },
    };
    match done {
        Ok(()) => what,
        Err(error) => format!("{what}: {error}"),
    }
}

/// Does one thing. That it may be impossible is a part of the history.
fn step(random: &mut Random, around: &Path, number: usize) -> String {
    let at = |path: &str| around.join(path);
    let (file, other) = (random.file(), random.file());
    let (dir, other_dir) = (random.dir(), random.dir());
    let target = random.of(&["pool/x.tar", "pool2/x.tar", "pool/s/x.tar"]);
    let pool = random.of(&["pool", "pool2", "nowhere"]);
    let (done, what) = match random.below(14) {
        0 | 1 => (
            fs::write(at(&file), number.to_string()),
            format!("write {file}"),
        ),
        2 => (
            fs::File::options()
                .append(true)
                .open(at(&file))
                .and_then(|mut file| file.write_all(b"more")),
            format!("append {file}"),
        ),
        3 | 4 => (
            fs::rename(at(&file), at(&other)),
            format!("rename {file} {other}"),
        ),
        5 => (fs::remove_file(at(&file)), format!("remove {file}")),
        6 => (fs::create_dir_all(at(dir)), format!("mkdir {dir}")),
        7 => (fs::remove_dir_all(at(dir)), format!("rmdir {dir}")),
        8 => (
            fs::rename(at(dir), at(other_dir)),
            format!("rename {dir} {other_dir}"),
        ),
        9 => (
            symlink(at(pool), at("images/.l"))
                .and_then(|()| fs::rename(at("images/.l"), at("images/l"))),
            format!("link images/l {pool}"),
        ),
        10 => (
            symlink(at(target), at(&file)),
            format!("link {file} {target}"),
        ),
        11 => (
            fs::write(at(target), number.to_string()),
            format!("write {target}"),
        ),
        12 => (
            fs::hard_link(at(&file), at(&other)),
            format!("hard link {file} {other}"),
        ),
        _ => match random.below(3) {
            0 => (fs::rename(at("images"), at("away")), "away".to_owned()),
            1 => (fs::rename(at("away"), at("images")), "back".to_owned()),
            _ => (fs::create_dir(at("images")), "another".to_owned()),
        },
    };
    match done {
        Ok(()) => what,
        Err(error) => format!("{what}: {error}"),
    }
}

/// What a source that is started now finds.
fn truth(dir: &Path) -> BTreeMap<PathBuf, Identity> {
    let source = Source::start(dir, NEVER).unwrap();
    let Some(SourceEvent::Listed(listing)) = first_listing(&source).pop() else {
        panic!("no listing");
    };
    let entries = listing.entries.into_iter();
    entries
        .map(|listed| (listed.entry.path, listed.entry.identity))
        .collect()
}

/// Whether the events say what is there. What is done to a file by one of its names raises no event
/// of the others.
fn agree(told: Option<BTreeMap<PathBuf, Identity>>, there: &BTreeMap<PathBuf, Identity>) -> bool {
    let of = |files: &BTreeMap<PathBuf, Identity>| {
        let files = files.iter().map(|(path, of)| {
            let names = fs::metadata(path).map_or(0, |metadata| metadata.nlink());
            let version = (names == 1).then_some((of.size, of.mtime));
            (path.clone(), of.device, of.inode, version)
        });
        files.collect::<Vec<_>>()
    };
    told.is_some_and(|told| of(&told) == of(there))
}

async fn history(
    seed: u64,
    settle: Duration,
    step: fn(&mut Random, &Path, usize) -> String,
) -> Images {
    let options = SourceOptions { settle, ..NEVER };
    let mut images = Images::with(options, "images", |around| {
        for dir in ["images", "pool", "pool2", "other"] {
            fs::create_dir(around.join(dir)).unwrap();
        }
    });
    let mut random = Random(seed | 1);
    let mut steps = Vec::new();
    for number in 0..STEPS {
        steps.push(step(&mut random, &images.around, number));
        // The thread is at another point each time.
        if random.below(4) == 0 {
            let pause = Duration::from_millis(u64::try_from(random.below(30)).unwrap());
            tokio::time::sleep(pause).await;
            while let Some(event) = images.ready().await {
                images.take_in(event);
            }
        }
        if random.below(4) > 0 {
            continue;
        }
        let expected = truth(&images.dir);
        while !agree(images.whole(), &expected) {
            let next = tokio::time::timeout(Duration::from_secs(20), images.source.next()).await;
            let Ok(Ok(event)) = next else {
                let whole = images.whole();
                panic!("seed {seed}: {steps:#?}\n{whole:#?}\nis not\n{expected:#?}");
            };
            images.take_in(event);
        }
    }
    images
}

fn seeds() -> impl Iterator<Item = u64> {
    let histories = std::env::var("STOWD_HISTORIES").ok();
    let histories = histories.map_or(HISTORIES, |count| count.parse().unwrap());
    let first = RandomState::new().build_hasher().finish();
    (0..histories).map(move |number| first.wrapping_add(number))
}

#[tokio::test]
async fn whatever_is_done_the_events_lead_to_what_is_there() {
    for (number, seed) in (0..).zip(seeds()) {
        let settle = Duration::from_millis(number % 2 * 30);
        history(seed, settle, step).await;
    }
}

#[tokio::test]
async fn nothing_is_taken_for_removed_because_it_went_out_of_sight() {
    for seed in seeds() {
        let images = history(seed, Duration::ZERO, hide).await;
        assert_eq!(images.removed, [] as [PathBuf; 0], "seed {seed}");
    }
}
