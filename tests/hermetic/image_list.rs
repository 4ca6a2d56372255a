//! Image lists: what is read of each directory of `fixtures/lists`, and of lists that are too large
//! to be kept.

use std::fs;
use std::path::Path;

use stowd::image_list::{
    IMAGES_MAX, ImageList, LINE_MAX, LIST_MAX, LineError, ListError, PROBLEMS_MAX,
};

use crate::fixture_directories;

#[test]
fn every_fixture_is_read_as_it_says() {
    fixture_directories::hold("lists", 20, differs);
}

/// What the fixtures' README tells.
fn differs(directory: &Path) -> Option<String> {
    let happened = written(&fs::read(directory.join("list.txt")).unwrap());
    let file = directory.join("expected");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&file, &happened).unwrap();
    }
    let expected = fs::read_to_string(&file).unwrap_or_else(|error| error.to_string());
    (happened != expected).then(|| {
        format!(
            "{}\n-- happened:\n{happened}-- expected:\n{expected}",
            directory.display()
        )
    })
}

fn written(bytes: &[u8]) -> String {
    match ImageList::parse(bytes) {
        Ok(list) => {
            let lines = list.lines.iter();
            let lines = lines.map(|line| format!("{} {}\n", line.number, line.reference));
            let problems = list.problems.iter().map(|problem| format!("{problem}\n"));
            lines.chain(problems).collect()
        }
        Err(error) => format!("error: {error}\n"),
    }
}

fn list(text: impl AsRef<[u8]>) -> ImageList {
    ImageList::parse(text.as_ref()).unwrap()
}

fn names(list: &ImageList) -> Vec<String> {
    list.lines.iter().map(|l| l.reference.to_string()).collect()
}

#[test]
fn a_thousand_lines_are_a_thousand_images() {
    let text: String = (1..=1000).map(|i| format!("r.example/a:{i}\r\n")).collect();
    let list = list(text);
    assert_eq!(list.problems, []);
    assert_eq!(list.lines.len(), 1000);
    for (index, line) in list.lines.iter().enumerate() {
        assert_eq!(line.number, index + 1);
        assert_eq!(
            line.reference.to_string(),
            format!("r.example/a:{}", index + 1)
        );
    }
}

#[test]
fn a_megabyte_in_one_line_is_a_short_problem() {
    for filler in ["a", "\u{1f4e6}", "\u{7}"] {
        let long = filler.repeat(1 << 20);
        let list = list(format!("before:1\n{}\nafter:1\n", &long[..1 << 20]));
        assert_eq!(
            names(&list),
            ["docker.io/library/before:1", "docker.io/library/after:1"]
        );
        let [problem] = list.problems.as_slice() else {
            panic!("{:?}", list.problems);
        };
        assert_eq!(problem.number, 2);
        let text = problem.to_string();
        assert!(text.contains("1048576 bytes long"), "{text}");
        assert!(text.contains(&format!("{}…", filler.repeat(80)).escape_debug().to_string()));
        assert!(text.len() < 1000, "{text}");
    }
    // The limit is on what could be a name.
    for line in [
        format!("alpine:3 # {}", "x".repeat(1 << 20)),
        format!("{}alpine:3{}", " ".repeat(1 << 20), "\t".repeat(1 << 20)),
    ] {
        let list = list(&line);
        assert_eq!(names(&list), ["docker.io/library/alpine:3"]);
        assert_eq!(list.problems, []);
    }
}

#[test]
fn the_limit_of_a_line_is_exact() {
    let cause = |bytes: usize| list("a".repeat(bytes)).problems.remove(0).cause;
    assert!(matches!(cause(LINE_MAX), LineError::Name(_)));
    assert!(
        matches!(cause(LINE_MAX + 1), LineError::TooLong { bytes, .. } if bytes == LINE_MAX + 1)
    );
}

#[test]
fn the_limit_of_a_file_is_exact() {
    let mut text = b"alpine:3\n#".to_vec();
    text.resize(LIST_MAX as usize, b'x');
    assert_eq!(names(&list(&text)), ["docker.io/library/alpine:3"]);
    text.push(b'x');
    assert_eq!(ImageList::parse(&text), Err(ListError::TooLong));
    assert_eq!(
        written(&text),
        "error: longer than 4 MiB: this is no list of images\n"
    );
}

#[test]
fn the_limit_of_images_counts_each_once() {
    let mut text: String = (0..IMAGES_MAX)
        .map(|i| format!("a:{i}\ndocker.io/library/a:{i}\n"))
        .collect();
    assert_eq!(list(&text).lines.len(), IMAGES_MAX);
    text.push_str("one-more");
    assert_eq!(
        written(text.as_bytes()),
        "error: more than 10000 images; make several lists of it\n"
    );
}

#[test]
fn a_file_of_wrong_lines_is_one_error() {
    let mut text = "fine:1\n".to_owned() + &"-\n".repeat(PROBLEMS_MAX);
    assert_eq!(list(&text).problems.len(), PROBLEMS_MAX);
    text.push('-');
    let error = written(text.as_bytes());
    assert!(
        error.starts_with(
            "error: more than 1000 of its lines name no image, so it is no list of images; \
             the first is line 2: \"-\" is not an image name: "
        ),
        "{error}"
    );
}

/// Every line of a list that holds each byte somewhere: nothing panics, and nothing that is said
/// breaks a line or carries an escape sequence.
#[test]
fn whatever_byte_is_in_it_what_is_said_is_a_line() {
    for byte in 1..=u8::MAX {
        for line in [
            vec![byte],
            vec![b'a', byte],
            vec![b'a', byte, b'b'],
            vec![0xc2, byte],
            vec![0xe2, 0x80, byte],
            vec![b'a', b':', byte, byte, byte, b' ', byte],
        ] {
            let Ok(list) = ImageList::parse(&line) else {
                continue;
            };
            for problem in list.problems {
                let text = problem.to_string();
                assert!(!text.chars().any(char::is_control), "{line:x?}: {text:?}");
            }
        }
    }
}

#[test]
fn an_archive_of_each_kind_is_told_by_its_first_bytes() {
    let mut tar = vec![b'a'; 512];
    tar[257..262].copy_from_slice(b"ustar");
    for (bytes, suffix) in [
        (b"\x1f\x8b\x08".to_vec(), ".tar.gz"),
        (b"\x28\xb5\x2f\xfd\x04".to_vec(), ".tar.zst"),
        (b"\x04\x22\x4d\x18\x64".to_vec(), ".tar.lz4"),
        (b"\x02\x21\x4c\x18\x64".to_vec(), ".tar.lz4"),
        (b"BZh91AY&SY".to_vec(), ".tar.bz2"),
        (b"BZh9\x17\x72\x45\x38\x50\x90".to_vec(), ".tar.bz2"),
        (b"\xfd7zXZ\x00\x00".to_vec(), ".tar.xz"),
        (tar, ".tar"),
    ] {
        let error = ImageList::parse(&bytes).unwrap_err().to_string();
        assert!(error.ends_with(&format!("; name it {suffix}")), "{error}");
    }
    // A name may begin like one of them.
    assert_eq!(list("BZh1/app:1").lines.len(), 1);
}
