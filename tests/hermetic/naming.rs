//! The reference grammar, held against the published test tables of the Go package that containerd
//! uses.

use stowd::digest::Digest;
use stowd::naming::{Reference, Rule, is_full_name};

fn fixture(text: &str) -> impl Iterator<Item = Vec<String>> {
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            line.split_whitespace()
                .map(|field| {
                    field
                        .replace("{f64}", &"f".repeat(64))
                        .replace("{F64}", &"F".repeat(64))
                        .replace("{f128}", &"f".repeat(128))
                })
                .collect()
        })
}

#[test]
fn the_published_names_are_accepted_and_normalised() {
    let mut cases = 0;
    for case in fixture(include_str!("../fixtures/references/accepted.txt")) {
        let [input, domain, path, tag, digest] = case.as_slice() else {
            panic!("a line with {} columns: {case:?}", case.len());
        };
        let none = |field: &str| (field != "-").then(|| field.to_owned());
        let name = Reference::parse(input).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(name.domain(), none(domain).unwrap_or_default(), "{input}");
        assert_eq!(name.path(), path, "{input}");
        assert_eq!(name.tag(), none(tag).as_deref(), "{input}");
        match none(digest) {
            None => assert_eq!(name.digest(), None, "{input}"),
            Some(start) => {
                let found = name
                    .digest()
                    .unwrap_or_else(|| panic!("{input}: no digest"));
                assert!(found.hex().starts_with(&start), "{input}: {found}");
            }
        }
        // The normal form is a name too, and its own normal form.
        let again = Reference::parse(&name.to_string());
        assert_eq!(again.as_ref(), Ok(&name), "{input}");
        cases += 1;
    }
    assert!(cases > 80, "{cases}");
}

#[test]
fn the_published_bad_names_are_refused_for_their_rule() {
    let mut cases = 0;
    for case in fixture(include_str!("../fixtures/references/refused.txt")) {
        let [input, rule] = case.as_slice() else {
            panic!("a line with {} columns: {case:?}", case.len());
        };
        let error = Reference::parse(input).expect_err(input);
        assert_eq!(format!("{:?}", error.rule()), *rule, "{input}");
        cases += 1;
    }
    assert!(cases > 35, "{cases}");
}

#[test]
fn lengths_are_bounded() {
    let path = "a/".repeat(127) + "a";
    assert!(Reference::parse(&format!("example.com/{path}:tag-beyond-the-limit")).is_ok());
    let error = Reference::parse(&format!("example.com/{path}b")).unwrap_err();
    assert_eq!(error.rule(), Rule::TooLong);
    assert!(Reference::parse(&format!("a:{}", "t".repeat(128))).is_ok());
    let error = Reference::parse(&format!("a:{}", "t".repeat(129))).unwrap_err();
    assert_eq!(error.rule(), Rule::Tag);
    assert_eq!(Reference::parse("").unwrap_err().rule(), Rule::Empty);
    let host = |length: usize| format!("{}.example", "x".repeat(length - ".example".len()));
    for port in ["", ":65535"] {
        assert!(Reference::parse(&format!("{}{port}/a", host(253))).is_ok());
        for length in [254, 300, 20_000] {
            let error = Reference::parse(&format!("{}{port}/a", host(length))).unwrap_err();
            assert_eq!(error.rule(), Rule::Registry, "{length}{port}");
        }
    }
    let port = "1".repeat(20_000);
    for name in [format!("a.example:{port}/a"), format!("[::1]:{port}/a")] {
        assert_eq!(Reference::parse(&name).unwrap_err().rule(), Rule::Registry);
    }
}

#[test]
fn an_error_names_the_text_in_one_short_line() {
    let error = Reference::parse("a\u{1b}[31m\nb").unwrap_err().to_string();
    assert!(
        error.contains(r#""a\u{1b}[31m\nb" is not an image name: a path"#),
        "{error}"
    );
    let endless = Reference::parse(&"-".repeat(1 << 20)).unwrap_err();
    assert!(endless.to_string().len() < 400);
}

#[test]
fn the_canonical_form_is_the_one_that_containerd_keeps() {
    let digest = Digest::of(b"");
    for (input, canonical) in [
        ("alpine", "docker.io/library/alpine:latest".to_owned()),
        ("alpine:3", "docker.io/library/alpine:3".to_owned()),
        (
            &format!("alpine@{digest}"),
            format!("docker.io/library/alpine@{digest}"),
        ),
        (
            &format!("alpine:3@{digest}"),
            format!("docker.io/library/alpine@{digest}"),
        ),
    ] {
        let name = Reference::parse(input).unwrap().canonical();
        assert_eq!(name.to_string(), canonical);
    }
}

#[test]
fn a_bare_tag_is_no_full_name() {
    for tag in ["latest", "3.19", "alpine", "v1_2-rc.1"] {
        assert!(!is_full_name(tag), "{tag}");
    }
    for name in [
        "alpine:3",
        "localhost/alpine",
        "docker.io/library/alpine",
        "a@sha256:0",
    ] {
        assert!(is_full_name(name), "{name}");
    }
}
