//! Imports whose images are unpacked, and the first container that runs after them: everybody in turn,
//! each into an empty containerd.

mod floor;
mod layers;
mod pods;
mod tables;
mod way;

use crate::archives::{Archive, Archives};
use crate::figures::time;
use crate::options::{Case, Layers, Options};
use crate::page_cache;
use crate::support::{Daemon, Generation};

use floor::UnpackFloor;
use way::{UnpackTook, Way, ways};

pub(crate) use tables::tables;

/// What is imported and unpacked.
#[derive(Debug)]
pub(crate) struct UnpackCase {
    case: Case,
    layers: Layers,
    archive: Archive,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct UnpackedCase {
    case: UnpackCase,
    /// In the order in which they are told, round by round.
    lines: Vec<(Way, Vec<UnpackTook>)>,
    floor: UnpackFloor,
}

/// The cases that are wanted.
pub(crate) fn cases(archives: &Archives, options: &Options) -> Vec<UnpackCase> {
    let mut cases = Vec::new();
    for case in [Case::Large, Case::Shared, Case::Forty] {
        for layers in Layers::ALL {
            if options.wants_layers(case, layers) {
                let file = format!("{}-{}.tar", case.name(), layers.name());
                let archive = archives.one(&file);
                cases.push(UnpackCase {
                    case,
                    layers,
                    archive,
                });
            }
        }
    }
    cases
}

/// Each round lets everybody do it once, the next one in the opposite order, and the floor.
pub(crate) fn measure(
    generation: &Generation,
    case: UnpackCase,
    options: &Options,
) -> UnpackedCase {
    let mut lines = ways(generation, options)
        .into_iter()
        .map(|way| (way, Vec::new()))
        .collect::<Vec<_>>();
    let mut floor = UnpackFloor::default();
    for round in 0..options.rounds() {
        eprintln!(
            "containerd {}, {} with {} layers: round {} of {}",
            generation.name,
            case.case.name(),
            case.layers.name(),
            round + 1,
            options.rounds()
        );
        let mut order = lines.iter_mut().collect::<Vec<_>>();
        if round % 2 == 1 {
            order.reverse();
        }
        for (way, rounds) in order {
            rounds.push(once(generation, way, &case, options));
        }
        floor.measure(&case.archive, options.input);
        eprintln!("  the floor so far: {floor}");
    }
    UnpackedCase { case, lines, floor }
}

fn once(generation: &Generation, way: &Way, case: &UnpackCase, options: &Options) -> UnpackTook {
    let mut daemon = Daemon::start(generation);
    way.wait_serving(&mut daemon);
    pods::prepare(&daemon);
    page_cache::prepare(std::slice::from_ref(&case.archive), options.input);
    let took = way.import(&daemon, &case.archive);
    eprintln!(
        "  {}: {}, unpacked {}, first container {}",
        way.name(),
        time(took.imported),
        took.unpacked.map_or("-".to_owned(), time),
        took.first.map_or("-".to_owned(), |first| time(first.at)),
    );
    took
}
