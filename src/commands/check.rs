//! `stowd check`: the effective configuration, each value with where it comes from.

use std::io::{self, ErrorKind, Write};

use crate::config::{KEYS, LoadedConfig};

/// Writes the configuration as a TOML file. `rust_log` is what the variable `RUST_LOG` says, which
/// wins over `log-level`. A closed output is no error.
pub fn check(
    loaded: &LoadedConfig,
    rust_log: Option<&str>,
    out: &mut impl Write,
) -> io::Result<()> {
    let text = effective(loaded, rust_log.filter(|words| !words.is_empty()));
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

fn effective(loaded: &LoadedConfig, rust_log: Option<&str>) -> String {
    let mut text = String::new();
    let mut open = "";
    for key in KEYS {
        let (table, word) = key.table_and_word();
        if table != open {
            text.push_str(&format!("\n[{table}]\n"));
            open = table;
        }
        let origin = loaded.origin(key);
        let line = match key.text(&loaded.config) {
            Some(value) => format!("{word} = {value} # {origin}\n"),
            // TOML has no null; the empty path stands for a value that is not set.
            None => format!("{word} = \"\" # {origin}\n"),
        };
        text.push_str(&line);
        if let ("log-level", Some(words)) = (key.name(), rust_log) {
            text.push_str(&format!("# but RUST_LOG wins: {words:?}\n"));
        }
    }
    text
}
