//! The time of a node: it passes from one moment at which something is due to the next.

use std::time::{Duration, SystemTime};

use stowd::plan::{Event, Now};

use crate::invariants::Violation;
use crate::node::Node;

impl Node {
    /// When this stowd or its source is due.
    fn own_due(&self, time: Duration, wall: SystemTime) -> Option<Duration> {
        let uptime = time - self.process.started;
        let due = [
            self.process.plan.next_due(Now { uptime, wall }),
            self.process.source.next_due(&self.directory),
        ];
        let due = due.into_iter().flatten().min();
        due.map(|due| self.process.started + due)
    }

    /// When a stowd or its source is due.
    pub(crate) fn due(&self) -> Option<Duration> {
        let other = self.other.as_ref();
        let other = other.and_then(|other| other.own_due(self.time, self.wall));
        self.own_due(self.time, self.wall)
            .into_iter()
            .chain(other)
            .min()
    }

    /// Lets time pass, and tells the plans and the sources when they are due.
    pub(crate) fn advance(&mut self, by: Duration) -> Result<(), Violation> {
        let end = self.time + by;
        for _ in 0..10_000 {
            let Some(due) = self.due().filter(|due| *due <= end) else {
                self.wall += end - self.time;
                self.time = end;
                return Ok(());
            };
            // A plan says only what is due later: all that is due now is to be told before.
            let is_due = |node: &Self| {
                let own = node.own_due(self.time, self.wall);
                own.is_some_and(|own| own <= due)
            };
            let is_other_due = self.other.as_ref().is_some_and(|other| is_due(other));
            let is_own_due = is_due(self);
            let due = due.max(self.time);
            let has_passed = due > self.time;
            self.wall += due - self.time;
            self.time = due;
            if is_own_due {
                self.tick(has_passed)?;
            }
            if is_other_due {
                self.switch();
                let ticked = self.tick(has_passed);
                self.switch();
                ticked?;
            }
        }
        Err(Violation::new("4: the plan is due without end"))
    }

    fn tick(&mut self, has_passed: bool) -> Result<(), Violation> {
        let uptime = self.uptime();
        self.process.source.tick(&self.directory, uptime);
        self.tell(Event::Tick)?;
        let due = self.process.plan.next_due(self.now());
        match !has_passed && due.is_some_and(|due| due <= uptime) {
            true => Err(Violation::new("4: the plan is due again at once")),
            false => Ok(()),
        }
    }
}
