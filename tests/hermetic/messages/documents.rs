//! What is written about the messages, made of the one list of them: the table of docs/messages.md, and the catalog of
//! the journal. `STOWD_WRITE_DOCUMENTS=1` writes both anew.

use std::env;
use std::fs;

use stowd::happened::{StableMessage, stable_messages};

const CATALOG: &str = "packaging/catalog/stowd.catalog";
const HEAD: &str = "| begins with | level | fields | when |\n|---|---|---|---|\n";

/// `journalctl -x` puts three columns before each line.
const COLUMNS: usize = 76;

/// What the document has below the head of the table.
fn table() -> String {
    let row = |message: &StableMessage| {
        let fields = message.fields.iter().map(|field| format!("`{field}`"));
        let fields = fields.collect::<Vec<_>>().join(", ");
        let fields = match fields.as_str() {
            "" => " ".to_owned(),
            fields => format!(" {fields} "),
        };
        let level = message.level.as_str().to_lowercase();
        let (begins, when) = (message.begins, message.when);
        format!("| `{begins}` | {level} |{fields}| {when} |\n")
    };
    stable_messages().map(row).collect()
}

/// <https://systemd.io/CATALOG/>
fn catalog() -> String {
    let mut catalog = "\
# Explains the messages of stowd that tell of something wrong: journalctl -x.
# src/happened/stable has the texts. The other messages, with their MESSAGE_ID, are comments.
"
    .to_owned();
    for message in stable_messages() {
        catalog.push('\n');
        match message.explanation {
            Some(text) => {
                catalog.push_str(&format!(
                    "-- {}\nSubject: {}\nDefined-By: stowd\nDocumentation: man:stowd(8)\n\n",
                    message.id,
                    subject(message)
                ));
                for line in wrapped(text) {
                    catalog.push_str(&line);
                    catalog.push('\n');
                }
            }
            None => catalog.push_str(&format!("# {} {}\n", message.id, message.begins.trim_end())),
        }
    }
    catalog
}

/// The beginning of the message, with what it is about where that follows at once.
fn subject(message: &StableMessage) -> String {
    let begins = message.begins;
    let about = ["instance", "entry", "image", "path", "file"];
    let about = about.iter().find(|field| message.fields.contains(field));
    match about {
        Some(field) if begins.ends_with(' ') => {
            format!("{begins}@STOWD_{}@", field.to_uppercase())
        }
        _ => begins.trim_end_matches([' ', ':', ';', ',']).to_owned(),
    }
}

/// Lines that are indented, as commands are, stay whole.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for paragraph in text.split('\n') {
        if paragraph.starts_with(' ') {
            lines.push(paragraph.to_owned());
            continue;
        }
        let mut line = String::new();
        for word in paragraph.split(' ') {
            if !line.is_empty() && line.len() + 1 + word.len() > COLUMNS {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines
}

/// The document with the table as it should be.
fn with_the_table(written: &str) -> String {
    let (before, rest) = written.split_once(HEAD).expect("the table");
    let rows = rest.lines().take_while(|line| line.starts_with('|'));
    let length = rows.map(|row| row.len() + 1).sum::<usize>();
    format!("{before}{HEAD}{}{}", table(), &rest[length..])
}

fn assert_written(name: &str, made: impl FnOnce(&str) -> String) {
    let written = fs::read_to_string(name).unwrap_or_default();
    let made = made(&written);
    if env::var_os("STOWD_WRITE_DOCUMENTS").is_some() {
        return fs::write(name, made).unwrap();
    }
    let (mut expected, mut found) = (made.lines(), written.lines());
    let first = expected.by_ref().find(|line| found.next() != Some(line));
    assert_eq!(
        first, None,
        "{name}: STOWD_WRITE_DOCUMENTS=1 writes it anew"
    );
    assert_eq!(made, written, "{name}");
}

#[test]
fn the_document_has_the_table_of_the_list() {
    assert_written("docs/messages.md", with_the_table);
}

#[test]
fn the_catalog_explains_what_is_wrong_and_has_every_id() {
    assert_written(CATALOG, |_| catalog());
}

#[test]
fn a_message_that_tells_of_something_wrong_is_explained_with_fields_that_it_has() {
    for message in stable_messages() {
        let is_wrong = ["WARN", "ERROR"].contains(&message.level.as_str());
        assert_eq!(message.explanation.is_some(), is_wrong, "{message:?}");
        let text = format!("{} {:?}", subject(message), message.explanation);
        let quoted = text.split('@').skip(1).step_by(2);
        for field in quoted {
            let field = field.strip_prefix("STOWD_").map(str::to_lowercase);
            let field = field.unwrap_or_else(|| panic!("{message:?}"));
            assert!(message.fields.contains(&field.as_str()), "{message:?}");
        }
    }
}
