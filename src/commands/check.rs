//! `stowd check`: the effective configuration, each value with where it comes from.

use crate::config::{KEYS, LoadedConfig};

/// The configuration as a TOML file. `rust_log` is what the variable `RUST_LOG` says, which wins over
/// `log-level`.
pub fn effective(loaded: &LoadedConfig, rust_log: Option<&str>) -> String {
    let rust_log = rust_log.filter(|words| !words.is_empty());
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
