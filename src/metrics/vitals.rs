//! How a daemon is at the moment.

use std::time::Duration;

use crate::one_line::one_line;
use crate::status::{DaemonPhase, OnBoard};

/// What a daemon says of itself, as `status.json` has it.
#[derive(Debug, Clone, Copy)]
pub struct Vitals<'a> {
    pub phase: DaemonPhase,
    pub on_board: &'a OnBoard,
    /// From the start of the daemon to READY; `None` before it.
    pub load: Option<Duration>,
}

impl Vitals<'_> {
    /// Whether what READY promises holds now, and the line that says how it is.
    ///
    /// # Errors
    /// Why it does not hold, in one line.
    pub fn readiness(&self) -> Result<String, String> {
        let line = one_line(&self.on_board.line);
        let said = match (self.phase, &self.on_board.containerd_away) {
            (DaemonPhase::Starting, _) => Err("starting: containerd does not serve yet".to_owned()),
            (DaemonPhase::Stopping, _) => Err("stopping".to_owned()),
            (DaemonPhase::Failed, _) => Err("failed".to_owned()),
            (_, Some(error)) => Err(format!("containerd does not answer: {error}")),
            (DaemonPhase::Loading, None) if line.is_empty() => {
                Err("loading: looking for images".to_owned())
            }
            (DaemonPhase::Loading, None) => Err(format!("loading: {line}")),
            (DaemonPhase::Ready, None) if !self.on_board.loaded => {
                Err(format!("checking what containerd has: {line}"))
            }
            // An archive that came after READY does not end it.
            (DaemonPhase::Ready, None) if !line.starts_with("ready") => {
                Ok(format!("ready; {line}"))
            }
            (DaemonPhase::Ready, None) => Ok(line.to_string()),
        };
        said.map_err(|reason| format!("not ready: {}", one_line(&reason)))
    }

    /// Whether containerd serves, as far as the daemon knows.
    pub(super) fn is_containerd_up(&self) -> bool {
        let is_asked = matches!(self.phase, DaemonPhase::Loading | DaemonPhase::Ready);
        is_asked && self.on_board.containerd_away.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_is_what_holds_now() {
        let board = |line: &str, loaded, away: Option<&str>| OnBoard {
            line: line.to_owned(),
            loaded,
            containerd_away: away.map(str::to_owned),
            ..OnBoard::default()
        };
        let ready = "ready: 1 image from 1 entry; watching /i";
        use DaemonPhase::{Failed, Loading, Ready, Starting, Stopping};
        for (phase, on_board, expected) in [
            (Starting, board("", false, None), "not ready: starting: "),
            (
                Loading,
                board("", false, None),
                "not ready: loading: looking for images",
            ),
            (
                Loading,
                board("importing 1/2: a.tar", false, None),
                "not ready: loading: importing 1/2",
            ),
            (Ready, board(ready, true, None), ready),
            (
                Ready,
                board("importing 2/2: b.tar", true, None),
                "ready; importing 2/2: b.tar",
            ),
            (
                Ready,
                board("waiting for containerd", true, Some("no\nanswer")),
                "not ready: containerd does not answer: no\\nanswer",
            ),
            (
                Loading,
                board("", false, Some("gone")),
                "not ready: containerd does not answer: gone",
            ),
            (
                Ready,
                board("importing 1/2: a.tar", false, None),
                "not ready: checking what containerd has: importing",
            ),
            (Stopping, board(ready, true, None), "not ready: stopping"),
            (Failed, board(ready, true, None), "not ready: failed"),
        ] {
            let vitals = Vitals {
                phase,
                on_board: &on_board,
                load: None,
            };
            let said = vitals.readiness();
            let text = said.as_ref().unwrap_or_else(|reason| reason);
            assert!(text.starts_with(expected), "{text}");
            assert_eq!(said.is_ok(), expected.starts_with("ready"), "{text}");
        }
    }
}
