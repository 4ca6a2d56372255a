//! The plan: what is to be done, decided and not carried out.
//!
//! `plan.on(event, now)` is told what the images directory says, how jobs have ended, what the store
//! has and that time has passed, and answers with effects in the order in which they are to be
//! carried out. It does no I/O, reads no clock and spawns nothing, so every rule is a table in a test,
//! and the simulator runs it through random histories.
//!
//! ```text
//!   source event --> sighting -- an entry that may need work --> audit (ledger against store)
//!                                                                   |
//!   store state --> store_told -- images may be lost --------------->+
//!                                                                   |
//!   job ended ----> outcome -- record, next try --+             queued or done
//!                                                 v                 |
//!   tick ---------> due --(is there space?)-----> jobs <------------+
//!                                                  |
//!                   load: is everything of the start done?     pins: what does no entry bring?
//!                   unpacking: which images are unpacked?      scrub: which blobs are read again?
//! ```

mod absence;
mod audits;
mod baked;
mod baked_read;
mod brought_back;
mod changed;
mod copied;
mod entries;
mod event;
mod failure;
mod initial_load;
mod jobs;
mod life;
mod load;
mod on_board;
mod outcome;
mod pin_check;
mod pins;
mod renumbered;
mod restless;
mod retries;
mod sandbox_check;
mod scrub;
mod scrub_round;
mod sighting;
mod snapshot_query;
mod state;
mod store_query;
mod store_told;
mod unpack_state;
mod unpacking;
mod unpacks;
mod warnings;

use std::time::Duration;

use life::{Life, Queued};

pub use event::{
    Brings, Effect, EntryResult, Event, Job, JobEnd, Looked, Now, Rules, SandboxImage, ScrubStep,
    UnpackEnd,
};
pub use state::Plan;

impl Plan {
    /// Takes an event in, and says what is to be done now.
    pub fn on(&mut self, event: Event, now: Now) -> Vec<Effect> {
        match event {
            Event::Started => self.ask_for_sandbox_image(),
            Event::Source(event) => self.sighted(event, now),
            Event::Store(state) => self.store_told(state, now),
            Event::Images(listed) => {
                self.store_listed(listed.map(|images| (images, None)), now);
            }
            Event::Checked(checked) => {
                let checked = checked.map(|(images, faults)| (images, Some(faults)));
                self.store_listed(checked, now);
            }
            Event::FreeSpace(free) => self.space_told(free, now),
            Event::Ended(path, end) => self.ended(path, end, now),
            Event::Unpinned(names, result) => self.unpinned(names, result, now),
            Event::SandboxImage(image) => self.sandbox.answered(image),
            Event::Unrecorded(images) => self.scrub.found(images, now.uptime),
            Event::Scrubbed(result) => self.scrubbed(result, now),
            Event::UnpackedListed(listed) => self.snapshots_listed(listed),
            Event::UnpackEnded(target, end) => self.unpack_ended(&target, end, now),
            Event::Baked(baked) => self.baked_told(baked, now),
            Event::Reloaded(rules) => self.reloaded(rules),
            Event::Tick => {}
        }
        self.retry_lacking();
        if !self.is_store_away() {
            self.begin_jobs(now);
            self.audit_at_rest();
            if !self.sandbox.is_awaited() {
                self.judge_load(now);
            }
            // The load may have ended, for which they waited.
            self.begin_unpacks(now);
            self.check_pins(now);
            self.read_blobs(now);
            self.ask_the_store(now);
            self.judge_sandbox_image();
        }
        self.tell_sight();
        self.tell_baked();
        std::mem::take(&mut self.effects)
    }

    /// The uptime at which [`Event::Tick`] is to come, if nothing else does before.
    pub fn next_due(&self, now: Now) -> Option<Duration> {
        let uptime = now.uptime;
        let away = self.away_until.filter(|until| *until > uptime);
        let jobs = match away {
            // Nothing is begun before.
            Some(until) => Some(until),
            None => self.entries.next_due(uptime),
        };
        let others = [
            self.query.due(),
            self.pins.due(),
            self.load_due(),
            self.unpacks.next_due(),
        ];
        let others = others.into_iter().flatten().filter(|due| *due > uptime);
        let scrub = self.scrub_due(now).filter(|due| *due > uptime);
        others.chain(jobs).chain(scrub).min()
    }

    fn reloaded(&mut self, rules: Rules) {
        let is_other = rules.fingerprint != self.rules.fingerprint;
        self.rules = rules;
        self.effects.push(Effect::Rescan);
        self.brought_back.clear();
        self.due_at_once = self.ledger.serial();
        self.told.clear();
        self.told_unpacks.clear();
        self.unpack_by_rules();
        let again = self.entries.iter().filter_map(|(_, life)| match life {
            // The operator may have mended what they failed of.
            Life::Waiting(entry, _) => Some(Queued::first(entry.clone(), true)),
            // The look has given names by the rules of then.
            Life::Queued(queued) if is_other => {
                Some(Queued::first(queued.entry.clone(), queued.again))
            }
            _ => None,
        });
        for queued in again.collect::<Vec<_>>() {
            self.queue(queued);
        }
    }
}
