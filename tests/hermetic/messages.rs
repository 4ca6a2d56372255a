//! The table of stable log messages in the README against the sources that write them.

use std::fs;
use std::path::Path;

/// (message, level, fields) of each row.
fn rows() -> Vec<(String, String, Vec<String>)> {
    let readme = fs::read_to_string("README.md").unwrap();
    let (_, table) = readme
        .split_once("| begins with | level | fields | when |\n")
        .expect("the table");
    let words = |cell: &str| {
        cell.split('`')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect()
    };
    let rows = table
        .lines()
        .skip(1)
        .take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells = row.split('|').map(str::trim).collect::<Vec<_>>();
        (
            cells[1].trim_matches('`').to_owned(),
            cells[2].to_owned(),
            words(cells[3]),
        )
    })
    .collect()
}

fn sources(directory: &Path, into: &mut String) {
    for item in fs::read_dir(directory).unwrap() {
        let path = item.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else {
            into.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn every_message_is_written_at_its_level_with_its_fields() {
    let mut code = String::new();
    sources(Path::new("src"), &mut code);
    let rows = rows();
    assert!(rows.len() >= 16, "{rows:?}");
    for (message, level, fields) in rows {
        let literal = format!("\"{message}");
        // The call that ends with the message: from its macro's name on.
        let calls = code.match_indices(&literal).filter_map(|(at, _)| {
            let call = code[..at].rfind(&format!("{level}!("))?;
            let call = &code[call..at];
            (call.matches(");").count() == 0).then_some(call)
        });
        let calls = calls.collect::<Vec<_>>();
        assert!(!calls.is_empty(), "no {level}! writes {message:?}");
        for call in calls {
            for field in &fields {
                let has = call
                    .split(|c: char| !c.is_alphanumeric() && c != '_')
                    .any(|word| word == field);
                assert!(has, "{message:?} has no field {field}: {call}");
            }
        }
    }
}
