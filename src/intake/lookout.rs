//! Tells what is on board when that has changed, and not too often: it is told as a whole.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::progress::Progress;
use crate::status::OnBoard;

/// Between two looks.
const REST_MIN: Duration = Duration::from_secs(1);
/// After a look, this many times as long as it took passes before the next.
const REST: u32 = 50;

/// Looks when something may have changed. Where nothing does, no timer runs.
#[derive(Debug, Default)]
pub(super) struct Lookout {
    told: watch::Sender<Arc<OnBoard>>,
    rests_until: Option<Instant>,
    /// Something may have changed since the last look, or is about to: bytes move.
    is_due: bool,
    /// What the last look said of the load, and of containerd.
    last: (bool, bool),
}

impl Lookout {
    pub(super) fn subscribe(&self) -> watch::Receiver<Arc<OnBoard>> {
        self.told.subscribe()
    }

    /// Something may have changed. What ends a load, or makes containerd go or return, is looked at at once.
    pub(super) fn look(&mut self, progress: &Progress, on_board: impl FnOnce() -> OnBoard) {
        if self.told.receiver_count() == 0 {
            return;
        }
        let now = Instant::now();
        let state = (progress.loaded, progress.store_away.is_some());
        if state == self.last && self.rests_until.is_some_and(|until| now < until) {
            self.is_due = true;
            return;
        }
        let found = on_board();
        self.told.send_if_modified(|told| {
            let is_news = **told != found;
            if is_news {
                *told = Arc::new(found);
            }
            is_news
        });
        self.last = state;
        self.is_due = !(progress.working.is_empty() && progress.pulling.is_empty());
        let looked = Instant::now();
        self.rests_until = Some(looked + REST_MIN.max((looked - now) * REST));
    }

    /// When the next look is due; `None` where nothing has changed.
    pub(super) fn due(&self) -> Option<Instant> {
        self.rests_until.filter(|_| self.is_due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::{Meter, Work};

    fn line(line: &str) -> OnBoard {
        OnBoard {
            line: line.to_owned(),
            ..OnBoard::default()
        }
    }

    #[test]
    fn it_looks_at_once_and_then_not_before_a_rest() {
        let mut lookout = Lookout::default();
        let still = Progress::default();
        lookout.look(&still, || panic!("there is no reader"));
        let mut told = lookout.subscribe();
        lookout.look(&still, || line("a"));
        assert_eq!(told.borrow_and_update().line, "a");
        assert_eq!(lookout.due(), None, "nothing has changed");

        lookout.look(&still, || panic!("it rests"));
        assert!(lookout.due().is_some_and(|due| due > Instant::now()));
        lookout.rests_until = Some(Instant::now());
        lookout.look(&still, || line("a"));
        assert!(!told.has_changed().unwrap(), "it is the same");
        assert_eq!(lookout.due(), None);
    }

    #[test]
    fn what_ends_a_load_or_an_outage_is_told_in_a_rest_too() {
        let mut lookout = Lookout::default();
        let told = lookout.subscribe();
        let mut progress = Progress::default();
        lookout.look(&progress, || line("a"));
        progress.loaded = true;
        lookout.look(&progress, || line("b"));
        assert_eq!(told.borrow().line, "b");
        progress.store_away = Some("gone".to_owned());
        lookout.look(&progress, || line("c"));
        assert_eq!(told.borrow().line, "c");
        progress.store_away = Some("still gone".to_owned());
        lookout.look(&progress, || panic!("it rests"));
    }

    #[test]
    fn while_bytes_move_it_looks_again_by_itself() {
        let mut lookout = Lookout::default();
        let _told = lookout.subscribe();
        let work = Work {
            name: "a.tar".to_owned(),
            size: 1,
            meter: Meter::default(),
        };
        let progress = Progress {
            working: vec![work],
            ..Progress::default()
        };
        lookout.look(&progress, || line("a"));
        assert!(lookout.due().is_some());
    }
}
