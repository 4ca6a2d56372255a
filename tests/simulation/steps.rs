//! What is under way goes a step further: questions to the store, pins, the scrub, and jobs.

use stowd::plan::{Event, JobEnd};

use crate::invariants::Violation;
use crate::jobs::JobUnderWay;
use crate::node::Node;
use crate::process::{StoreLook, UnderWay};

impl Node {
    /// Takes the work at this place one step further.
    pub(crate) fn step(&mut self, place: usize) -> Result<(), Violation> {
        if self.process.under_way.is_empty() {
            return Ok(());
        }
        let place = place % self.process.under_way.len();
        let event = match &mut self.process.under_way[place] {
            UnderWay::ListImages(_) if self.store.is_down => {
                self.oracle.pace.unanswered();
                Event::Images(Err("down".to_owned()))
            }
            UnderWay::ListImages(images) => match images.take() {
                Some(StoreLook { images, losses }) => {
                    let known = self.process.plan.ledger().iter();
                    let known = known.map(|(path, _)| path);
                    self.oracle.compared.answered(known, losses, false);
                    self.oracle.answered(&images);
                    Event::Images(Ok(images))
                }
                None => {
                    *images = Some(self.store.look());
                    return Ok(());
                }
            },
            UnderWay::CheckBlobs(..) if self.store.is_down => {
                self.oracle.pace.unanswered();
                Event::Checked(Err("down".to_owned()))
            }
            UnderWay::CheckBlobs(blobs, checked) => match checked.take() {
                Some((StoreLook { images, losses }, faults)) => {
                    let known = self.process.plan.ledger().iter();
                    let known = known.map(|(path, _)| path);
                    self.oracle.compared.answered(known, losses, true);
                    self.oracle.answered(&images);
                    Event::Checked(Ok((images, faults)))
                }
                None => {
                    let faults = self.store.faults(blobs, &self.process.damaged);
                    *checked = Some((self.store.look(), faults));
                    return Ok(());
                }
            },
            UnderWay::Unpin(_, done, _) if self.store.is_down => {
                Event::Unpinned(std::mem::take(done), Err("down".to_owned()))
            }
            UnderWay::Unpin(names, done, result) => {
                let count = if self.is_fine { 1 } else { names.len() };
                let now = names.drain(..count.min(names.len())).collect::<Vec<_>>();
                let is_refused = |name: &String| self.store.keeps_pin.as_ref() == Some(name);
                let (refused, now): (Vec<_>, Vec<_>) = now.into_iter().partition(is_refused);
                if !refused.is_empty() {
                    *result = Err("refused".to_owned());
                }
                done.extend(now.iter().cloned());
                let end = names
                    .is_empty()
                    .then(|| (std::mem::take(done), result.clone()));
                for name in now {
                    self.unpin(&name)?;
                }
                match end {
                    Some((done, result)) => Event::Unpinned(done, result),
                    None => return Ok(()),
                }
            }
            UnderWay::Snapshots(work) => {
                match work.step(&mut self.store, &mut self.oracle.compared) {
                    Some(event) => event,
                    None => return Ok(()),
                }
            }
            UnderWay::AskSpace => {
                let free = self.store.free();
                self.oracle.pace.has_space(free);
                Event::FreeSpace(free)
            }
            UnderWay::FindUnrecorded(known) => {
                let found = self.store.unrecorded(known, self.config.instance);
                Event::Unrecorded((!self.store.is_down).then_some(found))
            }
            UnderWay::Scrub(step) if self.store.is_down && !step.blobs.is_empty() => {
                Event::Scrubbed(None)
            }
            UnderWay::Scrub(step) => {
                let faults = self.store.read(&step.blobs);
                self.process.damaged.extend(faults.keys().cloned());
                if !self.disk_fails {
                    self.scrub = step.ended(&faults);
                }
                Event::Scrubbed(Some(faults))
            }
            UnderWay::ReadBaked => Event::Baked(Some(Box::new(self.baked_set()))),
            UnderWay::PutNames(images) => {
                let (is_down, instance) = (self.store.is_down, self.config.instance);
                for image in images.drain(..).filter(|_| !is_down) {
                    self.store.put(image.name, image.target.digest, instance);
                }
                Event::Tick
            }
            UnderWay::TakeOver(names) => {
                if !self.store.is_down {
                    self.store.take_over(names);
                }
                Event::Tick
            }
            UnderWay::Job(_) => {
                // Taken out, since it works on everything else.
                let UnderWay::Job(mut job) = self.process.under_way.swap_remove(place) else {
                    return Ok(());
                };
                match self.work(&mut job) {
                    None => {
                        self.process.under_way.push(UnderWay::Job(job));
                        return Ok(());
                    }
                    Some(end) => {
                        let uptime = self.uptime();
                        let meant = self.meaning(&job, &end);
                        self.oracle.stopped(&job, &meant, uptime);
                        self.oracle.ended(&job, &meant, &self.directory);
                        return self.tell_end(&job, end, &meant);
                    }
                }
            }
        };
        self.process.under_way.swap_remove(place);
        self.tell(event)
    }

    /// The record of a job is about the version that it has read.
    fn tell_end(
        &mut self,
        job: &JobUnderWay,
        end: JobEnd,
        meant: &JobEnd,
    ) -> Result<(), Violation> {
        let entry = &job.entry;
        let is_outcome = matches!(
            end,
            JobEnd::Through(_) | JobEnd::NoList(_) | JobEnd::Failed(..)
        );
        let before = self.process.plan.ledger().serial();
        self.tell(Event::Ended(entry.path.clone(), end))?;
        let record = self.process.plan.ledger().get(&entry.path);
        let record = record.filter(|record| is_outcome && record.serial > before);
        if record.is_some() {
            self.oracle.tried(job, meant);
        }
        if record.is_some_and(|record| record.identity != Some(entry.identity)) {
            let path = entry.path.display();
            return Err(Violation::new(format!(
                "3: the record of {path} is about a version that was not read"
            )));
        }
        Ok(())
    }

    fn unpin(&mut self, name: &str) -> Result<(), Violation> {
        self.trace(|| format!("unpin  {name}"));
        if self.store.unpin(name, self.config.instance) {
            self.oracle.unpinned(name, &self.directory)?;
        }
        Ok(())
    }
}
