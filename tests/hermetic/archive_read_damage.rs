//! What is cut or damaged is never taken for whole.

use stowd::compression::Compression;
use stowd::layout::Catalogue;
use stowd::tar::{ArchiveError, DecodeError};

use crate::archive_read_support::*;

/// More than one of every format: a cut may fall between two members of a stream.
fn in_two_parts(compression: Compression, plain: &[u8]) -> Vec<u8> {
    let (first, second) = plain.split_at(plain.len() / 2);
    [
        compressed(compression, first),
        compressed(compression, second),
    ]
    .concat()
}

/// What is read of an archive that was cut at a length: nothing, or all before a member's border, with
/// the word that the end is missing.
fn assert_cut(read: Result<Catalogue, ArchiveError>, members: usize, length: usize) -> bool {
    match read {
        Ok(catalogue) => {
            assert!(catalogue.unmarked_end.is_some(), "{length}");
            assert!(catalogue.len() <= members, "{length}");
            true
        }
        Err(_) => false,
    }
}

#[test]
fn an_archive_that_is_cut_at_any_byte_is_refused_or_has_no_end() {
    let plain = sample();
    let members = read(&plain).unwrap().len();
    let mut borders = 0;
    for length in 0..plain.len() {
        let cut = &plain[..length];
        let by_index = assert_cut(read(cut), members, length);
        let in_one_pass = streamed(cut).map(|(catalogue, _)| catalogue);
        assert_eq!(
            by_index,
            assert_cut(in_one_pass, members, length),
            "{length}"
        );
        borders += usize::from(by_index);
    }
    // Behind each body, with as much of its padding as one likes, and in the middle of the end marker.
    assert!(
        borders > 2 * members && borders < plain.len() / 2,
        "{borders}"
    );
}

#[test]
fn a_compressed_stream_that_is_cut_at_any_byte_is_refused() {
    let plain = sample();
    let members = read(&plain).unwrap().len();
    for compression in COMPRESSIONS {
        for whole in [
            compressed(compression, &plain),
            compressed_by_tool(compression, &plain),
            in_two_parts(compression, &plain),
        ] {
            assert_eq!(read(&whole).unwrap().unmarked_end, None);
            for length in 0..whole.len() {
                match read(&whole[..length]) {
                    // Cut between two streams: what is there is whole.
                    Ok(catalogue) => {
                        assert_cut(Ok(catalogue), members, length);
                        assert!(whole[length..].len() > 20, "{compression} {length}");
                    }
                    // So short that there is no telling what it was; or cut between two members.
                    Err(ArchiveError::Empty | ArchiveError::NotTar { .. }) if length < 10 => {}
                    Err(ArchiveError::Truncated { .. }) => {}
                    Err(ArchiveError::Decode(DecodeError::Truncated(_))) => {}
                    Err(error) => panic!("{compression} {length}: {error}"),
                }
            }
        }
    }
}

#[test]
fn a_compressed_archive_without_end_marker_must_have_a_whole_stream() {
    let plain = sample();
    let unmarked = &plain[..plain.len() - 2 * BLOCK];
    for compression in COMPRESSIONS {
        let whole = compressed(compression, unmarked);
        let end = read(&whole).unwrap().unmarked_end;
        assert_eq!(end, Some(unmarked.len() as u64), "{compression}");
        for less in 1..12 {
            let cut = read(&whole[..whole.len() - less]);
            assert!(matches!(cut, Err(ArchiveError::Decode(_))), "{compression}");
        }
    }
}

#[test]
fn the_message_of_a_cut_says_so() {
    let plain = sample();
    let oci_layout = refusal(&plain[..520]);
    assert_eq!(
        oci_layout,
        "the tar archive ends early, at byte 520, in or after member oci-layout: \
         it was cut, or is still being written"
    );
    for compression in COMPRESSIONS {
        let whole = compressed(compression, &plain);
        let error = read(&whole[..whole.len() - 3]).unwrap_err().to_string();
        let expected = format!(
            "the {compression} stream ends early: the file was cut, or is still being written"
        );
        assert_eq!(error, expected);
    }
}

#[test]
fn both_blocks_of_the_end_marker_are_missed() {
    let file = member("a", b'0', b"x");
    let cut = |zeros: usize| [file.clone(), vec![0; zeros]].concat();
    for (zeros, end) in [(0, 1024), (BLOCK, 1536)] {
        assert_eq!(catalogue(&cut(zeros)).unmarked_end, Some(end));
    }
    for zeros in [1, BLOCK - 1, 2 * BLOCK - 1] {
        let error = refusal(&cut(zeros));
        assert!(error.starts_with("the tar archive ends early"), "{zeros}");
    }
    // A body without its padding is whole, and one that is cut is not.
    for (length, whole) in [(BLOCK, false), (BLOCK + 1, true), (1000, true)] {
        match read(&file[..length]) {
            Ok(catalogue) => {
                assert_eq!((catalogue.unmarked_end, whole), (Some(length as u64), true))
            }
            Err(error) => assert!(!whole, "{length}: {error}"),
        }
    }
    // Neither is a name without its member.
    let name = member("././@LongLink", b'L', b"name\0");
    let error = refusal(&[file.clone(), name].concat());
    assert!(error.starts_with("the tar archive ends early"), "{error}");
    let lone = [file.clone(), vec![0; BLOCK], file.clone(), end()].concat();
    let error = refusal(&lone);
    assert_eq!(
        error,
        "the tar archive is damaged at byte 1024: a lone block of zeros"
    );
    // Records of zeros, as tar writes them, and more.
    for zeros in [2 * BLOCK, 2 * BLOCK + 1, 10240, 1 << 20] {
        assert_eq!(catalogue(&cut(zeros)).unmarked_end, None);
    }
}

#[test]
fn archives_that_were_joined_are_refused() {
    let one = sample();
    let error = refusal(&[one.clone(), one.clone()].concat());
    let expected = format!(
        "after the end of the tar archive, at byte {}, more follows; \
         archives that were joined must be imported one by one",
        one.len()
    );
    assert_eq!(error, expected);
}

#[test]
fn an_archive_of_nothing_has_no_members() {
    assert!(catalogue(&end()).is_empty());
    assert!(catalogue(&[0; 10240]).is_empty());
    assert_eq!(catalogue(&[0; BLOCK]).unmarked_end, Some(512));
    assert!(refusal(&[0; 3]).starts_with("the tar archive ends early, at byte 0:"));
}

#[test]
fn a_flipped_bit_in_a_header_is_noticed() {
    let plain = sample();
    let expected = read(&plain).unwrap();
    let mut in_checksum = 0;
    for start in [0, 2 * BLOCK] {
        for bit in 0..BLOCK * 8 {
            let mut flipped = plain.clone();
            flipped[start + bit / 8] ^= 1 << (bit % 8);
            match read(&flipped) {
                // Some bits of the checksum's own field say nothing: a space may be a zero.
                Ok(catalogue) if (148..156).contains(&(bit / 8)) => {
                    assert_eq!(catalogue, expected);
                    in_checksum += 1;
                }
                Ok(catalogue) => panic!("bit {bit}: {catalogue:?}"),
                Err(error) => {
                    let error = error.to_string();
                    let at = format!("damaged at byte {start}: the checksum of the tar header");
                    // Without its magic, the first header is no header.
                    let is_clear = error.contains(&at) || error.starts_with("not a tar archive");
                    assert!(is_clear, "bit {bit}: {error}");
                }
            }
        }
    }
    assert!(in_checksum < 20);
}

#[test]
fn a_flipped_bit_in_a_compressed_stream_is_noticed() {
    let plain = sample();
    let expected = comparable(&read(&plain).unwrap());
    for compression in COMPRESSIONS {
        let whole = compressed(compression, &plain);
        let mut harmless = 0;
        for byte in 0..whole.len() {
            let mut flipped = whole.clone();
            // One bit of each: all of them take too long.
            flipped[byte] ^= 1 << (byte % 8);
            if let Ok(catalogue) = read(&flipped) {
                // The time in a gzip header, say, or how far back zeros are copied from.
                assert_eq!(comparable(&catalogue), expected, "{compression} {byte}");
                harmless += 1;
            }
        }
        assert!(
            harmless < whole.len(),
            "{compression}: {harmless} of {}",
            whole.len() * 8
        );
    }
}

#[test]
fn a_wrong_checksum_of_the_stream_is_noticed_behind_the_last_member() {
    // Body and end marker are read long before the checksum: it must be read all the same.
    let plain = tar_of(&[("layer.tar", &[9; 5000])]);
    for (compression, from_end) in [
        (Compression::Gzip, 8),
        (Compression::Zstd, 1),
        (Compression::Lz4, 1),
    ] {
        let mut bytes = compressed(compression, &plain);
        let at = bytes.len() - from_end;
        bytes[at] ^= 1;
        let error = read(&bytes).unwrap_err().to_string();
        let expected =
            format!("a checksum of the {compression} stream is wrong: the file is damaged");
        assert_eq!(error, expected);
    }
    for (compression, from_end) in [(Compression::Bzip2, 4), (Compression::Xz, 40)] {
        let mut bytes = compressed(compression, &plain);
        let at = bytes.len() - from_end;
        bytes[at] ^= 1;
        let error = read(&bytes).unwrap_err().to_string();
        let expected = format!("the {compression} stream is damaged: ");
        assert!(error.starts_with(&expected), "{error}");
    }
}

#[test]
fn headers_of_nothing_and_headers_twice_are_refused() {
    let name = member("././@LongLink", b'L', b"name\0");
    let records = member("pax", b'x', &record("path", "name"));
    let file = member("a", b'0', b"x");
    for dangling in [&name, &records] {
        let error = refusal(&[file.clone(), dangling.clone(), end()].concat());
        let expected = "the tar archive is damaged at byte 2048: a long name without its member";
        assert_eq!(error, expected);
        let error = refusal(&[dangling.clone(), dangling.clone(), file.clone(), end()].concat());
        let expected = "the tar archive is damaged at byte 1024: two long names for one member";
        assert_eq!(error, expected);
    }
}

#[test]
fn malformed_records_and_sizes_are_refused() {
    let after = |first: Vec<u8>| refusal(&[first, member("a", b'0', b"x"), end()].concat());
    let message = |cause: &str| format!("the tar archive is damaged at byte {cause}");
    assert_eq!(
        after(member("pax", b'x', b"99 path=a\n")),
        message("0: the pax header is malformed")
    );
    assert_eq!(
        after(member("pax", b'g', &record("path", "a"))),
        message("0: a global pax header sets \"path\", which only a header of one member may")
    );
    let sized = |field: &[u8; 12]| {
        let mut block = header("a", b'0', 0);
        block[124..136].copy_from_slice(field);
        after(checksummed(block).to_vec())
    };
    let negative = message("0: the tar header says a negative size");
    assert_eq!(
        sized(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
        negative
    );
    let huge = message("0: the tar header says a size of more than 8 EiB");
    assert_eq!(
        sized(b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
        huge
    );
    assert_eq!(
        sized(b"0000000zzzz\0"),
        message("0: the size in the tar header is not a number")
    );
    // Sizes that a file could have, but this one has not.
    for field in [
        b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff",
        b"77777777777\0",
    ] {
        let error = sized(field);
        assert!(error.starts_with("the tar archive ends early"), "{error}");
    }
    let past = [record("size", "9223372036854775807"), record("path", "b")].concat();
    let error = after(member("pax", b'x', &past));
    assert!(error.starts_with("the tar archive ends early"), "{error}");
}

#[test]
fn the_size_in_a_pax_header_counts() {
    let mut body = header("a", b'0', 0).to_vec();
    body.extend([7; BLOCK]);
    let bytes = [member("pax", b'x', &record("size", "512")), body, end()].concat();
    assert_eq!(catalogue(&bytes).file("a").unwrap().1.size, 512);
}
