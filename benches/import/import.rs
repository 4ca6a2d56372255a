//! Imports into an empty containerd, everybody in turn.

use crate::archives::{Archive, Archives};
use crate::contender::{Contender, Took};
use crate::figures::{median_time, time};
use crate::floor::Floor;
use crate::options::{self, Options};
use crate::page_cache;
use crate::support::{Daemon, Generation};

/// What is imported.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) case: options::Case,
    pub(crate) archives: Vec<Archive>,
    /// Whether it is imported once more.
    pub(crate) again: bool,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Imported {
    pub(crate) case: Case,
    /// In the order in which they are told.
    pub(crate) lines: Vec<Line>,
    pub(crate) floor: Floor,
}

/// What one of them took, round by round.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) contender: Contender,
    pub(crate) first: Vec<Took>,
    /// Into the containerd that has it already.
    pub(crate) again: Vec<Took>,
}

/// The cases that are wanted.
pub(crate) fn cases(archives: &Archives, options: &Options) -> Vec<Case> {
    let all = [
        (options::Case::Tar, vec![archives.one("oci.tar")]),
        (options::Case::TarZst, vec![archives.one("oci.tar.zst")]),
        (options::Case::TarGz, vec![archives.one("oci.tar.gz")]),
        (options::Case::Docker, vec![archives.one("docker.tar")]),
        (options::Case::Set, archives.group("set")),
        (options::Case::Small, some(archives.group("small"))),
        (options::Case::Blobs, archives.group("blobs")),
    ];
    let cases = all.map(|(case, archives)| Case {
        case,
        archives,
        again: case == options::Case::Tar && options.wants(options::Case::Again),
    });
    let wanted = cases.into_iter().filter(|case| options.wants(case.case));
    wanted.collect()
}

/// As many small archives as a node has; ctr takes them one after another.
fn some(small: Vec<Archive>) -> Vec<Archive> {
    small.into_iter().take(150).collect()
}

/// Each round lets everybody do it once, the next one in the opposite order, and the floor.
pub(crate) fn measure(
    generation: &Generation,
    contenders: &[Contender],
    case: Case,
    options: &Options,
) -> Imported {
    let line = |contender: &Contender| Line {
        contender: contender.clone(),
        first: Vec::new(),
        again: Vec::new(),
    };
    let mut lines = contenders.iter().map(line).collect::<Vec<_>>();
    let mut floor = Floor::new(&case.archives);
    for round in 0..options.rounds() {
        eprintln!(
            "containerd {}, {}: round {} of {}",
            generation.name,
            case.case.name(),
            round + 1,
            options.rounds()
        );
        let mut order = lines.iter_mut().collect::<Vec<_>>();
        if round % 2 == 1 {
            order.reverse();
        }
        for line in order {
            once(generation, line, &case, options);
        }
        floor.measure(&case.archives, options.input);
        let (what, times) = floor.longer();
        eprintln!("  the floor so far, {what}: {}", time(median_time(times)));
    }
    Imported { case, lines, floor }
}

fn once(generation: &Generation, line: &mut Line, case: &Case, options: &Options) {
    let contender = &line.contender;
    let mut daemon = Daemon::start(generation);
    contender.wait_serving(&mut daemon);
    page_cache::prepare(&case.archives, options.input);
    let first = contender.import(&daemon, &case.archives);
    eprintln!("  {}: {}", contender.name(), time(first.wall));
    line.first.push(first);
    if case.again {
        contender.forget(&daemon);
        page_cache::prepare(&case.archives, options.input);
        let again = contender.import(&daemon, &case.archives);
        eprintln!("  {}, again: {}", contender.name(), time(again.wall));
        line.again.push(again);
    }
}
