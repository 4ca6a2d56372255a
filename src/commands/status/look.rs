//! Looks for what a daemon says, or else for what its ledger says.

use crate::config::Config;
use crate::ledger::Ledger;
use crate::ledger_file::LedgerFile;
use crate::process_identity::{pid_namespace, start_of};
use crate::state_dir::boot_id;
use crate::status::{Machine, OnBoard, SeenDaemon};
use crate::status_file;

/// What stowd says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StatusLook {
    pub(super) seen: SeenDaemon,
    pub(super) on_board: OnBoard,
    /// What could not be read.
    pub(super) notes: Vec<String>,
}

impl StatusLook {
    pub(super) fn now(config: &Config) -> Self {
        let seen = seen(config);
        // One that starts has not read its ledger yet.
        let told = seen.document();
        let told = told.filter(|said| said.on_board != OnBoard::default());
        if let Some(document) = told {
            let on_board = document.on_board.clone();
            return Self {
                seen,
                on_board,
                notes: Vec::new(),
            };
        }
        let mut ledger = LedgerFile::new(&config.state_dir, &config.images.dir);
        let mut loaded = ledger.look();
        keep_baked(&mut loaded.ledger);
        let warnings = loaded.warnings.iter();
        Self {
            seen,
            on_board: OnBoard::of_ledger(&loaded.ledger),
            notes: warnings.map(ToString::to_string).collect(),
        }
    }
}

/// Of the baked set, what has no file is kept without it.
fn keep_baked(ledger: &mut Ledger) {
    let entries = ledger.iter().map(|(path, _)| path.to_owned());
    for path in entries.collect::<Vec<_>>() {
        if !path.exists() {
            ledger.keep_baked(&path);
        }
    }
}

/// What a daemon says of itself.
pub(super) fn seen(config: &Config) -> SeenDaemon {
    let path = status_file::path_for(&config.state_dir);
    let document = match status_file::read(&path) {
        Ok(document) => document,
        Err(error) => {
            let path = path.display();
            return SeenDaemon::Unknown(format!("cannot read {path}: {error}"));
        }
    };
    let machine = Machine {
        boot_id: boot_id(),
        pid_namespace: pid_namespace().unwrap_or_default(),
    };
    SeenDaemon::of(document, &machine, start_of)
}
