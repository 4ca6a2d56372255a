//! No import circles, neither between rooms nor inside one: in `src/` and in each folder of it, the files
//! and folders are a graph of what they import from each other, and that graph has no circle.
//!
//! Where A imports from B and B from A, neither can be read, or changed, without the other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What one file of a folder imports of the others: the other's name, and the path that says so.
type Edges = BTreeMap<String, BTreeMap<String, String>>;

#[test]
fn neither_rooms_nor_files_of_a_room_import_each_other_in_a_circle() {
    let mut circles = Vec::new();
    let folders = folders(Path::new("src"));
    assert!(folders.len() > 5, "the sources were not read");
    for folder in folders {
        let edges = edges(&folder);
        circles.extend(circle(&edges).map(|circle| told(&folder, &edges, &circle)));
    }
    assert!(circles.is_empty(), "\n{}", circles.join("\n"));
}

/// The folder and every one below.
fn folders(root: &Path) -> Vec<PathBuf> {
    let mut found = vec![root.to_owned()];
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(folders(&path));
        }
    }
    found.sort();
    found
}

/// Every file of a folder and below, with its module's path from `crate` on.
fn files(folder: &Path) -> Vec<(Vec<String>, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
            continue;
        }
        let inside = path.strip_prefix("src").unwrap().with_extension("");
        let mut module: Vec<String> = inside
            .iter()
            .map(|word| word.to_str().unwrap().to_owned())
            .collect();
        if module.last().is_some_and(|last| last == "mod") {
            module.pop();
        }
        found.push((module, plain(&fs::read_to_string(&path).unwrap())));
    }
    found
}

/// The code without comments and without the modules that only tests have.
fn plain(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let of_tests = lines.peek().is_some_and(|next| next.starts_with("mod "));
        if line == "#[cfg(test)]" && of_tests {
            // rustfmt closes a module at the beginning of a line.
            let one_line = lines.next().is_some_and(|line| line.ends_with(';'));
            if !one_line {
                let _ = lines.by_ref().find(|line| *line == "}");
            }
            continue;
        }
        let bare = line.trim_start();
        if !bare.starts_with("//") {
            code.push_str(bare.split(" // ").next().unwrap_or(bare));
            code.push('\n');
        }
    }
    code
}

/// What the files of this folder import from each other. A folder inside counts as one file, and so does
/// `mod.rs`, as `mod`.
fn edges(folder: &Path) -> Edges {
    let inside = folder.strip_prefix("src").unwrap();
    let room: Vec<String> = inside
        .iter()
        .map(|word| word.to_str().unwrap().to_owned())
        .collect();
    let files = files(folder);
    let children = files
        .iter()
        .filter_map(|(module, _)| module.get(room.len()));
    edges_of(&room, &files, &children.cloned().collect())
}

fn edges_of(
    room: &[String],
    files: &[(Vec<String>, String)],
    children: &BTreeSet<String>,
) -> Edges {
    let root = files.iter().find(|(module, _)| *module == room);
    let root = root.map_or("", |(_, code)| code.as_str());
    let reexports = reexports(root, room, children);
    let mut edges = Edges::new();
    for (module, code) in files {
        let from = module.get(room.len()).cloned();
        let from = from.unwrap_or_else(|| "mod".to_owned());
        let at_root = *module == room;
        for (path, public) in paths(code, module, at_root.then_some(children)) {
            let Some(rest) = path.strip_prefix(room) else {
                continue;
            };
            let target = match rest.first() {
                Some(first) if children.contains(first) => Some(first.clone()),
                // What `mod.rs` only passes on is its child's.
                Some(first) => match reexports.get(first) {
                    Some(child) => child.clone(),
                    None => Some("mod".to_owned()),
                },
                None => Some("mod".to_owned()),
            };
            // To pass on a name is to say that it is there, as `mod x;` does; to use it is to import it.
            let only_named =
                at_root && public && rest.last().is_some_and(|name| !is_used(name, root));
            if let Some(target) = target.filter(|target| *target != from && !only_named) {
                let to = edges.entry(from.clone()).or_default();
                to.entry(target).or_insert_with(|| path.join("::"));
            }
        }
    }
    edges
}

/// The names that `mod.rs` has from elsewhere, with the child that they are from; `None` for one from
/// outside of the room.
fn reexports(
    root: &str,
    room: &[String],
    children: &BTreeSet<String>,
) -> BTreeMap<String, Option<String>> {
    let mut found = BTreeMap::new();
    for statement in statements(root) {
        for (path, _) in paths(statement, room, Some(children)) {
            let child = path.strip_prefix(room).and_then(|rest| rest.first());
            let child = child.filter(|child| children.contains(*child)).cloned();
            if let Some(name) = path.last() {
                found.insert(name.clone(), child);
            }
        }
    }
    found
}

/// The `use` statements of a file.
fn statements(code: &str) -> impl Iterator<Item = &str> {
    let starts = code.match_indices("use ").filter(|(at, _)| {
        let line = code[..*at].rsplit('\n').next().unwrap_or_default();
        line.is_empty() || line.starts_with("pub")
    });
    starts.map(|(at, _)| code[at..].split_inclusive(';').next().unwrap_or_default())
}

/// Whether the name occurs in the file outside of its `use` statements.
fn is_used(name: &str, code: &str) -> bool {
    let mut rest = code.to_owned();
    for statement in statements(code) {
        rest = rest.replace(statement, "");
    }
    let rest = rest.lines().filter(|line| !is_declaration(line));
    rest.flat_map(words).any(|word| word == name)
}

/// `mod x;`
fn is_declaration(line: &str) -> bool {
    line.ends_with(';') && words(line).any(|word| word == "mod")
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
}

/// Every path of the code that begins with `crate`, `super`, `self` or, where they are given, one of
/// these children of the module: from `crate` on, and whether `pub use` passes it on.
fn paths(
    code: &str,
    module: &[String],
    children: Option<&BTreeSet<String>>,
) -> Vec<(Vec<String>, bool)> {
    let mut found = Vec::new();
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut before = ' ';
    let mut at = 0;
    while at < code.len() {
        let rest = &code[at..];
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        if end == 0 {
            before = rest.chars().next().unwrap();
            at += before.len_utf8();
            continue;
        }
        let (word, after) = rest.split_at(end);
        let parent = || module[..module.len().saturating_sub(1)].to_vec();
        let base = match word {
            _ if before == ':' || before == '.' || !after.starts_with("::") => None,
            "crate" => Some(Vec::new()),
            "self" => Some(module.to_vec()),
            "super" => Some(parent()),
            child if children.is_some_and(|children| children.contains(child)) => {
                Some([module, &[child.to_owned()]].concat())
            }
            _ => None,
        };
        if let Some(base) = base {
            let statement = code[..at].rsplit([';', '}']).next().unwrap_or_default();
            let statement = statement.trim_start();
            let public = statement.starts_with("pub") && statement.trim_end().ends_with("use");
            let tree = &after[2..];
            found.extend(leaves(tree, base).into_iter().map(|path| (path, public)));
        }
        before = word.chars().last().unwrap();
        at += end;
    }
    found
}

/// The paths of a tree of `use`, or the one path of an expression.
fn leaves(tree: &str, base: Vec<String>) -> Vec<Vec<String>> {
    let tree = tree.trim_start();
    if let Some(inner) = tree.strip_prefix('{') {
        return branches(inner)
            .into_iter()
            .flat_map(|branch| leaves(branch, base.clone()))
            .collect();
    }
    let end = tree
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(tree.len());
    let (word, rest) = tree.split_at(end);
    let mut path = base;
    match word {
        "self" | "" => {}
        "super" => drop(path.pop()),
        word => path.push(word.to_owned()),
    }
    match rest.strip_prefix("::") {
        Some(rest) => leaves(rest, path),
        None => vec![path],
    }
}

/// The parts between the commas of a brace's content, to its end.
fn branches(inner: &str) -> Vec<&str> {
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (at, letter) in inner.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => {
                found.push(&inner[start..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                found.push(&inner[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    found.retain(|branch| !branch.trim().is_empty());
    found
}

/// The files of one circle, in the order in which each imports the next.
fn circle(edges: &Edges) -> Option<Vec<String>> {
    let mut done = BTreeSet::new();
    edges
        .keys()
        .find_map(|from| walk(from, edges, &mut Vec::new(), &mut done))
}

fn walk(
    at: &str,
    edges: &Edges,
    way: &mut Vec<String>,
    done: &mut BTreeSet<String>,
) -> Option<Vec<String>> {
    if let Some(start) = way.iter().position(|seen| seen == at) {
        return Some(way[start..].to_vec());
    }
    if done.contains(at) {
        return None;
    }
    way.push(at.to_owned());
    let next = edges.get(at).into_iter().flat_map(BTreeMap::keys);
    let found = next.into_iter().find_map(|to| walk(to, edges, way, done));
    way.pop();
    done.insert(at.to_owned());
    found
}

fn told(folder: &Path, edges: &Edges, circle: &[String]) -> String {
    let mut lines = format!("{}: a circle of imports:\n", folder.display());
    for (number, from) in circle.iter().enumerate() {
        let to = &circle[(number + 1) % circle.len()];
        let path = &edges[from][to];
        lines.push_str(&format!("    {from} -> {to}, by {path}\n"));
    }
    lines
}

mod itself {
    use super::*;

    /// A folder `src/room` with these files, and the circle in it.
    fn circle_of(files: &[(&str, &str)]) -> Option<Vec<String>> {
        circle_in(&["room".to_owned()], files)
    }

    fn circle_in(room: &[String], files: &[(&str, &str)]) -> Option<Vec<String>> {
        let children: BTreeSet<String> = files
            .iter()
            .map(|(name, _)| (*name).to_owned())
            .filter(|name| name != "mod")
            .collect();
        let files: Vec<_> = files
            .iter()
            .map(|(name, code)| {
                let mut module = room.to_vec();
                module.extend((*name != "mod").then(|| (*name).to_owned()));
                (module, plain(code))
            })
            .collect();
        circle(&edges_of(room, &files, &children))
    }

    #[test]
    fn circles_are_found_however_they_are_written() {
        for (a, b) in [
            ("use super::b::B;", "use super::a::A;"),
            ("use crate::room::b::{self, B};", "fn f() { super::a::f() }"),
            ("use super::{x, b::{B, C}};", "use crate::room::{a::A};"),
        ] {
            let found = circle_of(&[("mod", "mod a;\nmod b;"), ("a", a), ("b", b)]);
            assert_eq!(found, Some(vec!["a".to_owned(), "b".to_owned()]), "{a} {b}");
        }
        // By way of what `mod.rs` passes on.
        let found = circle_of(&[
            ("mod", "mod a;\nmod b;\npub use b::B;"),
            ("a", "use super::B;"),
            ("b", "use super::a::A;"),
        ]);
        assert!(found.is_some());
        // With what `mod.rs` defines, where it uses the child.
        for root in [
            "mod a;\nuse a::A;\nstruct B(A);",
            "mod a;\npub use a::A;\nimpl A {}",
            "mod a;\nfn f() { a::f() }",
            "mod a;\nuse self::a::f;",
        ] {
            let found = circle_of(&[("mod", root), ("a", "use super::B;")]);
            assert!(found.is_some(), "{root}");
        }
    }

    #[test]
    fn circles_of_rooms_are_found_in_the_sources() {
        let rooms = [
            ("a", "use crate::b::B;"),
            ("b", "use crate::c::{C, D};"),
            ("c", "fn f(_: &crate::a::A) {}"),
        ];
        let expected = ["a", "b", "c"].map(str::to_owned).to_vec();
        assert_eq!(circle_in(&[], &rooms), Some(expected));
        assert_eq!(circle_in(&[], &rooms[..2]), None);
    }

    #[test]
    fn what_is_no_circle_is_not_taken_for_one() {
        for (root, a, b) in [
            (
                "mod a;\nmod b;",
                "use super::b::B;",
                "use crate::other::a::A;",
            ),
            // `mod.rs` names its children, and they use what it defines.
            ("mod a;\npub use a::A;\nstruct B;", "use super::B;", ""),
            (
                "mod a;\nuse a::A;\nuse crate::other::X;",
                "use super::X;",
                "",
            ),
            (
                "mod a;",
                "use super::b::B;\n// super::a::A",
                "/// [a](super::a::A)",
            ),
            (
                "mod a;",
                "use super::b::B;",
                "#[cfg(test)]\nmod tests {\n    use super::super::a::A;\n}\n",
            ),
        ] {
            let found = circle_of(&[("mod", root), ("a", a), ("b", b)]);
            assert_eq!(found, None, "{root} {a} {b}");
        }
    }
}
