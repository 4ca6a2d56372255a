//! Histories: what happens to a node, one thing after the other.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use stowd::digest::Digest;
use stowd::pin::{BEFORE_INSTANCES, DEFAULT_INSTANCE};
use stowd::plan::Event;
use stowd::unpack::UnpackWhen;

use crate::config::{Config, SCRUB};
use crate::content::Content;
use crate::directory::{Away, PATHS};
use crate::invariants::Violation;
use crate::node::Node;
use crate::op::Op;
use crate::rest::{come_to_rest, deliver, deliver_all, is_ready_soon, live_on, wait};

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
        node.oracle.checked()
    });
    let lived = lived.and_then(|()| come_to_rest(&mut node));
    (lived, node.trace.take().unwrap_or_default())
}

const DAY: Duration = Duration::from_secs(24 * 3600);

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
        Op::Open(a) => {
            let path = path(a);
            if let Some(file) = node.directory.files.get_mut(&path) {
                file.open = true;
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
        Op::ReadFails(a) => {
            let path = path(a);
            if let Some(file) = node.directory.files.get_mut(&path) {
                file.reading_fails = !file.reading_fails;
                touched(node, &path);
            }
        }
        Op::Changes(a) => {
            let path = path(a);
            if let Some(file) = node.directory.files.get_mut(&path) {
                file.changes = !file.changes;
                touched(node, &path);
            }
        }
        Op::Misread(a) => {
            if let Some(file) = node.directory.files.get_mut(&path(a)) {
                file.is_misread = !std::mem::replace(&mut file.was_misread, true);
            }
        }
        Op::WrittenUntilReady(a, b) => {
            let path = path(a);
            let starts = [&node.oracle.first_listing, &node.oracle.start];
            let is_later = |start: &Option<BTreeSet<_>>| {
                start.as_ref().is_some_and(|start| !start.contains(&path))
            };
            if starts.into_iter().all(is_later) && node.directory.is_visible(&path) {
                is_ready_soon(node, |node| {
                    written(node, &path, Content::pick(&path, b));
                })?;
            }
        }
        Op::Bake => node.bake(),
        Op::Copy(a, b) => {
            node.directory.copy();
            let path = path(a);
            if b.is_multiple_of(3) && path.extension().is_some_and(|suffix| suffix == "tar") {
                node.directory.disguise(&path, Content::pick(&path, b));
            }
            for path in node.directory.files.keys().cloned().collect::<Vec<_>>() {
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
            list(node);
        }
        Op::SubAway(a) => {
            node.directory.sub_away = away(a);
            list(node);
        }
        Op::List => list(node),
        Op::ListStorm(a) => {
            for number in 0..20 {
                list(node);
                deliver_all(node)?;
                node.step(usize::from(a) + number)?;
                node.advance(Duration::from_millis(50))?;
            }
        }
        Op::StoreDown(down) => node.store.set_down(down),
        Op::StoreFull(full) => node.store.is_full = full,
        Op::RegistryDown(down) => node.store.registry_is_down = down,
        Op::LoseImage(a) => {
            if let Some(name) = image(node, a) {
                node.store.delete(&name);
            }
        }
        Op::LosePin(a) => {
            if let Some(name) = image(node, a)
                && let Some(record) = node.store.now.images.get_mut(&name)
                && record.is_of_stowd()
            {
                record.pinned = false;
                node.store.lose(&name);
            }
        }
        Op::KeepPin(a) => node.store.keeps_pin = image(node, a),
        Op::ForeignPin(a) => foreign_pin(node, a),
        Op::LoseBlob(a) => {
            if let Some(digest) = blob(node, a) {
                node.store.lose_blob(&digest);
            }
        }
        Op::WrongBytes(a) => {
            if let Some(digest) = blob(node, a) {
                node.store.now.wrong.insert(digest);
            }
        }
        Op::PowerCut(a) => {
            if let Some(digest) = blob(node, a) {
                node.store.now.wrong.insert(digest);
            }
            node.scrub.suspect(SystemTime::UNIX_EPOCH);
            node.kill();
        }
        Op::NextDay => {
            node.wall += SCRUB;
            node.waits_end();
        }
        Op::ReplaceStore(a) => {
            node.store.replace(a.is_multiple_of(2));
            node.oracle.store_replaced();
            if let Some(other) = &mut node.other {
                other.oracle.store_replaced();
            }
        }
        Op::Deletes(a) => {
            node.store.deletes = image(node, a).filter(|_| a % 4 != 0);
            if let Some(name) = node.store.deletes.clone() {
                node.store.has_deleted = true;
                node.store.delete(&name);
            }
        }
        Op::Step(a) => node.step(usize::from(a))?,
        Op::Steps(a) => {
            for number in 0..8 {
                node.step(usize::from(a) + number)?;
            }
        }
        Op::Listen => node.is_listening = true,
        Op::Hear => node.hear()?,
        Op::Deliver => deliver(node)?,
        Op::DeliverAll => deliver_all(node)?,
        Op::Pass(tenths) => node.advance(Duration::from_millis(u64::from(tenths) * 100))?,
        Op::Live(seconds) => live_on(node, 2 * Duration::from_secs(u64::from(seconds)))?,
        Op::Jump(minutes) => {
            let by = match u64::from(minutes.unsigned_abs()) {
                minutes @ ..=90 => Duration::from_secs(60 * minutes),
                more => DAY * u32::try_from(more - 90).unwrap_or(1),
            };
            match minutes < 0 {
                true => node.wall -= by,
                false => node.wall += by,
            }
            node.waits_end();
        }
        Op::Save => node.save(),
        Op::DiskFails(fails) => node.disk_fails = fails,
        Op::KillAndLose(a) => {
            match a % 4 {
                0 => node.disk.clear(),
                1 => node.disk.truncate(node.disk.len() * usize::from(a) / 256),
                _ => node.disk.clone_from(&node.disk_before),
            }
            node.kill();
        }
        Op::Kill => node.kill(),
        Op::KillAfter(effects) => node.kill_after = Some(usize::from(effects)),
        Op::Restart => {
            node.save();
            node.start();
        }
        Op::Reload => {
            node.oracle.reloaded(node.config);
            node.tell(Event::Reloaded(node.config.rules()))?;
        }
        Op::Configure(a) => {
            let unpack = node.config.unpack;
            node.config = Config::new(a, node.config.instance);
            node.config.unpack = unpack;
        }
        Op::Unpack(a) => {
            node.config.unpack = match a % 4 {
                0 | 1 => UnpackWhen::BeforeReady,
                2 => UnpackWhen::AfterReady,
                _ => UnpackWhen::Never,
            };
        }
        Op::LoseSnapshot(a) => node.store.lose_snapshot(a),
        Op::UnpackingFails(fails) => node.store.unpacking_fails = fails,
        Op::Switch => node.switch(),
        Op::Fine => node.is_fine = true,
        Op::Wait => wait(node)?,
    }
    Ok(())
}

/// What a stowd from before there were instances has left, or another client has set.
fn foreign_pin(node: &mut Node, number: u8) {
    let Some(name) = image(node, number) else {
        return;
    };
    let Some(record) = node.store.now.images.get_mut(&name) else {
        return;
    };
    if !record.is_of_stowd() {
        record.pinned = true;
        record.owner = (number % 2 == 1).then_some("another");
        node.store.now.foreign.insert(name);
    } else if record.is_of(DEFAULT_INSTANCE) {
        record.owner = Some(BEFORE_INSTANCES);
        // Another instance does not leave the name to it any more.
        node.store.lose(&name);
    }
}

fn blob(node: &Node, number: u8) -> Option<Digest> {
    let blobs = &node.store.now.blobs;
    let place = usize::from(number).checked_rem(blobs.len())?;
    blobs.iter().nth(place).cloned()
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
    let images = &node.store.now.images;
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

pub(crate) fn touched(node: &mut Node, path: &Path) {
    let uptime = node.uptime();
    node.process.source.touched(&node.directory, path, uptime);
}

pub(crate) fn list(node: &mut Node) {
    let uptime = node.uptime();
    node.process.source.list(&node.directory, uptime);
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
