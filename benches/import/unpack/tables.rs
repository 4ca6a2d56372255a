//! What was unpacked, and what ran, in Markdown.

use std::time::Duration;

use stowd::unpack::UnpackWhen;

use super::pods::FirstContainer;
use super::way::{UnpackTook, Way};
use super::{UnpackCase, UnpackedCase};
use crate::ctr::{Mode, Then};
use crate::figures::{head, median_time, ratio, row, shortest, size, time};
use crate::options::Case;
use crate::targets;

/// Both tables.
pub(crate) fn tables(cases: &[UnpackedCase]) -> String {
    format!("{}\n{}", unpacked(cases), first_containers(cases))
}

fn unpacked(cases: &[UnpackedCase]) -> String {
    let mut text = head(&[
        "import and unpack",
        "who",
        "READY, or exit",
        "all unpacked",
        "times stowd",
        "target",
        "of the floor",
        "processor, of containerd",
        "resident at most",
    ]);
    for case in cases {
        let stowd = of_stowd(case, |took| took.unpacked);
        let (what, floor) = case.floor.longer();
        for (number, (way, rounds)) in case.lines.iter().enumerate() {
            let unpacked = all(rounds, |took| took.unpacked);
            let target = match way {
                Way::Ctr(Mode::Transfer, Then::Unpack) => Some(targets::UNPACKED_BY_TRANSFER),
                Way::Ctr(_, Then::Unpack) => Some(targets::UNPACKED),
                _ => None,
            };
            let target = target.map_or(String::new(), |target| format!("{target} x"));
            let of_floor = ratio(shortest(&unpacked), shortest(floor));
            let peak = rounds.iter().filter_map(|took| took.peak).max();
            text += &row(&[
                title(number, &case.case),
                way.name(),
                both(&all(rounds, |took| Some(took.imported))),
                both(&unpacked),
                others(way, ratio(shortest(&unpacked), stowd)),
                target,
                if way.is_stowd() {
                    of_floor
                } else {
                    String::new()
                },
                both(&all(rounds, |took| Some(took.own + took.containerd)))
                    + ", "
                    + &time(shortest(&all(rounds, |took| Some(took.containerd)))),
                peak.map_or(String::new(), size),
            ]);
        }
        let mut floor = vec![
            String::new(),
            format!("the floor: {what}"),
            String::new(),
            both(floor),
        ];
        floor.resize(9, String::new());
        text += &row(&floor);
    }
    text
}

fn first_containers(cases: &[UnpackedCase]) -> String {
    let mut text = head(&[
        "first container",
        "who",
        "to its exit",
        "times stowd",
        "its start",
        "second start",
        "longer by",
        "target",
    ]);
    for case in cases {
        let stowd = of_stowd(case, |took| took.first.map(|first| first.at));
        let lines = case.lines.iter();
        let lines = lines.filter(|(way, _)| !way.is_stowd_that_unpacks(UnpackWhen::AfterReady));
        for (number, (way, rounds)) in lines.enumerate() {
            let of_first =
                |of: fn(FirstContainer) -> Duration| all(rounds, |took| took.first.map(of));
            let at = of_first(|first| first.at);
            let (start, again) = (of_first(|first| first.start), of_first(|first| first.again));
            let longer = of_first(|first| first.start.saturating_sub(first.again));
            let target = match way.is_stowd() {
                true => time(targets::FIRST_START),
                false => String::new(),
            };
            text += &row(&[
                title(number, &case.case),
                way.name(),
                both(&at),
                others(way, ratio(shortest(&at), stowd)),
                both(&start),
                both(&again),
                both(&longer),
                target,
            ]);
        }
    }
    text
}

/// The shortest that stowd took which unpacks before READY.
fn of_stowd(case: &UnpackedCase, of: impl Fn(&UnpackTook) -> Option<Duration>) -> Duration {
    let mut lines = case.lines.iter();
    let stowd = lines.find(|(way, _)| way.is_stowd());
    stowd.map_or(Duration::ZERO, |(_, rounds)| shortest(&all(rounds, of)))
}

fn all(rounds: &[UnpackTook], of: impl Fn(&UnpackTook) -> Option<Duration>) -> Vec<Duration> {
    rounds.iter().filter_map(of).collect()
}

/// The shortest, and the one in the middle.
fn both(times: &[Duration]) -> String {
    match times {
        [] => String::new(),
        [only] => time(*only),
        times => format!("{}, {}", time(shortest(times)), time(median_time(times))),
    }
}

/// What is told of all but the one that it is told against.
fn others(way: &Way, ratio: String) -> String {
    if way.is_stowd() { String::new() } else { ratio }
}

/// What the lines of a case are about, in the first of them.
fn title(number: usize, case: &UnpackCase) -> String {
    if number > 0 {
        return String::new();
    }
    let images = case.archive.names.len();
    let what = match case.case {
        Case::Large => "one image".to_owned(),
        Case::Shared => format!("{images} images with shared bases"),
        _ => format!("{images} small images"),
    };
    format!(
        "{what}, {} layers, archive of {}",
        case.layers.name(),
        size(case.archive.plain_length())
    )
}
