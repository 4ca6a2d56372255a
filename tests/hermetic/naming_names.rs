//! Which names an image gets, and the labels that follow from them.

use stowd::digest::Digest;
use stowd::image_store::Labels;
use stowd::naming::{ExtraNames, GivenNames, Names, Reference, Rule, Shadowed};
use stowd::source_labels;

fn parsed(names: &[&str]) -> Vec<Reference> {
    let parse = |name: &&str| Reference::parse(name).unwrap().canonical();
    names.iter().map(parse).collect()
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn digest() -> Digest {
    Digest::of(b"manifest")
}

/// The names as text, own ones and extra ones, with `@` for the digest of [`digest`].
fn texts(names: &Names) -> [Vec<String>; 2] {
    let by_digest = digest().to_string();
    let text = |name: &Reference| name.to_string().replace(&by_digest, "");
    [&names.own, &names.extra].map(|list| list.iter().map(text).collect())
}

#[test]
fn an_image_is_named_by_tag_and_by_digest_here_and_in_the_extra_registries() {
    type Case<'a> = (&'a [&'a str], &'a [&'a str], &'a [&'a str], &'a [&'a str]);
    let cases: [Case<'_>; 16] = [
        (
            &["alpine:3"],
            &[],
            &["docker.io/library/alpine:3", "docker.io/library/alpine@"],
            &[],
        ),
        (
            &["alpine:3"],
            &["reg.example:5000", "b.example/mirror/hub"],
            &["docker.io/library/alpine:3", "docker.io/library/alpine@"],
            &[
                "reg.example:5000/library/alpine:3",
                "reg.example:5000/library/alpine@",
                "b.example/mirror/hub/library/alpine:3",
                "b.example/mirror/hub/library/alpine@",
            ],
        ),
        // Several tags of one repository, and several repositories.
        (
            &["q.example/a:1", "q.example/a:2", "a:1"],
            &["reg.example"],
            &[
                "q.example/a:1",
                "q.example/a:2",
                "docker.io/library/a:1",
                "q.example/a@",
                "docker.io/library/a@",
            ],
            &[
                "reg.example/a:1",
                "reg.example/a@",
                "reg.example/a:2",
                "reg.example/library/a:1",
                "reg.example/library/a@",
            ],
        ),
        // A name by digest has no tag to bring.
        (
            &["q.example/a@{}"],
            &["reg.example"],
            &["q.example/a@"],
            &["reg.example/a@"],
        ),
        // Already there: with the registry alone, with its path, with all of it.
        (
            &["reg.example/a:1"],
            &["reg.example"],
            &["reg.example/a:1", "reg.example/a@"],
            &[],
        ),
        (
            &["reg.example/mirror/a:1"],
            &["reg.example/mirror"],
            &["reg.example/mirror/a:1", "reg.example/mirror/a@"],
            &[],
        ),
        (
            &["reg.example/mirror:1"],
            &["reg.example/mirror"],
            &["reg.example/mirror:1", "reg.example/mirror@"],
            &[],
        ),
        // Not there: its name only begins alike.
        (
            &["reg.example/mirror2/a:1"],
            &["reg.example/mirror"],
            &["reg.example/mirror2/a:1", "reg.example/mirror2/a@"],
            &[
                "reg.example/mirror/mirror2/a:1",
                "reg.example/mirror/mirror2/a@",
            ],
        ),
        (
            &["reg.example2/a:1"],
            &["reg.example"],
            &["reg.example2/a:1", "reg.example2/a@"],
            &["reg.example/a:1", "reg.example/a@"],
        ),
        (
            &["reg.example:5000/a:1"],
            &["reg.example"],
            &["reg.example:5000/a:1", "reg.example:5000/a@"],
            &["reg.example/a:1", "reg.example/a@"],
        ),
        // Docker Hub by both of its names.
        (
            &["alpine:3"],
            &["docker.io", "index.docker.io", "index.docker.io/library"],
            &["docker.io/library/alpine:3", "docker.io/library/alpine@"],
            &[],
        ),
        (
            &["q.example/a:1", "q.example/b/c:1"],
            &["index.docker.io"],
            &[
                "q.example/a:1",
                "q.example/b/c:1",
                "q.example/a@",
                "q.example/b/c@",
            ],
            &[
                "docker.io/library/a:1",
                "docker.io/library/a@",
                "docker.io/b/c:1",
                "docker.io/b/c@",
            ],
        ),
        (
            &["alpine:3"],
            &["index.docker.io.example"],
            &["docker.io/library/alpine:3", "docker.io/library/alpine@"],
            &[
                "index.docker.io.example/library/alpine:3",
                "index.docker.io.example/library/alpine@",
            ],
        ),
        // Nothing twice: the same registry, one that the image is called by anyway, a final slash.
        (
            &["q.example/a:1", "reg.example/a:1"],
            &["reg.example/", "reg.example", "reg.example//"],
            &[
                "q.example/a:1",
                "reg.example/a:1",
                "q.example/a@",
                "reg.example/a@",
            ],
            &[],
        ),
        // No registry at all in front.
        (
            &["foo_bar.com/a:1"],
            &["reg.example"],
            &["foo_bar.com/a:1", "foo_bar.com/a@"],
            &["reg.example/foo_bar.com/a:1", "reg.example/foo_bar.com/a@"],
        ),
        (
            &["[::1]:5000/a:1"],
            &["[fd00::1]"],
            &["[::1]:5000/a:1", "[::1]:5000/a@"],
            &["[fd00::1]/a:1", "[fd00::1]/a@"],
        ),
    ];
    for (names, registries, own, extra) in cases {
        let names = names
            .iter()
            .map(|name| name.replace("{}", digest().as_str()));
        let names = names.collect::<Vec<_>>();
        let names = parsed(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let (found, refused) = Names::of(&names, Some(&digest()), &owned(registries));
        assert_eq!(texts(&found), [owned(own), owned(extra)], "{registries:?}");
        assert_eq!(refused, []);
        // Each is a name in the form in which containerd keeps it.
        for name in found.iter() {
            let text = name.to_string();
            assert_eq!(Reference::parse(&text).unwrap().canonical(), *name);
        }
    }
}

#[test]
fn an_extra_name_that_would_be_none_is_left_out_and_told() {
    let long = format!("q.example/{}a", "a/".repeat(120));
    let names = parsed(&[&format!("{long}:1"), &format!("{long}:2"), "q.example/b:1"]);
    let registry = owned(&["reg.example/a-path-that-is-too-long"]);
    let (found, refused) = Names::of(&names, Some(&digest()), &registry);
    assert_eq!(found.own.len(), 5);
    assert_eq!(
        texts(&found)[1],
        [
            "reg.example/a-path-that-is-too-long/b:1",
            "reg.example/a-path-that-is-too-long/b@"
        ]
    );
    assert_eq!(refused.len(), 1, "once for both tags: {refused:?}");
    assert_eq!(refused[0].rule(), Rule::TooLong);
    assert!(refused[0].text().starts_with("reg.example/a-path-"));
}

/// What each image gets of the images of one source, in their order.
fn given(
    images: &[(&[Reference], &Digest, bool)],
    own: &[Reference],
    registries: &[&str],
) -> Vec<GivenNames> {
    let registries = owned(registries);
    let images = || images.iter().enumerate();
    let claims = images().map(|(number, (names, _, runs))| (number, *names, *runs));
    let extra = ExtraNames::among(claims, own, &registries);
    let given = images().map(|(number, (names, digest, _))| extra.given(number, names, digest));
    given.collect()
}

#[test]
fn what_an_archive_calls_an_image_is_never_an_extra_name_of_another() {
    let digests = [b"0", b"1", b"2"].map(|bytes| Digest::of(bytes));
    let names = [
        parsed(&["q.example/x/app:1"]),
        parsed(&["reg.example/x/app:1", "reg.example/x/app:2"]),
        parsed(&["q.example/x/app:2", "q.example/y:1"]),
    ];
    // Broken: it is not imported, but what was meant for it goes to none else.
    let broken = parsed(&["reg.example/y:1"]);
    let own = names.iter().flatten().chain(&broken).cloned();
    let own = own.collect::<Vec<_>>();
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let images = order.map(|number| (&*names[number], &digests[number], number != 1));
        let all = given(&images, &own, &["reg.example"]);
        let of = |number: usize| &all[order.iter().position(|n| *n == number).unwrap()];
        let digest = |repository: &str, number: usize| format!("{repository}@{}", digests[number]);
        let extra = |number| {
            let names = of(number).names.extra.iter();
            names.map(Reference::to_string).collect::<Vec<_>>()
        };
        assert_eq!(extra(0), [digest("reg.example/x/app", 0)]);
        assert_eq!(extra(1), Vec::<String>::new());
        assert_eq!(
            extra(2),
            [digest("reg.example/x/app", 2), digest("reg.example/y", 2)]
        );
        let lost = |number| {
            let lost = of(number).shadowed.iter();
            lost.map(Shadowed::to_string).collect::<Vec<_>>()
        };
        let note = |name: &str, loser: &str| {
            format!("{name} names several images of the archive; {loser} does not get it")
        };
        let app = ["q.example/x/app:1", "q.example/x/app:2"];
        assert_eq!(lost(0), [note("reg.example/x/app:1", app[0])]);
        assert_eq!(lost(1), Vec::<String>::new());
        assert_eq!(
            lost(2),
            [
                note("reg.example/x/app:2", app[1]),
                note("reg.example/y:1", app[1]),
            ]
        );
    }
}

/// It is one image, whatever else has the name.
#[test]
fn a_name_by_digest_is_not_lost() {
    let pulled = parsed(&["q.example/app:1"]);
    let by_digest = format!("reg.example/app@{}", digest());
    let listed = parsed(&[&by_digest]);
    let own = [pulled.clone(), listed.clone()].concat();
    let digest = digest();
    let images = [&pulled, &listed].map(|names| (&**names, &digest, true));
    let all = given(&images, &own, &["reg.example"]);
    assert_eq!(
        texts(&all[0].names)[1],
        ["reg.example/app:1", "reg.example/app@"]
    );
    assert_eq!(all[1].names.own, listed);
    assert_eq!(
        all.iter().map(|given| given.shadowed.len()).sum::<usize>(),
        0
    );
}

#[test]
fn an_extra_name_of_several_images_goes_to_one_that_the_host_runs_or_to_the_last() {
    let digests = [b"0", b"1", b"2"].map(|bytes| Digest::of(bytes));
    let names = ["a.example/app:1", "b.example/app:1", "c.example/app:1"];
    let names = names.map(|name| parsed(&[name]));
    for (runs, owner) in [
        ([true, true, true], 2),
        ([true, true, false], 1),
        ([true, false, false], 0),
        ([false, false, false], 2),
    ] {
        let images = [0, 1, 2].map(|number| (&*names[number], &digests[number], runs[number]));
        let all = given(&images, &names.concat(), &["reg.example"]);
        for (
            number,
            GivenNames {
                names, shadowed, ..
            },
        ) in all.iter().enumerate()
        {
            let tags = names.extra.iter().filter(|name| name.tag().is_some());
            assert_eq!(tags.count(), usize::from(number == owner), "{runs:?}");
            assert_eq!(shadowed.len(), usize::from(number != owner));
            assert_eq!(
                names.extra.iter().filter(|n| n.digest().is_some()).count(),
                1
            );
        }
    }
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    let pair = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(pair).collect()
}

/// With the keys of source labels written short.
fn sourced(pairs: &[(&str, &str)]) -> Labels {
    let pair = |(registry, value): &(&str, &str)| {
        (
            format!("{}{registry}", source_labels::PREFIX),
            (*value).to_owned(),
        )
    };
    pairs.iter().map(pair).collect()
}

#[test]
fn labels_tell_the_repositories_of_all_names() {
    let names = parsed(&[
        "b:1",
        "a:1",
        "a:2",
        "q.example:5000/x/y:1",
        "foo_bar.com/a:1",
    ]);
    let registries = owned(&["reg.example/mirror", "q.example:5000"]);
    let (names, _) = Names::of(&names, Some(&digest()), &registries);
    assert_eq!(
        source_labels::of(names.iter()),
        sourced(&[
            ("docker.io", "library/a,library/b"),
            ("q.example:5000", "foo_bar.com/a,library/a,library/b,x/y"),
            (
                "reg.example",
                "mirror/foo_bar.com/a,mirror/library/a,mirror/library/b,mirror/x/y"
            ),
        ])
    );
    assert_eq!(source_labels::of([]), Labels::new());
}

#[test]
fn only_what_is_missing_is_set_and_lists_are_merged() {
    let gc = ("containerd.io/gc.ref.content.config", "sha256:1");
    let had = |pairs: &[(&str, &str)]| {
        let mut had = sourced(pairs);
        had.extend(labels(&[gc, ("theirs", "1"), ("x", "old")]));
        had
    };
    for (had, wanted, missing) in [
        (had(&[]), sourced(&[("a", "x")]), sourced(&[("a", "x")])),
        (
            had(&[("a", "y"), ("b", "z")]),
            sourced(&[("a", "x,z")]),
            sourced(&[("a", "x,y,z")]),
        ),
        // All there, in whatever order it was written.
        (
            had(&[("a", "z,x,,x,y")]),
            sourced(&[("a", "x,y,z")]),
            Labels::new(),
        ),
        (
            had(&[("a", "z,x,,x")]),
            sourced(&[("a", "y")]),
            sourced(&[("a", "x,y,z")]),
        ),
        // One repository is not the beginning of another.
        (
            had(&[("a", "xy")]),
            sourced(&[("a", "x")]),
            sourced(&[("a", "x,xy")]),
        ),
        (
            had(&[]),
            labels(&[gc, ("x", "new")]),
            labels(&[("x", "new")]),
        ),
        (Labels::new(), labels(&[gc]), labels(&[gc])),
    ] {
        assert_eq!(source_labels::missing(&had, &wanted), missing, "{had:?}");
        let mut now = had;
        now.extend(missing);
        assert_eq!(
            source_labels::missing(&now, &wanted),
            Labels::new(),
            "again"
        );
    }
}

#[test]
fn what_does_not_fit_a_label_is_left_out() {
    let key = format!("{}reg.example", source_labels::PREFIX);
    let room = 4096 - key.len();
    let full = "x".repeat(room - 4);
    let had = sourced(&[("reg.example", &full)]);
    let adding = |more: &str| source_labels::missing(&had, &sourced(&[("reg.example", more)]));
    let with = |more: &str| sourced(&[("reg.example", &format!("{more},{full}"))]);
    assert_eq!(adding("abc"), with("abc"), "4096 bytes with the key");
    assert_eq!(adding("abcd"), Labels::new());
    assert_eq!(adding("abcd,b"), with("b"), "what fits is added");
    let alone = "y".repeat(room);
    let alone = |length: usize| sourced(&[("reg.example", &alone[..length])]);
    assert_eq!(
        source_labels::missing(&Labels::new(), &alone(room)),
        alone(room)
    );
    let longer = sourced(&[("reg.example", &"y".repeat(room + 1))]);
    assert_eq!(
        source_labels::missing(&Labels::new(), &longer),
        Labels::new()
    );
}

#[test]
fn a_blob_has_labels_of_so_many_registries_and_no_more() {
    let names = (0..500).map(|number| format!("r{number}.example/a:1"));
    let names = names.collect::<Vec<_>>();
    let names = parsed(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let mut labels = source_labels::of(&names);
    assert_eq!(labels.len(), 64);
    let more = sourced(&[("one-more.example", "a"), ("r0.example", "b")]);
    labels.extend(source_labels::missing(&labels, &more));
    assert_eq!(labels.len(), 64);
    let key = format!("{}r0.example", source_labels::PREFIX);
    assert_eq!(labels[&key], "a,b", "those that are there still grow");
}
