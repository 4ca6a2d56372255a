//! What can happen to a node, and random histories of it.

use crate::random::Random;

/// Something that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    /// Another file lies at the path.
    Write(u8, u8),
    /// The file at the path is opened, and has other content.
    Grow(u8, u8),
    /// It is opened for writing, and has the same content until it is written.
    Open(u8),
    /// It is closed.
    Close(u8),
    Delete(u8),
    Rename(u8, u8),
    /// Something is noticed, and nothing has changed.
    Touch(u8),
    /// The file cannot be read, or can be again.
    Unreadable(u8),
    /// Reading it fails, or does not any more; its mode is the same.
    ReadFails(u8),
    /// It changes each time that it is read, or does not any more.
    Changes(u8),
    /// Its next reading finds it broken, which it is not: a cable, the memory.
    Misread(u8),
    /// A file that was not there at the start is written anew all the time, until READY.
    WrittenUntilReady(u8, u8),
    /// The tree was copied: its files have other inodes and ctimes. Of every third copy the file at the path
    /// has other content, and the same length and mtime.
    Copy(u8, u8),
    /// What is loaded is baked, and a daemon starts.
    Bake,
    RemoveOwn,
    RootAway(u8),
    SubAway(u8),
    /// Everything is listed, as at an overflow or a rescan.
    List,
    /// Directories come and go: everything is listed many times in a few seconds.
    ListStorm(u8),
    StoreDown(bool),
    StoreFull(bool),
    RegistryDown(bool),
    LoseImage(u8),
    LosePin(u8),
    /// The pin of a name cannot be taken off, for a while.
    KeepPin(u8),
    ForeignPin(u8),
    /// A blob is lost; the images that need it are named all the same.
    LoseBlob(u8),
    /// A blob has other bytes from now on, of the same length, which only reading it tells.
    WrongBytes(u8),
    /// The power is cut: so it is with a blob. What the process knew is lost.
    PowerCut(u8),
    /// A day passes by the wall clock.
    NextDay,
    /// Another store is there, or an empty one: a containerd with another root.
    ReplaceStore(u8),
    /// Another client deletes this name as soon as it is there, or does not any more.
    Deletes(u8),
    /// The work at this place goes one step further.
    Step(u8),
    Steps(u8),
    /// What the store tells by itself is told to the plan from now on.
    Listen,
    /// The plan is told.
    Hear,
    Deliver,
    DeliverAll,
    /// Time passes, in tenths of a second.
    Pass(u16),
    /// So many seconds pass, twice, and everything is done as it comes.
    Live(u8),
    /// The wall clock is set, by so many minutes, or by so many days where it is more than an hour and a half.
    Jump(i8),
    Save,
    /// The ledger cannot be written, or can be again.
    DiskFails(bool),
    /// The process is killed, and of the ledger's file is left what was there before it was written
    /// last, or a part, or nothing.
    KillAndLose(u8),
    Kill,
    /// The process is killed when it has carried out so many effects more.
    KillAfter(u8),
    /// It is stopped in order, and started again.
    Restart,
    Reload,
    /// The configuration is changed, which counts from the next reload or start on.
    Configure(u8),
    /// Images are unpacked from the next reload or start on, before READY or after it, or are not any more.
    Unpack(u8),
    LoseSnapshot(u8),
    UnpackingFails(bool),
    /// From now on things happen to the other stowd, which has another instance and another images
    /// directory, and the same store.
    Switch,
    /// Each name is put and unpinned in a step of its own.
    Fine,
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
    // Every second one goes on in smaller steps.
    if random.below(2) == 0 {
        history.push(Op::Fine);
    }
    // And in every second the store tells by itself that it is away, and that images were deleted.
    if random.below(2) == 0 {
        history.push(Op::Listen);
    }
    history.push(Op::Restart);
    for _ in 0..length {
        let op = op(&mut random);
        history.push(op);
    }
    if random.below(2) == 0 {
        history.push(Op::Wait);
    }
    // In every fourth images are unpacked; the others are what they were before that was so.
    if random.below(4) == 0 {
        history.insert(0, Op::Unpack(byte(&mut random)));
        for _ in 0..random.below(8) {
            let place = usize::from(byte(&mut random)) % history.len();
            let a = byte(&mut random);
            let op = match random.below(8) {
                0 => Op::Unpack(a),
                1 => Op::UnpackingFails(a.is_multiple_of(2)),
                _ => Op::LoseSnapshot(a),
            };
            history.insert(place + 1, op);
        }
    }
    // In every sixth what is loaded is baked once, and files are deleted afterwards.
    if random.below(6) == 0 {
        let place = usize::from(byte(&mut random)) % history.len();
        let deleted = Op::Delete(byte(&mut random));
        history.splice(place + 1..place + 1, [Op::Wait, Op::Bake, deleted]);
    }
    if random.below(8) == 0 {
        let place = usize::from(byte(&mut random)) % history.len();
        history.insert(place + 1, Op::KeepPin(byte(&mut random)));
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
        77..80 => Op::Hear,
        80..88 => Op::Pass(u16::from(a)),
        88 => Op::Pass(u16::from(a) * 40),
        89 => Op::Jump(i8::from_ne_bytes([b])),
        90..93 => Op::Save,
        93 => Op::Kill,
        94 | 95 => Op::KillAfter(a % 4),
        96 => Op::Restart,
        97 => Op::Reload,
        _ => rare(a, b, random),
    }
}

/// What happens to few nodes.
fn rare(a: u8, b: u8, random: &mut Random) -> Op {
    match random.below(37) {
        34..37 => Op::Copy(a, b),
        30 | 31 => Op::WrongBytes(a),
        32 => Op::PowerCut(a),
        33 => Op::NextDay,
        0..2 => Op::LoseBlob(a),
        2..4 => Op::ReplaceStore(a),
        4..6 => Op::Deletes(a),
        6 => Op::DiskFails(a.is_multiple_of(2)),
        7..9 => Op::KillAndLose(a),
        9..13 => Op::Configure(a),
        13 | 14 => Op::Reload,
        15..18 => Op::Switch,
        18 => Op::ListStorm(a),
        19..21 => Op::Open(a),
        21 => Op::ReadFails(a),
        22 => Op::WrittenUntilReady(a, b),
        23 | 24 => Op::Changes(a),
        25 | 26 => Op::Live(a),
        27 | 28 => Op::Misread(a),
        _ => Op::Wait,
    }
}
