//! Histories: what happens to a node, one thing after the other.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use stowd::pin::BEFORE_INSTANCES;
use stowd::plan::Event;
use stowd::source_event::SourceEvent;

use crate::content::Content;
use crate::directory::{Away, PATHS};
use crate::invariants::{Violation, at_rest, without_a_listing};
use crate::node::{Node, UnderWay, rules};
use crate::random::Random;

/// Something that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    /// Another file lies at the path.
    Write(u8, u8),
    /// The file at the path is opened, and has other content.
    Grow(u8, u8),
    /// It is closed.
    Close(u8),
    Delete(u8),
    Rename(u8, u8),
    /// Something is noticed, and nothing has changed.
    Touch(u8),
    /// The file cannot be read, or can be again.
    Unreadable(u8),
    RemoveOwn,
    RootAway(u8),
    SubAway(u8),
    /// Everything is listed, as at an overflow or a rescan.
    List,
    StoreDown(bool),
    StoreFull(bool),
    RegistryDown(bool),
    LoseImage(u8),
    LosePin(u8),
    ForeignPin(u8),
    /// The work at this place goes one step further.
    Step(u8),
    Steps(u8),
    Deliver,
    DeliverAll,
    /// Time passes, in tenths of a second.
    Pass(u16),
    /// The wall clock is set, by so many minutes.
    Jump(i8),
    Save,
    Kill,
    /// The process is killed when it has carried out so many effects more.
    KillAfter(u8),
    /// It is stopped in order, and started again.
    Restart,
    Reload,
    /// The store and the registry work, and everything is done that is left to do. The files are as
    /// they are: one that stays open, or cannot be read, holds nothing up for ever.
    Wait,
}

/// A random history.
pub(crate) fn random(seed: u64) -> Vec<Op> {
    let mut random = Random::new(seed);
    let length = 10 + random.below(50);
    // A node begins with some files.
    let mut history = Vec::new();
    for _ in 0..random.below(4) {
        history.push(Op::Write(byte(&mut random), byte(&mut random)));
    }
    history.push(Op::Restart);
    for _ in 0..length {
        let op = op(&mut random);
        history.push(op);
    }
    if random.below(2) == 0 {
        history.push(Op::Wait);
    }
    history
}

fn byte(random: &mut Random) -> u8 {
    u8::try_from(random.below(256)).unwrap_or(0)
}

fn op(random: &mut Random) -> Op {
    let a = byte(random);
    let b = byte(random);
    match random.below(100) {
        0..10 => Op::Write(a, b),
        10..13 => Op::Grow(a, b),
        13..16 => Op::Close(a),
        16..20 => Op::Delete(a),
        20..22 => Op::Rename(a, b),
        22 => Op::Touch(a),
        23 => Op::Unreadable(a),
        24 => Op::RemoveOwn,
        25 | 26 => Op::RootAway(a),
        27 | 28 => Op::SubAway(a),
        29 | 30 => Op::List,
        31 | 32 => Op::StoreDown(a.is_multiple_of(2)),
        33 => Op::StoreFull(a.is_multiple_of(2)),
        34 => Op::RegistryDown(a.is_multiple_of(2)),
        35 | 36 => Op::LoseImage(a),
        37 => Op::LosePin(a),
        38 => Op::ForeignPin(a),
        39..55 => Op::Step(a),
        55..61 => Op::Steps(a),
        61..71 => Op::Deliver,
        71..77 => Op::DeliverAll,
        77..88 => Op::Pass(u16::from(a)),
        88 => Op::Pass(u16::from(a) * 40),
        89 => Op::Jump(i8::from_ne_bytes([b])),
        90..93 => Op::Save,
        93 => Op::Kill,
        94 | 95 => Op::KillAfter(a % 4),
        96 => Op::Restart,
        _ => Op::Reload,
    }
}

/// Lives a history through, and says which invariant did not hold, if one did not.
pub(crate) fn live(history: &[Op], is_traced: bool) -> (Result<(), Violation>, Vec<String>) {
    let lived = catch_unwind(AssertUnwindSafe(|| live_through(history, is_traced)));
    lived.unwrap_or_else(|_| (Err(Violation::new("0: a panic")), Vec::new()))
}

fn live_through(history: &[Op], is_traced: bool) -> (Result<(), Violation>, Vec<String>) {
    let mut node = Node::new(is_traced);
    let lived = history.iter().try_for_each(|op| {
        node.trace(|| format!("** {op:?}"));
        happen(&mut node, *op)?;
        checked(&node)
    });
    let lived = lived.and_then(|()| come_to_rest(&mut node));
    (lived, node.trace.take().unwrap_or_default())
}

fn checked(node: &Node) -> Result<(), Violation> {
    match &node.oracle.too_many_reads {
        Some(what) => Err(Violation::new(what.clone())),
        None => Ok(()),
    }
}

fn path(number: u8) -> PathBuf {
    PATHS[usize::from(number) % PATHS.len()].into()
}

fn happen(node: &mut Node, op: Op) -> Result<(), Violation> {
    match op {
        Op::Write(a, b) => {
            let path = path(a);
            if node.directory.is_visible(&path) {
                written(node, &path, Content::pick(&path, b));
            }
        }
        Op::Grow(a, b) => {
            let path = path(a);
            if node.directory.seen(&path).is_some() {
                node.directory.change(&path, Content::pick(&path, b), true);
                touched(node, &path);
            }
        }
        Op::Close(a) => {
            let path = path(a);
            if let Some(file) = node.directory.files.get_mut(&path) {
                file.open = false;
                touched(node, &path);
            }
        }
        Op::Delete(a) => {
            let path = path(a);
            if node.directory.seen(&path).is_some() {
                node.directory.files.remove(&path);
                node.oracle.removed(&path);
                touched(node, &path);
            }
        }
        Op::Rename(a, b) => {
            let (from, to) = (path(a), path(b));
            let is_same_kind = from.extension() == to.extension() && from != to;
            if is_same_kind
                && node.directory.is_visible(&to)
                && node.directory.seen(&from).is_some()
                && let Some(file) = node.directory.files.remove(&from)
            {
                node.oracle.removed(&from);
                touched(node, &from);
                written(node, &to, file.content);
            }
        }
        Op::Touch(a) => touched(node, &path(a)),
        Op::Unreadable(a) => {
            let path = path(a);
            if node.directory.toggle_readable(&path) {
                touched(node, &path);
            }
        }
        Op::RemoveOwn => {
            if node.directory.root_away.is_none() {
                node.directory.remove_own();
                node.oracle.removed_below(Path::new("/i/own"));
                node.process.source.own_removed(&node.directory);
            }
        }
        Op::RootAway(a) => {
            node.directory.root_away = away(a);
            node.directory.was_away = true;
            list(node);
        }
        Op::SubAway(a) => {
            node.directory.sub_away = away(a);
            node.directory.was_away = true;
            list(node);
        }
        Op::List => list(node),
        Op::StoreDown(down) => node.store.is_down = down,
        Op::StoreFull(full) => node.store.is_full = full,
        Op::RegistryDown(down) => node.store.registry_is_down = down,
        Op::LoseImage(a) => {
            if let Some(name) = image(node, a) {
                node.store.images.remove(&name);
                node.store.lose(&name);
                node.oracle.foreign.remove(&name);
            }
        }
        Op::LosePin(a) => {
            if let Some(name) = image(node, a)
                && let Some(record) = node.store.images.get_mut(&name)
                && record.is_own()
            {
                record.pinned = false;
                node.store.lose(&name);
            }
        }
        Op::ForeignPin(a) => {
            if let Some(name) = image(node, a)
                && let Some(record) = node.store.images.get_mut(&name)
            {
                if record.is_own() {
                    // What a stowd from before there were instances has left.
                    record.owner = Some(BEFORE_INSTANCES);
                } else {
                    record.pinned = true;
                    record.owner = (a % 2 == 1).then_some("another");
                    node.oracle.foreign.insert(name);
                }
            }
        }
        Op::Step(a) => node.step(usize::from(a))?,
        Op::Steps(a) => {
            for number in 0..8 {
                node.step(usize::from(a) + number)?;
            }
        }
        Op::Deliver => deliver(node)?,
        Op::DeliverAll => {
            while !node.process.source.events.is_empty() {
                deliver(node)?;
            }
        }
        Op::Pass(tenths) => node.advance(Duration::from_millis(u64::from(tenths) * 100))?,
        Op::Jump(minutes) => {
            let by = Duration::from_secs(60 * u64::from(minutes.unsigned_abs()));
            match minutes < 0 {
                true => node.wall -= by,
                false => node.wall += by,
            }
        }
        Op::Save => node.save(),
        Op::Kill => node.kill(),
        Op::KillAfter(effects) => node.kill_after = Some(usize::from(effects)),
        Op::Restart => {
            node.save();
            node.start();
        }
        Op::Reload => {
            node.process.reloads += 1;
            node.oracle.reads_allowed += 1;
            list(node);
            node.tell(Event::Reloaded(rules()))?;
        }
        Op::Wait => {
            end_faults(node);
            exhaust(node)?;
            if !node.process.plan.is_loaded() {
                return Err(Violation::new("4: the initial load waits for ever"));
            }
            without_a_listing(node)?;
        }
    }
    Ok(())
}

fn away(number: u8) -> Option<Away> {
    match number % 5 {
        0 => Some(Away::Missing),
        1 => Some(Away::Empty),
        2 => Some(Away::Unreadable),
        _ => None,
    }
}

fn image(node: &Node, number: u8) -> Option<String> {
    let images = &node.store.images;
    let place = usize::from(number).checked_rem(images.len())?;
    images.keys().nth(place).cloned()
}

fn written(node: &mut Node, path: &Path, content: Content) {
    if node.directory.write(path, content, false) {
        // A new directory is listed before anything is told of the files in it.
        list(node);
    }
    touched(node, path);
}

fn touched(node: &mut Node, path: &Path) {
    let uptime = node.uptime();
    node.process.source.touched(&node.directory, path, uptime);
}

fn list(node: &mut Node) {
    let uptime = node.uptime();
    node.process.source.list(&node.directory, uptime);
}

fn deliver(node: &mut Node) -> Result<(), Violation> {
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

/// The store and the registry work.
fn end_faults(node: &mut Node) {
    node.kill_after = None;
    node.store.is_down = false;
    node.store.is_full = false;
    node.store.registry_is_down = false;
}

/// The faults end, and everything is done that is left to do.
fn come_to_rest(node: &mut Node) -> Result<(), Violation> {
    node.trace(|| "** rest".to_owned());
    end_faults(node);
    for path in PATHS {
        let path = Path::new(path);
        if let Some(file) = node.directory.files.get_mut(path)
            && (file.open || !file.readable)
        {
            file.open = false;
            file.readable = true;
            touched(node, path);
        }
    }
    // What was given up because it disappeared again and again is tried once more then.
    node.advance(Duration::from_secs(10 * 60))?;
    let begun = node.jobs;
    // A rescan finds what was lost meanwhile, and a second one what the first has changed.
    for _ in 0..3 {
        list(node);
        exhaust(node)?;
    }
    if node.jobs - begun > 120 {
        let jobs = node.jobs - begun;
        return Err(Violation::new(format!("4: {jobs} jobs to come to rest")));
    }
    checked(node)?;
    debug_assert!(
        !node
            .process
            .under_way
            .iter()
            .any(|w| matches!(w, UnderWay::Job(_)))
    );
    at_rest(node)
}

/// Does everything that is left to do, until only something new brings more.
fn exhaust(node: &mut Node) -> Result<(), Violation> {
    const PLENTY: usize = 3_000;
    for step in 0..PLENTY {
        if !node.process.source.events.is_empty() {
            deliver(node)?;
        } else if !node.process.under_way.is_empty() {
            node.step(step)?;
        } else {
            let uptime = node.uptime();
            let plan = node.process.plan.next_due(stowd::plan::Now {
                uptime,
                wall: node.wall,
            });
            let source = node.process.source.next_due(&node.directory);
            let Some(due) = plan.into_iter().chain(source).min() else {
                return Ok(());
            };
            node.advance(due.saturating_sub(uptime))?;
        }
    }
    Err(Violation::new("4: the work does not end"))
}

/// The shortest history that can be made of one that fails by leaving things out.
pub(crate) fn shrink(history: &[Op], invariant: &str) -> Vec<Op> {
    let fails = |history: &[Op]| match live(history, false).0 {
        Err(Violation(what)) => what.starts_with(invariant),
        Ok(()) => false,
    };
    let mut shortest = history.to_vec();
    let mut length = shortest.len() / 2;
    while length > 0 {
        let mut from = 0;
        let mut has_shrunk = false;
        while from < shortest.len() {
            let mut shorter = shortest.clone();
            shorter.drain(from..(from + length).min(shortest.len()));
            if fails(&shorter) {
                shortest = shorter;
                has_shrunk = true;
            } else {
                from += length;
            }
        }
        if !has_shrunk || length > 1 {
            length /= 2;
        }
    }
    shortest
}
