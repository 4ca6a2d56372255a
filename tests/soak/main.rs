//! The soak tier: kills and power cuts at many moments, and storms. `STOWD_SOAK_ROUNDS` says how often, in hundredths
//! of what `tests/run` does.

// Here a panic is how a helper reports.
#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod churn;
mod dice;
mod kills;
mod power_cut;

use std::time::Duration;

/// What is awaited comes much sooner, on a machine with nothing else to do.
const SOON: Duration = Duration::from_secs(300);

/// How often something is done that is done `usual` times by `tests/run`.
fn rounds(usual: usize) -> usize {
    let percent = std::env::var("STOWD_SOAK_ROUNDS").ok();
    let percent = percent.map_or(100, |text| {
        text.parse().expect("STOWD_SOAK_ROUNDS: a number")
    });
    (usual * percent / 100).max(1)
}
