//! When the initial load is over, and when the wait for lists ends.

use std::time::Duration;

use crate::entry::Kind;
use crate::happened::Happened;

use super::event::Now;
use super::state::Plan;

impl Plan {
    pub(super) fn judge_load(&mut self, now: Now) {
        let open = self.entries.loading();
        if !self.load.is_under_way() || self.query.is_pending() || open.archives > 0 {
            return;
        }
        if self.is_load_unpacking() {
            return;
        }
        let timeout = self.rules.ready_timeout;
        if open.all() == 0 {
            self.end_load();
        } else if self.load.wait_for_lists(now.uptime, timeout) {
            self.end_load();
            self.tell_overtime();
        }
    }

    fn end_load(&mut self) {
        self.load.end();
        self.entries.end_load();
        self.unpacks.end_load();
        self.tell_overruled();
    }

    /// When something is to be decided or told about the wait for lists.
    pub(super) fn load_due(&self) -> Option<Duration> {
        let due = self.load.due(self.rules.ready_timeout);
        due.filter(|_| self.entries.loading().archives == 0)
    }

    fn tell_overtime(&mut self) {
        let lists = self.entries.iter();
        let lists = lists.filter(|(_, life)| life.open() == Some(Kind::List));
        let lists = lists.map(|(path, _)| path.to_owned()).collect();
        let limit = self.rules.ready_timeout;
        self.tell(Happened::ListsOvertime { lists, limit });
    }
}
