//! Platforms, held against the published tables of containerd's `platforms` package.

use std::collections::BTreeSet;

use stowd::platform::{Platform, PlatformError, Wanted};

fn host() -> Platform {
    Platform::of_machine("x86_64", true, "")
}

fn parse(word: &str) -> Platform {
    Platform::parse(word, &host()).unwrap_or_else(|error| panic!("{error}"))
}

fn parse_all(words: &str) -> Vec<Platform> {
    words.split_whitespace().map(parse).collect()
}

#[test]
fn names_are_normalised_as_containerd_does() {
    for (word, normal) in [
        ("linux/arm64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/aarch64/8", "linux/arm64"),
        ("linux/arm64/v9.0", "linux/arm64/v9"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/arm/7", "linux/arm/v7"),
        ("linux/arm/v6", "linux/arm/v6"),
        ("arm", "linux/arm/v7"),
        ("armel", "linux/arm/v6"),
        ("armhf", "linux/arm/v7"),
        ("Aarch64", "linux/arm64"),
        ("x86_64", "linux/amd64"),
        ("Linux/x86-64", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64/v3"),
        ("i386", "linux/386"),
        ("linux", "linux/amd64"),
        ("macOS", "darwin/amd64"),
        ("windows", "windows/amd64"),
        ("s390x", "linux/s390x"),
    ] {
        assert_eq!(parse(word).to_string(), normal, "{word}");
    }
}

#[test]
fn what_is_no_platform_is_refused_with_the_word_and_the_fix() {
    for word in [
        "",
        "/linux/arm",
        "linux/arm/",
        "linux /arm",
        "linux/&arm",
        "linux/arm/foo/bar",
        "linux/amd46",
        "linus/amd64",
        "hots",
        "windows(10.0.17763)/amd64",
    ] {
        let error = Platform::parse(word, &host()).expect_err(word).to_string();
        assert!(
            error.starts_with(&format!("{word:?} is not a platform: ")),
            "{error}"
        );
        assert!(error.contains("write \"host\", \"all\""), "{error}");
    }
    let endless = "x".repeat(1 << 20);
    assert!(
        Platform::parse(&endless, &host())
            .unwrap_err()
            .to_string()
            .len()
            < 400
    );
}

/// TestOnly of containerd's compare_test.go.
#[test]
fn a_machine_runs_what_containerd_lets_it_run() {
    for (machine, runs, not) in [
        (
            "linux/amd64",
            "linux/amd64 linux/386",
            "linux/amd64/v2 linux/arm/v7 linux/arm64 windows/amd64 windows/arm",
        ),
        (
            "linux/amd64/v2",
            "linux/amd64 linux/amd64/v1 linux/amd64/v2 linux/386",
            "linux/amd64/v3 linux/amd64/v4 linux/arm/v7 linux/arm64 windows/amd64",
        ),
        (
            "linux/386",
            "linux/386",
            "linux/amd64 linux/arm/v7 linux/arm64 windows/amd64",
        ),
        (
            "windows/amd64",
            "windows/amd64",
            "linux/amd64 linux/arm/v7 linux/arm64 windows/arm",
        ),
        (
            "linux/arm/v8",
            "linux/arm linux/arm/v5 linux/arm/v6 linux/arm/v7 linux/arm/v8",
            "linux/amd64 linux/arm/v4 linux/arm64 windows/amd64 windows/arm",
        ),
        (
            "linux/arm/v7",
            "linux/arm linux/arm/v5 linux/arm/v6 linux/arm/v7",
            "linux/amd64 linux/arm/v4 linux/arm/v8 linux/arm64 windows/arm",
        ),
        (
            "linux/arm/v6",
            "linux/arm/v5 linux/arm/v6",
            "linux/amd64 linux/arm linux/arm/v4 linux/arm/v7 linux/arm/v8 linux/arm64",
        ),
        (
            "linux/arm/v5",
            "linux/arm/v5",
            "linux/arm linux/arm/v4 linux/arm/v6 linux/arm64",
        ),
        (
            "linux/arm/v4",
            "linux/arm/v4",
            "linux/arm linux/arm/v5 linux/arm/v6 linux/arm64",
        ),
        (
            "linux/arm64/v9",
            "linux/arm linux/arm/v5 linux/arm/v6 linux/arm/v7 linux/arm/v8 linux/arm64 \
             linux/arm64/v8 linux/arm64/v8.1 linux/arm64/v8.2 linux/arm64/v8.3 linux/arm64/v8.4 \
             linux/arm64/v8.5 linux/arm64/v9 linux/arm64/v9.0",
            "linux/amd64 linux/arm/v4 windows/amd64 windows/arm linux/arm64/v8.6",
        ),
        (
            "linux/arm64/v8.1",
            "linux/arm linux/arm/v5 linux/arm/v6 linux/arm/v7 linux/arm/v8 linux/arm64 \
             linux/arm64/v8 linux/arm64/v8.1",
            "linux/amd64 linux/arm/v4 linux/arm/v9 linux/arm64/v9 windows/amd64",
        ),
        (
            "linux/arm64",
            "linux/arm linux/arm/v5 linux/arm/v6 linux/arm/v7 linux/arm/v8 linux/arm64 \
             linux/arm64/v8",
            "linux/amd64 linux/arm/v4 linux/arm/v9 linux/arm64/v9 windows/amd64",
        ),
    ] {
        let wanted = Wanted::Each(vec![parse(machine)]);
        for offered in parse_all(runs) {
            assert!(wanted.accepts(&offered), "{machine} runs {offered}");
        }
        for offered in parse_all(not) {
            assert!(
                !wanted.accepts(&offered),
                "{machine} does not run {offered}"
            );
        }
    }
}

#[test]
fn the_best_match_of_each_wanted_platform_is_chosen_once_in_order() {
    let each = |words: &str| Wanted::Each(parse_all(words));
    let offered =
        parse_all("linux/386 linux/arm/v6 linux/amd64 linux/arm64 linux/arm/v7 linux/amd64");
    assert_eq!(each("linux/amd64").choose(&offered), [2]);
    assert_eq!(each("linux/arm64 linux/amd64").choose(&offered), [2, 3]);
    assert_eq!(each("linux/arm/v8").choose(&offered), [4]);
    assert_eq!(each("linux/arm/v7 linux/arm/v8").choose(&offered), [4]);
    assert_eq!(each("linux/s390x").choose(&offered), [] as [usize; 0]);
    // What documents write need not be normal.
    let written = [Platform {
        os: "Linux".to_owned(),
        architecture: "aarch64".to_owned(),
        variant: Some("v8".to_owned()),
        features: BTreeSet::new(),
    }];
    assert_eq!(each("linux/arm64").choose(&written), [0]);
}

#[test]
fn everything_is_wanted_but_attestations() {
    let attestation = Platform::normalized("unknown", "unknown", "");
    assert!(attestation.is_attestation());
    assert!(!parse("linux/amd64").is_attestation());
    let offered = [parse("linux/amd64"), attestation, parse("windows/amd64")];
    assert_eq!(Wanted::All.choose(&offered), [0, 2]);
    assert_eq!(Wanted::Each(vec![host()]).choose(&offered), [0]);
}

#[test]
fn an_image_runs_here_if_what_the_host_would_run_was_chosen() {
    let offered = parse_all("linux/arm64 linux/amd64 linux/386");
    let runs_here = |words| Wanted::Each(parse_all(words)).runs_here(&offered, &host());
    assert!(runs_here("linux/amd64"));
    assert!(Wanted::All.runs_here(&offered, &host()));
    assert!(!runs_here("linux/arm64"));
    // The host would run the amd64 one, which is not here.
    assert!(!runs_here("linux/386"));
}

#[test]
fn machines_are_known_by_the_names_of_go() {
    let cpuinfo = |architecture, model| {
        format!("processor\t: 0\nmodel name\t: {model}\nCPU architecture: {architecture}\n")
    };
    for (arch, little, cpuinfo, platform) in [
        ("x86_64", true, String::new(), "linux/amd64"),
        ("aarch64", true, cpuinfo("8", "x"), "linux/arm64"),
        ("x86", true, String::new(), "linux/386"),
        ("powerpc64", true, String::new(), "linux/ppc64le"),
        ("powerpc64", false, String::new(), "linux/ppc64"),
        ("s390x", false, String::new(), "linux/s390x"),
        ("riscv64", true, String::new(), "linux/riscv64"),
        ("loongarch64", true, String::new(), "linux/loong64"),
        (
            "arm",
            true,
            cpuinfo("7", "ARMv7 Processor rev 3 (v7l)"),
            "linux/arm/v7",
        ),
        (
            "arm",
            true,
            cpuinfo("7", "ARMv6-compatible processor rev 7"),
            "linux/arm/v6",
        ),
        ("arm", true, cpuinfo("5TEJ", "x"), "linux/arm/v5"),
        ("arm", true, cpuinfo("8", "x"), "linux/arm/v8"),
        ("arm", true, String::new(), "linux/arm/v7"),
    ] {
        let machine = Platform::of_machine(arch, little, &cpuinfo);
        assert_eq!(machine.to_string(), platform);
    }
    assert_eq!(Platform::host().os, "linux");
}

#[test]
fn the_configured_words_are_read() {
    let from = |words: &[&str]| {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Wanted::from_config(&words, &host())
    };
    assert_eq!(from(&["host"]), Ok(Wanted::Each(vec![host()])));
    assert_eq!(from(&["all"]), Ok(Wanted::All));
    assert_eq!(from(&["linux/arm64", "all"]), Ok(Wanted::All));
    assert_eq!(
        from(&["host", "linux/amd64", "linux/arm64"])
            .unwrap()
            .to_string(),
        "linux/amd64, linux/arm64"
    );
    assert_eq!(from(&[]), Err(PlatformError::None));
    assert!(
        from(&["all", "lunix/arm64"])
            .unwrap_err()
            .to_string()
            .contains("\"lunix/arm64\"")
    );
}

#[test]
fn a_strangers_platform_stays_on_its_line() {
    let hostile = Platform::normalized("li\n\u{1b}[31mnux", &"x".repeat(1 << 20), "");
    let shown = hostile.to_string();
    assert!(
        shown.len() < 200 && !shown.contains(char::is_control),
        "{shown:?}"
    );
}
