//! What a list may look like, and what becomes of one that is wrong.

use crate::support::{Generation, Registry, fixture, on_the_reference_in_turn, reference};

use super::harness::{
    SKOPEO, SOON, UMOCI, count, not_pulled, pinned, push, ready, set, setup, status, stocked, tags,
    told,
};

on_the_reference_in_turn!(
    comments_line_ends_and_a_byte_order_mark_are_fine,
    a_line_that_is_no_name_costs_itself_alone,
);

fn comments_line_ends_and_a_byte_order_mark_are_fine(generation: &Generation) {
    let registry = Registry::start();
    let digests = [UMOCI, SKOPEO].map(|name| push(&registry, name));
    let setup = setup(generation, registry.address(), "");
    let text = format!(
        "\u{feff}# what the node needs\r\n\r\n{UMOCI}\r\n\t {SKOPEO} \t# says the vendor\r\n \t\r\n#"
    );
    setup.list("core.txt", text);
    let stowd = ready(setup);
    assert_eq!(tags(&stowd), set(&[UMOCI, SKOPEO]));
    let mut wanted = set(&[UMOCI, SKOPEO]);
    for (name, digest) in ["umoci", "skopeo"].iter().zip(digests) {
        wanted.insert(format!("registry.stowd.test/{name}@{digest}"));
    }
    assert_eq!(pinned(&stowd), wanted);
    let imported = told(&stowd, "imported", "core.txt: ");
    assert_eq!(imported.len(), 1, "{imported:?}");
    for name in [UMOCI, SKOPEO] {
        assert!(imported[0].contains(name), "{imported:?}");
    }
    assert!(!stowd.log().contains(" failed /"), "{}", stowd.log());
    let dir = stowd.setup().images();
    let wanted = format!("ready: 2 images from 1 entry; watching {}; ", dir.display());
    assert!(status(&stowd).starts_with(&wanted), "{}", status(&stowd));
}

fn a_line_that_is_no_name_costs_itself_alone(generation: &Generation) {
    let registry = stocked();
    let setup = setup(generation, registry.address(), "");
    setup.list(
        "core.txt",
        format!("{UMOCI}\nhttps://registry.stowd.test/x:1\nUPPER/Case\n\n{SKOPEO} linux/amd64\n{SKOPEO}\n"),
    );
    let stowd = ready(setup);
    assert_eq!(tags(&stowd), set(&[UMOCI, SKOPEO]));
    let failed = told(&stowd, "failed", "core.txt: ");
    assert_eq!(failed.len(), 1, "{failed:?}");
    for (line, word) in [
        (2, "https://registry.stowd.test/x:1"),
        (3, "UPPER/Case"),
        (5, "linux/amd64"),
    ] {
        let told = not_pulled(&stowd, "core.txt", line);
        assert_eq!(told.len(), 1, "line {line}: {}", stowd.log());
        assert!(told[0].contains(word), "{told:?}");
        assert!(failed[0].contains(&format!("line {line}: ")), "{failed:?}");
    }
    assert!(failed[0].contains("(attempt 1)"), "{failed:?}");
    assert_eq!(stowd.lines(" not pulled ").len(), 3);
    let first = "ready: 2 images from 1 entry, 1 failed (core.txt: 1 attempt, next at ";
    assert!(status(&stowd).starts_with(first), "{}", status(&stowd));
}

#[test]
fn what_is_no_list_says_what_it_is() {
    let registry = stocked();
    let setup = setup(&reference(), registry.address(), "");
    let busybox = std::fs::read("/bin/busybox").unwrap();
    let utf16: Vec<u8> = format!("\u{feff}{UMOCI}\n")
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    setup.list("utf16.txt", utf16).list("program.txt", busybox);
    setup.list("good.txt", UMOCI);
    for (file, list) in [
        ("umoci.tar", "tar.txt"),
        ("umoci.tar.gz", "gz.txt"),
        ("umoci.tar.zst", "zst.txt"),
    ] {
        setup.stow_as(&fixture(file).path, list);
    }
    let stowd = ready(setup);
    for (list, words) in [
        ("tar.txt", "a tar archive"),
        ("gz.txt", "a gzip archive"),
        ("zst.txt", "a zstd archive"),
        ("utf16.txt", "UTF-16"),
        ("program.txt", "a binary file"),
    ] {
        let failed = told(&stowd, "failed", &format!("{list}: "));
        assert_eq!(failed.len(), 1, "{list}: {failed:?}");
        assert!(failed[0].contains(words), "{failed:?}");
        assert!(failed[0].len() < 500, "{failed:?}");
    }
    assert_eq!(stowd.lines(" not pulled "), Vec::<String>::new());
    assert_eq!(tags(&stowd), set(&[UMOCI]));
}

#[test]
fn a_line_of_a_megabyte_is_told_of_in_a_line() {
    let registry = stocked();
    let setup = setup(&reference(), registry.address(), "");
    let long = "a".repeat(1 << 20);
    setup.list("core.txt", format!("{UMOCI}\n{long}\n{SKOPEO}\n"));
    let stowd = ready(setup);
    assert_eq!(tags(&stowd), set(&[UMOCI, SKOPEO]));
    let told = not_pulled(&stowd, "core.txt", 2);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("1048576"), "{told:?}");
    assert!(stowd.log().lines().all(|line| line.len() < 4000));
    assert!(stowd.peak_memory() < 100, "{} MiB", stowd.peak_memory());
}

#[test]
fn a_list_of_nothing_is_imported() {
    let registry = stocked();
    let setup = setup(&reference(), registry.address(), "");
    setup
        .list("empty.txt", "")
        .list("comments.txt", "# none\n\n");
    let mut stowd = ready(setup);
    let dir = stowd.setup().images();
    for list in ["empty.txt", "comments.txt"] {
        assert_eq!(count(&stowd, "imported", &format!("{list}: ")), 1, "{list}");
    }
    let wanted = format!(
        "ready: 0 images from 2 entries; watching {}; ",
        dir.display()
    );
    assert!(status(&stowd).starts_with(&wanted), "{}", status(&stowd));
    assert_eq!(stowd.stop(), Some(0));
    stowd.restart();
    stowd.wait_ready(SOON);
    for list in ["empty.txt", "comments.txt"] {
        assert_eq!(count(&stowd, "skipped", list), 1, "{list}");
    }
}
