//! What came of a job whose file changed while it was read. A file that changes at each reading counts as
//! failed after a while, and is read again with backoff: a log file that is called `app.tar` must not be
//! read for ever.

use crate::happened::Happened;
use crate::ledger::FailureClass;
use crate::source_event::Listed;

use super::event::{Effect, Now};
use super::failure::Failure;
use super::life::{Life, Overtaken, Running, Until};
use super::restless::Restless;
use super::state::Plan;

/// What is told of a file that changes at each reading.
const CHANGES: &str = "has changed each time that it was read; it is imported when it does not";

impl Plan {
    /// The file is not what it was when the job began.
    pub(super) fn changed(&mut self, running: Running, now: Now) {
        let path = running.entry.path.clone();
        let restless = self.restless.entry(path.clone());
        let restless = restless.or_insert(Restless::new(now.uptime));
        let is_restless = restless.changed(now.uptime);
        let next = match &running.overtaken {
            None => running.entry.clone(),
            Some(Overtaken::Next(listed)) => listed.entry.clone(),
            Some(Overtaken::Forget | Overtaken::FileGone | Overtaken::OutOfSight(_)) => {
                self.restless.remove(&path);
                return self.follow_source(running, false, now);
            }
        };
        if is_restless {
            let failure = Failure::new(FailureClass::Environment, CHANGES);
            self.record_failure(&path, None, running.fingerprint, failure, now);
            let until = self.next_try(&path, now);
            if let Some(restless) = self.restless.get_mut(&path)
                && let Until::Uptime(until) = until
            {
                restless.rests_until = Some(until);
            }
            self.effects.push(Effect::LookAgain(path.clone()));
            self.entries.set(path, Life::Unfinished(next));
        } else if running.overtaken.is_some() {
            self.follow_source(running, false, now);
        } else {
            self.tell(Happened::Changed(path.clone()));
            self.load.step();
            self.ledger.reopen(&path);
            self.effects.push(Effect::LookAgain(path.clone()));
            self.entries.set(path, Life::Rereading(running.entry));
        }
    }

    /// The life of an entry that was seen, and whose file has changed at each reading for too long.
    pub(super) fn rest(&self, listed: &Listed) -> Option<Life> {
        let until = self.restless.get(&listed.entry.path)?.rests_until?;
        let entry = listed.entry.clone();
        Some(match listed.whole {
            true => Life::Waiting(entry, Until::Uptime(until)),
            false => Life::Unfinished(entry),
        })
    }
}
