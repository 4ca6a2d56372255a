//! Lines out of bytes, and the last of them.

use stowd::supervisor::output::{LastLines, Lines, MAX_LINE};

#[test]
fn a_line_is_passed_on_when_it_is_whole() {
    let mut lines = Lines::default();
    assert_eq!(lines.push(b"one\ntwo\nthr"), b"one\ntwo\n");
    assert_eq!(lines.push(b"e"), b"");
    assert_eq!(lines.push(b"e\n"), b"three\n");
    assert_eq!(lines.push(b"\n"), b"\n");
    assert_eq!(lines.push(b"no end"), b"");
    assert_eq!(lines.rest(), b"no end\n");
    assert_eq!(lines.rest(), b"");
}

#[test]
fn a_line_without_an_end_is_cut_rather_than_kept() {
    let mut lines = Lines::default();
    let chunk = vec![b'x'; MAX_LINE - 1];
    assert_eq!(lines.push(&chunk), b"");
    let piece = lines.push(b"yz");
    assert_eq!(piece.len(), MAX_LINE + 2);
    assert!(piece.ends_with(b"xyz\n"));
    assert_eq!(lines.rest(), b"");
}

#[test]
fn the_last_lines_are_few_short_and_not_blank() {
    let mut last = LastLines::default();
    last.record(b"0\n\n  \n");
    for n in 1..=30 {
        last.record(format!("{n}\r\n").as_bytes());
    }
    let expected: Vec<String> = (11..=30).map(|n| n.to_string()).collect();
    assert_eq!(last.to_vec(), expected);

    let many: String = (0..100).map(|n| format!("{n}\n")).collect();
    last.record(many.as_bytes());
    assert_eq!(
        last.to_vec(),
        (80..100).map(|n| n.to_string()).collect::<Vec<_>>()
    );

    last.record(&[&[b'x'; 5000][..], b"\n", &[b'y'; 1024], b"\n\xff\n"].concat());
    let seen = last.to_vec();
    assert_eq!(seen[17].chars().count(), 1025);
    assert!(seen[17].ends_with("x…"));
    assert_eq!(seen[18], "y".repeat(1024));
    assert_eq!(seen[19], "\u{fffd}");
}
