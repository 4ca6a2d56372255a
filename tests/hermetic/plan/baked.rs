//! What a run with `--keep` has loaded is kept without its files.

use super::*;

/// A run before has imported `a.tar` and `b.tar`, and has baked them.
fn baked() -> Ledger {
    let before = Stage::loaded(&["a.tar", "b.tar"]);
    let (set, entries, images) = before.plan.ledger().to_bake();
    assert_eq!((entries, images), (2, 2));
    read(&set.to_json(Path::new("/")))
}

fn read(json: &[u8]) -> Ledger {
    let (ledger, dropped) = Ledger::from_json(json, Path::new("/"));
    assert_eq!(dropped, None);
    ledger
}

/// With the ledger of that run, or with none.
fn booted(has_ledger: bool) -> Stage {
    let mut ledger = match has_ledger {
        true => {
            let before = Stage::loaded(&["a.tar", "b.tar"]);
            let json = before.plan.ledger().snapshot().to_json(Path::new("/i"));
            Ledger::from_json(&json, Path::new("/i")).0
        }
        false => Ledger::default(),
    };
    ledger.bake(baked());
    Stage::with(ledger)
}

/// Passes until the pins have been looked after, with this set on the disk; says what was unpinned.
fn unpinned(stage: &mut Stage, images: &[&str], set: fn() -> Ledger) -> Vec<String> {
    let mut unpinned = Vec::new();
    for _ in 0..20 {
        let mut words = stage.pass(seconds(3));
        while !words.is_empty() {
            let mut next = Vec::new();
            for word in words {
                match word.as_str() {
                    "read the baked set" => {
                        next.extend(stage.on(Event::Baked(Some(Box::new(set())))))
                    }
                    "list images" => next.extend(stage.on(store(images))),
                    word if word.starts_with("unpin ") => {
                        unpinned.push(word.to_owned());
                        next.extend(stage.on(Event::Unpinned(Vec::new(), Ok(()))));
                    }
                    other => panic!("{other}"),
                }
            }
            words = next;
        }
    }
    unpinned
}

#[test]
fn what_is_baked_is_kept_where_its_files_are_gone_whatever_the_directory_says() {
    let missing = || Event::Source(SourceEvent::Listed(Listing::default()));
    let another = || {
        let directories = [root(7)].into();
        Event::Source(SourceEvent::Listed(Listing {
            directories,
            ..Listing::default()
        }))
    };
    for has_ledger in [true, false] {
        for (event, why) in [
            (listed(&[]), "deleted from it"),
            (another(), "it was copied"),
            (missing(), "it is missing"),
        ] {
            let mut stage = booted(has_ledger);
            assert_eq!(stage.on(event), ["list images"], "{why}");
            assert_eq!(stage.on(store(&["a", "b", "c"])), NOTHING, "{why}");
            assert!(stage.plan.is_loaded(), "{why}");
            let summary = stage.plan.ledger().summary();
            assert_eq!((summary.images, summary.entries, summary.failed), (2, 2, 0));
            assert_eq!(stage.plan.out_of_sight(), 0, "{why}");
            assert_eq!(stage.told("baked: 2 images of 2 entries"), 1, "{why}");
            assert_eq!(stage.told("gone: "), 0, "{why}");
            let released = unpinned(&mut stage, &["a", "b", "c"], baked);
            assert_eq!(released, ["unpin r.example/c:1"], "{why}");
        }
    }
}

#[test]
fn a_file_that_is_back_makes_an_ordinary_entry_which_is_kept_when_it_goes_again() {
    let mut stage = booted(true);
    stage.on(listed(&[]));
    stage.on(store(&["a", "b"]));
    let asked = stage.source(SourceEvent::Settled(entry("a.tar", 1)));
    assert_eq!(asked, ["read the baked set"], "the version that was baked");
    assert_eq!(
        stage.on(Event::Baked(Some(Box::new(baked())))),
        ["list images"]
    );
    assert_eq!(stage.on(store(&["a", "b"])), NOTHING);
    let summary = stage.plan.ledger().summary();
    assert_eq!((summary.entries, summary.failed), (2, 0));
    stage.source(SourceEvent::Removed(path("a.tar")));
    assert_eq!(stage.told("gone: "), 0);
    assert_eq!(stage.told("baked: 2 images"), 2);
    assert_eq!(unpinned(&mut stage, &["a", "b"], baked), NOTHING);
}

#[test]
fn another_version_of_a_file_ends_the_keeping() {
    let mut stage = booted(true);
    stage.on(listed(&[]));
    stage.on(store(&["a", "b"]));
    let begun = stage.source(SourceEvent::Settled(entry("a.tar", 2)));
    assert_eq!(begun, ["import a.tar"]);
    let ended = stage.ends("a.tar", brought(&["c"]));
    assert!(ended.contains(&"unbake a.tar".to_owned()), "{ended:?}");
    stage.source(SourceEvent::Removed(path("a.tar")));
    assert_eq!(stage.told("gone: /i/a.tar"), 1);
    let set = || {
        let mut set = Ledger::default();
        set.bake(baked());
        set.unbake(&path("a.tar"));
        read(&set.baked().to_json(Path::new("/")))
    };
    // What it has asked for by then.
    stage.on(Event::Baked(Some(Box::new(set()))));
    stage.on(store(&["a", "b", "c"]));
    let released = unpinned(&mut stage, &["a", "b", "c"], set);
    assert_eq!(
        released[0], "unpin r.example/a:1",
        "and not b: {released:?}"
    );
    let of_kept = released.iter().filter(|word| word.contains("/b"));
    assert_eq!(of_kept.count(), 0, "{released:?}");
}

#[test]
fn what_is_lost_is_put_back_where_the_image_is_there_and_else_told() {
    let mut stage = booted(true);
    stage.on(listed(&[]));
    let mut images = stored(&["a", "b"]);
    images.retain(|image| image.name != "r.example/a:1");
    let put = stage.on(Event::Images(Ok(images)));
    assert_eq!(put, ["put r.example/a:1"]);
    assert!(stage.plan.is_loaded());
    assert_eq!(stage.told("bringing back what is missing of /i/a.tar"), 1);

    let mut stage = booted(true);
    stage.on(listed(&[]));
    assert_eq!(stage.on(store(&["b"])), NOTHING);
    assert!(stage.plan.is_loaded());
    let told = "failed /i/a.tar: of the baked set, and its file is gone";
    assert_eq!(stage.told(told), 1);
    assert_eq!(stage.plan.ledger().summary().failed, 1);
    // The same is told once, and it ends when the image is there.
    stage.pass(seconds(3));
    stage.on(listed(&[]));
    stage.pass(seconds(3));
    stage.on(Event::Baked(Some(Box::new(baked()))));
    stage.on(store(&["a", "b"]));
    assert_eq!(stage.told(told), 1);
    assert_eq!(stage.plan.ledger().summary().failed, 0);
}

#[test]
fn an_entry_with_a_file_has_the_names_that_it_brings_and_what_had_them_is_kept_by_its_digest() {
    let mut stage = booted(true);
    // It is earlier in name order than the one that is kept.
    stage.on(listed(&["0.tar"]));
    assert_eq!(stage.on(store(&["a", "b"])), ["import 0.tar"]);
    assert!(stage.later.is_empty(), "{:?}", stage.later);
    let JobEnd::Through(mut newer) = brought(&["b"]) else {
        unreachable!()
    };
    newer.images[0].digest = Digest::of(b"newer");
    newer.images[0].names[1] = format!("r.example/b@{}", Digest::of(b"newer"));
    let asked = stage.ends("0.tar", JobEnd::Through(newer));
    assert_eq!(asked, ["read the baked set"]);
    assert_eq!(
        stage.on(Event::Baked(Some(Box::new(baked())))),
        ["list images"]
    );
    let mut images = stored(&["a", "b"]);
    let digest = Digest::of(b"newer");
    let tag = images
        .iter_mut()
        .find(|image| image.name == "r.example/b:1");
    tag.unwrap().target.digest = digest.clone();
    let mut by_digest = images[0].clone();
    by_digest.name = format!("r.example/b@{digest}");
    by_digest.target.digest = digest;
    images.push(by_digest);
    assert_eq!(stage.on(Event::Images(Ok(images))), NOTHING);
    assert_eq!(stage.told("shadowed by"), 0, "it gives way without a word");
    assert_eq!(stage.told("bringing back"), 0);
    assert_eq!(stage.told("failed "), 0);
    assert_eq!(stage.told("gone: "), 0);
}

#[test]
fn what_an_operator_releases_is_kept_no_longer() {
    let mut stage = booted(true);
    stage.on(listed(&[]));
    stage.on(store(&["a", "b"]));
    stage.pass(seconds(3));
    stage.on(listed(&[]));
    let mut set = Ledger::default();
    set.bake(baked());
    set.release(&image("a").names.into_iter().collect());
    let set = read(&set.baked().to_json(Path::new("/")));
    stage.pass(seconds(3));
    let words = stage.on(Event::Baked(Some(Box::new(set))));
    assert!(words.contains(&"unbake a.tar".to_owned()), "{words:?}");
    assert_eq!(stage.told("gone: /i/a.tar"), 1);
    assert_eq!(stage.told("failed "), 0);
    // What cannot be read changes nothing.
    let mut stage = booted(true);
    stage.on(listed(&[]));
    stage.on(store(&["a", "b"]));
    stage.on(listed(&[]));
    stage.pass(seconds(3));
    stage.on(Event::Baked(None));
    assert_eq!(stage.told("gone: "), 0);
}
