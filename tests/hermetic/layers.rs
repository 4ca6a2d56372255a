//! The layers of `src/lib.rs` against the `use crate::` lines of the code.

mod circles;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The layer of each module as the header of `src/lib.rs` draws them, and the number of its line.
fn drawn() -> BTreeMap<String, (u8, usize)> {
    let header = fs::read_to_string("src/lib.rs").unwrap();
    let mut layers = BTreeMap::new();
    for (number, line) in header.lines().enumerate() {
        let Some(rest) = line.strip_prefix("//!   L") else {
            continue;
        };
        let (layer, rest) = rest.split_at(1);
        let modules = rest.trim().split("  ").next().unwrap_or_default();
        for module in modules.split(',') {
            layers.insert(module.trim().to_owned(), (layer.parse().unwrap(), number));
        }
    }
    layers
}

/// Every `crate::x` of the sources, as (file, module that it is in, module that it names).
fn uses() -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    let mut directories = vec![Path::new("src").to_owned()];
    while let Some(directory) = directories.pop() {
        for item in fs::read_dir(directory).unwrap() {
            let path = item.unwrap().path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let inside = path.strip_prefix("src").unwrap();
            let first = inside
                .components()
                .next()
                .unwrap()
                .as_os_str()
                .to_str()
                .unwrap();
            let module = first.trim_end_matches(".rs").to_owned();
            for piece in fs::read_to_string(&path).unwrap().split("crate::").skip(1) {
                let end = piece
                    .find(|c: char| !c.is_alphanumeric() && c != '_')
                    .unwrap_or(piece.len());
                found.push((
                    path.display().to_string(),
                    module.clone(),
                    piece[..end].to_owned(),
                ));
            }
        }
    }
    found
}

#[test]
fn every_module_has_a_layer() {
    let layers = drawn();
    for item in fs::read_dir("src").unwrap() {
        let name = item.unwrap().file_name().into_string().unwrap();
        let module = name.trim_end_matches(".rs");
        assert!(
            module == "lib" || layers.contains_key(module),
            "{module} is in no layer of src/lib.rs"
        );
    }
}

#[test]
fn modules_look_down_and_never_at_their_siblings() {
    let layers = drawn();
    let uses = uses();
    assert!(uses.len() > 20, "the sources were not read");
    for (file, user, used) in uses {
        if user == used || user == "lib" {
            continue;
        }
        let ((from, above), (to, below)) = (layers[&user], layers[&used]);
        // Pure modules may build on each other; so may those of L4. In L2 each line builds on those below.
        let siblings_may = matches!(from, 0 | 4) || (from == 2 && above < below);
        assert!(
            from > to || (from == to && siblings_may),
            "{file}: L{from} {user} uses L{to} {used}"
        );
        assert!(
            !(from == 2 && used == "containerd"),
            "{file}: only L3 may know containerd"
        );
    }
}
