//! `stowd doctor`: what on this machine would keep stowd or pods from working, a line each.

use std::io;

use crate::config::LoadedConfig;
use crate::doctor::{Diagnosis, Severity, examine};
use crate::one_line::one_line;

/// What was found, and whether stowd and pods would start.
pub fn doctor(loaded: &LoadedConfig) -> io::Result<(String, bool)> {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build()?;
    let found = runtime.block_on(examine(loaded));
    let would_start = found.iter().all(|one| one.severity != Severity::Bad);
    Ok((found.iter().map(line).collect(), would_start))
}

fn line(diagnosis: &Diagnosis) -> String {
    let Diagnosis {
        severity,
        subject,
        text,
    } = diagnosis;
    format!("{severity:<4}  {subject}: {}\n", one_line(text))
}
