//! The ledger on disk: where it goes, what is read, and what happens when it cannot be written.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use stowd::entry::Verdict;
use stowd::ledger::Ledger;
use stowd::ledger_file::{LedgerFile, Loaded, News, OtherLedger};

use crate::ledger::{good, version};
use crate::private_mounts::{in_private_mounts, mount};

/// A state directory and an images directory.
struct Dirs {
    root: tempfile::TempDir,
}

impl Dirs {
    fn new() -> Self {
        let root = tempfile::tempdir().expect("a temporary directory");
        for dir in ["state", "images"] {
            fs::create_dir(root.path().join(dir)).expect("a directory");
        }
        Self { root }
    }

    fn state(&self) -> PathBuf {
        self.root.path().join("state")
    }

    fn images(&self) -> PathBuf {
        self.root.path().join("images")
    }

    fn own(&self) -> PathBuf {
        self.state().join("ledger.json")
    }

    fn cache(&self) -> PathBuf {
        self.images().join(".cache.json")
    }

    fn file(&self) -> LedgerFile {
        LedgerFile::new(&self.state(), &self.images())
    }

    /// A new daemon: its ledger file, and what it reads.
    fn start(&self) -> (LedgerFile, Loaded) {
        let mut file = self.file();
        let loaded = file.load();
        (file, loaded)
    }

    /// Records this version of an entry.
    fn record(&self, ledger: &mut Ledger, name: &str, number: u64) {
        ledger.record(self.images().join(name), good(number, &["a:1=x"]));
    }
}

/// Writes what is to be written, whatever rest there is.
fn save(file: &mut LedgerFile, ledger: &Ledger) -> Option<News> {
    let write = file.begin_at_once(ledger).expect("something to write");
    file.ended(write.run(), Instant::now())
}

fn names(ledger: &Ledger) -> Vec<String> {
    let names = ledger.iter().map(|(path, _)| path.file_name());
    names
        .map(|name| name.unwrap_or_default().to_string_lossy().into_owned())
        .collect()
}

fn files(dir: &Path) -> Vec<String> {
    let items = fs::read_dir(dir).expect("a directory");
    let mut names = items
        .map(|item| {
            item.expect("an item")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect::<Vec<_>>();
    names.sort();
    names
}

fn warning(loaded: &Loaded) -> String {
    assert_eq!(loaded.warnings.len(), 1, "{:?}", loaded.warnings);
    loaded.warnings[0].to_string()
}

fn failing(news: Option<News>) -> String {
    match news {
        Some(News::Failing(error)) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_written_is_read_at_the_next_start() {
    let dirs = Dirs::new();
    let (mut file, loaded) = dirs.start();
    assert!(loaded.warnings.is_empty());
    let mut ledger = loaded.ledger;
    assert!(!file.lacks(&ledger));
    assert!(
        file.begin(&ledger, Instant::now()).is_none(),
        "nothing is no news"
    );
    dirs.record(&mut ledger, "a.tar", 1);
    assert!(file.lacks(&ledger));
    assert!(save(&mut file, &ledger).is_none());
    assert!(!file.lacks(&ledger));
    assert_eq!(files(&dirs.state()), ["ledger.json"]);
    assert!(files(&dirs.images()).is_empty());

    let (file, loaded) = dirs.start();
    assert!(loaded.warnings.is_empty());
    assert_eq!(names(&loaded.ledger), ["a.tar"]);
    assert!(!file.lacks(&loaded.ledger), "it is on disk already");
    let path = dirs.images().join("a.tar");
    assert_eq!(loaded.ledger.get(&path), ledger.get(&path));
}

/// A daemon may be writing it.
#[test]
fn a_look_finds_what_a_start_finds_and_changes_nothing() {
    let dirs = Dirs::new();
    let (mut file, loaded) = dirs.start();
    let mut ledger = loaded.ledger;
    dirs.record(&mut ledger, "a.tar", 1);
    assert!(save(&mut file, &ledger).is_none());
    fs::write(dirs.cache(), "").unwrap();
    let half = [
        dirs.state().join(".ledger.json.stowd-new"),
        dirs.images().join("..cache.json.stowd-new"),
    ];
    for path in &half {
        fs::write(path, "half").unwrap();
    }
    let looked = dirs.file().look();
    assert_eq!(names(&looked.ledger), ["a.tar"]);
    assert!(half.iter().all(|path| path.exists()));
    dirs.start();
    assert!(half.iter().all(|path| !path.exists()));
}

#[test]
fn an_operators_file_is_used_and_takes_over_what_is_known() {
    let dirs = Dirs::new();
    let (mut file, Loaded { mut ledger, .. }) = dirs.start();
    dirs.record(&mut ledger, "a.tar", 1);
    save(&mut file, &ledger);

    fs::write(dirs.cache(), "").unwrap();
    let (
        mut file,
        Loaded {
            mut ledger,
            warnings,
            ..
        },
    ) = dirs.start();
    assert!(warnings.is_empty());
    assert_eq!(names(&ledger), ["a.tar"]);
    assert!(file.lacks(&ledger), "the operator's file has none of it");
    dirs.record(&mut ledger, "b.tar", 2);
    save(&mut file, &ledger);
    assert_eq!(files(&dirs.images()), [".cache.json"]);
    let (file, loaded) = dirs.start();
    assert_eq!(names(&loaded.ledger), ["a.tar", "b.tar"]);
    assert!(!file.lacks(&loaded.ledger));
    // The state directory has a copy, which comes again, and is used where there is nothing else.
    assert_eq!(
        fs::read(dirs.own()).unwrap(),
        fs::read(dirs.cache()).unwrap()
    );
    fs::remove_file(dirs.own()).unwrap();
    let (mut file, loaded) = dirs.start();
    assert!(file.lacks(&loaded.ledger));
    save(&mut file, &loaded.ledger);
    fs::write(dirs.cache(), "broken").unwrap();
    assert_eq!(names(&dirs.start().1.ledger), ["a.tar", "b.tar"]);
}

/// The copy is what a run with another images directory knows it by.
#[test]
fn what_a_ledger_in_another_images_directory_says_stays_pinned() {
    let dirs = Dirs::new();
    fs::write(dirs.cache(), "").unwrap();
    let (mut file, mut loaded) = dirs.start();
    dirs.record(&mut loaded.ledger, "a.tar", 1);
    assert!(save(&mut file, &loaded.ledger).is_none());
    let other_dir = dirs.root.path().join("other");
    let mut file = LedgerFile::new(&dirs.state(), &other_dir);
    let mut loaded = file.load();
    assert!(loaded.ledger.is_brought_elsewhere("a:1"));
    assert_eq!(loaded.others.len(), 1);
    let record = good(2, &["b:1=y"]);
    loaded.ledger.record(other_dir.join("b.tar"), record);
    assert!(save(&mut file, &loaded.ledger).is_none());
    let (_, loaded) = dirs.start();
    assert_eq!(names(&loaded.ledger), ["a.tar"]);
    assert!(loaded.ledger.is_brought_elsewhere("b:1"));
}

/// Where the state directory cannot be written the operator's file is all the same, and is not written
/// again and again for that.
#[test]
fn a_copy_that_cannot_be_written_is_told_once() {
    let dirs = Dirs::new();
    fs::write(dirs.cache(), "").unwrap();
    fs::create_dir(dirs.own()).unwrap();
    let (mut file, mut loaded) = dirs.start();
    for dir in [dirs.own(), dirs.state()] {
        fs::remove_dir(dir).unwrap();
    }
    fs::write(dirs.state(), "").unwrap();
    dirs.record(&mut loaded.ledger, "a.tar", 1);
    let told = failing(save(&mut file, &loaded.ledger));
    assert!(told.contains("state/ledger"), "{told}");
    assert!(!file.lacks(&loaded.ledger));
    dirs.record(&mut loaded.ledger, "b.tar", 2);
    assert!(save(&mut file, &loaded.ledger).is_none(), "the same again");
    assert_eq!(names(&dirs.start().1.ledger), ["a.tar", "b.tar"]);
}

#[test]
fn a_run_with_another_images_directory_neither_uses_a_ledger_nor_touches_it() {
    let dirs = Dirs::new();
    let (mut file, Loaded { mut ledger, .. }) = dirs.start();
    dirs.record(&mut ledger, "a.tar", 1);
    save(&mut file, &ledger);
    let first = fs::read(dirs.own()).unwrap();

    let other_dir = dirs.root.path().join("other");
    let other_run = || {
        let mut file = LedgerFile::new(&dirs.state(), &other_dir);
        let loaded = file.load();
        assert!(loaded.warnings.is_empty());
        (file, loaded)
    };
    let (mut file, mut loaded) = other_run();
    assert!(names(&loaded.ledger).is_empty());
    assert!(loaded.ledger.is_brought_elsewhere("a:1"));
    let own = dirs.own();
    let expected = OtherLedger {
        path: own.clone(),
        images_dir: Some(dirs.images()),
        names: 2,
    };
    assert_eq!(loaded.others, [expected]);
    loaded
        .ledger
        .record(other_dir.join("b.tar"), good(2, &["b:1=y"]));
    save(&mut file, &loaded.ledger);
    assert_eq!(fs::read(&own).unwrap(), first);
    let written = files(&dirs.state());
    assert_eq!(written.len(), 2);
    assert!(written[0].starts_with("ledger-") && written[0].ends_with(".json"));

    // Each has its own at the next start, and leaves what the other one has brought.
    let (_, loaded) = dirs.start();
    assert_eq!(names(&loaded.ledger), ["a.tar"]);
    assert!(loaded.ledger.is_brought_elsewhere("b:1"));
    assert!(!loaded.ledger.is_brought_elsewhere("a:1"));
    let (_, loaded) = other_run();
    assert_eq!(names(&loaded.ledger), ["b.tar"]);
    // Its name stays what it was when nothing is in its way any more.
    fs::remove_file(&own).unwrap();
    let (_, loaded) = other_run();
    assert_eq!(names(&loaded.ledger), ["b.tar"]);
    assert!(loaded.others.is_empty());
    assert!(!loaded.ledger.is_brought_elsewhere("a:1"));
}

/// An I/O error, say: the next run has a ledger of its own.
#[test]
fn what_a_ledger_says_that_could_not_be_read_for_a_moment_stays_pinned() {
    let dirs = Dirs::new();
    let (mut file, Loaded { mut ledger, .. }) = dirs.start();
    dirs.record(&mut ledger, "a.tar", 1);
    save(&mut file, &ledger);
    let aside = dirs.root.path().join("aside");
    fs::rename(dirs.own(), &aside).unwrap();
    fs::create_dir(dirs.own()).unwrap();
    let (mut file, Loaded { mut ledger, .. }) = dirs.start();
    dirs.record(&mut ledger, "b.tar", 2);
    save(&mut file, &ledger);

    fs::remove_dir(dirs.own()).unwrap();
    fs::rename(&aside, dirs.own()).unwrap();
    let (_, loaded) = dirs.start();
    assert_eq!(names(&loaded.ledger), ["b.tar"]);
    assert!(loaded.ledger.is_brought_elsewhere("a:1"));
    assert_eq!(loaded.others[0].images_dir, Some(dirs.images()));
}

#[test]
fn a_ledger_that_is_cut_off_is_still_that_of_its_directory() {
    let dirs = Dirs::new();
    let (mut file, Loaded { mut ledger, .. }) = dirs.start();
    dirs.record(&mut ledger, "a.tar", 1);
    dirs.record(&mut ledger, "b.tar", 2);
    save(&mut file, &ledger);
    let whole = fs::read(dirs.own()).unwrap();
    fs::write(dirs.own(), &whole[..whole.len() - 100]).unwrap();
    let loaded = LedgerFile::new(&dirs.state(), Path::new("/other")).load();
    assert!(names(&loaded.ledger).is_empty());
    assert!(loaded.ledger.is_brought_elsewhere("a:1"));
    assert!(warning(&loaded).contains("damaged ("), "{loaded:?}");
    assert_eq!(names(&dirs.start().1.ledger), ["a.tar"]);
}

/// It may be of another directory, which can read it, or some of it, when the disk is mended.
#[test]
fn a_ledger_that_does_not_tell_its_directory_is_left_alone_and_so_are_the_pins() {
    let dirs = Dirs::new();
    let (mut file, Loaded { mut ledger, .. }) = dirs.start();
    dirs.record(&mut ledger, "a.tar", 1);
    save(&mut file, &ledger);
    let whole = fs::read_to_string(dirs.own()).unwrap();
    let (_, records) = whole.split_once('\n').unwrap();
    let (no_head, too_long) = (format!("?\n{records}"), (64 << 20) + 1);
    for (length, is_named) in [(no_head.len() as u64, true), (too_long, false)] {
        fs::write(dirs.own(), &no_head).unwrap();
        let own = fs::File::options().write(true).open(dirs.own()).unwrap();
        own.set_len(length).unwrap();
        let other_dir = dirs.root.path().join("other");
        let mut file = LedgerFile::new(&dirs.state(), &other_dir);
        let mut loaded = file.load();
        assert!(loaded.ledger.iter().next().is_none());
        assert_eq!(loaded.ledger.is_brought_elsewhere("a:1"), is_named);
        assert_eq!(loaded.ledger.lacking_elsewhere(), Some(&*dirs.own()));
        assert_eq!(loaded.warnings.len(), 1);
        let record = good(2, &["b:1=y"]);
        loaded.ledger.record(other_dir.join("b.tar"), record);
        assert!(save(&mut file, &loaded.ledger).is_none());
        let written = files(&dirs.state());
        assert_eq!(written.len(), 2, "{written:?}");
        assert_eq!(fs::metadata(dirs.own()).unwrap().len(), length);
        fs::remove_file(dirs.state().join(&written[0])).unwrap();
    }
    fs::write(dirs.own(), whole).unwrap();
    let (_, loaded) = dirs.start();
    assert_eq!(names(&loaded.ledger), ["a.tar"]);
    assert_eq!(loaded.ledger.lacking_elsewhere(), None);
}

#[test]
fn a_ledger_that_names_no_directory_is_the_configured_ones() {
    let dirs = Dirs::new();
    let (mut file, Loaded { mut ledger, .. }) = dirs.start();
    dirs.record(&mut ledger, "a.tar", 1);
    save(&mut file, &ledger);
    // As an older stowd wrote it, and as a directory may be written.
    let text = fs::read_to_string(dirs.own()).unwrap();
    let named = format!("\"images_dir\":\"{}\",", dirs.images().display());
    assert!(text.contains(&named), "{text}");
    for (text, dir) in [
        (text.replace(&named, ""), dirs.images()),
        (text.clone(), dirs.root.path().join("./images//")),
    ] {
        fs::write(dirs.own(), text).unwrap();
        let mut file = LedgerFile::new(&dirs.state(), &dir);
        let mut loaded = file.load();
        assert_eq!(names(&loaded.ledger), ["a.tar"]);
        assert!(loaded.others.is_empty());
        dirs.record(&mut loaded.ledger, "a.tar", 2);
        save(&mut file, &loaded.ledger);
        let text = fs::read_to_string(dirs.own()).unwrap();
        assert!(text.contains(&named), "{text}");
    }
}

#[test]
fn k3s_own_content_is_replaced() {
    let dirs = Dirs::new();
    let k3s = r#"{"/images/a.tar":{"size":4096,"modTime":"2026-07-22T22:58:25Z"}}"#;
    fs::write(dirs.cache(), k3s).unwrap();
    let (mut file, loaded) = dirs.start();
    let expected = format!("{}: the cache of k3s", dirs.cache().display());
    assert!(
        warning(&loaded).starts_with(&expected),
        "{}",
        warning(&loaded)
    );
    assert!(save(&mut file, &loaded.ledger).is_none());
    assert!(dirs.start().1.warnings.is_empty());
}

#[test]
fn a_link_to_a_file_elsewhere_stays_a_link() {
    let dirs = Dirs::new();
    let elsewhere = dirs.root.path().join("elsewhere.json");
    fs::write(&elsewhere, "").unwrap();
    symlink(&elsewhere, dirs.cache()).unwrap();
    let (mut file, Loaded { mut ledger, .. }) = dirs.start();
    dirs.record(&mut ledger, "a.tar", 1);
    save(&mut file, &ledger);
    assert_eq!(fs::read_link(dirs.cache()).unwrap(), elsewhere);
    assert_eq!(names(&dirs.start().1.ledger), ["a.tar"]);
    assert!(fs::metadata(&elsewhere).unwrap().len() > 0);
}

#[test]
fn something_else_of_that_name_is_passed_over() {
    let dirs = Dirs::new();
    fs::create_dir(dirs.cache()).unwrap();
    let (mut file, Loaded { mut ledger, .. }) = dirs.start();
    dirs.record(&mut ledger, "a.tar", 1);
    save(&mut file, &ledger);
    assert!(dirs.own().is_file());
    // A link that leads nowhere is no file that an operator created.
    fs::remove_dir(dirs.cache()).unwrap();
    symlink("nowhere", dirs.cache()).unwrap();
    assert_eq!(names(&dirs.start().1.ledger), ["a.tar"]);
}

#[test]
fn the_operators_file_may_come_and_go_while_stowd_runs() {
    let dirs = Dirs::new();
    let (mut file, Loaded { mut ledger, .. }) = dirs.start();
    for (number, cached) in [(1, true), (2, false)] {
        if cached {
            fs::write(dirs.cache(), "").unwrap();
        } else {
            fs::remove_file(dirs.cache()).unwrap();
        }
        dirs.record(&mut ledger, "a.tar", number);
        assert!(save(&mut file, &ledger).is_none());
        let (_, loaded) = dirs.start();
        let record = loaded.ledger.get(&dirs.images().join("a.tar")).unwrap();
        assert_eq!(record.identity, Some(version(number)));
    }
}

#[test]
fn what_cannot_be_used_is_said_once_and_replaced() {
    let dirs = Dirs::new();
    fs::write(dirs.own(), "{\"version\":1,\"entr").unwrap();
    let (mut file, loaded) = dirs.start();
    let expected = format!("{}: damaged (", dirs.own().display());
    assert!(
        warning(&loaded).starts_with(&expected),
        "{}",
        warning(&loaded)
    );
    assert!(file.lacks(&loaded.ledger));
    assert!(save(&mut file, &loaded.ledger).is_none());
    let (file, loaded) = dirs.start();
    assert!(loaded.warnings.is_empty());
    assert!(!file.lacks(&loaded.ledger));
}

#[test]
fn what_is_no_file_or_far_too_long_is_not_read() {
    let dirs = Dirs::new();
    fs::create_dir(dirs.own()).unwrap();
    assert!(warning(&dirs.start().1).ends_with("not a regular file"));
    fs::remove_dir(dirs.own()).unwrap();

    // Opening it would wait for ever.
    let made = std::process::Command::new("mkfifo")
        .arg(dirs.own())
        .status();
    assert!(made.unwrap().success());
    assert!(warning(&dirs.start().1).ends_with("not a regular file"));
    fs::remove_file(dirs.own()).unwrap();

    let long = fs::File::create(dirs.own()).unwrap();
    long.set_len((64 << 20) + 1).unwrap();
    let told = warning(&dirs.start().1);
    assert!(told.contains("67108865 bytes long"), "{told}");
    fs::remove_file(dirs.own()).unwrap();

    symlink("ledger.json", dirs.own()).unwrap();
    let told = warning(&dirs.start().1);
    assert!(told.contains("cannot be read: "), "{told}");
}

#[test]
fn what_a_crash_left_is_removed_at_the_next_start() {
    let dirs = Dirs::new();
    let left = [
        dirs.state().join(".ledger.json.stowd-new"),
        dirs.images().join("..cache.json.stowd-new"),
    ];
    fs::write(dirs.cache(), "").unwrap();
    for path in &left {
        fs::write(path, "half").unwrap();
        assert_eq!(Verdict::on(path.file_name().unwrap()), Verdict::Temporary);
    }
    let (mut file, Loaded { mut ledger, .. }) = dirs.start();
    assert!(!left[0].exists() && !left[1].exists());

    // One that appears later, even as a link to something dear, is replaced and not written to.
    let dear = dirs.root.path().join("dear");
    fs::write(&dear, "dear").unwrap();
    symlink(&dear, &left[1]).unwrap();
    dirs.record(&mut ledger, "a.tar", 1);
    assert!(save(&mut file, &ledger).is_none());
    assert_eq!(fs::read(&dear).unwrap(), b"dear");
    assert_eq!(files(&dirs.images()), [".cache.json"]);
}

#[test]
fn a_state_directory_that_was_removed_is_made_again() {
    let dirs = Dirs::new();
    let (mut file, Loaded { mut ledger, .. }) = dirs.start();
    fs::remove_dir(dirs.state()).unwrap();
    dirs.record(&mut ledger, "a.tar", 1);
    assert!(save(&mut file, &ledger).is_none());
    assert!(dirs.own().is_file());
}

#[test]
fn failures_are_told_once_a_kind_and_so_is_their_end() {
    let dirs = Dirs::new();
    let (mut file, Loaded { mut ledger, .. }) = dirs.start();
    dirs.record(&mut ledger, "a.tar", 1);
    fs::create_dir(dirs.own()).unwrap();
    let told = failing(save(&mut file, &ledger));
    let expected = format!(
        "{}: it cannot take the place of the old one: Is a directory",
        dirs.own().display()
    );
    assert!(told.starts_with(&expected), "{told}");
    assert_eq!(files(&dirs.state()), ["ledger.json"], "no half of it stays");
    assert!(save(&mut file, &ledger).is_none(), "the same again");
    assert!(file.lacks(&ledger));

    fs::remove_dir(dirs.own()).unwrap();
    fs::remove_dir(dirs.state()).unwrap();
    fs::write(dirs.state(), "").unwrap();
    let told = failing(save(&mut file, &ledger));
    assert!(
        told.contains("cannot be created: Not a directory"),
        "{told}"
    );

    fs::remove_file(dirs.state()).unwrap();
    match save(&mut file, &ledger) {
        Some(News::Recovered(path)) => assert_eq!(path, dirs.own()),
        other => panic!("{other:?}"),
    }
    dirs.record(&mut ledger, "b.tar", 2);
    assert!(save(&mut file, &ledger).is_none(), "all is as it should be");
    assert_eq!(names(&dirs.start().1.ledger), ["a.tar", "b.tar"]);
}

#[test]
fn writes_do_not_overlap_and_rest_in_between() {
    let dirs = Dirs::new();
    let (mut file, Loaded { mut ledger, .. }) = dirs.start();
    let now = Instant::now();
    assert_eq!(file.due(&ledger, now), None);
    dirs.record(&mut ledger, "a.tar", 1);
    assert_eq!(file.due(&ledger, now), Some(now));
    let write = file.begin(&ledger, now).unwrap();
    // Meanwhile.
    dirs.record(&mut ledger, "b.tar", 2);
    dirs.record(&mut ledger, "c.tar", 3);
    assert_eq!(file.due(&ledger, now), None);
    assert!(file.begin_at_once(&ledger).is_none());
    let written = write.run();
    assert_eq!(names(&dirs.start().1.ledger), ["a.tar"]);
    file.ended(written, now);

    // Both of them are one write.
    assert!(file.begin(&ledger, now).is_none(), "it rests");
    let due = file.due(&ledger, now).unwrap();
    let rest = due - now;
    assert!(rest >= Duration::from_secs(1) && rest <= Duration::from_secs(5));
    let write = file.begin(&ledger, due).unwrap();
    file.ended(write.run(), due);
    assert_eq!(names(&dirs.start().1.ledger), ["a.tar", "b.tar", "c.tar"]);
    assert_eq!(file.due(&ledger, due), None);

    // A failure is not tried again at every turn.
    dirs.record(&mut ledger, "d.tar", 4);
    fs::remove_file(dirs.own()).unwrap();
    fs::create_dir(dirs.own()).unwrap();
    let write = file.begin_at_once(&ledger).unwrap();
    failing(file.ended(write.run(), due));
    assert_eq!(file.due(&ledger, due), Some(due + Duration::from_secs(30)));
    assert!(file.begin(&ledger, due + Duration::from_secs(29)).is_none());
    assert!(file.begin(&ledger, due + Duration::from_secs(30)).is_some());
}

#[test]
fn on_a_read_only_file_system_the_fix_is_named() {
    in_private_mounts(
        "ledger_file::on_a_read_only_file_system_the_fix_is_named",
        || {
            let dirs = Dirs::new();
            let (state, images) = (dirs.state(), dirs.images());
            fs::write(dirs.cache(), "").unwrap();
            mount(&["--bind"], &images, &images);
            mount(&["-o", "remount,ro,bind"], &images, &images);
            let (
                mut file,
                Loaded {
                    mut ledger,
                    warnings,
                    ..
                },
            ) = dirs.start();
            assert!(warnings.is_empty());
            dirs.record(&mut ledger, "a.tar", 1);
            let told = failing(save(&mut file, &ledger));
            assert!(told.contains("Read-only file system"), "{told}");
            let fix = "; remove .cache.json and stowd keeps the ledger in state-dir";
            assert!(told.ends_with(fix), "{told}");

            // The state directory as well: nothing more can be done.
            mount(&["-o", "remount,rw,bind"], &images, &images);
            fs::remove_file(dirs.cache()).unwrap();
            mount(&["--bind"], &state, &state);
            mount(&["-o", "remount,ro,bind"], &state, &state);
            assert!(save(&mut file, &ledger).is_none(), "the same trouble");
            let told = failing(save(&mut dirs.file(), &ledger));
            assert!(
                told.ends_with("Read-only file system (os error 30)"),
                "{told}"
            );
            mount(&["-o", "remount,rw,bind"], &state, &state);
            assert!(matches!(save(&mut file, &ledger), Some(News::Recovered(_))));
        },
    );
}

#[test]
fn on_a_full_disk_the_old_ledger_stays() {
    in_private_mounts("ledger_file::on_a_full_disk_the_old_ledger_stays", || {
        let dirs = Dirs::new();
        mount(
            &["-t", "tmpfs", "-o", "size=64k"],
            Path::new("tmpfs"),
            &dirs.state(),
        );
        let (mut file, Loaded { mut ledger, .. }) = dirs.start();
        dirs.record(&mut ledger, "a.tar", 1);
        assert!(save(&mut file, &ledger).is_none());
        for inode in 0..500 {
            dirs.record(&mut ledger, &format!("{inode}.tar"), inode);
        }
        let told = failing(save(&mut file, &ledger));
        assert!(
            told.contains("cannot be written: No space left on device"),
            "{told}"
        );
        assert_eq!(
            files(&dirs.state()),
            ["ledger.json"],
            "no half of it takes up room"
        );
        assert!(save(&mut file, &ledger).is_none(), "told once");
        assert_eq!(names(&dirs.start().1.ledger), ["a.tar"]);
        assert_eq!(ledger.summary().entries, 501, "it goes on in memory");

        mount(
            &["-o", "remount,size=4m"],
            Path::new("tmpfs"),
            &dirs.state(),
        );
        assert!(matches!(save(&mut file, &ledger), Some(News::Recovered(_))));
        assert_eq!(dirs.start().1.ledger.iter().count(), 501);
    });
}
