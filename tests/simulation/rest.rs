//! Everything is done that is left to do: for a while, or at the end of a history, when the faults end.

use std::path::Path;
use std::time::Duration;

use stowd::source_event::SourceEvent;

use crate::config::SCRUB;
use crate::directory::PATHS;
use crate::history::{list, touched};
use crate::invariants::{Violation, at_rest, without_a_listing};
use crate::node::Node;
use crate::process::UnderWay;
use crate::unpacking;

/// So many jobs, and questions to the store, there are at most after all is listed again: it was 40 where
/// it was most.
const JOBS: usize = 120;

pub(crate) fn deliver(node: &mut Node) -> Result<(), Violation> {
    if let Some(SourceEvent::Listed(listing)) = node.process.source.events.front() {
        // What has gone meanwhile is not waited for.
        let entries = listing.entries.iter().map(|listed| &listed.entry);
        let there =
            entries.filter(|entry| node.directory.entry(&entry.path).as_ref() == Some(entry));
        let paths = there.map(|entry| entry.path.clone());
        node.oracle.listed(&paths.collect());
    }
    node.deliver()
}

pub(crate) fn deliver_all(node: &mut Node) -> Result<(), Violation> {
    while !node.process.source.events.is_empty() {
        deliver(node)?;
    }
    Ok(())
}

/// Does it with both stowds, if there are two.
fn both(
    node: &mut Node,
    mut what: impl FnMut(&mut Node) -> Result<(), Violation>,
) -> Result<(), Violation> {
    what(node)?;
    if node.other.is_some() {
        node.switch();
        let done = what(node);
        node.switch();
        done?;
    }
    Ok(())
}

/// The store and the registry work, and everything is done that is left to do, though nothing is listed
/// again.
pub(crate) fn wait(node: &mut Node) -> Result<(), Violation> {
    end_faults(node);
    both(node, |node| {
        mend_media(node);
        Ok(())
    })?;
    exhaust(node)?;
    both(node, |node| {
        if !node.process.plan.is_loaded() {
            return Err(Violation::new("4: the initial load waits for ever"));
        }
        without_a_listing(node)
    })
}

/// The media work, and the source looks at what it could not read. Nothing is written to all the time.
fn mend_media(node: &mut Node) {
    for path in PATHS {
        let path = Path::new(path);
        let Some(file) = node.directory.files.get_mut(path) else {
            continue;
        };
        file.changes = false;
        if std::mem::take(&mut file.reading_fails) {
            touched(node, path);
        }
    }
}

/// Nothing that comes later holds READY, such as what is done each second. Files hold it for two minutes
/// at most, and lists for five.
pub(crate) fn is_ready_soon(
    node: &mut Node,
    mut each_second: impl FnMut(&mut Node),
) -> Result<(), Violation> {
    end_faults(node);
    mend_media(node);
    for _ in 0..600 {
        each_second(node);
        let mut steps = 0;
        while node.is_busy() && steps < 200 {
            one_step(node, steps)?;
            steps += 1;
        }
        if node.process.plan.is_loaded() {
            return Ok(());
        }
        node.advance(Duration::from_secs(1))?;
    }
    Err(Violation::new("4: what came later holds the initial load"))
}

/// The store and the registry work.
fn end_faults(node: &mut Node) {
    node.kill_after = None;
    if let Some(other) = &mut node.other {
        other.kill_after = None;
    }
    node.store.set_down(false);
    node.store.is_full = false;
    node.store.registry_is_down = false;
    node.store.keeps_pin = None;
    node.store.unpacking_fails = false;
}

/// The faults end, and everything is done that is left to do.
pub(crate) fn come_to_rest(node: &mut Node) -> Result<(), Violation> {
    node.trace(|| "** rest".to_owned());
    end_faults(node);
    node.store.deletes = None;
    both(node, |node| {
        for path in PATHS {
            let path = Path::new(path);
            let Some(file) = node.directory.files.get_mut(path) else {
                continue;
            };
            file.changes = false;
            if file.open || !file.can_be_read() {
                file.open = false;
                file.readable = true;
                file.reading_fails = false;
                touched(node, path);
            }
        }
        Ok(())
    })?;
    let begun = node.jobs;
    // A rescan finds what was lost meanwhile, and a second one what the first has changed. What was given
    // up because it disappeared again and again is tried once in ten minutes. Entries that share a name,
    // and are tried at once, take it from each other, and their last one has it after the next try.
    rescan(node, 3)?;
    let jobs = node.jobs - begun;
    if jobs > JOBS {
        return Err(Violation::new(format!("4: {jobs} jobs to come to rest")));
    }
    if node.store.is_any_wrong() {
        // Until all blobs have been read, and what was found is brought back.
        live_on(node, 2 * SCRUB)?;
        exhaust(node)?;
        rescan(node, 2)?;
    }
    both(node, |node| {
        node.oracle.checked()?;
        let mut under_way = node.process.under_way.iter();
        debug_assert!(!under_way.any(|under_way| matches!(under_way, UnderWay::Job(_))));
        at_rest(node)?;
        unpacking::at_rest(node)
    })
}

/// So many times, and ten minutes between two.
fn rescan(node: &mut Node, times: usize) -> Result<(), Violation> {
    for _ in 0..times {
        node.advance(Duration::from_secs(10 * 60))?;
        both(node, |node| {
            list(node);
            Ok(())
        })?;
        exhaust(node)?;
    }
    Ok(())
}

/// What is due so late is the next reading of all blobs, and no work that is left.
const END: Duration = Duration::from_secs(12 * 3600);

/// One thing of what is to be done before time passes.
fn one_step(node: &mut Node, step: usize) -> Result<(), Violation> {
    match node.process.source.events.is_empty() {
        false => deliver(node),
        true if node.has_store_news() => node.hear(),
        true => node.step(step),
    }
}

/// Does everything that is left to do, until only something new brings more.
fn exhaust(node: &mut Node) -> Result<(), Violation> {
    match work_until(node, None)? {
        true => Ok(()),
        false => Err(Violation::new("4: the work does not end")),
    }
}

/// Lets time pass and everything be done as it comes.
pub(crate) fn live_on(node: &mut Node, by: Duration) -> Result<(), Violation> {
    let end = node.time + by;
    work_until(node, Some(end))?;
    node.advance(end.saturating_sub(node.time))
}

/// Does everything as it comes until this time, or else until only something new brings more; says whether
/// it has come so far.
fn work_until(node: &mut Node, end: Option<Duration>) -> Result<bool, Violation> {
    const PLENTY: usize = 4_000;
    let instance = node.config.instance;
    let mut has_ended = false;
    for step in 0..PLENTY {
        let end = end.unwrap_or(node.time + END);
        if node.is_busy() {
            one_step(node, step)?;
        } else if node.is_other_busy() {
            node.switch();
        } else if let Some(due) = node.due().filter(|due| *due <= end) {
            node.advance(due.saturating_sub(node.time))?;
        } else {
            has_ended = true;
            break;
        }
    }
    if node.config.instance != instance {
        node.switch();
    }
    Ok(has_ended)
}
