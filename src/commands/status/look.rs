//! Looks for what a daemon says, or else for what its ledger says.

use crate::config::Config;
use crate::ledger_file::LedgerFile;
use crate::process_identity::{pid_namespace, start_of};
use crate::state_dir::boot_id;
use crate::status::{DaemonPhase, Machine, OnBoard, SeenDaemon};
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
    pub(super) fn now(config: &Config) -> Result<Self, String> {
        let seen = seen(config)?;
        // One that starts has not read its ledger yet.
        let told = seen.document();
        let told = told.filter(|said| said.on_board != OnBoard::default());
        if let Some(document) = told {
            let on_board = document.on_board.clone();
            return Ok(Self {
                seen,
                on_board,
                notes: Vec::new(),
            });
        }
        let mut ledger = LedgerFile::new(&config.state_dir, &config.images.dir);
        let loaded = ledger.look();
        let warnings = loaded.warnings.iter();
        Ok(Self {
            seen,
            on_board: OnBoard::of_ledger(&loaded.ledger),
            notes: warnings.map(ToString::to_string).collect(),
        })
    }

    /// Whether a daemon runs and has told READY.
    pub(super) fn is_ready(config: &Config) -> Result<bool, String> {
        let seen = seen(config)?;
        let phase = seen.document().map(|document| document.phase);
        Ok(phase == Some(DaemonPhase::Ready))
    }
}

fn seen(config: &Config) -> Result<SeenDaemon, String> {
    let path = status_file::path_for(&config.state_dir);
    let document = status_file::read(&path).map_err(|error| format!("{}: {error}", path.display()));
    let machine = Machine {
        boot_id: boot_id(),
        pid_namespace: pid_namespace().unwrap_or_default(),
    };
    Ok(SeenDaemon::of(document?, &machine, start_of))
}
