//! The simulation tier: the real plan and the real ledger through random histories.
//!
//! `STOWD_SIMULATION_HISTORIES` says how many (else as many as fit `STOWD_SIMULATION_SECONDS`, 40),
//! `STOWD_SIMULATION_SEED` with which seed they begin. A history that fails is shrunk and printed.

// Here a panic is how a helper reports.
#![allow(clippy::unwrap_used)]

mod baked;
mod clock;
mod compared;
mod config;
mod content;
mod directory;
mod history;
mod holds;
mod invariants;
mod jobs;
mod known;
mod node;
mod op;
mod oracle;
mod pace;
mod pin_changes;
mod process;
mod random;
mod ready;
mod rest;
mod seen;
mod steps;
mod store;
mod trace;
mod unknown;
mod unpacking;

use std::env;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use history::{live, shrink};
use op::{Op, random};

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} must be a number")),
    )
}

/// Says which invariant a history breaks, and shows the shortest that breaks it.
fn explain(history: &[Op], what: &str) -> String {
    let invariant = what.split(':').next().unwrap_or_default();
    let shortest = shrink(history, invariant);
    let (lived, trace) = live(&shortest, true);
    format!(
        "{what}\nshortest: {:?}\n{shortest:?}\n{}",
        lived.err(),
        trace.join("\n")
    )
}

#[test]
fn random_histories_hold_the_invariants() {
    let wanted = number("STOWD_SIMULATION_HISTORIES");
    let seconds = number("STOWD_SIMULATION_SECONDS").unwrap_or(40);
    let first = number("STOWD_SIMULATION_SEED");
    let first = first.unwrap_or_else(|| RandomState::new().build_hasher().finish());
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let begun = Instant::now();
    let end = begun + Duration::from_secs(seconds);
    // The first history that fails, by its number: that of a seed is always the same.
    let failing = AtomicU64::new(u64::MAX);
    let run = |thread: u64| {
        let mut lived = 0;
        loop {
            let is_enough = match wanted {
                Some(wanted) => lived >= wanted.div_ceil(threads),
                None => Instant::now() >= end,
            };
            let number = thread + lived * threads;
            if is_enough || number > failing.load(Ordering::Relaxed) {
                return (lived, None);
            }
            let seed = first.wrapping_add(number);
            lived += 1;
            let history = random(seed);
            if let (Err(violation), _) = live(&history, false) {
                failing.fetch_min(number, Ordering::Relaxed);
                return (lived, Some((number, history, violation.0)));
            }
        }
    };
    let found = std::thread::scope(|scope| {
        let running = (0..threads).map(|thread| {
            scope.spawn({
                let run = &run;
                move || run(thread)
            })
        });
        let running = running.collect::<Vec<_>>();
        let joined = running.into_iter().map(|thread| thread.join().unwrap());
        joined.collect::<Vec<_>>()
    });
    let lived = found.iter().map(|(lived, _)| lived).sum::<u64>();
    println!(
        "{lived} histories from seed {first} in {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    let found = found.into_iter().filter_map(|(_, found)| found);
    if let Some((number, history, what)) = found.min_by_key(|(number, ..)| *number) {
        let seed = first.wrapping_add(number);
        panic!(
            "seed {seed}, after {} histories: {}",
            number + 1,
            explain(&history, &what)
        );
    }
}
