//! A layer: the values of one source, as figment merges them.

use std::collections::VecDeque;

use figment::providers::{Format, Toml};
use figment::util::nest;
use figment::value::{Dict, Map, Value};
use figment::{Metadata, Profile, Provider};

use super::Config;
use super::key::{KEYS, Key, tables, words_of_variable};
use super::nearest::nearest;
use super::origin::Origin;
use super::problem::Problem;
use super::value::{describe, is_table};

/// The values of one source.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) source: Origin,
    values: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        self.source.to_metadata()
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

impl Layer {
    /// A file's text.
    pub(super) fn of_toml(source: Origin, text: &str) -> Result<Self, Problem> {
        match Toml::from_str(text) {
            Ok(values) => Ok(Self { source, values }),
            Err(error) => {
                let (line, column) = position(text, error.span().map_or(0, |span| span.start));
                let what = error.message().trim().replace('\n', ", ");
                let fix = fix_of_syntax(&what);
                Err(Problem::new(
                    source,
                    "",
                    format!("line {line}, column {column}: not TOML: {what}{fix}"),
                ))
            }
        }
    }

    /// A variable whose name begins with `STOWD_`.
    pub(super) fn of_variable(name: &str, raw: &str) -> Result<Self, Problem> {
        let source = Origin::Variable(name.to_owned());
        match KEYS.iter().find(|key| key.variable() == name) {
            Some(key) => Ok(Self::of_one(source, key, key.value_of_variable(raw))),
            None => Err(unknown_variable(source, name)),
        }
    }

    /// One key and its value.
    pub(super) fn of_one(source: Origin, key: &Key, value: Value) -> Self {
        let values = nest(key.name(), value).into_dict().unwrap_or_default();
        Self { source, values }
    }

    /// Everything in this layer that no key takes.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut scratch = Config::default();
        let mut open: VecDeque<(String, &Dict)> = [(String::new(), &self.values)].into();
        while let Some((table, dict)) = open.pop_front() {
            for (word, value) in dict {
                let name = match table.as_str() {
                    "" => word.clone(),
                    table => format!("{table}.{word}"),
                };
                let what = if word.contains('.') {
                    Some(format!(
                        "unknown key \"{word}\"; leave out the quotes if its dots step into tables"
                    ))
                } else if let Some(key) = Key::named(&name) {
                    key.set(&mut scratch, value).err().map(|e| e.to_string())
                } else if !tables().any(|table| table == name) {
                    Some(unknown(&name, value))
                } else if let (true, Some(inner)) = (is_table(value), value.as_dict()) {
                    open.push_back((name.clone(), inner));
                    None
                } else {
                    Some(format!("expected a table, found {}", describe(value)))
                };
                if let Some(what) = what {
                    problems.push(Problem::new(self.source.clone(), &name, what));
                }
            }
        }
        problems
    }
}

fn unknown(name: &str, value: &Value) -> String {
    if is_table(value) {
        return match nearest(name, tables()) {
            Some(table) => format!("unknown table; did you mean [{table}]?"),
            None => format!(
                "unknown table; the tables are {}",
                tables().collect::<Vec<_>>().join(", ")
            ),
        };
    }
    match nearest(name, KEYS.iter().map(Key::name)) {
        Some(key) => format!("unknown key; did you mean {key}?"),
        None => "unknown key; stowd.toml(5) lists the keys".to_owned(),
    }
}

fn unknown_variable(source: Origin, name: &str) -> Problem {
    let variables: Vec<String> = KEYS.iter().map(Key::variable).collect();
    let inside = |table: &str| name == format!("STOWD_{}", words_of_variable(table));
    let what = if let Some(table) = tables().find(|table| inside(table)) {
        format!("unknown variable; {table} is a table: set its keys one by one, as in {name}__KEY")
    } else if let Some(variable) = variables.iter().find(|v| one_underscore(v) == *name) {
        format!("unknown variable; did you mean {variable} (two underscores after a table)?")
    } else if let Some(variable) = nearest(name, variables.iter().map(String::as_str)) {
        format!("unknown variable; did you mean {variable}?")
    } else {
        "unknown variable; STOWD_ begins the names of stowd's own alone, stowd.toml(5) lists them"
            .to_owned()
    };
    Problem::new(source, "", what)
}

fn one_underscore(variable: &str) -> String {
    variable.replace("__", "_")
}

/// The usual cause of a parser's error.
fn fix_of_syntax(what: &str) -> &'static str {
    if what.contains("expected newline") || what.starts_with("invalid string") {
        "; paths, durations, sizes and names need quotes"
    } else {
        ""
    }
}

/// Line and column, from 1, of a byte of the text; columns count characters.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    (line, column)
}
